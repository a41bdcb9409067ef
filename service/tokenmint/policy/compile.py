"""Compiles the conditions, claim mappings and computed claims of a configuration, once, and names every bad one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeAlias, TypeVar

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import same_url
from tokenmint.base.key_path import key_path
from tokenmint.model.format import TransactionRules
from tokenmint.model.policy import ActorRules, Audience
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.policy import mapping
from tokenmint.policy.conditions import Expression, compile_claim, compile_condition

T = TypeVar("T")
ClaimSource: TypeAlias = mapping.Source | Expression
"""The source of a minted claim: a path into the facts, or CEL."""
Members: TypeAlias = tuple[tuple[str, ClaimSource], ...]
"""Claims, or members of one, each with its source."""


class TransactionSources(NamedTuple):
    """The sources of an audience's transaction tokens (``FormatTraits.transaction``)."""

    tctx: Members
    rctx: Members
    subject_scopes: ClaimSource


_REQUEST: Final = re.compile(r"(?<![\w'\"])(?<![\w\])]\.)request\b")
"""The variable `request` in a source: no member of that name, and no text."""
_READ_BEFORE: Final = frozenset({"act", "cnf"})
"""Claims of a provider's token by which actors and possession are checked while the token is verified."""


@dataclass(slots=True)
class CompiledRules:
    """The texts of a configuration, ready to be evaluated."""

    conditions: dict[str, Expression] = field(default_factory=dict)
    """The conditions on exchanges, by audience."""
    uids: dict[str, mapping.Source] = field(default_factory=dict)
    """The sources of user ids, by audience, where its format has one."""
    paths: dict[str, tuple[mapping.Source, ...]] = field(default_factory=dict)
    """The sources of the segments of user ids, by audience, where its format has a path."""
    claims: dict[str, Members] = field(default_factory=dict)
    """The claims of minted tokens, by audience."""
    computing: set[str] = field(default_factory=set)
    """The audiences that have claims in CEL."""
    scopes: dict[str, tuple[ClaimSource, ClaimSource]] = field(default_factory=dict)
    """The sources of the scopes of subject and actor, by audience, where their intersection counts."""
    transactions: dict[str, TransactionSources] = field(default_factory=dict)
    """The sources of transaction tokens, by audience, where it has them."""
    provider_conditions: dict[str, Expression] = field(default_factory=dict)
    """The conditions on tokens, by provider."""
    provider_claims: dict[str, tuple[tuple[str, Expression], ...]] = field(default_factory=dict)
    """The claims that are computed from those of a token, by provider."""


def compile_rules(
    audiences: Mapping[str, Audience],
    issuer: str,
    provider_conditions: Mapping[str, str],
    provider_claims: Mapping[str, Sequence[tuple[str, str]]],
) -> CompiledRules:
    """Compile every text. The arguments are those of :class:`~tokenmint.policy.grant.Policy`.

    Raises:
        ConfigurationError: a text can't be compiled, or a claim has a reserved name; lists every problem.
    """
    rules = CompiledRules()
    problems: list[str] = []
    for name, claims in provider_claims.items():
        at = [(claim, key_path("providers", name, "claims", claim), text.removeprefix("=")) for claim, text in claims]
        problems += [
            f"{path}: is read before claims are computed, so it would count for a part of the rules only: choose "
            "another name"
            for claim, path, _ in at
            if claim in _READ_BEFORE
        ]
        compiled = [(claim, _compiled(compile_claim, text, path, problems)) for claim, path, text in at]
        rules.provider_claims[name] = tuple((claim, source) for claim, source in compiled if source is not None)
    for name, text in provider_conditions.items():
        path = key_path("providers", name, "condition")
        if (condition := _compiled(compile_condition, text, path, problems)) is not None:
            rules.provider_conditions[name] = condition
    for name, audience in audiences.items():
        if same_url(name, issuer):
            problems.append(f"{key_path('audiences', name)}: is the issuer itself")
        _compile_audience(rules, name, audience, problems)
    if problems:
        raise ConfigurationError(problems)
    return rules


def _compile_audience(rules: CompiledRules, name: str, audience: Audience, problems: list[str]) -> None:
    format_ = audience.format
    if audience.condition is not None:
        path = key_path("audiences", name, "condition")
        if (condition := _compiled(compile_condition, audience.condition, path, problems)) is not None:
            rules.conditions[name] = condition
    if format_.uid is not None:
        path = key_path("audiences", name, format_.name, "uid")
        if (uid := _compiled(mapping.parse, format_.uid, path, problems)) is not None:
            rules.uids[name] = uid
    if format_.path:
        path = key_path("audiences", name, format_.name, "path")
        segments = [_compiled(mapping.parse, text, path, problems) for text in format_.path]
        rules.paths[name] = tuple(segment for segment in segments if segment is not None)
    sources: list[tuple[str, ClaimSource]] = []
    for claim, text in audience.claims:
        path = key_path("audiences", name, "claims", claim)
        if is_reserved(claim):
            problems.append(f"{path}: is a reserved claim name: choose another")
        if (source := _compiled(_compile_source, text, path, problems)) is not None:
            sources.append((claim, source))
            if isinstance(source, Expression):
                rules.computing.add(name)
    rules.claims[name] = tuple(sources)
    if audience.actors is not None and audience.actors.intersection:
        _compile_scopes(rules, name, audience.actors, problems)
    if format_.transaction is not None:
        _compile_transaction(rules, name, format_.name, format_.transaction, problems)


def _compile_transaction(
    rules: CompiledRules, name: str, table: str, written: TransactionRules, problems: list[str]
) -> None:
    def compiled(text: str, *path: str, by: Callable[[str], ClaimSource] = _compile_source) -> ClaimSource | None:
        source = _compiled(by, text, key_path("audiences", name, table, *path), problems)
        if isinstance(source, Expression):
            rules.computing.add(name)
        return source

    def members(key: str, pairs: Sequence[tuple[str, str]]) -> Members:
        found = [(member, compiled(text, key, member)) for member, text in pairs]
        return tuple((member, source) for member, source in found if source is not None)

    tctx, rctx = members("tctx", written.tctx), members("rctx", written.rctx)
    if (scopes := compiled(written.subject_scopes, "subject_scopes", by=_compile_scope_source)) is not None:
        rules.transactions[name] = TransactionSources(tctx, rctx, scopes)


def _compile_scopes(rules: CompiledRules, name: str, actors: ActorRules, problems: list[str]) -> None:
    path = partial(key_path, "audiences", name, "actors")
    subject = _compiled(_compile_scope_source, actors.subject_scopes, path("subject_scopes"), problems)
    actor = _compiled(_compile_scope_source, actors.actor_scopes, path("actor_scopes"), problems)
    if subject is not None and actor is not None:
        rules.scopes[name] = (subject, actor)
        if isinstance(subject, Expression) or isinstance(actor, Expression):
            rules.computing.add(name)


def _compile_source(text: str) -> ClaimSource:
    return compile_claim(text[1:]) if text.startswith("=") else mapping.parse(text)


def _compile_scope_source(text: str) -> ClaimSource:
    """Compile the source of the scopes that a party stands for. Nothing of it may be the caller's own word."""
    if _REQUEST.search(text):
        raise ValueError("reads the request, so the caller would name its own scopes: take them from elsewhere")
    return _compile_source(text)


def _compiled(compile_: Callable[[str], T], text: str, path: str, problems: list[str]) -> T | None:
    """Return the compiled text, or None after a problem that names its ``path``."""
    try:
        return compile_(text)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return None

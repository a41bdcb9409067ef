"""The keys of the configuration that decide a step of an exchange, for the explanation of a refusal."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.key_path import key_path
from tokenmint.exchange.explain import TARGET, Explanation, Outcome, Step

Names = Mapping[str, str]
"""The names that paths are made with: `client`, `audience`, `provider`; "" for none."""
Key: TypeAlias = tuple[str, str]
"""A table and a key in it."""
Groups: TypeAlias = tuple[tuple[Key, ...], ...]
"""Keys that decide together, the most exact ones first: the first group of which one is written counts."""

AUDIENCE: Final = "audiences"
PROVIDER: Final = "providers"
CLIENT: Final = "clients"
OF_THE_ENTRY: Final = "*"
"""Stands for the settings that a shipped provider has of its own, such as `hosted_domains`."""
_NAMED: Final = {AUDIENCE: "audience", PROVIDER: "provider", CLIENT: "client"}
_ENTRY: Final[Groups] = (((PROVIDER, OF_THE_ENTRY),), ((PROVIDER, "use"),))

BY_STEP: Final[Mapping[str, Groups]] = {
    "policy.client": (((AUDIENCE, "clients"), (AUDIENCE, "public_clients")),),
    "assertion.form": ((("limits", "token_bytes"),),),
    "assertion.issuer": (((PROVIDER, "where"),), ((PROVIDER, "issuer"),), *_ENTRY),
    "assertion.kind": (((PROVIDER, "token_types"),), ((PROVIDER, "use"),)),
    "assertion.signature": (
        tuple((PROVIDER, key) for key in ("jwks_url", "jwks_file", "jwks", "discovery_url")),
        ((PROVIDER, "issuer"),),
        *_ENTRY,
    ),
    "assertion.times": (((PROVIDER, "skew"),),),
    "assertion.claims": (((PROVIDER, "checks"), (PROVIDER, OF_THE_ENTRY)), ((PROVIDER, "use"),)),
    "assertion.user": (((PROVIDER, "check_revoked"),),),
    "policy.provider": (((AUDIENCE, "providers"),),),
    "policy.own_token": (((CLIENT, "serves"),),),
    "minting.signer": (((AUDIENCE, "algorithm"),),),
    "replay.unclaimed": (((AUDIENCE, "single_use"), (PROVIDER, "single_use")),),
}
"""By the step that failed."""
BY_REASON: Final[Mapping[str, Groups]] = {
    "SCOPE_DENIED": (((CLIENT, "scopes"), (AUDIENCE, "scopes")),),
    "LIFETIME_DENIED": (((AUDIENCE, "max_lifetime"),),),
    "FORMAT_DENIED": (((AUDIENCE, "token_type"),),),
    "ACTOR_DENIED": (((AUDIENCE, "actors"),),),
    "CONFIRMATION_DENIED": (((AUDIENCE, "bound"),),),
    "REEXCHANGE_DENIED": (((AUDIENCE, "reexchange_from"), (CLIENT, "serves")),),
    "ALGORITHM_NOT_ALLOWED": (((PROVIDER, "algorithms"),), ((PROVIDER, "use"),)),
    "TOO_OLD": (((PROVIDER, "max_age"),),),
    "WRONG_AUDIENCE": (((PROVIDER, "audiences"), (PROVIDER, "audience_claims")), *_ENTRY),
    "PRINCIPAL_UNKNOWN": (((AUDIENCE, "on_missing_profile"),),),
}
"""By the reason: those that several steps have, or for which a step has other keys."""
UNDECIDED: Final = frozenset({"MALFORMED", "PRINCIPAL_DISABLED", "REVOKED", "WRONG_NONCE"})
"""Reasons that no key decides: the token, the profile or the request does."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """A key that decides."""

    path: str
    missing: bool = False
    """Whether it is a table that the configuration lacks: its absence decides."""


class Place(Protocol):
    """The place of a key of the configuration."""

    @property
    def where(self) -> str:
        """`line 12`, or the name of an environment variable."""
        ...

    @property
    def text(self) -> str:
        """The line, bounded; "" for a variable."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """The part of the configuration that explanations cite."""

    places: Callable[[], Mapping[str, Place]]
    """Returns the places of the keys that the configuration in force sets."""
    entry_settings: frozenset[str]
    """The settings that shipped providers have of their own."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A key that decided, with its place; both are empty for a key that is not written, whose default decided."""

    path: str
    where: str
    text: str
    missing: bool


def citations(explanation: Explanation, written: Written) -> list[Citation]:
    """Return the keys that decided the last step of an exchange that would be refused; none of one that would not."""
    last = explanation.steps[-1]
    if last.outcome is not Outcome.FAILED:
        return []
    places = written.places()
    keys = deciding_keys(last, explanation.names, places.__contains__, written.entry_settings)
    return [_citation(key, places.get(key.path)) for key in keys]


def _citation(key: Deciding, place: Place | None) -> Citation:
    where, text = (place.where, place.text) if place is not None else ("", "")
    return Citation(clipped(key.path, 2 * LONG), where, text, key.missing)


def deciding_keys(
    step: Step, names: Names, is_written: Callable[[str], bool], entry_settings: Collection[str] = ()
) -> list[Deciding]:
    """Return the keys that decide a failed step: those that are written, or else the first one, whose default decides.

    Args:
        step: the step that ended the exchange.
        names: the names of the client, the audience and the provider.
        is_written: returns whether the configuration has a key or table, by its path.
        entry_settings: the settings that shipped providers have of their own.
    """
    groups = _groups(step)
    for table, _ in (key for group in groups for key in group):
        if table in _NAMED and not (names[_NAMED[table]] and is_written(key_path(table, names[_NAMED[table]]))):
            name = names[_NAMED[table]]
            return [Deciding(key_path(table, name) if name else table, missing=True)]
    paths = [[path for key in group for path in _paths(key, names, entry_settings)] for group in groups]
    for group in paths:
        if written := [path for path in group if is_written(path)]:
            return [Deciding(path) for path in written]
    if not paths or not paths[0]:
        return []
    table = paths[0][0].rpartition(".")[0]
    return [Deciding(path) for path in ([table] if is_written(table) else []) + [paths[0][0]]]


def _groups(step: Step) -> Groups:
    if step.reason in UNDECIDED:
        return ()
    if step.name == TARGET:
        return (((AUDIENCE, "resources"),),)
    if step.reason == "CONDITION_DENIED":
        return (((AUDIENCE if step.name == "policy.decision" else PROVIDER, "condition"),),)
    return BY_REASON.get(step.reason) or BY_STEP.get(step.name.removeprefix("actor."), ())


def _paths(key: Key, names: Names, entry_settings: Collection[str]) -> Iterator[str]:
    table, name = key
    for one in sorted(entry_settings) if name == OF_THE_ENTRY else [name]:
        yield key_path(table, names[_NAMED[table]], one) if table in _NAMED else key_path(table, one)

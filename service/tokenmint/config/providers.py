"""Providers from configuration tables: the shipped entries and operators' additions."""

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl, same_url
from tokenmint.base.key_path import key_path
from tokenmint.config.claim_checks import claim_checks
from tokenmint.config.document import follows, parsed
from tokenmint.config.entries import TOKEN_TYPES, Entry, ProviderTable, catalogue
from tokenmint.config.entry_values import own_issuers, values_of
from tokenmint.config.in_cluster import in_cluster
from tokenmint.config.provider_keys import OWN_KEYS, fill, key_source
from tokenmint.config.provider_requests import proxy_of
from tokenmint.config.shared_issuers import customers_unnamed, is_guarded
from tokenmint.config.signals import signal_rules
from tokenmint.config.suggestions import did_you_mean
from tokenmint.firebase.accounts import account_file
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.proxies import Proxy
from tokenmint.model.signals import SignalRules
from tokenmint.model.tokens import GRANTS
from tokenmint.verification.jwk import ALGORITHMS
from tokenmint.verification.key_source import KeySource
from tokenmint.verification.provider import ClaimCheck, ClaimPaths, Provider

_ONE_SIGNATURE: Final = frozenset({"EdDSA", "Ed25519"})
"""Two names of one algorithm, as long as no other curve is verified (RFC 9864 section 2.2)."""
_NO_CLIENT: Final = frozenset({"", "iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
"""Names of claims that never stand for a missing audience: with `iss`, every token of the provider would do."""
_TEMPLATE = re.compile(r"[{}*\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of checking a provider's table."""

    problems: tuple[str, ...]
    provider: Provider | None
    """None if the table has problems."""
    condition: str | None
    claims: tuple[tuple[str, str], ...]
    """The provider's CEL expressions, which exist even if the rest has problems."""


def provider_from_table(
    name: str, table: Mapping[str, object], *, own_issuer: str, proxy: Proxy | None = None
) -> Provider:
    """Make a provider from its table of the configuration.

    Args:
        proxy: the proxy for fetches of its keys, unless it has its own.

    Raises:
        ConfigurationError: lists every problem, each beginning with `providers.NAME.KEY`.
    """
    judged = judge_provider(name, table, own_issuer=own_issuer, proxy=proxy)
    if judged.provider is None:
        raise ConfigurationError(judged.problems)
    return judged.provider


def judge_provider(
    name: str,
    table: Mapping[str, object],
    *,
    own_issuer: str,
    entries: Mapping[str, Entry] | None = None,
    proxy: Proxy | None = None,
) -> Judged:
    """Make a provider from its table of the configuration, or list its problems.

    Args:
        entries: the shipped entries by name. Default: the catalogue.
        proxy: the proxy for fetches of its keys, unless it has its own.
    """
    return _Builder(name, table, own_issuer, catalogue() if entries is None else entries, proxy).judge()


@dataclass(frozen=True, slots=True)
class _Parts:
    issuers: dict[str, Mapping[str, str]]
    audiences: frozenset[str]
    algorithms: frozenset[str]
    kinds: frozenset[str]
    checks: tuple[ClaimCheck, ...]
    users: FirebaseProject | None
    signals: SignalRules | None
    subject_claims: ClaimPaths
    subject_claims_by_type: Mapping[str, ClaimPaths]
    subject_claims_instead: Mapping[str, ClaimPaths]


class _Builder:
    """Collects problems on the way, so that an operator sees them all at once."""

    def __init__(
        self,
        name: str,
        table: Mapping[str, object],
        own_issuer: str,
        entries: Mapping[str, Entry],
        proxy: Proxy | None,
    ) -> None:
        self.name = name
        self.own_issuer = own_issuer
        self.proxy = proxy
        self.problems: list[str] = []
        given = dict(table)
        entry = self._entry(given.get("use"), entries)
        self.entry = entry or Entry()
        found = values_of(self.entry, given)
        self.values = found.values
        for key, text in found.problems:
            self._problem(key, text)
        self._missing_issuer = "is required: the exact `iss` of its tokens"
        if self.entry.in_cluster is not None and not given.keys() & {"issuer", *OWN_KEYS}:
            try:
                given = in_cluster(self.entry.in_cluster) | given
            except ConfigurationError as error:
                self._missing_issuer += f". In a cluster the mounted token has it, but {error.message}"
        if entry is None:  # its parameters are unknown
            given = {key: value for key, value in given.items() if key in ProviderTable.model_fields and key != "use"}
        outcome = parsed(ProviderTable, given, ("providers", name), more_keys=self.entry.parameters)
        self.unknown_entry = entry is None
        self.problems += outcome.problems
        self.reported = frozenset(self.problems)
        self.table, self.dropped = outcome.table, outcome.dropped
        self.own_issuers = own_issuers(self.entry, self.values)
        issuer = self.table.issuer
        written = {issuer} if isinstance(issuer, str) else set(issuer or ())
        if written and written <= self.own_issuers.keys():  # the entry's own, written out
            self.own_issuers = {one: self.own_issuers[one] for one in self.own_issuers if one in written}
            self.table = self.table.model_copy(update={"issuer": None})

    def _problem(self, key: str, text: str) -> None:
        path = key_path("providers", self.name)
        self.problems.append(f"{path}.{key}: {text}" if key else f"{path}: {text}")

    def _entry(self, use: object, entries: Mapping[str, Entry]) -> Entry | None:
        if use is None:
            return Entry()
        entry = entries.get(use) if isinstance(use, str) else None
        if entry is None:
            meant = did_you_mean(use, entries) if isinstance(use, str) else ""
            self._problem("use", f"no such entry; the entries are {', '.join(entries)}{meant}")
        return entry

    def judge(self) -> Judged:
        """Return the provider, or all its problems."""
        issuers = self._issuers()
        singles = self._singles()
        source, problems = key_source(self.table, self.entry, issuers, singles, self.proxy)
        for key, text in problems:
            self._problem(key, text)
        audiences = self._audiences()
        signals, problems = signal_rules(self.table, self.entry, issuers, audiences)
        for key, text in problems:
            self._problem(key, text)
        parts = _Parts(
            issuers=issuers,
            audiences=audiences,
            algorithms=self._some_of("algorithms", {"RS256", "ES256"}, ALGORITHMS, ": no others are verified"),
            kinds=self._some_of("token_types", {"id_token", "jwt"}, TOKEN_TYPES),
            checks=self._checks(),
            users=self._users(),
            signals=signals,
            subject_claims=(first := self._subject_claims()),
            subject_claims_by_type=self._by_kind("subject_claims_by_type", first),
            subject_claims_instead=self._by_kind("subject_claims_instead", first),
        )
        kinds = frozenset(TOKEN_TYPES.get(kind, "") for kind in parts.kinds)
        # An entry guards its own issuers; with a host as its parameter it may get another entry's.
        own = [item.issuer for item in self.entry.issuers] if self.table.issuer is None else []
        foreign = [one for one in issuers if one not in own and not is_guarded(one, self.table.use)]
        unnamed = customers_unnamed(foreign, parts.checks, kinds, self._condition())
        if unnamed:
            self._problem("issuer", unnamed)
        if source is None and not self.problems:
            self._problem("jwks_url", "is required: the URL of the keys")
        told = tuple(line for line in self.problems if not self._follows(line))
        provider = self._provider(parts, source) if not told and source is not None else None
        return Judged(told, provider, self._condition(), self._claims())

    def _follows(self, problem: str) -> bool:
        """Whether a problem only follows from a key that was already reported and left out."""
        return follows(problem, self.dropped) and problem not in self.reported

    def _provider(self, parts: "_Parts", source: KeySource) -> Provider:
        table, entry = self.table, self.entry
        return Provider(
            name=self.name,
            issuers=MappingProxyType(parts.issuers),
            audiences=parts.audiences,
            key_source=source,
            algorithms=parts.algorithms,
            token_types=frozenset(TOKEN_TYPES[kind] for kind in parts.kinds),
            untyped_access_tokens=self._setting("untyped_access_tokens", default=False),
            where=MappingProxyType(table.where),
            audience_claims=self._setting("audience_claims", ()),
            check_authorized_party=self._setting("check_authorized_party", default=True),
            authorized_parties=table.authorized_parties,
            checks=parts.checks,
            subject_claims=parts.subject_claims,
            subject_claims_by_type=parts.subject_claims_by_type,
            subject_claims_instead=parts.subject_claims_instead,
            numeric_subjects=self._setting("numeric_subjects", "refuse"),
            iat_required=self._setting("iat_required", default=True),
            token_lifetime=self._setting("token_lifetime", None),
            max_subject=self._setting("max_subject", 255),
            boolean_claims=self._setting("boolean_claims", frozenset()),
            google_email=self._setting("google_email", default=False),
            nameless_act=entry.nameless_act,
            skew=table.skew,
            max_age=table.max_age,
            single_use=self._setting("single_use", default=False),
            trust_domain=self.values.get(entry.trust_domain_from or "", (None,))[0],
            condition=self._condition(),
            claims=self._claims(),
            key_issuer=self._setting("key_issuer", "ignore"),
            key_id_required=self._setting("key_id_required", default=False),
            users=parts.users,
            signals=parts.signals,
        )

    def _condition(self) -> str | None:
        condition: str | None = self._setting("condition", None)
        return condition

    def _claims(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._setting("claims", {}).items())

    def _audiences(self) -> frozenset[str]:
        table, entry = self.table, self.entry
        audiences = table.audiences
        if entry.audiences_from is not None:
            audiences = frozenset(self.values.get(entry.audiences_from, ("",)))
            if table.audiences and table.audiences != audiences:
                self._problem("audiences", f"is not set for this provider: it is the {entry.audiences_from}")
        elif self.unknown_entry:
            pass
        elif not audiences and self._takes_grants_alone():
            pass  # our issuer is the audience of every grant
        elif not audiences or not all(audiences):
            self._problem(
                "audiences", "is required: the client ids, or other audiences, that its tokens are issued for"
            )
        if set(self._setting("audience_claims", ())) & _NO_CLIENT:
            self._problem(
                "audience_claims",
                "expected names of claims for the client, and no registered claim (RFC 7519 section 4.1): those have "
                "another meaning",
            )
        patterns = self._default_audiences()
        for audience in sorted(audiences):
            if any(re.fullmatch(pattern, audience) for pattern in patterns):
                self._problem(
                    "audiences", f"{audience!r} is the default audience of its tokens: have them issued for your own"
                )
        return audiences

    def _takes_grants_alone(self) -> bool:
        kinds: frozenset[str] = self._setting("token_types", frozenset())
        known = {TOKEN_TYPES[kind] for kind in kinds & TOKEN_TYPES.keys()}  # the others are reported by themselves
        return bool(kinds) and known <= GRANTS

    def _default_audiences(self) -> list[str]:
        """Return patterns of the audiences that everybody's tokens have unless they ask for others."""
        entry, given = self.entry, self.table.issuer or ()
        patterns = [entry.default_audiences] if entry.default_audiences is not None else []
        for issuer in (given,) if isinstance(given, str) else given:
            with contextlib.suppress(BadUrl):
                host = HttpUrl.parse(issuer).authority.removeprefix(entry.issuer_prefix)
                if entry.default_audiences_of_host is not None:
                    patterns.append(fill(entry.default_audiences_of_host, {"host": re.escape(host)}))
        return patterns

    def _some_of(self, key: str, default: set[str], names: Collection[str], reason: str = "") -> frozenset[str]:
        chosen: frozenset[str] = self._setting(key, frozenset(default))
        if not chosen or not chosen <= set(names):
            wrong = min(chosen - set(names), default="")
            meant = f", not {wrong!r}{did_you_mean(wrong, names)}" if wrong else ""
            self._problem(key, f"expected some of {', '.join(sorted(names))}{reason}{meant}")
        return chosen | _ONE_SIGNATURE if chosen & _ONE_SIGNATURE else chosen

    def _users(self) -> FirebaseProject | None:
        table, project = self.table, self._singles().get("project")
        if not table.check_revoked:
            if table.service_account_file is not None:
                self._problem(
                    "service_account_file", "is used only with check_revoked: set check_revoked = true, or leave it out"
                )
            return None
        if project is None:
            self._problem("check_revoked", "is only for providers of Firebase: leave it out")
            return None
        proxy = self._proxy()
        if table.service_account_file is None:
            return FirebaseProject(project, proxy=proxy)
        path, key = Path(table.service_account_file), "service_account_file"
        try:
            return FirebaseProject(project, account_file(key, path), path, proxy=proxy)
        except ConfigurationError as error:
            self._problem(key, error.message.removeprefix(f"{key}: "))
            return None

    def _proxy(self) -> Proxy | None:
        try:
            return proxy_of(self.table, self.proxy)
        except BadUrl:  # is reported with the keys
            return None

    def _setting(self, key: str, default: Any) -> Any:
        mine, shipped = getattr(self.table, key), getattr(self.entry, key)
        return mine if mine is not None else shipped if shipped is not None else default

    def _subject_claims(self) -> tuple[tuple[str, ...], ...]:
        chosen: tuple[tuple[str, ...], ...] = self._setting("subject_claims", (("sub",),))
        if self.table.subject_claims is None:
            for parameter, paths in self.entry.subject_claims_with.items():
                chosen = paths if parameter in self.values else chosen
        return chosen

    def _by_kind(self, key: str, first: ClaimPaths) -> Mapping[str, ClaimPaths]:
        chosen: Mapping[str, ClaimPaths] = self._setting(key, {})
        for kind, paths in chosen.items():
            if kind not in TOKEN_TYPES:
                self._problem(
                    f"{key}.{kind}", f"expected one of {', '.join(TOKEN_TYPES)}{did_you_mean(kind, TOKEN_TYPES)}"
                )
            elif len(paths) != len(first):
                self._problem(
                    f"{key}.{kind}",
                    f"expected as many claims as in subject_claims ({len(first)}), or two principals may get one name",
                )
        return MappingProxyType({TOKEN_TYPES.get(kind, kind): paths for kind, paths in chosen.items()})

    def _issuers(self) -> dict[str, Mapping[str, str]]:
        given = self.table.issuer
        issuer = (given,) if isinstance(given, str) else given
        if self.entry.issuers and issuer is None:
            issuers = self.own_issuers
        elif self.entry.trust_domain_from is not None:
            if issuer is not None:
                self._problem("issuer", "is not set for this provider: its tokens have none")
            return {}
        elif issuer and all(issuer):
            issuers = {one: {} for one in issuer}
            for one in issuer:
                self._check_issuer(one)
        else:
            if not self.unknown_entry:
                self._problem("issuer", self._missing_issuer)
            return {}
        if any(same_url(self.own_issuer, one) for one in issuers):
            self._problem("issuer", "is tokenmint's own: its tokens are never a provider's")
        return issuers

    def _check_issuer(self, issuer: str) -> None:
        if _TEMPLATE.search(issuer):
            self._problem("issuer", "is compared exactly, so it has no placeholder, no * and no space: write it out")
        elif "://" in issuer:  # some providers' issuers are not URLs
            try:
                HttpUrl.parse(issuer)
            except BadUrl as error:
                self._problem("issuer", str(error))

    def _singles(self) -> dict[str, str]:
        return {key: value[0] for key, value in self.values.items() if not self.entry.parameters[key].list}

    def _checks(self) -> tuple[ClaimCheck, ...]:
        checks, problems = claim_checks(self.table, self.entry, self.values)
        for text in problems:
            self._problem("checks", text)
        return checks

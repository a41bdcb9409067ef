"""Providers from configuration tables: the shipped entries (``catalogue/*.toml``) and what operators add to them."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from tokenmint.base.config_values import Seconds, Table, TextList, TextSet, problems_of
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT
from tokenmint.verification.jwk import ALGORITHMS, BadKey, parse_jwks
from tokenmint.verification.keyset import KeySource
from tokenmint.verification.provider import CheckKind, ClaimCheck, Provider

TOKEN_TYPES: Final = MappingProxyType({"id_token": ID_TOKEN, "access_token": ACCESS_TOKEN, "jwt": JWT})
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def _as_path(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _as_paths(value: Any) -> Any:
    return tuple(_as_path(item) for item in value) if isinstance(value, list) else value


ClaimPath = Annotated[tuple[str, ...], BeforeValidator(_as_path), Field(min_length=1)]


class IssuerTable(Table):
    """One exact issuer, and the claims that its tokens must carry."""

    issuer: str
    claims: dict[str, str] = Field(default_factory=dict)


class When(Table):
    """A check that is made only where a parameter has a value; without `is`, only where it has none."""

    parameter: str
    value: str | None = Field(alias="is", default=None)


class CheckTable(Table):
    """A condition on a claim. ``values`` are the accepted ones, or the name of the parameter that lists them."""

    claim: ClaimPath
    or_claim: ClaimPath | None = None
    """What takes its place in tokens that do not have it."""
    kind: CheckKind
    values: str | TextList = ()
    message: str = ""
    when: When | None = None
    token_types: TextSet = frozenset()
    """The kinds of tokens that it is made on: `id_token`, `access_token`, `jwt`; empty: all."""


class Parameter(Table):
    """What an operator has to say, or may say, to use a shipped entry."""

    help: str
    pattern: str
    required: bool = False
    list: bool = False
    default: str | None = None


class _Common(Table):
    """What both a shipped entry and an operator may set."""

    algorithms: TextSet | None = None
    token_types: TextSet | None = None
    untyped_access_tokens: bool | None = None
    check_authorized_party: bool | None = None
    checks: Annotated[tuple[CheckTable, ...], BeforeValidator(_as_path)] = ()
    subject_claims: Annotated[tuple[ClaimPath, ...], BeforeValidator(_as_paths)] | None = None
    max_subject: Annotated[int, Field(ge=1, le=2048)] | None = None
    boolean_claims: TextSet | None = None
    single_use: bool | None = None
    condition: str | None = None
    claims: dict[str, str] | None = None
    jwks_url: str | None = None
    x509_url: str | None = None
    key_issuer: Literal["ignore", "match"] | None = None
    key_id_required: bool | None = None
    google_email: bool | None = None


class Entry(_Common):
    """A shipped entry."""

    title: str = "any OpenID provider"
    issuers: Annotated[tuple[IssuerTable, ...], BeforeValidator(_as_path)] = ()
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    expand: str | None = None
    """The list parameter whose every value makes issuers of its own."""
    audiences_from: str | None = None
    """The parameter that is the only audience."""
    require_one_of: TextList = ()
    default_audiences: str | None = None
    """A pattern of the audiences that everybody's tokens have unless they ask for another: none of them is ours."""
    subject_claims_with: dict[str, Annotated[tuple[ClaimPath, ...], BeforeValidator(_as_paths)]] = Field(
        default_factory=dict
    )
    """The claims that name the principal where a parameter has a value."""
    trust_domain_from: str | None = None
    """The parameter that is the SPIFFE trust domain."""


class ProviderTable(_Common):
    """What an operator writes under `[providers.NAME]`, parameters of the entry aside."""

    use: str | None = None
    issuer: str | None = None
    audiences: TextSet = frozenset()
    authorized_parties: TextSet = frozenset()
    discovery_url: str | None = None
    jwks: str | None = None
    jwks_file: str | None = None
    ca_file: str | None = None
    allow_private: bool = False
    timeout: Seconds = 5.0
    skew: Annotated[Seconds, Field(le=60)] = 30.0
    max_age: Seconds | None = None
    check_revoked: bool = False
    service_account_file: str | None = None


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return the shipped entries by name."""
    folder = resources.files("tokenmint.config") / "catalogue"
    return MappingProxyType(
        {
            file.name.removesuffix(".toml"): Entry.model_validate(tomllib.loads(file.read_text()))
            for file in sorted(folder.iterdir(), key=lambda file: file.name)
            if file.name.endswith(".toml")
        }
    )


def provider_from_table(name: str, table: Mapping[str, object], *, own_issuer: str) -> Provider:
    """Make a provider from its table of the configuration.

    Raises:
        ConfigurationError: lists every problem, each beginning with `providers.NAME.KEY`.
    """
    return _Builder(name, table, own_issuer).build()


class _Builder:
    """Collects problems while it goes, so that an operator sees them all at once."""

    def __init__(self, name: str, table: Mapping[str, object], own_issuer: str) -> None:
        self.name = name
        self.own_issuer = own_issuer
        self.problems: list[str] = []
        given = dict(table)
        self.entry = self._entry(given.get("use"))
        self.values = self._parameters(given)
        try:
            self.table = ProviderTable.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(self.problems + problems_of(error, "providers", name)) from None

    def _problem(self, key: str, text: str) -> None:
        path = key_path("providers", self.name)
        self.problems.append(f"{path}.{key}: {text}" if key else f"{path}: {text}")

    def _entry(self, use: object) -> Entry:
        if use is None:
            return Entry()
        entry = catalogue().get(use) if isinstance(use, str) else None
        if entry is None:
            raise ConfigurationError(
                f"{key_path('providers', self.name)}.use: no such entry; there are {', '.join(catalogue())}"
            )
        return entry

    def _parameters(self, given: dict[str, object]) -> dict[str, tuple[str, ...]]:
        values: dict[str, tuple[str, ...]] = {}
        for key, parameter in self.entry.parameters.items():
            value = given.pop(key, parameter.default)
            if value is None:
                if parameter.required:
                    self._problem(key, f"is required: {parameter.help}")
                continue
            items = value if parameter.list and isinstance(value, list) else [value]
            if parameter.list and not isinstance(value, list):
                self._problem(key, f"expected a list: {parameter.help}")
            elif not items or not all(isinstance(i, str) and re.fullmatch(parameter.pattern, i) for i in items):
                self._problem(key, f"expected {parameter.help}")
            else:
                values[key] = tuple(map(str, items))
        if self.entry.require_one_of and not any(key in values for key in self.entry.require_one_of):
            self._problem("", f"one of {', '.join(self.entry.require_one_of)} is required: without it anybody's tokens "
                          "would do")  # fmt: skip
        return values

    def build(self) -> Provider:
        """Return the provider. Raises ``ConfigurationError`` with everything that is wrong."""
        table, entry = self.table, self.entry
        issuers = self._issuers()
        audiences = table.audiences
        if entry.audiences_from is not None:
            audiences = frozenset(self.values.get(entry.audiences_from, ("",)))
            if table.audiences:
                self._problem("audiences", f"is not set for this provider: it is the {entry.audiences_from}")
        elif not audiences or not all(audiences):
            self._problem(
                "audiences", "is required: the client ids, or other audiences, that its tokens are issued for"
            )
        for audience in sorted(audiences):
            if entry.default_audiences is not None and re.fullmatch(entry.default_audiences, audience):
                self._problem(
                    "audiences", f"{audience!r} is what its tokens are for by default: have them issued for your own"
                )
        algorithms = self._setting("algorithms", frozenset({"RS256", "ES256"}))
        if not algorithms or algorithms - ALGORITHMS:
            self._problem("algorithms", f"expected some of {', '.join(sorted(ALGORITHMS))}: no others are verified")
        kinds = self._setting("token_types", frozenset({"id_token", "jwt"}))
        if not kinds or kinds - TOKEN_TYPES.keys():
            self._problem("token_types", f"expected some of {', '.join(TOKEN_TYPES)}")
        source = self._key_source(issuers)
        checks = self._checks()
        users = self._users()
        if self.problems or source is None:
            raise ConfigurationError(self.problems)
        return Provider(
            name=self.name,
            issuers=MappingProxyType(issuers),
            audiences=audiences,
            key_source=source,
            algorithms=algorithms,
            token_types=frozenset(TOKEN_TYPES[kind] for kind in kinds),
            untyped_access_tokens=self._setting("untyped_access_tokens", default=False),
            check_authorized_party=self._setting("check_authorized_party", default=True),
            authorized_parties=table.authorized_parties,
            checks=checks,
            subject_claims=self._subject_claims(),
            max_subject=self._setting("max_subject", 255),
            boolean_claims=self._setting("boolean_claims", frozenset()),
            google_email=self._setting("google_email", default=False),
            skew=table.skew,
            max_age=table.max_age,
            single_use=self._setting("single_use", default=False),
            trust_domain=self.values.get(entry.trust_domain_from or "", (None,))[0],
            condition=self._setting("condition", None),
            claims=tuple((self._setting("claims", {})).items()),
            key_issuer=self._setting("key_issuer", "ignore"),
            key_id_required=self._setting("key_id_required", default=False),
            users=users,
        )

    def _users(self) -> FirebaseProject | None:
        table, project = self.table, self._singles().get("project")
        if not table.check_revoked:
            if table.service_account_file is not None:
                self._problem("service_account_file", "is read for check_revoked only")
            return None
        if project is None:
            self._problem("check_revoked", "is for Firebase's providers")
            return None
        if table.service_account_file is None:
            return FirebaseProject(project)
        try:
            return FirebaseProject(project, Secret(Path(table.service_account_file).read_bytes()))
        except OSError as error:
            self._problem("service_account_file", f"can't be read ({error.strerror})")
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

    def _issuers(self) -> dict[str, Mapping[str, str]]:
        issuer = self.table.issuer
        if self.entry.issuers and issuer is None:
            expand = self.entry.expand
            rounds = (
                [{**self._singles(), expand: v} for v in self.values.get(expand, ())] if expand else [self._singles()]
            )
            issuers: dict[str, Mapping[str, str]] = {
                _fill(item.issuer, values): {claim: _fill(text, values) for claim, text in item.claims.items()}
                for values in rounds
                for item in self.entry.issuers
            }
        elif self.entry.trust_domain_from is not None:
            if issuer is not None:
                self._problem("issuer", "is not set for this provider: its tokens have none")
            return {}
        elif issuer:
            issuers = {issuer: {}}
        else:
            self._problem("issuer", "is required: the exact `iss` of its tokens")
            return {}
        if self.own_issuer in issuers:
            self._problem("issuer", "is tokenmint's own: its tokens are never a provider's")
        return issuers

    def _singles(self) -> dict[str, str]:
        return {key: value[0] for key, value in self.values.items() if not self.entry.parameters[key].list}

    def _key_source(self, issuers: Mapping[str, object]) -> KeySource | None:
        table = self.table
        own = [key for key in ("jwks", "jwks_file", "jwks_url", "x509_url", "discovery_url") if getattr(table, key)]
        if len(own) > 1:
            self._problem(own[1], f"only one of {', '.join(own)} is used: remove the others")
            return None
        pinned = self._pinned()
        if pinned is not None:
            return KeySource("pinned", pinned=pinned)
        kind: Literal["jwks", "x509", "discovery"] = "discovery"
        url, expected = table.discovery_url or "", ""
        replaced = self.table.issuer is not None or bool(own)  # then the shipped URL is somebody else's
        if table.jwks_url or (self.entry.jwks_url and not replaced):
            kind, url = "jwks", table.jwks_url or self.entry.jwks_url or ""
        elif table.x509_url or (self.entry.x509_url and not replaced):
            kind, url = "x509", table.x509_url or self.entry.x509_url or ""
        elif len(issuers) == 1:
            expected = next(iter(issuers))
            url = url or expected.rstrip("/") + "/.well-known/openid-configuration"
        elif not issuers and self.entry.trust_domain_from is not None:
            self._problem("jwks_url", "is required, or jwks or jwks_file: the trust bundle's keys")
            return None
        else:
            return None
        url = _fill(url, self._singles())
        key = own[0] if own else "issuer"
        try:
            if HttpUrl.parse(url).scheme == "http" and not table.allow_private:
                self._problem(key, "expected https (http only on loopback, for development, with allow_private = true)")
        except BadUrl as error:
            self._problem(key, str(error))
        return KeySource(
            kind,
            url=url,
            issuer=expected,
            ca_file=table.ca_file,
            allow_private=table.allow_private,
            timeout=table.timeout,
        )

    def _pinned(self) -> bytes | None:
        body = self.table.jwks.encode() if self.table.jwks else None
        key = "jwks"
        if self.table.jwks_file:
            key = "jwks_file"
            try:
                body = Path(self.table.jwks_file).read_bytes()
            except OSError as error:
                self._problem(key, f"can't be read ({error.strerror})")
                return b""
        if body is not None:
            try:
                parsed = parse_jwks(body)
                if not parsed.keys:
                    self._problem(key, "has no usable key" + "".join(f"; {reason}" for reason in parsed.skipped))
            except BadKey as reason:
                self._problem(key, f"is no JWK set: {reason}")
        return body

    def _checks(self) -> tuple[ClaimCheck, ...]:
        checks: list[ClaimCheck] = []
        for check in (*self.entry.checks, *self.table.checks):
            if check.when is not None:
                wanted = (check.when.value,) if check.when.value is not None else None
                if self.values.get(check.when.parameter) != wanted:
                    continue
            values = check.values
            if isinstance(values, str):
                if values not in self.values:
                    continue  # the operator did not ask for it
                values = self.values[values]
            name = ".".join(check.claim)
            if check.kind in ("one_of", "none_of", "prefix") and not values:
                self._problem("checks", f"{name}: {check.kind} needs values")
            if check.token_types - TOKEN_TYPES.keys():
                self._problem("checks", f"{name}: token_types: expected some of {', '.join(TOKEN_TYPES)}")
            kinds = frozenset(TOKEN_TYPES.get(kind, "") for kind in check.token_types)
            made = ClaimCheck(check.claim, check.kind, frozenset(values), check.message, kinds, check.or_claim)
            checks.append(made)
        return tuple(checks)


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Put configured values into a template; what has none stays visible and fails to match anything."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)

"""The shipped providers (``catalogue/*.toml``): their tables, and the table that operators write."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from tokenmint.base.config_values import Seconds, Table, TextList, TextSet
from tokenmint.config.signals_table import SignalsTable
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_TOKEN, JWT, JWT_GRANT
from tokenmint.verification.provider import CheckKind

DOCUMENTATION: Final = "\n[documentation]\n"
"""The line of an entry's file where its rules end and its documentation begins (``config.examples``)."""
TOKEN_TYPES: Final = MappingProxyType(
    {"id_token": ID_TOKEN, "access_token": ACCESS_TOKEN, "jwt": JWT, "id_jag": ID_JAG, "jwt_grant": JWT_GRANT}
)


def _as_path(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _as_paths(value: Any) -> Any:
    return tuple(_as_path(item) for item in value) if isinstance(value, list) else value


ClaimPath = Annotated[tuple[str, ...], BeforeValidator(_as_path), Field(min_length=1)]
SubjectClaims = Annotated[tuple[ClaimPath, ...], BeforeValidator(_as_paths), Field(min_length=1)]


class IssuerTable(Table):
    """One exact issuer, and the claims that its tokens must carry."""

    issuer: str
    claims: dict[str, str] = Field(default_factory=dict)


class When(Table):
    """The condition of a check: a parameter has a value; without `is`, it has none."""

    parameter: str
    value: str | None = Field(alias="is", default=None)


class CheckTable(Table):
    """A condition on a claim. ``values`` are the accepted values, or the name of the parameter that lists them."""

    claim: ClaimPath
    or_claim: ClaimPath | None = None
    """The claim that is checked in tokens without `claim`."""
    kind: CheckKind
    values: str | TextList = ()
    message: str = ""
    when: When | None = None
    token_types: TextSet = frozenset()
    """The kinds of tokens for the check: `id_token`, `access_token`, `jwt`; empty: all."""


class Parameter(Table):
    """A key that operators set, or may set, to use a shipped entry."""

    help: str
    pattern: str
    agrees: str | None = None
    """A further pattern, with `{NAME}` for the values of other parameters, which this one contains or repeats."""
    required: bool = False
    list: bool = False
    default: str | None = None
    example: str | None = None
    """An example for the documentation and messages, if there is no default."""

    @model_validator(mode="after")
    def _has_an_example(self) -> "Parameter":
        if re.fullmatch(self.pattern, self.sample) is None:
            raise ValueError("example, or default, is required and has to match the pattern")
        return self

    @property
    def sample(self) -> str:
        """A value that the pattern accepts."""
        return self.example or self.default or ""


class CommonTable(Table):
    """The common keys of shipped entries and operators' tables."""

    algorithms: TextSet | None = None
    token_types: TextSet | None = None
    untyped_access_tokens: bool | None = None
    check_authorized_party: bool | None = None
    checks: Annotated[tuple[CheckTable, ...], BeforeValidator(_as_path)] = ()
    audience_claims: TextList | None = None
    subject_claims: SubjectClaims | None = None
    subject_claims_by_type: dict[str, SubjectClaims] | None = None
    subject_claims_instead: dict[str, SubjectClaims] | None = None
    numeric_subjects: Literal["refuse", "accept", "as_text"] | None = None
    iat_required: bool | None = None
    token_lifetime: Annotated[Seconds, Field(gt=0)] | None = None
    max_subject: Annotated[int, Field(ge=1, le=2048)] | None = None
    boolean_claims: TextSet | None = None
    single_use: bool | None = None
    condition: str | None = None
    claims: dict[str, str] | None = None
    jwks_url: str | None = None
    x509_url: str | None = None
    max_keys: Annotated[int, Field(ge=1, le=1000)] | None = None
    key_issuer: Literal["ignore", "match"] | None = None
    key_id_required: bool | None = None
    google_email: bool | None = None


class InCluster(Table):
    """The issuer and keys of the platform around this process, under a directory that the platform mounts."""

    directory: str
    """The directory with `ca.crt` and `token`; the token authenticates fetches, and its `iss` is the issuer."""
    jwks_url: str


class Entry(CommonTable):
    """A shipped entry."""

    title: str = "any OpenID provider"
    issuers: Annotated[tuple[IssuerTable, ...], BeforeValidator(_as_path)] = ()
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    other_issuers: TextList = ()
    """Patterns of issuers that are nobody else's, and that operators name in `issuer`."""
    expand: str | None = None
    """The list parameter whose every value makes its own issuers."""
    audiences_from: str | None = None
    """The parameter that is the only audience."""
    require_one_of: TextList = ()
    customer_claims: TextList = ()
    """For an issuer that signs for all customers: the claims that tell them apart, ids that nobody can choose."""
    default_audiences: str | None = None
    """A pattern of default audiences. Any tenant's tokens may have them, so none may be an audience of ours."""
    default_audiences_of_host: str | None = None
    """Such a pattern if the issuer has another host: `{host}` is that host, without ``issuer_prefix``."""
    issuer_prefix: str = ""
    nameless_act: bool = False
    """Whether an `act` without a `sub` is of no meaning here: it names no actor."""
    subject_claims_with: dict[str, Annotated[tuple[ClaimPath, ...], BeforeValidator(_as_paths)]] = Field(
        default_factory=dict
    )
    """The claims that name the principal if a parameter has a value."""
    trust_domain_from: str | None = None
    """The parameter that is the SPIFFE trust domain."""
    signals: SignalsTable | None = None
    """The forms of its signals, for an operator that accepts them."""
    in_cluster: InCluster | None = None
    """The source of issuer and keys if the operator names neither."""


class ProviderTable(CommonTable):
    """The table `[providers.NAME]`, without the parameters of its entry."""

    use: str | None = None
    issuer: str | TextList | None = None
    where: dict[str, str] = Field(default_factory=dict)
    audiences: TextSet = frozenset()
    authorized_parties: TextSet = frozenset()
    discovery_url: str | None = None
    jwks: str | None = None
    jwks_file: str | None = None
    ca_file: str | None = None
    bearer_token_file: str | None = None
    """A token that authenticates the fetches of its keys."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers of these fetches."""
    header_files: dict[str, str] = Field(default_factory=dict)
    """The same, for secret values: the files that hold them."""
    proxy: str | None = None
    """The proxy of these fetches, or `none`."""
    allow_private: bool = False
    timeout: Annotated[Seconds, Field(gt=0, le=60)] = 5.0
    skew: Annotated[Seconds, Field(le=60)] = 30.0
    max_age: Seconds | None = None
    check_revoked: bool = False
    service_account_file: str | None = None
    signals: SignalsTable | None = None
    """Its signals about accounts; None: they are not accepted."""


FOLDER: Final = resources.files("tokenmint.config") / "catalogue"
"""The folder of the shipped entries."""


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return the shipped entries by name."""
    return read_catalogue(FOLDER)


def read_catalogue(folder: Traversable) -> Mapping[str, Entry]:
    """Return the entries of a folder by name: one for each file, `NAME.toml`, without its documentation."""
    return MappingProxyType(
        {name: _entry(name, text.partition(DOCUMENTATION)[0]) for name, text in entry_files(folder).items()}
    )


def _entry(name: str, rules: str) -> Entry:
    try:
        return Entry.model_validate(tomllib.loads(rules))
    except ValueError as error:
        raise ValueError(f"{name}.toml: {error}") from error


def entry_files(folder: Traversable) -> dict[str, str]:
    """Return the texts of a folder's entries by name."""
    return {
        file.name.removesuffix(".toml"): file.read_text()
        for file in sorted(folder.iterdir(), key=lambda file: file.name.removesuffix(".toml"))
        if file.name.endswith(".toml")
    }

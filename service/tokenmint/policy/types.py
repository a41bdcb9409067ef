"""Who may have what: the configured audiences and clients, a request, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tokenmint.assertion.types import ID_TOKEN, JsonValue
from tokenmint.secret import Secret


class OnMissingProfile(StrEnum):
    """What an audience does for an identity that has no profile."""

    DENY = "deny"
    WITHOUT = "without"
    """Mint without enrichment, for the principal that `create` would have created."""
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Audience:
    """A service that tokens are minted for, and the rules for them."""

    name: str
    """The `aud` of its tokens."""
    clients: frozenset[str]
    """The ids of the clients that may have tokens for it."""
    providers: frozenset[str]
    """The providers whose tokens are exchanged for it."""
    scopes: frozenset[str] = frozenset()
    """What may be granted."""
    lifetime: int = 600
    """Seconds that a token lives unless the request says otherwise."""
    max_lifetime: int = 3600
    """Seconds that a token may live at most."""
    algorithm: str = "ES256"
    header_type: str = "at+jwt"
    """The header's `typ`: `at+jwt` (RFC 9068) or `JWT`."""
    claims: tuple[tuple[str, str], ...] = ()
    """Claim mapping, (name in the minted token, where its value comes from), e.g. ("email", "assertion.email");
    a source that begins with `=` is a CEL expression."""
    on_missing_profile: OnMissingProfile = OnMissingProfile.DENY
    single_use: bool = False
    """Whether a subject token may be exchanged only once for this audience, whatever its provider says."""
    max_token_bytes: int = 8192
    public_clients: bool = False
    """Whether clients without a credential may have its tokens."""
    condition: str | None = None
    """A CEL expression that has to be true; see ``policy/conditions.py``."""


@dataclass(frozen=True, slots=True)
class Client:
    """A caller, as configured."""

    client_id: str
    secret_hashes: tuple[str, ...] = ()
    """SHA-256 in hex of each secret that is valid now."""
    scopes: Mapping[str, frozenset[str]] | None = None
    """For each audience the scopes that this client may have; None: all that the audience has."""
    rate: tuple[float, int] | None = None
    """Calls per second and burst, where they are not those of every client."""
    certificates: frozenset[str] = frozenset()
    """The certificate identities that prove it: `spiffe://…`, `dns:…`, `subject:…`."""
    workloads: frozenset[tuple[str, str]] = frozenset()
    """The workloads, (provider, subject), whose tokens prove it."""
    public: bool = False
    """Whether it has no credential: what everybody can be."""
    anonymous: bool = False
    """Set only by `serve --dev` for callers without credentials: may have every audience."""


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """One exchange as asked for, validated in form and not believed in anything."""

    subject_token: Secret
    audience: str
    subject_token_type: str = ID_TOKEN
    scopes: tuple[str, ...] = ()
    lifetime: int | None = None
    requested_token_type: str | None = None
    nonce: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The decision: exactly what is to be minted. Only ``policy/grant.py`` makes one."""

    principal: str
    audience: str
    client_id: str
    scopes: tuple[str, ...]
    token_type: str
    """What is minted, a URN of RFC 8693 section 3."""
    algorithm: str
    header_type: str
    claims: Mapping[str, JsonValue]
    """Mapped claims; never a reserved name."""
    issued_at: int
    """Whole seconds since the epoch: `iat` and `nbf`."""
    expires_at: int
    max_token_bytes: int

"""Who may have what: the configured audiences and clients, a request, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from tokenmint.model.format import FormatTraits
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, JsonValue, VerifiedToken

Bound = Literal["dpop", "mtls", "any"]
MAX_LIFETIME: Final = 24 * 3600
"""Seconds that the tokens of an audience may live at most."""


class OnMissingProfile(StrEnum):
    """What an audience does for an identity that has no profile."""

    DENY = "deny"
    WITHOUT = "without"
    """Mint without enrichment, for the principal that `create` would have created."""
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Binding:
    """A key that a token is bound to, or that somebody holds (RFC 7800 `cnf`). Empty: none."""

    jkt: str | None = None
    """The RFC 7638 SHA-256 thumbprint of a DPoP key (RFC 9449 section 6.1)."""
    x5t_s256: str | None = None
    """The SHA-256 thumbprint of a client certificate, base64url (RFC 8705 section 3.1)."""

    def __bool__(self) -> bool:
        return self.jkt is not None or self.x5t_s256 is not None

    def covers(self, other: "Binding") -> bool:
        """Tell whether who holds these keys holds all those of ``other``."""
        return other.jkt in (None, self.jkt) and other.x5t_s256 in (None, self.x5t_s256)

    def claim(self) -> dict[str, JsonValue]:
        """Return the value of a `cnf` claim."""
        members = {"jkt": self.jkt, "x5t#S256": self.x5t_s256}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ActorRules:
    """Who may act for a subject at an audience (RFC 8693 section 1.1)."""

    providers: frozenset[str] = frozenset()
    """The providers whose tokens prove an actor."""
    audiences: frozenset[str] = frozenset()
    """The audiences whose tokens, of our own, prove an actor."""
    impersonation: bool = False
    """Whether the minted token does not say who acts (`act`)."""
    without_may_act: bool = False
    """Whether an actor may act for a subject whose token names nobody who may (`may_act`)."""


@dataclass(frozen=True, slots=True)
class Audience:
    """A service that tokens are minted for, and the rules for them."""

    name: str
    """The `aud` of its tokens."""
    clients: frozenset[str]
    """The ids of the clients that may have tokens for it."""
    providers: frozenset[str]
    """The providers whose tokens are exchanged for it."""
    format: FormatTraits
    """The format of its tokens."""
    scopes: frozenset[str] = frozenset()
    """What may be granted."""
    lifetime: int = 600
    """Seconds that a token lives unless the request says otherwise."""
    max_lifetime: int = 3600
    """Seconds that a token may live at most."""
    algorithm: str = "ES256"
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
    reexchange_from: frozenset[str] = frozenset()
    """The audiences whose tokens, of our own, are exchanged for one for this audience."""
    bound: Bound | None = None
    """The kind of key that its tokens have to be bound to; None: to none, or to one that the request names."""
    actors: ActorRules | None = None
    """None: nobody acts for anybody."""
    reuse_window: int = 0
    """Seconds within which the same grant is answered with the same token; 0: each token is a new one."""


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
    serves: frozenset[str] = frozenset()
    """The audiences that it is: whose tokens it receives, may ask about, and may exchange on the way on."""
    public: bool = False
    """Whether it has no credential: what everybody can be."""
    anonymous: bool = False
    """Set only by `serve --dev` for callers without credentials: may have every audience."""


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """One exchange as asked for, validated in form and not believed in anything but ``possession``."""

    subject_token: Secret
    audience: str
    subject_token_type: str = ID_TOKEN
    scopes: tuple[str, ...] = ()
    lifetime: int | None = None
    requested_token_type: str | None = None
    nonce: str | None = None
    request_id: str | None = None
    actor_token: Secret | None = None
    """Proves who acts for the subject (RFC 8693 section 2.1)."""
    actor_token_type: str | None = None
    binding: Binding = Binding()
    """What the minted token shall be bound to, as asked for: naming a key proves nothing, and binds only the asker."""
    possession: Binding = Binding()
    """The keys that the caller has proved to hold: a DPoP proof that was checked, the certificate of the connection."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who was proved to act for the subject."""

    principal: str
    verified: VerifiedToken


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
    format: FormatTraits
    claims: Mapping[str, JsonValue]
    """Mapped claims; never a reserved name."""
    issued_at: int
    """Whole seconds since the epoch: `iat` and `nbf`."""
    expires_at: int
    max_token_bytes: int
    uid: str = ""
    """How the receiver knows the principal, where its format has a name of its own for it (`FormatTraits.uid`)."""
    binding: Binding = Binding()
    """What the token is bound to: its `cnf`."""
    act: Mapping[str, JsonValue] | None = None
    """Who acts for the principal (RFC 8693 section 4.1)."""
    actor: str = ""
    """Who asked for it in the principal's place, for the record: also where the token does not say it."""
    ancestors: tuple[str, ...] = ()
    """The ids of the tokens that this one descends from, by exchange, the oldest first."""
    profile_etag: str = ""
    """The version of the profile that this was decided on; empty for one that is not stored."""
    reuse_window: int = 0
    """As the audience's."""

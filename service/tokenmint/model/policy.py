"""Policy as values: the configured audiences and clients, a request, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from tokenmint.model.format import FormatTraits
from tokenmint.model.profile import Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, JsonValue, VerifiedToken

JsonObject = Mapping[str, JsonValue]

Bound = Literal["dpop", "mtls", "any"]
MAX_LIFETIME: Final = 24 * 3600
"""The longest lifetime of tokens of any audience, in seconds."""


class OnMissingProfile(StrEnum):
    """An audience's rule for an identity without a profile."""

    DENY = "deny"
    WITHOUT = "without"
    """Mint without enrichment, for the principal that `create` would have created."""
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Binding:
    """A key that a token is bound to, or that a caller holds (RFC 7800 `cnf`). Empty if there is none."""

    jkt: str | None = None
    """The RFC 7638 SHA-256 thumbprint of a DPoP key (RFC 9449 section 6.1)."""
    x5t_s256: str | None = None
    """The SHA-256 thumbprint of a client certificate, base64url (RFC 8705 section 3.1)."""

    def __bool__(self) -> bool:
        return self.jkt is not None or self.x5t_s256 is not None

    def covers(self, other: "Binding") -> bool:
        """Return whether these keys include all those of ``other``."""
        return other.jkt in (None, self.jkt) and other.x5t_s256 in (None, self.x5t_s256)

    def claim(self) -> dict[str, JsonValue]:
        """Return the value of a `cnf` claim."""
        members = {"jkt": self.jkt, "x5t#S256": self.x5t_s256}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ActorRules:
    """The rules for actors at an audience (RFC 8693 section 1.1)."""

    providers: frozenset[str] = frozenset()
    """The providers whose tokens may identify an actor."""
    audiences: frozenset[str] = frozenset()
    """The audiences whose issued tokens may identify an actor."""
    impersonation: bool = False
    """Whether the minted token omits the actor (`act`)."""
    without_may_act: bool = False
    """Whether an actor may act for a subject whose token has no `may_act`."""
    intersection: bool = False
    """Whether an actor gets at most the scopes that the subject has and that the actor may have."""
    subject_scopes: str = "profile.claims.scopes"
    """The source (as of a claim mapping) of the scopes that the subject has, for ``intersection``."""
    actor_scopes: str = "actor.profile.claims.scopes"
    """The source of the scopes that the actor may have, for ``intersection`` without ``scopes_by_actor``."""
    scopes_by_actor: Mapping[str, frozenset[str]] | None = None
    """The scopes that each actor may have, by its principal; others may have none. None: it depends on no table."""


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
    """The scopes that may be granted."""
    resources: frozenset[str] = frozenset()
    """The URIs, in normal form (``base/uri.py``), by which a `resource` names it beside its own name."""
    drops_foreign_scopes: bool = False
    """Whether requested scopes that it does not have are left out; if not, they are refused."""
    lifetime: int = 600
    """The lifetime of a token in seconds, unless the request names another."""
    max_lifetime: int = 3600
    """The longest lifetime of a token in seconds."""
    algorithm: str = "ES256"
    claims: tuple[tuple[str, str], ...] = ()
    """Claim mapping: (name in the minted token, source of its value), e.g. ("email", "assertion.email"). A source that
    begins with `=` is a CEL expression."""
    on_missing_profile: OnMissingProfile = OnMissingProfile.DENY
    single_use: bool = False
    """Whether a subject token may be exchanged only once for this audience, even if its provider allows more."""
    max_token_bytes: int = 8192
    public_clients: bool = False
    """Whether clients without a credential may get its tokens."""
    condition: str | None = None
    """A CEL expression that has to be true; see ``policy/conditions.py``."""
    reexchange_from: frozenset[str] = frozenset()
    """The audiences whose issued tokens may be exchanged for a token of this audience."""
    bound: Bound | None = None
    """The kind of key that its tokens must be bound to; None: binding is optional."""
    actors: ActorRules | None = None
    """None: this audience does not accept actors."""
    reuse_window: int = 0
    """Seconds within which the same grant gets the same token again; 0: each token is new."""
    gateway_cache: int = 0
    """Seconds for which a gateway may keep an answer with its tokens; 0: not at all."""


@dataclass(frozen=True, slots=True)
class Client:
    """A caller, as configured."""

    client_id: str
    secret_hashes: tuple[str, ...] = ()
    """SHA-256 in hex of each secret that is valid now."""
    scopes: Mapping[str, frozenset[str]] | None = None
    """The scopes that this client may have, by audience; None: all scopes of the audience."""
    rate: tuple[float, int] | None = None
    """Calls per second and burst, if they differ from those of all clients."""
    certificates: frozenset[str] = frozenset()
    """The certificate identities that authenticate it: `spiffe://…`, `dns:…`, `subject:…`."""
    workloads: frozenset[tuple[str, str]] = frozenset()
    """The workloads, (provider, subject), whose tokens authenticate it."""
    serves: frozenset[str] = frozenset()
    """The audiences that it serves: it receives their tokens, and may introspect and exchange them."""
    public: bool = False
    """Whether it has no credential, so that any caller can use its id."""
    audience: str = ""
    """The audience of its requests that name none; empty: they have to name one."""
    subject_token_type: str = ""
    """The type of the subject token in its requests over HTTP that name none; empty: they have to name one."""
    anonymous: bool = False
    """Set only by `serve --dev` for callers without credentials; such a client may have every audience."""


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """One exchange request, validated in form. Only ``possession`` is verified."""

    subject_token: Secret
    audience: str
    """Empty if only ``resources`` or the client's default name it."""
    subject_token_type: str = ID_TOKEN
    """Empty if the client's default counts."""
    scopes: tuple[str, ...] = ()
    lifetime: int | None = None
    requested_token_type: str | None = None
    nonce: str | None = None
    request_id: str | None = None
    actor_token: Secret | None = None
    """The token of the party that acts for the subject (RFC 8693 section 2.1)."""
    actor_token_type: str | None = None
    binding: Binding = Binding()
    """The requested binding of the minted token. It proves no possession, and restricts only the caller itself."""
    possession: Binding = Binding()
    """The keys that the caller has proved to hold: by a verified DPoP proof, or by the connection's certificate."""
    resources: tuple[str, ...] = ()
    """The URIs that name the target too (RFC 8707); empty once ``policy/targets.py`` has found the audience."""
    named: tuple[str, ...] = ()
    """Those URIs, once it has found the audience."""
    request_context: JsonObject | None = None
    """The caller's account of the circumstances of a transaction; nothing in it is verified."""
    request_details: JsonObject | None = None
    """The caller's account of the transaction itself; nothing in it is verified."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The party that acts for the subject."""

    principal: str
    """Empty if the subject token names it in a way that leads to no principal."""
    verified: VerifiedToken | None = None
    """Its actor token; None if only the subject token's `act` names it."""
    profile: Profile | None = None
    client_id: str = ""
    """The client that its actor token was issued to, if tokenmint issued it."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """The part of a grant that only transaction tokens have."""

    txn: str = ""
    """The id of the transaction that goes on; empty: it begins, and minting draws the id."""
    tctx: JsonObject = field(default_factory=dict)
    """The transaction context."""
    rctx: JsonObject = field(default_factory=dict)
    """The request context."""
    earlier: tuple[str, ...] = ()
    """The workloads that requested the earlier tokens of the transaction, the first one first."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The decision: the exact content of the token to mint. Only ``policy/grant.py`` makes one."""

    principal: str
    audience: str
    client_id: str
    scopes: tuple[str, ...]
    token_type: str
    """The type of the token, a URN of RFC 8693 section 3."""
    algorithm: str
    format: FormatTraits
    claims: Mapping[str, JsonValue]
    """Mapped claims; never a reserved name."""
    issued_at: int
    """Whole seconds since the epoch: `iat` and `nbf`."""
    expires_at: int
    max_token_bytes: int
    uid: str = ""
    """The receiver's user id, if its format has one (`FormatTraits.uid`)."""
    binding: Binding = Binding()
    """The key that the token is bound to: its `cnf`."""
    act: Mapping[str, JsonValue] | None = None
    """The `act` claim (RFC 8693 section 4.1)."""
    actor: str = ""
    """The actor for the audit record, even if the token omits it."""
    ancestors: tuple[str, ...] = ()
    """The ids of the token's ancestors, the oldest first."""
    profile_etag: str = ""
    """The version of the profile behind the decision; empty if the profile is not stored."""
    reuse_window: int = 0
    """The audience's."""
    resources: tuple[str, ...] = ()
    """The URIs that the request named, for formats that tell them to the receiver."""
    transaction: Transaction | None = None
    """None: it is no transaction token."""

"""An issued token that comes back to this service."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from tokenmint.model.policy import Binding
from tokenmint.model.tokens import ACCESS_TOKEN, TXN_TOKEN, JsonValue

LINEAGE: Final = "tm_lineage"
"""The claim with the ids of a token's ancestors: the tokens that it was exchanged from."""
REQUESTERS: Final = "tm_call_chain"
"""The claim of a transaction token with the workloads that requested the tokens before it, the first one first."""
MAX_DEPTH: Final = 4
"""The longest chain of exchanges of issued tokens."""


MAX_ACTORS: Final = 4
"""The longest chain of actors in a token."""


class ActorName(NamedTuple):
    """The name of an actor in an `act`."""

    issuer: str
    """Empty for a principal of this service."""
    subject: str


class Revocable(NamedTuple):
    """The names by which a token can be revoked, and its time of issue."""

    token_ids: tuple[str, ...]
    """Its id, and those of its ancestors."""
    principal: str
    client_id: str
    audience: str
    issued_at: int


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An issued token, verified: minted here, valid now, not revoked.

    Only ``issued/verifier.py`` makes one. It implies nothing about the principal, who may be disabled by now.
    """

    token_id: str
    """Its `jti`."""
    principal: str
    audience: str
    client_id: str
    """The client that it was issued to."""
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int
    """Unix seconds; of a sliding reference token, the current end."""
    binding: Binding
    ancestors: tuple[str, ...]
    claims: Mapping[str, JsonValue]
    """All of its claims, as verifiers see them."""
    fingerprint: str
    """SHA-256 of the whole token in hex."""
    is_reference: bool = False
    """Whether it is a reference token, whose claims are in the store."""
    kind: str = ACCESS_TOKEN
    """The kind of token, a URN of RFC 8693 section 3: an access token, or a transaction token."""

    @property
    def revocable(self) -> Revocable:
        """The names by which it can be revoked."""
        ids = (self.token_id, *self.ancestors)
        return Revocable(ids, self.principal, self.client_id, self.audience, self.issued_at)

    @property
    def actors(self) -> tuple[ActorName, ...]:
        """All actors of its chain, the current one first."""
        return actors_in(self.claims)


def actors_in(claims: Mapping[str, JsonValue], issuer: str | None = None) -> tuple[ActorName, ...]:
    """Return the actors in the `act` of a token, the current one first (RFC 8693 section 4.1).

    ``issuer``: the provider's, which is that of actors without their own; None for an issued token. An `act` that is
    not valid has no actors, and neither has one of a provider that names an actor without any issuer: it would be a
    principal of this service. ``policy/delegation.py`` refuses both.
    """
    found: list[ActorName] = []
    act = claims.get("act")
    while isinstance(act, dict) and len(found) <= MAX_ACTORS:
        subject, named = act.get("sub"), act.get("iss", issuer or "")
        if not isinstance(subject, str) or not isinstance(named, str) or (issuer is not None and not named):
            return ()
        found.append(ActorName(named, subject))
        act = act.get("act")
    return tuple(found)


def issued_token(
    claims: Mapping[str, JsonValue], fingerprint: str, expires_at: int | None = None, *, kind: str = ACCESS_TOKEN
) -> IssuedToken:
    """Parse the claims of an issued token; of a reference token, with its current expiry.

    A transaction token names the client that it was issued to in `req_wl`.

    Raises:
        ValueError: the claims do not have the form that this service writes.
    """

    def text(name: str) -> str:
        value = claims.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} is not a text")
        return value

    def second(name: str) -> int:
        value = claims.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} is not a time")  # noqa: TRY004  # one kind of error
        return value

    if kind == TXN_TOKEN:
        text("txn")
    cnf, ancestors = claims.get("cnf", {}), claims.get(LINEAGE, [])
    if not isinstance(cnf, dict) or ("cnf" in claims and not cnf) or cnf.keys() - {"jkt", "x5t#S256"}:
        raise ValueError("cnf does not have the form of an issued token")
    if (
        not isinstance(ancestors, list)
        or len(ancestors) > MAX_DEPTH
        or not all(isinstance(one, str) for one in ancestors)
    ):
        raise ValueError(f"{LINEAGE} does not have the form of an issued token")
    return IssuedToken(
        token_id=text("jti"),
        principal=text("sub"),
        audience=text("aud"),
        client_id=text("req_wl" if kind == TXN_TOKEN else "client_id"),
        scopes=tuple(text("scope").split(" ")) if "scope" in claims else (),
        issued_at=second("iat"),
        expires_at=min(second("exp"), expires_at) if expires_at is not None else second("exp"),
        binding=Binding(_member(cnf, "jkt"), _member(cnf, "x5t#S256")),
        ancestors=tuple(str(one) for one in ancestors),
        claims=MappingProxyType(dict(claims)),
        fingerprint=fingerprint,
        is_reference=expires_at is not None,
        kind=kind,
    )


def _member(cnf: Mapping[str, JsonValue], name: str) -> str | None:
    value = cnf.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"cnf has a {name} that is not a text")
    return value

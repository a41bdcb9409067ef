"""The values that go into a client and come out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict


@dataclass(frozen=True, slots=True)
class Token:
    """A token that tokenmint minted."""

    value: str = field(repr=False)
    """The token itself. A secret."""
    expires_at: float
    """Unix seconds."""
    subject: str
    """The principal that it is about, its ``sub``."""
    scopes: tuple[str, ...]
    token_id: str
    """Its ``jti``."""
    key_id: str
    """The ``kid`` of the key that signed it."""
    token_type: str = "Bearer"  # noqa: S105  # RFC 8693 section 2.2.1
    issued_token_type: str = ""
    """A URN of RFC 8693 section 3."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of the artefacts of a batch."""

    audience: str
    scopes: tuple[str, ...] = ()
    lifetime: float | None = None
    """Whole seconds; None: as the audience is configured."""
    resources: tuple[str, ...] = ()
    """URIs that name the audience too, or instead of it (RFC 8707)."""


class ExchangeOptions(TypedDict, total=False):
    """Further fields of an exchange, each as the audience and the service are configured where it is left out."""

    resources: Sequence[str]
    """URIs that name the audience too, or instead of it where it is ``""`` (RFC 8707)."""
    lifetime: float | None
    """Whole seconds."""
    subject_token_type: str
    """A URN of RFC 8693 section 3; default: an ID token."""
    requested_token_type: str
    """Likewise; default: the audience's."""
    nonce: str
    """The ``nonce`` that the subject token has to have; default: not compared."""
    actor_token: str
    """A token of the party that acts for the subject."""
    actor_token_type: str
    """Its kind, required with it."""
    dpop_jkt: str
    """The thumbprint of the key that the token shall be bound to (RFC 9449)."""
    request_context: Mapping[str, Any]
    """The circumstances of a transaction, for a transaction token's ``rctx``: at most 4096 bytes as JSON."""
    request_details: Mapping[str, Any]
    """The transaction itself, likewise; for its ``tctx``."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The content of a verified token. Only a verifier makes one."""

    subject: str
    client_id: str
    """The client that asked for the token, or ``""``."""
    scopes: frozenset[str]
    expires_at: float
    """Unix seconds."""
    claims: Mapping[str, Any]
    """All of its claims."""
    token_id: str = ""
    """Its ``jti``, or ``""``."""
    issued_at: float = 0.0
    """Unix seconds."""
    actor: Mapping[str, Any] | None = None
    """The party that acts for the subject, its ``act`` (RFC 8693 section 4.1); earlier ones are nested in it."""
    confirmation: Mapping[str, Any] | None = None
    """The key that the token is bound to, its ``cnf`` (RFC 7800)."""

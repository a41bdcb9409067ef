"""Who calls: clients on the data plane, operators on theirs. Proved by generated secrets, of which hashes are kept."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tokenmint.errors import CallerUnauthenticated
from tokenmint.policy.types import Client
from tokenmint.secret import Secret

SECRET_PREFIX: Final = "tms_"  # noqa: S105  # lets scanners find one that was left somewhere
_NOBODY: Final = (hashlib.sha256(b"").hexdigest(),)


class Role(StrEnum):
    """What an operator may do. None includes another."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SECURITY = "security"


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who runs the service."""

    operator_id: str
    secret_hashes: tuple[str, ...]
    """SHA-256 in hex of each secret that is valid now."""
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Callers:
    """Everybody who is known.

    The secrets are 256 random bits, so a plain hash keeps them, and a slow one on every call would be a way to
    exhaust the service.
    """

    clients: Mapping[str, Client]
    operators: Mapping[str, Operator]
    allow_anonymous: bool = False
    """Whether clients, never operators, may come without credentials (`serve --dev`)."""

    def client(self, client_id: str | None, secret: Secret | None) -> Client:
        """Prove a client. Raises ``CallerUnauthenticated``, the same whatever was wrong."""
        if client_id is None and secret is None and self.allow_anonymous:
            return Client("anonymous", anonymous=True)
        client = self.clients.get(client_id or "")
        if not _matches(secret, client.secret_hashes if client else _NOBODY) or client is None:
            raise CallerUnauthenticated(detail=f"client {client_id!r}" if client_id else "no credentials")
        return client

    def operator(self, operator_id: str | None, secret: Secret | None) -> Operator:
        """Prove an operator. Raises as :meth:`client`."""
        operator = self.operators.get(operator_id or "")
        if not _matches(secret, operator.secret_hashes if operator else _NOBODY) or operator is None:
            raise CallerUnauthenticated(detail=f"operator {operator_id!r}" if operator_id else "no credentials")
        return operator


def _matches(secret: Secret | None, hashes: tuple[str, ...]) -> bool:
    """Compare in a time that tells neither which of the hashes fits nor how much of it."""
    if not secret:
        return False
    presented = secret.fingerprint()
    matched = [hmac.compare_digest(presented, known) for known in hashes]
    return any(matched)

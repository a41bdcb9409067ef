"""Who calls: clients on the data plane, operators on theirs, and how each is proved.

- a generated secret, of which the configuration keeps the SHA-256;
- the certificate of a mutual TLS connection: a SPIFFE id, a DNS name or a subject;
- a client assertion that the client signed itself (RFC 7523 section 2.2), used once;
- a token of a workload's platform (Kubernetes, SPIFFE, a CI), proved like any subject token;
- nothing but its name, for public clients, where the audience says so.

Whatever is wrong, an unproved caller gets one and the same answer.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tokenmint.base.clock import Clock
from tokenmint.base.errors import CallerUnauthenticated, KeySetInvalid, KeySetUnavailable
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import TokenRejected, TokenReplayed
from tokenmint.model.policy import Binding, Client
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, JWT, VerifiedToken
from tokenmint.policy.delegation import bound_to, check_possession
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

SECRET_PREFIX: Final = "tms_"  # noqa: S105  # lets scanners find one that was left somewhere
MAX_ASSERTION_LIFETIME: Final = 300.0  # seconds that a client assertion may live
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
    certificates: frozenset[str] = frozenset()
    """The certificate identities that prove the operator."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a call brings to prove who makes it. Nothing is believed but the certificate, which TLS proved."""

    identifier: str | None = None
    secret: Secret | None = None
    assertion: Secret | None = None
    """A client assertion (RFC 7523)."""
    workload: Secret | None = None
    """A token of the workload's platform."""
    certificates: tuple[str, ...] = ()
    """The identities in the peer's certificate: `spiffe://…`, `dns:…`, `subject:…`."""
    certificate_sha256: str | None = None
    """The SHA-256 thumbprint of the peer's certificate, base64url (RFC 8705 section 3.1)."""


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

    def operator(self, credentials: Credentials) -> Operator:
        """Prove an operator by secret or certificate. Raises ``CallerUnauthenticated``, the same whatever was wrong."""
        if credentials.secret is None and credentials.certificates:
            named = [item for item in self.operators.values() if item.certificates & set(credentials.certificates)]
            if len(named) != 1 or credentials.identifier not in (None, named[0].operator_id):
                raise CallerUnauthenticated(detail="the certificate is no operator's")
            return named[0]
        operator = self.operators.get(credentials.identifier or "")
        if not matches(credentials.secret, operator.secret_hashes if operator else _NOBODY) or operator is None:
            raise CallerUnauthenticated(detail=_about("operator", credentials.identifier))
        for other in self.operators.values():
            if other.operator_id != operator.operator_id and other.certificates & set(credentials.certificates):
                raise CallerUnauthenticated(detail=f"the certificate is that of {other.operator_id!r}")
        return operator


class ClientAuthenticator:
    """Proves clients.

    Args:
        callers: everybody who is known.
        assertions: verifies client assertions; its providers are the clients that have keys, by their id.
        workloads: verifies workload tokens: the verifier of subject tokens.
        replay: remembers which assertions were used.
        clock: the time.
        admits: tells whether the condition of a workload token's provider holds for a client.
    """

    def __init__(
        self,
        callers: Callers,
        assertions: Verifier,
        workloads: Verifier,
        replay: ReplayGuard,
        clock: Clock,
        *,
        admits: Callable[[VerifiedToken, Client], bool],
    ) -> None:
        self.callers = callers
        self.assertions = assertions
        self._workloads = workloads
        self._replay = replay
        self._clock = clock
        self._admits = admits

    async def client(self, credentials: Credentials) -> Client:
        """Prove a client by the one credential that it presents.

        Raises:
            CallerUnauthenticated: the same whatever was wrong.
            StoreUnavailable: an assertion, or a workload token that may be used once, can't be claimed.
        """
        if [credentials.secret, credentials.assertion, credentials.workload].count(None) < 2:
            raise CallerUnauthenticated(detail="more than one credential")
        if credentials.secret is not None:
            client = self._by_secret(credentials)
        elif credentials.assertion is not None:
            client = await self._by_assertion(credentials.assertion)
        elif credentials.workload is not None:
            client = await self._by_workload(credentials.workload, credentials.certificate_sha256)
        else:
            client = self._by_certificate(credentials) or self._by_name(credentials)
        if credentials.identifier not in (None, client.client_id):
            raise CallerUnauthenticated(detail=_about("client", credentials.identifier))
        self._check_certificate(client, credentials)
        return client

    def _by_secret(self, credentials: Credentials) -> Client:
        client = self.callers.clients.get(credentials.identifier or "")
        if not matches(credentials.secret, client.secret_hashes if client else _NOBODY) or client is None:
            raise CallerUnauthenticated(detail=_about("client", credentials.identifier))
        return client

    async def _by_assertion(self, assertion: Secret) -> Client:
        now = self._clock.now()
        try:
            proved = await self.assertions.verify(assertion, JWT, nonce=None, now=now)
            client = self.callers.clients.get(proved.provider)
            if client is None or proved.subject != proved.provider:
                raise CallerUnauthenticated(detail="the assertion's sub is not its iss")
            if not isinstance(proved.claims.get("jti"), str):
                raise CallerUnauthenticated(detail="the assertion has no jti")
            if proved.expires_at - now > MAX_ASSERTION_LIFETIME + self.assertions.providers[proved.provider].skew:
                raise CallerUnauthenticated(detail=f"the assertion lives longer than {MAX_ASSERTION_LIFETIME:.0f} s")
            await self._replay.consume(proved, client.client_id, None, now=now)
        except (TokenRejected, KeySetUnavailable, KeySetInvalid) as error:
            raise CallerUnauthenticated(detail=f"client assertion: {error.reason} {error.detail}") from None
        return client

    async def _by_workload(self, token: Secret, certificate_sha256: str | None) -> Client:
        now = self._clock.now()
        try:
            proved = await self._workloads.verify(token, ID_TOKEN, nonce=None, now=now)
            check_possession(Binding(x5t_s256=certificate_sha256), bound_to(proved))
        except (TokenRejected, KeySetUnavailable, KeySetInvalid) as error:
            raise CallerUnauthenticated(detail=f"workload token: {error.reason} {error.detail}") from None
        name = (proved.provider, proved.subject)
        named = [client for client in self.callers.clients.values() if name in client.workloads]
        if len(named) != 1:
            raise CallerUnauthenticated(
                detail=f"the workload {quoted(proved.subject, LONG)} of {proved.provider} is no client"
            )
        if not self._admits(proved, named[0]):
            raise CallerUnauthenticated(detail=f"the condition of providers.{proved.provider} does not hold")
        if proved.single_use:
            try:
                await self._replay.consume(proved, named[0].client_id, None, now=now)
            except TokenReplayed:
                raise CallerUnauthenticated(detail=f"workload token: {TokenReplayed.reason}") from None
        return named[0]

    def _by_certificate(self, credentials: Credentials) -> Client | None:
        if not credentials.certificates:
            return None
        named = [item for item in self.callers.clients.values() if item.certificates & set(credentials.certificates)]
        if len(named) > 1:
            raise CallerUnauthenticated(
                detail=f"the certificate of {quoted(credentials.certificates, LONG)} is several clients'"
            )
        return named[0] if named else None

    def _by_name(self, credentials: Credentials) -> Client:
        if credentials.identifier is None and self.callers.allow_anonymous:
            return Client("anonymous", anonymous=True)
        client = self.callers.clients.get(credentials.identifier or "")
        if client is None or not client.public:
            certificate = (
                f", certificate of {quoted(credentials.certificates, LONG)}" if credentials.certificates else ""
            )
            raise CallerUnauthenticated(detail=_about("client", credentials.identifier) + certificate)
        return client

    def _check_certificate(self, client: Client, credentials: Credentials) -> None:
        """Refuse one client's credential over a connection with another client's certificate."""
        if not credentials.certificates:
            return
        for other in self.callers.clients.values():
            if other.client_id != client.client_id and other.certificates & set(credentials.certificates):
                raise CallerUnauthenticated(detail=f"the certificate is that of {other.client_id!r}")


def matches(secret: Secret | None, hashes: tuple[str, ...]) -> bool:
    """Tell whether a secret has one of the hashes, in a time that tells neither which fits nor how much of it."""
    if not secret:
        return False
    digest = secret.fingerprint()
    matched = [hmac.compare_digest(digest, one) for one in hashes]
    return any(matched)


def _about(kind: str, identifier: str | None) -> str:
    return f"{kind} {quoted(identifier)}" if identifier else "no credentials"

"""Callers: clients of the data plane and operators, and their authentication.

- a generated secret; the configuration holds its SHA-256;
- the certificate of a mutual TLS connection: a SPIFFE id, a DNS name or a subject;
- a client assertion, signed by the client (RFC 7523 section 2.2), accepted once;
- a token of a workload's platform (Kubernetes, SPIFFE, a CI), verified like any subject token; over HTTP it is a client
  assertion too (RFC 7521 section 4.2);
- only the client id, for public clients, if the audience allows it.

The response to an unauthenticated caller tells only whether it sent a secret.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tokenmint.base.clock import Clock
from tokenmint.base.errors import CallerUnauthenticated, KeySetInvalid, KeySetUnavailable
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import TokenRejected, TokenReplayed
from tokenmint.model.drafts import RFC7523BIS, SPIFFE_CLIENT_AUTH
from tokenmint.model.policy import Binding, Client
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, JWT, VerifiedToken
from tokenmint.policy.delegation import bound_to, check_possession
from tokenmint.verification.jws import parse_compact
from tokenmint.verification.provider import Provider, audiences_of, kind_of_workloads
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

MAX_ASSERTION_LIFETIME: Final = 300.0  # seconds , the longest lifetime of a client assertion
NO_SECRET: Final = (hashlib.sha256(b"").hexdigest(),)
"""Hashes for an unknown caller: a comparison with them takes as long as with the hashes of a known caller."""


SIGN_IN: Final = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "auth_time"})
"""Claims of ID tokens that come from a user's sign-in (OpenID Connect Core sections 2 and 3.3.2.11;
FAPI 1.0 Advanced section 5.1.1)."""


class Role(StrEnum):
    """An operator's permissions. Roles do not include each other."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SECURITY = "security"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person or program that administers the service."""

    operator_id: str
    secret_hashes: tuple[str, ...]
    """SHA-256 in hex of each secret that is valid now."""
    roles: frozenset[Role]
    certificates: frozenset[str] = frozenset()
    """The certificate identities that authenticate the operator."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a call. Only the certificates are verified (by TLS)."""

    identifier: str | None = None
    secret: Secret | None = None
    assertion: Secret | None = None
    """A client assertion (RFC 7523)."""
    workload: Secret | None = None
    """A token of the workload's platform."""
    signed: Secret | None = None
    """A client assertion over HTTP, signed by the client or by its platform (RFC 7521 section 4.2)."""
    svid: Secret | None = None
    """A JWT-SVID as a client assertion over HTTP."""
    certificates: tuple[str, ...] = ()
    """The identities in the peer's certificate: `spiffe://…`, `dns:…`, `subject:…`."""
    certificate_sha256: str | None = None
    """The SHA-256 thumbprint of the peer's certificate, base64url (RFC 8705 section 3.1)."""


@dataclass(frozen=True, slots=True)
class Callers:
    """The configured callers.

    A secret has 256 random bits, so a plain hash protects it. A slow hash on every call would let callers exhaust the
    service.
    """

    clients: Mapping[str, Client]
    operators: Mapping[str, Operator]
    allow_anonymous: bool = False
    """Whether clients, but never operators, may call without credentials (`serve --dev`)."""

    def operator(self, credentials: Credentials) -> Operator:
        """Authenticate an operator by secret or certificate. Raises the same ``CallerUnauthenticated`` always."""
        if credentials.secret is None and credentials.certificates:
            named = [item for item in self.operators.values() if item.certificates & set(credentials.certificates)]
            if len(named) != 1 or credentials.identifier not in (None, named[0].operator_id):
                raise CallerUnauthenticated(detail="the certificate belongs to no operator")
            return named[0]
        operator = self.operators.get(credentials.identifier or "")
        if not matches(credentials.secret, operator.secret_hashes if operator else NO_SECRET) or operator is None:
            raise CallerUnauthenticated(detail=_wrong("operator", credentials, known=operator is not None))
        for other in self.operators.values():
            if other.operator_id != operator.operator_id and other.certificates & set(credentials.certificates):
                raise CallerUnauthenticated(detail=f"the certificate belongs to {other.operator_id!r}")
        return operator


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """The rules for client assertions beyond those of RFC 7523."""

    issuer: str = ""
    """The issuer of our tokens."""
    drafts: frozenset[str] = frozenset()
    """The drafts that are followed (``model/drafts.py``)."""


class ClientAuthenticator:
    """Authenticates clients.

    Args:
        callers: the configured callers.
        assertions: verifies client assertions; its providers are the clients with keys, by client id.
        workloads: verifies workload tokens; it is the verifier of subject tokens.
        replay: records the used assertions.
        clock: the time.
        admits: returns whether the condition of a workload token's provider holds for a client.
        rules: the rules for assertions.
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
        rules: AssertionRules = AssertionRules(),  # frozen
    ) -> None:
        self.callers = callers
        self.assertions = assertions
        self._workloads = workloads
        self._replay = replay
        self._clock = clock
        self._admits = admits
        self._rules = rules

    async def client(self, credentials: Credentials) -> Client:
        """Authenticate a client by its single credential.

        Raises:
            CallerUnauthenticated: the same for every cause.
            StoreUnavailable: the use of a single-use assertion or workload token can't be recorded.
        """
        one = credentials
        if [one.secret, one.assertion, one.workload, one.signed, one.svid].count(None) < 4:
            raise CallerUnauthenticated(detail="more than one credential")
        if credentials.secret is not None:
            client = self._by_secret(credentials)
        elif credentials.assertion is not None:
            client = await self._by_assertion(credentials.assertion)
        elif credentials.workload is not None:
            client, _ = await self._by_workload(credentials.workload, credentials.certificate_sha256)
        elif credentials.signed is not None:
            client = await self._by_signed(credentials.signed, credentials.certificate_sha256)
        elif credentials.svid is not None:
            client, name = await self._by_svid(credentials.svid, credentials.certificate_sha256)
            if credentials.identifier == name:  # the draft, section 3.1: a SPIFFE id is a client id
                credentials = replace(credentials, identifier=None)
        else:
            client = self._by_certificate(credentials) or self._by_name(credentials)
        if credentials.identifier not in (None, client.client_id):
            raise CallerUnauthenticated(detail=_about("client", credentials.identifier))
        self._check_certificate(client, credentials)
        return client

    def _by_secret(self, credentials: Credentials) -> Client:
        client = self.callers.clients.get(credentials.identifier or "")
        if not matches(credentials.secret, client.secret_hashes if client else NO_SECRET) or client is None:
            raise CallerUnauthenticated(detail=_wrong("client", credentials, known=client is not None))
        return client

    async def _by_assertion(self, assertion: Secret) -> Client:
        now = self._clock.now()
        try:
            verified = await self.assertions.verify(assertion, JWT, nonce=None, now=now)
            client = self.callers.clients.get(verified.provider)
            if client is None or verified.subject != verified.provider:
                raise CallerUnauthenticated(detail="the assertion's sub differs from its iss")
            if not isinstance(verified.claims.get("jti"), str):
                raise CallerUnauthenticated(detail="the assertion has no jti")
            if verified.expires_at - now > MAX_ASSERTION_LIFETIME + self.assertions.providers[verified.provider].skew:
                raise CallerUnauthenticated(detail=f"the assertion lives longer than {MAX_ASSERTION_LIFETIME:.0f} s")
            if RFC7523BIS in self._rules.drafts:
                self._check_audience(self.assertions.providers[verified.provider], verified, issuer_alone=True)
            await self._replay.consume(verified, client.client_id, None, now=now)
        except (TokenRejected, KeySetUnavailable, KeySetInvalid) as error:
            raise CallerUnauthenticated(detail=f"client assertion: {error.reason} {error.detail}") from None
        return client

    async def _by_signed(self, token: Secret, certificate_sha256: str | None) -> Client:
        """Authenticate by an assertion of the type jwt-bearer. Its issuer alone decides who has to have signed it."""
        try:
            issuer = parse_compact(token, self._workloads.max_token).issuer
        except TokenRejected as error:
            raise CallerUnauthenticated(detail=f"client assertion: {error.reason} {error.detail}") from None
        if issuer in self.assertions.providers:
            return await self._by_assertion(token)
        client, _ = await self._by_workload(token, certificate_sha256, of_svid=False)
        return client

    async def _by_svid(self, token: Secret, certificate_sha256: str | None) -> tuple[Client, str]:
        """Authenticate by an assertion of the type jwt-spiffe. Return as :meth:`_by_workload`."""
        if SPIFFE_CLIENT_AUTH not in self._rules.drafts:
            raise CallerUnauthenticated(detail=f"the assertion is a JWT-SVID: oauth.drafts lacks {SPIFFE_CLIENT_AUTH}")
        return await self._by_workload(token, certificate_sha256, of_svid=True)

    def _check_audience(self, provider: Provider, verified: VerifiedToken, *, issuer_alone: bool) -> None:
        """Refuse an assertion for several audiences: each of them could present it here.

        ``issuer_alone``: its audience has to be our issuer, so that no other server can have asked for it
        (draft-ietf-oauth-rfc7523bis).
        """
        audiences = audiences_of(provider, verified.claims)
        if len(audiences) != 1 or (issuer_alone and audiences != [self._rules.issuer]):
            wanted = f"{self._rules.issuer!r} alone" if issuer_alone else "one audience alone"
            raise CallerUnauthenticated(detail=f"aud {quoted(audiences, LONG)}, expected {wanted}")

    async def _by_workload(
        self, token: Secret, certificate_sha256: str | None, *, of_svid: bool | None = None
    ) -> tuple[Client, str]:
        """Authenticate by a platform's token. Return the client, and its name on the platform.

        ``of_svid``: whether an assertion has to be a JWT-SVID, or has to be none; None: it is no assertion.
        """
        now = self._clock.now()
        try:
            verified = await self._workloads.verify(token, kind_of_workloads, nonce=None, now=now)
            check_possession(Binding(x5t_s256=certificate_sha256), bound_to(verified))
        except (TokenRejected, KeySetUnavailable, KeySetInvalid) as error:
            raise CallerUnauthenticated(detail=f"workload token: {error.reason} {error.detail}") from None
        if "act" in verified.claims:  # RFC 8693 section 4.1: somebody else holds it, and no rule admits actors here
            raise CallerUnauthenticated(detail="the workload token is delegated (act): the workload has to use its own")
        provider = self._workloads.providers[verified.provider]
        if of_svid is not None and (provider.trust_domain is not None) is not of_svid:
            raise CallerUnauthenticated(detail="a JWT-SVID is sent as jwt-spiffe, and no other token is")
        if of_svid is not None or verified.token_type == ACCESS_TOKEN:
            self._check_own_token(verified)
        issuer_alone = of_svid is True or (of_svid is False and RFC7523BIS in self._rules.drafts)
        self._check_audience(provider, verified, issuer_alone=issuer_alone)
        name = (verified.provider, verified.subject)
        named = [client for client in self.callers.clients.values() if name in client.workloads]
        if len(named) != 1:
            raise CallerUnauthenticated(
                detail=f"the workload {quoted(verified.subject, LONG)} of {verified.provider} belongs to no client"
            )
        if not self._admits(verified, named[0]):
            raise CallerUnauthenticated(detail=f"the condition of providers.{verified.provider} does not hold")
        if verified.single_use:
            try:
                await self._replay.consume(verified, named[0].client_id, None, now=now)
            except TokenReplayed:
                raise CallerUnauthenticated(detail=f"workload token: {TokenReplayed.reason}") from None
        return named[0], verified.subject

    @staticmethod
    def _check_own_token(verified: VerifiedToken) -> None:
        """Refuse the token of a user's sign-in: its application is not the party that holds it (RFC 9068 2.2.1)."""
        if signed_in := sorted(SIGN_IN & verified.claims.keys()):
            raise CallerUnauthenticated(detail=f"the token is of a user's sign-in: it has {', '.join(signed_in)}")

    def _by_certificate(self, credentials: Credentials) -> Client | None:
        if not credentials.certificates:
            return None
        named = [item for item in self.callers.clients.values() if item.certificates & set(credentials.certificates)]
        if len(named) > 1:
            raise CallerUnauthenticated(
                detail=f"the certificate of {quoted(credentials.certificates, LONG)} belongs to several clients"
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
        """Refuse a client's credential over a connection with another client's certificate."""
        if not credentials.certificates:
            return
        for other in self.callers.clients.values():
            if other.client_id != client.client_id and other.certificates & set(credentials.certificates):
                raise CallerUnauthenticated(detail=f"the certificate belongs to {other.client_id!r}")


def matches(secret: Secret | None, hashes: tuple[str, ...]) -> bool:
    """Return whether a secret has one of the hashes, in a time that reveals nothing about a match."""
    if not secret:
        return False
    digest = secret.fingerprint()
    matched = [hmac.compare_digest(digest, one) for one in hashes]
    return any(matched)


def _about(kind: str, identifier: str | None) -> str:
    return f"{kind} {quoted(identifier)}" if identifier else "no credentials"


def _wrong(kind: str, credentials: Credentials, *, known: bool) -> str:
    """Return which of id and secret is wrong, for the log alone."""
    if not credentials.identifier or not credentials.secret:
        return _about(kind, credentials.identifier)
    return (
        f"the secret of the {_about(kind, credentials.identifier)} is wrong"
        if known
        else (f"there is no {_about(kind, credentials.identifier)}")
    )

"""Offline verification of tokens that tokenmint minted, for threads and for asyncio."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import jwt

from tokenmint_client.errors import KeySetUnavailable, TokenRejected
from tokenmint_client.fetching import FETCH_TIMEOUT, within_limit
from tokenmint_client.keyset import KeySet
from tokenmint_client.revocations import Revocations
from tokenmint_client.types import VerifiedToken

LEEWAY: Final = 30.0  # seconds that clocks may differ
MAX_TOKEN_BYTES: Final = 16 * 1024
JWKS_PATH: Final = "/.well-known/jwks.json"
ASYMMETRIC: Final = frozenset(
    {"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
)  # fmt: skip


class _Base:
    """The common part of both verifiers.

    Args:
        issuer: tokenmint's issuer, exactly as it is configured.
        audience: this service's audience, exactly as it is configured.
        algorithms: what tokens may be signed with; asymmetric ones only.
        token_type: the ``typ`` that a token's header has to have.
        jwks_url: where the keys are. Default: below the issuer.
        leeway: seconds that the clocks may differ.
        clock: returns Unix seconds.
        revocations: what was revoked, for the same audience. Default: a token is accepted until it expires. Close it
            yourself; it may be shared.

    Raises:
        ValueError: no issuer or audience, an algorithm that is not asymmetric, or a key set without TLS
            beyond loopback.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        algorithms: Sequence[str] = ("ES256",),
        token_type: str = "at+jwt",  # noqa: S107  # RFC 9068 section 2.1
        jwks_url: str | None = None,
        leeway: float = LEEWAY,
        clock: Callable[[], float] = time.time,
        revocations: Revocations | None = None,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("issuer and audience: both are required")
        if not algorithms or not set(algorithms) <= ASYMMETRIC:
            raise ValueError(f"algorithms: expected some of {', '.join(sorted(ASYMMETRIC))}")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)
        self._token_type = token_type.lower()
        self._leeway = leeway
        self._clock = clock
        self._revocations = revocations
        self._keys = KeySet(jwks_url or issuer.rstrip("/") + JWKS_PATH, self._algorithms)
        self._fetching = threading.Lock()

    def _key_id(self, token: str) -> tuple[str, str]:
        """Return ``kid`` and ``alg`` of a token of which nothing is believed yet."""
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRejected("MALFORMED", "the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRejected("MALFORMED", "the token is not a well-formed compact JWS") from None
        algorithm, kind, key_id = header.get("alg"), header.get("typ"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise TokenRejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted")
        # RFC 7515 section 4.1.9: `application/` may be left out.
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") != self._token_type:
            raise TokenRejected("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted")
        if "crit" in header or not isinstance(key_id, str):
            raise TokenRejected("MALFORMED", "the token's header has a crit, or no kid")
        return key_id, algorithm

    def _decode(self, token: str, key: jwt.PyJWK, algorithm: str, now: float) -> VerifiedToken:
        if key.algorithm_name != algorithm:
            raise TokenRejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not its key's")
        # Every option is set, so that what is meant does not hang on defaults; the times are compared below, with our
        # clock. `strict_aud`: one audience, as tokenmint mints them.
        options: Any = {
            "verify_signature": True,
            "require": ["iss", "sub", "aud", "exp", "iat"],
            "verify_aud": True,
            "strict_aud": True,
            "verify_iss": True,
            "verify_sub": True,
            "verify_jti": True,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        try:
            claims = jwt.decode(
                token, key, algorithms=[algorithm], audience=self._audience, issuer=self._issuer, options=options
            )
        except jwt.InvalidSignatureError:
            raise TokenRejected("BAD_SIGNATURE", "the token's signature does not verify") from None
        except jwt.InvalidAudienceError:
            raise TokenRejected("WRONG_AUDIENCE", "the token was issued for another audience") from None
        except jwt.InvalidIssuerError:
            raise TokenRejected("UNKNOWN_ISSUER", "the token was issued by another issuer") from None
        except jwt.DecodeError:
            raise TokenRejected("MALFORMED", "the token is not a well-formed JWT") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRejected("CLAIM_REJECTED", "a claim of the token is missing or is of the wrong kind") from None
        expires_at = _number(claims, "exp")
        if now >= expires_at + self._leeway:
            raise TokenRejected("EXPIRED", "the token has expired")
        if max(_number(claims, "iat"), _number(claims, "nbf", 0.0)) > now + self._leeway:
            raise TokenRejected("NOT_YET_VALID", "the token is not valid yet: compare the clocks")
        scope, client_id = claims.get("scope", ""), claims.get("client_id", "")
        return VerifiedToken(
            subject=claims["sub"],
            client_id=client_id if isinstance(client_id, str) else "",
            scopes=frozenset(scope.split()) if isinstance(scope, str) else frozenset(),
            expires_at=expires_at,
            claims=claims,
        )


class Verifier(_Base):
    __doc__ = (
        f"""Verifies tokens for one audience, for threads. It fetches the key set when it is due.{_Base.__doc__}"""
    )

    _http: httpx.Client | None = None

    def verify(self, token: str) -> VerifiedToken:
        """Return what a token says.

        Raises:
            TokenRejected: it is not good.
            KeySetUnavailable: the keys can't be fetched.
            RevocationsUnavailable: whether it was revoked is not known.
        """
        key_id, algorithm = self._key_id(token)
        now = self._clock()
        # One fetches; the others wait only where there is nothing that serves them.
        if self._keys.due(key_id, now) and self._fetching.acquire(blocking=not self._keys.serves(key_id, now)):
            try:
                if self._keys.due(key_id, now):
                    self._fetch(now)
            finally:
                self._fetching.release()
        verified = self._decode(token, self._keys.key(key_id, now), algorithm, now)
        if self._revocations is not None:
            if not self._revocations.begun:
                self._revocations.await_first()
            self._revocations.check(verified.claims, key_id)
        return verified

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _fetch(self, now: float) -> None:
        if self._http is None:
            self._http = httpx.Client(timeout=FETCH_TIMEOUT)
        try:
            with self._http.stream("GET", self._keys.url, headers=self._keys.headers(now)) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body = within_limit(body + chunk)
                self._keys.take(response, body, now)
        except (httpx.HTTPError, KeySetUnavailable) as error:
            self._keys.failed(error)


class AsyncVerifier(_Base):
    __doc__ = f"""As :class:`Verifier`, for one event loop.{_Base.__doc__}"""

    _http: httpx.AsyncClient | None = None
    _flight: "asyncio.Task[None] | None" = None

    async def verify(self, token: str) -> VerifiedToken:
        """As :meth:`Verifier.verify`."""
        key_id, algorithm = self._key_id(token)
        now = self._clock()
        if self._flight is None and self._keys.due(key_id, now):
            self._flight = asyncio.get_running_loop().create_task(self._fetch(now))
        if self._flight is not None and not self._keys.serves(key_id, now):
            await asyncio.shield(self._flight)
        verified = self._decode(token, self._keys.key(key_id, now), algorithm, now)
        if self._revocations is not None:
            if not self._revocations.begun:
                await asyncio.to_thread(self._revocations.await_first)
            self._revocations.check(verified.claims, key_id)
        return verified

    async def close(self) -> None:
        """Close the connections."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _fetch(self, now: float) -> None:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=FETCH_TIMEOUT)
        try:
            async with self._http.stream("GET", self._keys.url, headers=self._keys.headers(now)) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body = within_limit(body + chunk)
                self._keys.take(response, body, now)
        except (httpx.HTTPError, KeySetUnavailable) as error:
            self._keys.failed(error)
        finally:
            self._flight = None


def _number(claims: dict[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejected("CLAIM_REJECTED", f"the token's {name} is not a number")
    return float(value)

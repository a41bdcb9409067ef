"""Offline verification of tokens that tokenmint minted, for threads and for asyncio."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypedDict, Unpack

import httpx
import jwt

from tokenmint_client import status_lists
from tokenmint_client.claims import Expected, check_claims, media_type, read_claims, read_header
from tokenmint_client.errors import KeySetUnavailable, TokenRejected
from tokenmint_client.fetching import FETCH_TIMEOUT, MAX_BYTES, within_limit
from tokenmint_client.keyset import ASYMMETRIC, KeySet
from tokenmint_client.revocations import Revocations
from tokenmint_client.status_lists import StatusLists
from tokenmint_client.types import VerifiedToken

LEEWAY: Final = 30.0  # seconds that clocks may differ
JWKS_PATH: Final = "/.well-known/jwks.json"


class Possession(Protocol):
    """A check that the sender of a token holds the key that it is bound to, such as a ``RequestProof``."""

    def check(self, sent: str, token: VerifiedToken, now: float) -> None:
        """Raise a :class:`VerificationError` where it does not.

        Args:
            sent: the token, as sent.
            token: its content; all else is verified.
            now: Unix seconds.
        """


class VerifierOptions(TypedDict, total=False):
    """Further settings of a verifier, each with a default."""

    algorithms: Sequence[str]
    """The algorithms of accepted signatures, asymmetric ones only; default: ES256."""
    token_type: str | Sequence[str]
    """The ``typ`` that a token's header has to have, or several to choose from; default: ``at+jwt``."""
    jwks_url: str | None
    """The address of the key set; default: below the issuer."""
    leeway: float
    """Seconds that the clocks may differ; default: 30."""
    accept_bound: bool
    """Accept tokens that are bound to a key (``cnf``, RFC 7800) without a proof: the application itself checks it.
    Without a proof such a token is refused by default."""
    clock: Callable[[], float]
    """Returns Unix seconds."""
    revocations: Revocations | StatusLists | None
    """The revocations for the same audience: by the stream, or by the lists that tokens name. Default: a token is
    accepted until it expires. Close it yourself; it may be shared."""


class _Base:
    """The common part of both verifiers.

    Args:
        issuer: tokenmint's issuer, exactly as it is configured.
        audience: this service's audience, exactly as it is configured. A token for several is refused.
        options: see :class:`VerifierOptions`.

    Raises:
        TypeError: there is no such option.
        ValueError: no issuer or audience, an algorithm that is not asymmetric, or a key set without TLS
            beyond loopback.
    """

    def __init__(self, issuer: str, audience: str, **options: Unpack[VerifierOptions]) -> None:
        if unknown := options.keys() - VerifierOptions.__annotations__.keys():
            raise TypeError(f"a verifier has no option {', '.join(sorted(unknown))}")
        if not issuer or not audience:
            raise ValueError("issuer and audience: both are required")
        algorithms = frozenset(options.get("algorithms", ("ES256",)))
        if not algorithms or not algorithms <= ASYMMETRIC:
            raise ValueError(f"algorithms: expected some of {', '.join(sorted(ASYMMETRIC))}")
        kinds = options.get("token_type", "at+jwt")  # RFC 9068 section 2.1
        types = frozenset(media_type(name) for name in ([kinds] if isinstance(kinds, str) else kinds))
        if not types:
            raise ValueError("token_type: expected at least one")
        self._expected = Expected(issuer, audience, algorithms, types, options.get("leeway", LEEWAY))
        self._accept_bound = options.get("accept_bound", False)
        self._clock = options.get("clock", time.time)
        self._revocations = options.get("revocations")
        self._keys = KeySet(options.get("jwks_url") or issuer.removesuffix("/") + JWKS_PATH)
        self._fetching = threading.Lock()
        self._lists = replace(self._expected, types=frozenset({status_lists.TYP}))

    @property
    def issuer(self) -> str:
        """Tokenmint's issuer."""
        return self._expected.issuer

    @property
    def audience(self) -> str:
        """This service's audience."""
        return self._expected.audience

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        return self._clock

    def _decode(
        self, sent: str, key: jwt.PyJWK, algorithm: str, now: float, possession: Possession | None
    ) -> VerifiedToken:
        token = check_claims(read_claims(sent, key, algorithm), self._expected, now)
        if possession is not None:
            possession.check(sent, token, now)
        elif token.confirmation is not None and not self._accept_bound:
            raise TokenRejected(
                "POSSESSION_NOT_PROVED", "the token is bound to a key, and no proof of the key is checked here"
            )
        return token


class Verifier(_Base):
    __doc__ = (
        f"""Verifies tokens for one audience, for threads. It fetches the key set when it is due.{_Base.__doc__}"""
    )

    _http: httpx.Client | None = None

    def verify(self, token: str, *, possession: Possession | None = None) -> VerifiedToken:
        """Return what a token says.

        Args:
            token: as sent.
            possession: checks the key of a bound token. The middleware does it; see ``ProtectedResource``.

        Raises:
            TokenRejected: it is not good.
            KeySetUnavailable: the keys can't be fetched.
            RevocationsUnavailable: whether it was revoked is not known.
        """
        key_id, algorithm = read_header(token, self._expected)
        now = self._clock()
        verified = self._decode(token, self._key(key_id, now), algorithm, now, possession)
        if isinstance(self._revocations, StatusLists):
            self._revocations.check(verified.claims, self.issuer, now, self._connections, self._listed)
        elif self._revocations is not None:
            if not self._revocations.begun:
                self._revocations.await_first()
            self._revocations.check(verified.claims, key_id)
        return verified

    def _listed(self, token: str, now: float) -> Mapping[str, Any]:
        key_id, algorithm = read_header(token, self._lists, MAX_BYTES)
        return status_lists.claims_of_list(token, self._key(key_id, now), algorithm, self._lists, now)

    def _key(self, key_id: str, now: float) -> jwt.PyJWK:
        # One fetches; the others wait only where there is nothing that serves them.
        if self._keys.due(key_id, now) and self._fetching.acquire(blocking=self._keys.waits(key_id, now)):
            try:
                if self._keys.due(key_id, self._clock()):  # time has passed, and another's request may have ended
                    self._fetch(key_id, now)
            finally:
                self._fetching.release()
        return self._keys.key(key_id, now)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connections(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(timeout=FETCH_TIMEOUT)
        return self._http

    def _fetch(self, key_id: str, now: float) -> None:
        try:
            limit = time.monotonic() + FETCH_TIMEOUT
            with self._connections().stream("GET", self._keys.url, headers=self._keys.headers()) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body = within_limit(body + chunk)
                    if time.monotonic() > limit:  # httpx limits the time between chunks alone
                        raise httpx.ReadTimeout("the answer does not end")
                self._keys.take(response, body, key_id, now)
        except (httpx.HTTPError, KeySetUnavailable) as error:
            self._keys.failed(error, key_id, self._clock())


class AsyncVerifier(_Base):
    __doc__ = f"""As :class:`Verifier`, for one event loop.{_Base.__doc__}"""

    _http: httpx.AsyncClient | None = None
    _flight: "asyncio.Task[None] | None" = None

    async def verify(self, token: str, *, possession: Possession | None = None) -> VerifiedToken:
        """As :meth:`Verifier.verify`."""
        key_id, algorithm = read_header(token, self._expected)
        now = self._clock()
        verified = self._decode(token, await self._key(key_id, now), algorithm, now, possession)
        if isinstance(self._revocations, StatusLists):
            await self._revocations.check_async(verified.claims, self.issuer, now, self._connections, self._listed)
        elif self._revocations is not None:
            if not self._revocations.begun:
                await asyncio.to_thread(self._revocations.await_first)
            self._revocations.check(verified.claims, key_id)
        return verified

    async def _listed(self, token: str, now: float) -> Mapping[str, Any]:
        key_id, algorithm = read_header(token, self._lists, MAX_BYTES)
        return status_lists.claims_of_list(token, await self._key(key_id, now), algorithm, self._lists, now)

    async def _key(self, key_id: str, now: float) -> jwt.PyJWK:
        if self._flight is None and self._keys.due(key_id, now):
            self._flight = asyncio.get_running_loop().create_task(self._fetch(key_id, now))
        if self._flight is not None and self._keys.waits(key_id, now):
            await asyncio.shield(self._flight)
        return self._keys.key(key_id, now)

    async def close(self) -> None:
        """Close the connections."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _connections(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=FETCH_TIMEOUT)
        return self._http

    async def _fetch(self, key_id: str, now: float) -> None:
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT),
                self._connections().stream("GET", self._keys.url, headers=self._keys.headers()) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes():
                    body = within_limit(body + chunk)
                self._keys.take(response, body, key_id, now)
        except TimeoutError:
            self._keys.failed(httpx.ReadTimeout("the answer does not end"), key_id, self._clock())
        except (httpx.HTTPError, KeySetUnavailable) as error:
            self._keys.failed(error, key_id, self._clock())
        finally:
            self._flight = None

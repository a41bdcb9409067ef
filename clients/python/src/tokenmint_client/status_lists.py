"""Status lists: whether a token was revoked, for services that can't keep a stream open (Token Status List, draft 20).

Give :class:`StatusLists` to a verifier: ``Verifier(issuer, audience, revocations=StatusLists())``. It fetches the list
that a token names, verifies it, keeps it, and looks the token up.
"""

import asyncio
import base64
import binascii
import logging
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import httpx
import jwt

from tokenmint_client.claims import Expected, read_claims
from tokenmint_client.errors import KeySetUnavailable, StatusListUnavailable, TokenRejected
from tokenmint_client.fetching import cause_of, key_set_url, shown, within_limit

TYP: Final = "statuslist+jwt"
PATH: Final = "/status-lists/"
COOLDOWN: Final = 10.0  # seconds between two requests for a list that can't be had, or is not newer
DEFAULT_TTL: Final = 300.0  # seconds that a list without `ttl` is kept
MAX_TTL: Final = 3600.0  # seconds that any list is kept
MIN_TTL: Final = 1.0
MOST_LISTS: Final = 1000
MOST_BYTES: Final = 64 * 1024 * 1024  # of all lists
MOST_STATUSES: Final = 1024 * 1024  # bytes of one list
MOST_URI: Final = 1024  # characters
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BITS: Final = frozenset({1, 2, 4, 8})
_log: Final = logging.getLogger("tokenmint_client")

Verify = Callable[[str, float], Mapping[str, Any]]
"""Returns the claims of a status list whose signature, `typ` and `iss` are good; raises ``VerificationError``."""


class Place(NamedTuple):
    """The place of a token in a list."""

    uri: str
    number: int


@dataclass
class _Entry:
    """A list, and the times that belong to it."""

    bits: int = 1
    statuses: bytes = b""
    etag: str = ""
    issued_at: float = float("-inf")
    expires_at: float = float("-inf")
    ttl: float = 0.0
    fresh_until: float = float("-inf")
    asked_at: float | None = None
    failure: str = "it has not been fetched yet"
    fetching: threading.Lock = field(default_factory=threading.Lock)
    flight: "asyncio.Task[None] | None" = None


def status_at(statuses: bytes, bits: int, index: int) -> int:
    """Return the status of a token (section 4.1). Raises ``IndexError`` if the list does not have it."""
    byte, place = divmod(index * bits, 8)
    if index < 0 or byte >= len(statuses):
        raise IndexError(index)
    return statuses[byte] >> place & (1 << bits) - 1


def statuses_of(member: Any) -> tuple[int, bytes]:
    """Return the bits for each token, and the bytes, of a `status_list` (section 4.2).

    Raises:
        ValueError: it is none.
    """
    if not isinstance(member, dict):
        raise ValueError("it has no status_list")  # noqa: TRY004  # one kind of error
    bits, text = member.get("bits"), member.get("lst")
    if isinstance(bits, bool) or not isinstance(bits, int) or bits not in _BITS or not isinstance(text, str):
        raise ValueError("its status_list has no bits or no lst")
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj()
        statuses = unpacker.decompress(packed, MOST_STATUSES + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise ValueError("its lst is not compressed as the draft says") from None
    if len(statuses) > MOST_STATUSES:
        raise ValueError(f"its lst has more than {MOST_STATUSES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("its lst is cut off, or has something behind it")
    return bits, statuses


class StatusLists:
    """The lists that a service has fetched. Several verifiers of one issuer may share them; close nothing.

    Args:
        when_unavailable: ``refuse``: a token whose list can't be had is not accepted (fail closed); ``accept``: it is,
            unless the last list shows it as revoked (fail open).
        url: where lists are fetched, in place of ISSUER/status-lists/.

    Raises:
        ValueError: another ``when_unavailable``, or an address without TLS beyond loopback.
    """

    def __init__(self, *, when_unavailable: Literal["refuse", "accept"] = "refuse", url: str | None = None) -> None:
        if when_unavailable not in ("refuse", "accept"):
            raise ValueError("when_unavailable: expected refuse or accept")
        if url is not None:
            key_set_url(url)
        self._closed = when_unavailable == "refuse"
        self._url = url
        self._held: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    # --- for verifiers -----------------------------------------------------------------------------------------

    def check(
        self, claims: Mapping[str, Any], issuer: str, now: float, http: Callable[[], httpx.Client], verify: Verify
    ) -> None:
        """Refuse a token that its list shows as revoked, for threads. ``claims``: its verified claims.

        Raises:
            TokenRejected: it is revoked, or names no list of the issuer.
            StatusListUnavailable: the list can't be had, and ``when_unavailable`` is ``refuse``.
        """
        place = place_of(claims, issuer)
        entry = self._entry(place.uri)
        # One fetches; the others wait only where there is nothing that serves them.
        if _due(entry, now) and entry.fetching.acquire(blocking=now >= entry.expires_at):
            try:
                if _due(entry, now):
                    self._fetch(place.uri, entry, now, http(), verify)
            finally:
                entry.fetching.release()
        self._judge(place, entry, now)

    async def check_async(
        self,
        claims: Mapping[str, Any],
        issuer: str,
        now: float,
        http: Callable[[], httpx.AsyncClient],
        verify: Callable[[str, float], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """As :meth:`check`, for one event loop."""
        place = place_of(claims, issuer)
        entry = self._entry(place.uri)
        if entry.flight is None and _due(entry, now):
            fetch = self._fetch_async(place.uri, entry, now, http(), verify)
            entry.flight = asyncio.get_running_loop().create_task(fetch)
        if entry.flight is not None and now >= entry.expires_at:
            await asyncio.shield(entry.flight)
        self._judge(place, entry, now)

    def _entry(self, uri: str) -> _Entry:
        """Return the entry of a list; the lists that were not used for the longest time make room."""
        with self._lock:
            entry = self._held.setdefault(uri, _Entry())
            self._held.move_to_end(uri)
            while len(self._held) > MOST_LISTS or (
                len(self._held) > 1 and sum(len(one.statuses) for one in self._held.values()) > MOST_BYTES
            ):
                self._held.popitem(last=False)
            return entry

    def _judge(self, place: Place, entry: _Entry, now: float) -> None:
        available = now < entry.expires_at
        if available or entry.statuses:
            try:
                status = status_at(entry.statuses, entry.bits, place.number)
            except IndexError:
                raise TokenRejected("CLAIM_REJECTED", "the token's status list does not have its index") from None
            if status:
                raise TokenRejected("REVOKED", "the token was revoked, or suspended")
        if not available and self._closed:
            raise StatusListUnavailable(
                f"the status list at {shown(self._address(place.uri))} can't be fetched: {entry.failure}"
            )

    # --- fetching ----------------------------------------------------------------------------------------------

    def _address(self, uri: str) -> str:
        return uri if self._url is None else self._url.rstrip("/") + "/" + uri.rpartition("/")[2]

    def _request(self, uri: str, entry: _Entry, now: float) -> dict[str, Any]:
        """Return the arguments of a request that is made now."""
        entry.asked_at = now
        accept = {"Accept": f"application/{TYP}"}
        headers = {**accept, "If-None-Match": entry.etag} if entry.etag and now < entry.expires_at else accept
        return {"method": "GET", "url": key_set_url(self._address(uri)), "headers": headers, "follow_redirects": False}

    def _fetch(self, uri: str, entry: _Entry, now: float, http: httpx.Client, verify: Verify) -> None:
        try:
            with http.stream(**self._request(uri, entry, now)) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body = within_limit(body + chunk)
            if not _unchanged(entry, response, now):
                _take(entry, verify(_text(response, body), now), uri, response.headers.get("ETag", ""), now)
        except _FAILURES as error:
            _failed(entry, uri, error)

    async def _fetch_async(
        self,
        uri: str,
        entry: _Entry,
        now: float,
        http: httpx.AsyncClient,
        verify: Callable[[str, float], Awaitable[Mapping[str, Any]]],
    ) -> None:
        try:
            async with http.stream(**self._request(uri, entry, now)) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body = within_limit(body + chunk)
            if not _unchanged(entry, response, now):
                _take(entry, await verify(_text(response, body), now), uri, response.headers.get("ETag", ""), now)
        except _FAILURES as error:
            _failed(entry, uri, error)
        finally:
            entry.flight = None


_FAILURES: Final = (httpx.HTTPError, httpx.InvalidURL, KeySetUnavailable, TokenRejected, ValueError)


def place_of(claims: Mapping[str, Any], issuer: str) -> Place:
    """Return the place of a token (section 6.2).

    Raises:
        TokenRejected: it has none, or one in a list that is not below its issuer.
    """
    status = claims.get("status")
    place = status.get("status_list") if isinstance(status, dict) else None
    index, uri = (place.get("idx"), place.get("uri")) if isinstance(place, dict) else (None, None)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0 or not isinstance(uri, str):
        raise TokenRejected("CLAIM_REJECTED", "the token has no place in a status list")
    below = issuer.rstrip("/") + PATH
    if len(uri) > MOST_URI or not uri.startswith(below) or not _NAME.fullmatch(uri.removeprefix(below)):
        raise TokenRejected("CLAIM_REJECTED", "the token's status list is not one of its issuer's")
    return Place(uri, index)


def _due(entry: _Entry, now: float) -> bool:
    if entry.asked_at is not None and entry.asked_at <= now < entry.asked_at + COOLDOWN and now >= entry.fresh_until:
        # A list that is fetched every few seconds is asked for as often; a failure waits.
        return now >= entry.asked_at + min(COOLDOWN, entry.ttl or COOLDOWN)
    return now >= entry.fresh_until


def _unchanged(entry: _Entry, response: httpx.Response, now: float) -> bool:
    if response.status_code != httpx.codes.NOT_MODIFIED or now >= entry.expires_at:
        return False
    entry.fresh_until = now + entry.ttl
    return True


def _text(response: httpx.Response, body: bytes) -> str:
    if response.status_code != httpx.codes.OK:
        raise KeySetUnavailable(f"the answer has status {response.status_code}")
    return body.decode("ascii")


def _take(entry: _Entry, claims: Mapping[str, Any], uri: str, etag: str, now: float) -> None:
    """Take in a list (section 8.3). Raises ``ValueError``; then nothing is changed."""
    if claims.get("sub") != uri:
        raise ValueError("it is another list")
    issued_at, expires_at, ttl = (_number(claims, name) for name in ("iat", "exp", "ttl"))
    if issued_at is None or expires_at is None:
        raise ValueError("it has no iat or no exp")
    if now >= expires_at:
        raise ValueError("it has expired: compare the clocks")
    if ttl is not None and ttl <= 0:
        raise ValueError("its ttl is not positive")
    bits, statuses = statuses_of(claims.get("status_list"))
    keep = min(MAX_TTL, max(MIN_TTL, ttl if ttl is not None else DEFAULT_TTL))
    if issued_at < entry.issued_at:  # of a replica that is behind; the one that is here is newer
        entry.fresh_until = now + min(keep, COOLDOWN)
        return
    entry.bits, entry.statuses, entry.etag, entry.ttl = bits, statuses, etag, keep
    entry.issued_at, entry.expires_at = issued_at, expires_at
    entry.fresh_until = min(now + keep, expires_at)


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(f"its {name} is not a number")
    return float(value)


def _failed(entry: _Entry, uri: str, error: Exception) -> None:
    """Note why a list can't be had. The list that is here serves until it expires."""
    if isinstance(error, httpx.HTTPError | KeySetUnavailable):
        entry.failure = cause_of(error)
    elif isinstance(error, TokenRejected):
        entry.failure = f"it is not accepted: {error.message}"
    else:
        entry.failure = str(error) if type(error) is ValueError else "the answer is not a status list"
    _log.warning("the status list at %s can't be used: %s", shown(uri), entry.failure)


def claims_of_list(token: str, key: jwt.PyJWK, algorithm: str, expected: Expected, now: float) -> Mapping[str, Any]:
    """Return the claims of a list that a key of its issuer signed.

    Raises:
        TokenRejected: it is not good.
        ValueError: its iat is not a number.
    """
    claims = read_claims(token, key, algorithm)
    if claims.get("iss") != expected.issuer:
        raise TokenRejected("UNKNOWN_ISSUER", "its issuer is another one")
    issued_at = _number(claims, "iat")
    if issued_at is None or issued_at > now + expected.leeway:
        raise TokenRejected("NOT_YET_VALID", "it has no iat, or was made in the future: compare the clocks")
    return claims

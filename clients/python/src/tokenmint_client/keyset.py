"""Tokenmint's public keys, as its key set endpoint serves them: kept, asked for again, followed when they rotate."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tokenmint_client.errors import KeySetUnavailable, TokenRejected
from tokenmint_client.fetching import cause_of, key_set_url, shown

COOLDOWN: Final = 10.0  # seconds between two requests for unknown keys, for all kids that strangers send
RETRY: Final = 1.0  # seconds after a request that failed
DEFAULT_AGE: Final = 300.0  # seconds that a set without Cache-Control is kept
MIN_AGE: Final = 1.0  # seconds that any set is kept, at least
MAX_AGE: Final = 3600.0  # … and at most
MAX_STALE: Final = 3600.0  # seconds after its age for which a set serves while no other can be had
MAX_KEYS: Final = 100
MAX_ENTRIES: Final = 2000  # of a set that are looked at
MIN_RSA_BITS: Final = 2048  # RFC 7518 section 3.3
ASYMMETRIC: Final = frozenset(
    {"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
)  # fmt: skip
_log: Final = logging.getLogger("tokenmint_client")


@dataclass
class KeySet:
    """The keys and the times that belong to them. Does no I/O: a verifier asks, fetches and tells.

    Args:
        url: where the set is.

    Raises:
        ValueError: the set would be fetched without TLS from another machine.
    """

    url: str
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _etag: str = ""
    _fresh_until: float = 0.0
    _looked_at: float | None = None
    """When a request for an unknown key ended."""
    _failed_at: float | None = None
    """When the last request failed, if it did."""
    _ever: bool = False
    _failure: str = "it has not been fetched yet"

    def __post_init__(self) -> None:
        key_set_url(self.url)

    def due(self, key_id: str, now: float) -> bool:
        """Whether a request for the set is due before ``key_id`` is looked up."""
        if _within(self._failed_at, now, RETRY):
            return False
        if not self._is_fresh(now):
            return True
        return key_id not in self._keys and not _within(self._looked_at, now, COOLDOWN)

    def waits(self, key_id: str, now: float) -> bool:
        """Whether ``key_id`` can only be looked up after the request that is due or under way.

        A set that is too old serves without waiting while requests for another one fail.
        """
        if key_id not in self._keys or now >= self._fresh_until + MAX_STALE:
            return True
        return not self._is_fresh(now) and self._failed_at is None

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        accept = {"Accept": "application/jwk-set+json, application/json"}
        return {**accept, "If-None-Match": self._etag} if self._etag else accept

    def take(self, response: httpx.Response, body: bytes, key_id: str, now: float) -> None:
        """Take in an answer. One that is not good changes nothing.

        Args:
            response: the answer.
            body: its body.
            key_id: the key that the request was made for.
            now: when the request was made.

        Raises:
            KeySetUnavailable: it is not good.
        """
        if response.status_code == httpx.codes.NOT_MODIFIED and self._ever:
            keys, etag = self._keys, self._etag
        elif response.status_code == httpx.codes.OK:
            keys, etag = _parse(body), response.headers.get("ETag", "")
        else:
            raise KeySetUnavailable(f"the answer has status {response.status_code}")
        self._ended(key_id, now)
        self._keys, self._etag, self._ever, self._failed_at = keys, etag, True, None
        self._fresh_until = now + _age(response.headers)

    def failed(self, error: httpx.HTTPError | KeySetUnavailable, key_id: str, now: float) -> None:
        """Note why a request failed. The keys that are there serve for a while; without any, a look-up says why."""
        self._ended(key_id, now)
        self._failed_at, self._failure = now, cause_of(error)
        _log.warning("the key set at %s can't be fetched: %s", shown(self.url), self._failure)

    def key(self, key_id: str, now: float) -> jwt.PyJWK:
        """Return a key.

        Raises:
            KeySetUnavailable: there is no set, or it is too old.
            TokenRejected: UNKNOWN_KEY.
        """
        if not self._ever or now >= self._fresh_until + MAX_STALE:
            raise KeySetUnavailable(f"the key set at {shown(self.url)} can't be fetched: {self._failure}")
        if key_id not in self._keys:
            raise TokenRejected("UNKNOWN_KEY", "the token's key is not in the key set")
        return self._keys[key_id]

    def _is_fresh(self, now: float) -> bool:
        return self._ever and now < self._fresh_until

    def _ended(self, key_id: str, now: float) -> None:
        if self._is_fresh(now) and key_id not in self._keys:
            self._looked_at = now


def _within(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and since <= now < since + seconds


def _parse(body: bytes) -> dict[str, jwt.PyJWK]:
    """Return the public keys that verify signatures, by their ids; of several with one id the first.

    Raises:
        KeySetUnavailable: it is no key set, or one without such a key.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise KeySetUnavailable("the answer is not JSON") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise KeySetUnavailable("the answer is not a JSON Web Key Set (RFC 7517)")
    keys: dict[str, jwt.PyJWK] = {}
    for member in members[:MAX_ENTRIES]:
        if len(keys) == MAX_KEYS:
            break  # those that can't be used take no place of one that can
        if _is_wanted(member) and member["kid"] not in keys:
            try:
                key = jwt.PyJWK(member)
            except (jwt.PyJWTError, ValueError, TypeError):
                continue  # a key that can't be read is a key that is not there
            if not isinstance(key.key, rsa.RSAPublicKey) or key.key.key_size >= MIN_RSA_BITS:
                keys[member["kid"]] = key
    if not keys:
        raise KeySetUnavailable("the answer holds no usable key")
    return keys


def _is_wanted(member: Any) -> bool:
    return (
        isinstance(member, dict)
        and isinstance(member.get("kid"), str)
        and isinstance(member.get("alg"), str)
        and member["alg"] in ASYMMETRIC
        and member.get("use", "sig") == "sig"
        and "d" not in member
    )


def _age(headers: Mapping[str, str]) -> float:
    """Return for how many seconds an answer may be kept (RFC 9111 section 4.2)."""
    age = DEFAULT_AGE
    for directive in headers.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return MIN_AGE
        if name == "max-age":
            age = _seconds(value.strip('"'), age)
    return min(MAX_AGE, max(MIN_AGE, age - _seconds(headers.get("age", "").strip(), 0.0)))


def _seconds(text: str, otherwise: float) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise

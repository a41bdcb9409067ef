"""Tokenmint's public keys, as its key set endpoint serves them: kept, asked for again, followed when they rotate."""

import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import jwt

from tokenmint_client.errors import KeySetUnavailable, TokenRejected
from tokenmint_client.fetching import cause_of, key_set_url, shown

COOLDOWN: Final = 10.0  # seconds between two requests, whatever kids strangers send
DEFAULT_AGE: Final = 300.0  # seconds that a set without Cache-Control is kept
MAX_AGE: Final = 3600.0  # seconds that any set is kept
MAX_STALE: Final = 3600.0  # seconds after its age for which a set serves while no other can be had
_AGE: Final = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")
_log: Final = logging.getLogger("tokenmint_client")


@dataclass
class KeySet:
    """The keys and the times that belong to them. Does no I/O: a verifier asks, fetches and tells.

    Args:
        url: where the set is.
        algorithms: keys of other algorithms are not taken in.

    Raises:
        ValueError: the set would be fetched without TLS from another machine.
    """

    url: str
    algorithms: Collection[str]
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _etag: str = ""
    _fresh_until: float = 0.0
    _asked_at: float | None = None
    _ever: bool = False
    _failure: str = "it has not been fetched yet"

    def __post_init__(self) -> None:
        key_set_url(self.url)

    def due(self, key_id: str, now: float) -> bool:
        """Whether a request for the set is due before ``key_id`` is looked up."""
        if self._asked_at is not None and self._asked_at <= now < self._asked_at + COOLDOWN:
            return False
        return not self._ever or now >= self._fresh_until or key_id not in self._keys

    def serves(self, key_id: str, now: float) -> bool:
        """Whether ``key_id`` can be looked up without waiting for a request that is under way."""
        return key_id in self._keys and now < self._fresh_until

    def headers(self, now: float) -> dict[str, str]:
        """Return the headers of a request that is made now."""
        self._asked_at = now
        accept = {"Accept": "application/jwk-set+json, application/json"}
        return {**accept, "If-None-Match": self._etag} if self._etag else accept

    def take(self, response: httpx.Response, body: bytes, now: float) -> None:
        """Take in an answer. One that is not good changes nothing.

        Raises:
            KeySetUnavailable: it is not good.
        """
        if response.status_code == httpx.codes.NOT_MODIFIED and self._ever:
            self._fresh_until = now + _age(response.headers)
            return
        if response.status_code != httpx.codes.OK:
            raise KeySetUnavailable(f"the answer has status {response.status_code}")
        keys = _parse(body, self.algorithms)
        if not keys:
            raise KeySetUnavailable("the answer holds no usable key")
        self._keys, self._etag, self._ever = keys, response.headers.get("ETag", ""), True
        self._fresh_until = now + _age(response.headers)

    def failed(self, error: httpx.HTTPError | KeySetUnavailable) -> None:
        """Note why a request failed. The keys that are there serve for a while; without any, a look-up says why."""
        self._failure = cause_of(error)
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


def _parse(body: bytes, algorithms: Collection[str]) -> dict[str, jwt.PyJWK]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise KeySetUnavailable("the answer is not JSON") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise KeySetUnavailable("the answer is not a JSON Web Key Set (RFC 7517)")
    keys: dict[str, jwt.PyJWK] = {}
    for member in members:
        if _wanted(member, algorithms):
            try:
                keys[member["kid"]] = jwt.PyJWK(member)
            except (jwt.PyJWTError, ValueError, TypeError):
                continue  # a key that can't be read is a key that is not there
    return keys


def _wanted(member: Any, algorithms: Collection[str]) -> bool:
    return (
        isinstance(member, dict)
        and isinstance(member.get("kid"), str)
        and member.get("alg") in algorithms
        and member.get("use", "sig") == "sig"
    )


def _age(headers: Mapping[str, str]) -> float:
    """Return for how many seconds an answer may be kept (RFC 9111 section 4.2)."""
    control = headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return 0.0
    found = _AGE.search(control)
    age = headers.get("age", "0")
    spent = int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0
    return min(MAX_AGE, max(0.0, (int(found[1]) if found else DEFAULT_AGE) - spent))

"""One answer of a provider about its keys: their URL, their lifetime, and the reason of a failure."""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from tokenmint.base.files import without_mark
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.threads import Busy, Threads
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import BadKey, is_judged_slowly, weakness
from tokenmint.verification.jwk_set import ParsedKeySet, read_jwks, read_x509_map
from tokenmint.verification.jws import parse_object
from tokenmint.verification.key_source import AnswerUnusable, Fetch, FetchFailed, KeySource

DEFAULT_FRESH: Final = 3600.0  # seconds, if the provider does not say
MIN_FRESH: Final = 60.0
MAX_FRESH: Final = 6 * 3600.0
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})", re.ASCII)
_NO_CACHE: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b")


async def discover(fetch: Fetch, source: KeySource) -> str:
    """Return the key set's URL from the discovery document. Raises :class:`FetchFailed`, ``MalformedToken``."""
    return key_set_url(source, await read_discovery(fetch, source))


async def read_discovery(fetch: Fetch, source: KeySource) -> dict[str, JsonValue]:
    """Return the discovery document as it is. Raises :class:`FetchFailed`, ``MalformedToken``."""
    result = await fetch(source, source.url, etag=None)
    if result.status != 200:
        raise FetchFailed(source.failed_with(source.url, result.status))
    return parse_object(without_mark(result.body), "discovery document")


def key_set_url(source: KeySource, document: Mapping[str, JsonValue]) -> str:
    """Return the key set's URL from the discovery document of ``source``. Raises :class:`AnswerUnusable`."""
    if document.get("issuer") not in (source.issuer, *source.more_issuers):
        raise AnswerUnusable(
            f"{source.place} has another issuer (OpenID Connect Discovery 1.0 section 4.3): "
            f"expected exactly {source.issuer!r}"
        )
    url = document.get("jwks_uri")
    if not isinstance(url, str):
        raise AnswerUnusable(f"{source.place} names no jwks_uri")
    try:
        return str(HttpUrl.parse(url))
    except BadUrl as error:
        raise AnswerUnusable(f"{source.place} names a jwks_uri that can't be fetched: {error}") from None


async def usable_keys(source: KeySource, body: bytes, threads: Threads) -> ParsedKeySet:
    """Read and check the keys of a document. Its keys are checked in ``threads``, because a provider chooses how long
    that takes.

    Raises ``BadKey`` if it is not a key set, and ``Busy`` while a key of the previous set is still being checked.
    """
    reading = (read_x509_map if source.kind == "x509" else read_jwks)(body, source.max_keys)
    for key in reading:
        if is_judged_slowly(key):
            await threads.run(weakness, key)
    return reading.result()


def freshness(headers: Mapping[str, str], hint: float | None = None) -> float:
    """Return the seconds for which an answer may be used without a new fetch (RFC 9111), within our bounds.

    ``hint`` is the time that the document itself names, if it does (SPIFFE Trust Domain and Bundle section 4.1.1).
    """
    if hint is not None:
        return max(MIN_FRESH, min(MAX_FRESH, hint))
    control = headers.get("cache-control", "").lower()
    if _NO_CACHE.search(control):
        return MIN_FRESH
    match = _MAX_AGE.search(control)
    if match is None:
        return DEFAULT_FRESH
    age = headers.get("age", "0")
    return max(MIN_FRESH, min(MAX_FRESH, float(match[1]) - (float(age) if age.isascii() and age.isdigit() else 0.0)))


def is_ours(error: BaseException) -> bool:
    """Return whether the text of an error was made here, so that it may be shown."""
    return isinstance(error, FetchFailed | BadKey | MalformedToken | TimeoutError | Busy)


def describe(error: BaseException, source: KeySource) -> str:
    """Return the description of a failed fetch for operators: bounded, and without text of foreign exceptions."""
    if isinstance(error, TimeoutError):
        return f"no answer within {source.timeout:g} s"
    if isinstance(error, MalformedToken):
        return error.detail
    if isinstance(error, Busy):
        return "its keys are still being checked"
    if isinstance(error, asyncio.CancelledError):
        return "the fetch was cancelled"
    if is_ours(error):
        return clipped(str(error), 2 * LONG)
    return f"the answer could not be handled ({type(error).__name__})"

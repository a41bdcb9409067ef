"""The address of a key set, and the cause in words where it can't be fetched."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from tokenmint_client.errors import KeySetUnavailable
from tokenmint_client.loopback import is_loopback

FETCH_TIMEOUT: Final = 5.0  # seconds
MAX_BYTES: Final = 1024 * 1024
_MAX_DETAIL: Final = 200  # characters of another library's message
_MAX_CAUSES: Final = 20  # errors of one chain that are looked at


def key_set_url(address: str) -> str:
    """Return the address of a key set, checked.

    Raises:
        ValueError: it is no URL, or it would be fetched without TLS from another machine.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("the address of the key set is not a URL") from None
    if url.scheme == "https" and url.host:
        return address
    if url.scheme == "http" and is_loopback(url.host):
        return address
    raise ValueError(
        f"the key set at {shown(address)} would be fetched without TLS: use https (http is for loopback only)"
    )


def shown(address: str) -> str:
    """Return an address as messages show it: without user, password, query and fragment, which may hold a secret."""
    return str(httpx.URL(address).copy_with(userinfo=b"", query=None, fragment=None))[:_MAX_DETAIL]


def within_limit(body: bytes) -> bytes:
    """Return the body of an answer.

    Raises:
        KeySetUnavailable: it is too long.
    """
    if len(body) > MAX_BYTES:
        raise KeySetUnavailable(f"the answer is longer than {MAX_BYTES} bytes")
    return body


def cause_of(error: httpx.HTTPError | KeySetUnavailable) -> str:
    """Return why a key set could not be fetched: DNS, connection refused, TLS, time, or the answer's fault."""
    if isinstance(error, KeySetUnavailable):
        return error.message
    for cause in _chain(error):
        if isinstance(cause, socket.gaierror):
            return "the host name can't be resolved (DNS)"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS failed: {cause.verify_message}"[:_MAX_DETAIL]
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason}"[:_MAX_DETAIL]
    if isinstance(error, httpx.TimeoutException):
        return f"there was no answer within {FETCH_TIMEOUT:.0f} s"
    return f"the connection failed: {type(error).__name__}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """All errors that led to one; those of several addresses that were tried come in a group."""
    left: list[BaseException] = [error]
    for _ in range(_MAX_CAUSES):
        if not left:
            return
        found = left.pop()
        yield found
        left += [cause for cause in (found.__cause__, found.__context__) if cause is not None]
        if isinstance(found, BaseExceptionGroup):
            left += found.exceptions

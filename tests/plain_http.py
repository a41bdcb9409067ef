"""HTTP without TLS, for tests. Its clients load no certificate authorities: that takes 20 ms of computing for each."""

import ssl
from functools import cache
from typing import Any

import httpx2

PATIENCE = 20.0  # seconds


@cache
def _no_authorities() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(*, timeout: float = PATIENCE, **options: Any) -> httpx2.AsyncClient:
    """Return a client for plain HTTP, with further arguments of httpx2's."""
    return httpx2.AsyncClient(verify=_no_authorities(), timeout=timeout, **options)


def sync_client(*, timeout: float = PATIENCE, **options: Any) -> httpx2.Client:
    """Return the same for callers without an event loop."""
    return httpx2.Client(verify=_no_authorities(), timeout=timeout, **options)


def get(url: str, *, timeout: float = PATIENCE) -> httpx2.Response:
    """Ask once, on a connection of its own."""
    with sync_client(timeout=timeout) as http:
        return http.get(url)


def post(url: str, **options: Any) -> httpx2.Response:
    """Send once, on a connection of its own."""
    with sync_client() as http:
        return http.post(url, **options)

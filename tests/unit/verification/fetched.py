"""Fetches over real HTTP, and a server with the answers that a test gives it."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace

from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.key_source import KeySource


def source(url: str, **changes: object) -> KeySource:
    return replace(KeySource("jwks", url=url, allow_private=True), **changes)  # type: ignore[arg-type]


async def get(url: str, **changes: object) -> bytes:
    return (await HttpFetch()(source(url, **changes), url, etag=None)).body


def answering(*parts: bytes, endless: bytes = b"") -> tuple[str, Callable[[], list[bytes]]]:
    """Serve one raw answer to each connection; return its URL, and what was asked so far.

    ``endless`` is sent again and again, for as long as somebody reads it.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(10)
                    asked.append(peer.recv(65536))
                    for part in parts:
                        peer.sendall(part)
                    while endless:
                        peer.sendall(endless)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/jwks", lambda: asked

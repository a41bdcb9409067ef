"""HTTP servers of tests on loopback, each with a handler of its own."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's signature
        """Nothing."""

    def give(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a response of known length."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    over = False

    def serve(self) -> None:
        """Serve until :meth:`end`. The base class's way polls, and its end waits for the next poll."""
        while not self.over:
            self.handle_request()

    def end(self) -> None:
        """End serving: the waiting accept() ends with the socket's shutdown."""
        self.over = True
        self.socket.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients that do not trust a certificate hang up."""


@contextmanager
def running(
    handler: type[Handler], host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve in a thread, and yield the port; with ``tls`` over HTTPS."""
    server = _Server((host, port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.end()
        thread.join(timeout=15)
        server.server_close()
        assert not thread.is_alive()

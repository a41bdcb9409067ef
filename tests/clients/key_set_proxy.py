"""Tokenmint's key set as verifiers see it: counted, and broken on demand."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.clients.own_tokens import with_test_key

JWKS_PATH = "/.well-known/jwks.json"
LIMIT = 30.0  # seconds to wait for the service


class KeySetProxy:
    """Tokenmint's key set as verifiers see it: counted, and broken on demand. Its address is tokenmint's issuer.

    It has one more key, by which the runner signs tokens that the service would not mint.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.broken = False
        self.requests: list[bool] = []
        """Whether each request was conditional."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                condition = self.headers.get("If-None-Match")
                if self.path == JWKS_PATH:
                    proxy.requests.append(condition is not None)
                status, headers, body = proxy.answer(self.path, condition)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's signature
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, path: str, condition: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
        if self.broken:
            return 503, [], b""
        connection = http.client.HTTPConnection(self.origin, timeout=LIMIT)
        connection.request("GET", path, headers={"If-None-Match": condition} if condition else {})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if path == JWKS_PATH and response.status == 200:
            body = with_test_key(body)
        kept = ("etag", "cache-control", "content-type")
        return response.status, [(name, value) for name, value in response.getheaders() if name.lower() in kept], body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

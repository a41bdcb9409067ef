"""A small OpenID issuer on loopback, so that the demo has a real provider. For the demo only."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

KEY_ID = "demo-issuer-key"


class DemoIssuer:
    """Serves a discovery document and a JWKS over HTTP, and signs ID tokens with RS256. A context manager."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # seconds for which a silent client may hold a thread

            def do_GET(self) -> None:  # the name that http.server calls
                body = issuer.documents().get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Cache-Control", "public, max-age=300")
                self.end_headers()
                self.wfile.write(json.dumps(body or {"error": "not found"}).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's signature
                """Log nothing, because it would mix with the demo's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-issuer", daemon=True)

    @property
    def url(self) -> str:
        """The issuer identifier, which is also the base URL of its documents."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def documents(self) -> dict[str, dict[str, object]]:
        """Return the served documents by path."""
        public: dict[str, object] = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks.json",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
            },
            "/jwks.json": {"keys": [{**public, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]},
        }

    def id_token(self, *, subject: str, audience: str, now: int, **claims: object) -> str:
        """Sign an ID token that is valid for five minutes from ``now`` (Unix seconds)."""
        payload = {"iss": self.url, "sub": subject, "aud": audience, "iat": now, "exp": now + 300, **claims}
        return jwt.encode(payload, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def __enter__(self) -> "DemoIssuer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

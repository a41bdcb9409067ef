"""A transmitter of signals over HTTP on loopback (Shared Signals Framework 1.0, RFC 8936). It records what comes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http_servers import Handler, running
from tests.issuer import Issuer

TOKEN = "of-the-transmitter"  # a test's


@dataclass
class TransmitterState:
    """The state of a transmitter."""

    issuer: Issuer
    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Replacements of members of the metadata."""
    pending: dict[str, str] = field(default_factory=dict)
    """Tokens by their `jti` that are not acknowledged."""
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each request with the right token."""
    errors: dict[str, Any] = field(default_factory=dict)
    """The `setErrs` that came."""
    status: int = 200
    answer: bytes | None = None
    """The answer to polls, in place of the right one."""

    def document(self) -> dict[str, Any]:
        """Return the configuration metadata (section 7.1)."""
        ends = {"configuration": "streams", "status": "status", "verification": "verify"}
        document: dict[str, Any] = {f"{name}_endpoint": f"{self.url}/{end}" for name, end in ends.items()}
        return {"issuer": self.url, "spec_version": "1_0", **document} | self.metadata

    def poll(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a poll (RFC 8936 section 2.3)."""
        self.errors |= body.get("setErrs", {})
        for name in (*body.get("ack", ()), *body.get("setErrs", ())):
            self.pending.pop(name, None)
        some = dict(list(self.pending.items())[: body["maxEvents"]])
        return {"sets": some, "moreAvailable": len(some) < len(self.pending)}


@contextmanager
def transmitting(issuer: Issuer) -> Iterator[TransmitterState]:
    """Serve a transmitter that is the issuer too: its documents, its keys, and its streams."""
    state = TransmitterState(issuer)

    class Answering(Handler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            document = issuer.body(path) if self.command == "GET" else None
            if path == "/.well-known/ssf-configuration":
                document = json.dumps(state.document()).encode()
            if document is not None:
                self.give(200, document)
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.give(401, b"")
            else:
                state.asked.append((self.command, self.path, body))
                self._answer(path, body)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815  # the base class has these names

        def _answer(self, path: str, body: Any) -> None:
            if state.status != 200:
                self.give(state.status, b"")
            elif path == "/poll":
                self.give(200, state.answer if state.answer is not None else json.dumps(state.poll(body)).encode())
            elif path == "/streams" and self.command == "POST":
                polled = body["delivery"]["method"] == "urn:ietf:rfc:8936"
                delivery = body["delivery"] | ({"endpoint_url": f"{state.url}/poll"} if polled else {})
                made = {"stream_id": f"s{len(state.streams)}", "iss": state.url, "aud": "app", "delivery": delivery}
                state.streams[made["stream_id"]] = made
                self.give(201, json.dumps(made).encode())
            elif path == "/streams" and self.command == "GET":
                self.give(200, json.dumps(list(state.streams.values())).encode())
            elif path == "/streams":
                gone = state.streams.pop(self.path.rpartition("=")[2], None)
                self.give(204 if gone else 404, b"")
            elif path == "/status":
                self.give(200, json.dumps({"stream_id": self.path.rpartition("=")[2], "status": "enabled"}).encode())
            else:
                self.give(204 if path == "/verify" else 404, b"")

    with running(Answering) as port:
        issuer.url = state.url = f"http://127.0.0.1:{port}"
        yield state

"""Both ways of HTTP, driven by the same request over one connection to the same service.

A head with a field that the fast way does not know takes the full way. The same request without it takes the fast way,
if its head was seen before and the fast way recognises it. Both have to agree, as in `tests/both_ways.py`.
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.both_ways import SMALL, BothWays, forget_memos, patient_near_cache
from tests.comparable import decoded, without_ids
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer
from tests.rig import AUDIENCE, Serve
from tests.sockets import PATIENCE, hang_up, place

from tokenmint.admission.audit_stream import AuditStream
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.model.drafts import TRANSACTION_TOKENS
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.web.oauth import TOKEN_EXCHANGE, TOKEN_PATH

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
FORM = "Content-Type: application/x-www-form-urlencoded"
BY_THE_FULL_WAY = "X-Way: full"
DATE = re.compile(rb"date: [^\r]+")


@dataclass
class Response:
    """A response and what changed with it."""

    head: bytes
    """Without the date."""
    body: bytes
    exchanged: int
    """Exchanges of the full way."""
    events: list[dict[str, Any]] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def told(self) -> dict[str, Any]:
        """The parts that do not differ from token to token."""
        answer = json.loads(self.body) if self.body else {}
        token = answer.pop("access_token", None)
        if token is not None:
            header, claims = decoded(token)
            assert self.events, "a token that was not recorded"
            assert claims.pop("jti") == self.events[0]["minted"][0]["jti"]
            answer |= {"header": header, "claims": claims, "order": [*json.loads(self.body)]}
        return {
            "head": self.head, "answer": answer, "events": [without_ids(event) for event in self.events],
            "counted": self.counted, "spent": self.spent,
        }  # fmt: skip


@dataclass
class Http:
    """One connection to a service's public listener."""

    ways: BothWays
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    exchanged: list[str] = field(default_factory=list)
    """The exchanges that took the full way."""
    events: list[bytes] = field(default_factory=list)
    recognised: int = 0
    cold: bool = False
    """Whether the near cache is empty before each request."""

    def forget(self) -> None:
        """Begin with a fast way that remembers nothing."""
        fast = self.ways.rig.app.listeners.public._fast
        assert fast is not None
        for key in list(fast._heads._values):
            fast._heads.forget(key)
        routes: Mapping[tuple[str, str], Any] = fast._routes
        in_force = routes["POST", TOKEN_PATH]._in_force
        in_force._made = in_force._make()
        for (_, path), route in routes.items():
            if path != TOKEN_PATH:
                route._version = None
        forget_memos(self.ways.rig.parts.near)

    async def asked(self, request: bytes) -> Response:
        """Send a request, and return the response to it."""
        self.ways.stock()
        if self.cold:
            self.ways.empty()
        _, counted, lots = self.ways._state()
        exchanged, events = len(self.exchanged), len(self.events)
        self.writer.write(request)
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            body = await self.reader.readexactly(int(length[1]) if length else 0)
        _, now, left = self.ways._state()
        return Response(
            DATE.sub(b"date", head),
            body,
            len(self.exchanged) - exchanged,
            [json.loads(line) for line in self.events[events:]],
            {name: value - counted.get(name, 0) for name, value in now.items() if value != counted.get(name, 0)},
            {key: count - left[key] for key, count in lots.items()},
        )

    async def check(
        self, body: bytes | None = None, *lines: str, recognised: bool | None = None, accepted: bool | None = None
    ) -> Response:
        """Send a request by both ways and compare; return the full way's response."""
        body = self.form() if body is None else body
        lines = lines or (self.basic(),)
        if not self.cold and not self.ways.knows_ada:
            await self.ways.warm()
        full = await self.asked(post(body, *lines, BY_THE_FULL_WAY))
        assert full.exchanged or full.status != 200
        for _ in range(2):  # the first one is learned
            tried = await self.asked(post(body, *lines))
        assert tried.told() == full.told()
        fast = tried.status == 200 and not tried.exchanged
        self.recognised += fast
        assert recognised is None or fast is recognised
        assert accepted is None or (full.status == 200) is accepted, full.body
        return full

    def basic(self, name: str = "web", secret: str | None = None) -> str:
        """The Authorization field of a client."""
        secret = self.ways.rig.secrets[name].reveal() if secret is None else secret
        return "Authorization: Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """The parameters of a request; None leaves one out."""
        usual = {
            "grant_type": TOKEN_EXCHANGE, "subject_token": self.ways.token(), "subject_token_type": ID_TOKEN,
            "audience": AUDIENCE,
        }  # fmt: skip
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def form(self, **changes: str | None) -> bytes:
        """The body of a request."""
        return urlencode(self.parameters(**changes)).encode()


def post(body: bytes, *lines: str) -> bytes:
    """Return a request of `/oauth2/token`."""
    usual = () if any(line.lower().startswith("content-type") for line in lines) else (FORM,)
    head = ["POST /oauth2/token HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *usual, *lines, "", ""]
    return "\r\n".join(head).encode() + body


@asynccontextmanager
async def both_http_ways(
    directory: Path,
    redis_url: str,
    prefix: str,
    issuer: Issuer,
    clock: FakeClock,
    entropy: FakeEntropy,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Http]:
    """Run a service with OAuth and one principal, Ada, whom both ways know, and connect to it."""
    extra = f'\n[caches]\nprofiles = 100\n[oauth]\nenabled = true\ndrafts = ["{TRANSACTION_TOKENS}"]\n{SMALL}'
    exchange, add = TokenExchange.exchange, AuditStream.add
    with patient_near_cache():
        async with Serve(directory, redis_url, prefix, issuer, clock, entropy)(extra) as rig:
            profile = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")], roles=["clerk"])
            profile.claims.update({"tenant": "engines"})
            await rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **rig.auth("root"))
            ways = BothWays(rig)
            await ways.warm()
            streams = await asyncio.open_connection(*place(rig.app.listen["http"]))
            http = Http(ways, *streams)

            async def counted(self: TokenExchange, *given: Any) -> Any:
                http.exchanged.append("full")
                return await exchange(self, *given)

            def noted(self: AuditStream, line: bytes) -> bool:
                http.events.append(line)
                return add(self, line)

            monkeypatch.setattr(TokenExchange, "exchange", counted)
            monkeypatch.setattr(AuditStream, "add", noted)
            try:
                yield http
            finally:
                await hang_up(streams[1])

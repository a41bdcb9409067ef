"""A service with an audience that another one accepts in exchange, and a watcher of its revocations."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from tests.rig import AUDIENCE, DEADLINE, Rig

from tokenmint.model.secret import Secret
from tokenmint.v1 import revocation_service_pb2 as pb

NEXT = "https://next.example"
FAR = "https://far.example"
EXTRA = """
[audiences."https://next.example"]
clients = ["web", "api"]
reexchange_from = ["https://orders.example"]
scopes = ["read"]

[audiences."https://far.example"]
clients = ["api"]
reexchange_from = ["https://next.example"]

[clients.api]
secrets = ["sha256:{api}"]
serves = ["https://orders.example", "https://next.example"]

[clients.spa]
public = true
"""
API = Secret("tms_api")
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


def extra() -> str:
    """Return the configuration of the further audiences and clients."""
    return EXTRA.format(api=API.fingerprint())


def as_api(rig: Rig) -> dict[str, Any]:
    """Arguments of a call by the client that serves the audiences."""
    rig.secrets.setdefault("api", API)
    return {"metadata": rig.auth("api")["metadata"]}


def digest(kind: str, name: str) -> bytes:
    """The digest of a name, as verifiers in any language compute it."""
    return hashlib.sha256(f"tokenmint:revoked:{kind}:{name}".encode()).digest()[:16]


def claims(token: str) -> dict[str, Any]:
    """The claims of a token, which nobody verifies here."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def exchanged(rig: Rig, token: str | None = None, audience: str = AUDIENCE, client: str = "web") -> str:
    """Exchange a provider's token, or an issued one."""
    as_api(rig)
    kind = {"subject_token_type": ACCESS} if token is not None and is_ours(token) else {}
    answer = await rig.exchange.ExchangeToken(rig.request(token, audience, **kind), **rig.auth(client))
    return answer.token


def is_ours(token: str) -> bool:
    """Return whether a token was issued by the service."""
    return bool(claims(token)["iss"] == "https://tokens.example")


@dataclass
class Watcher:
    """A verifier's set, and the last message."""

    held: dict[bytes, int] = field(default_factory=dict)
    ends: dict[bytes, float] = field(default_factory=dict)
    position: str = ""
    age: float = -1.0
    time: int = 0
    messages: int = 0
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, call: Any) -> None:
        """Take every message of a stream."""
        try:
            async for message in call:
                self.take(message)
        finally:
            self.ended = True
            self.news.set()

    def take(self, message: pb.WatchRevocationsResponse) -> None:
        """Take a message."""
        for one in message.revocations:
            self.held[one.digest] = max(one.tokens_valid_after, self.held.get(one.digest, 0))
            self.ends[one.digest] = one.expire_time.seconds
        self.position = message.position or self.position
        self.age = message.age.ToMilliseconds() / 1000
        self.time = message.time.seconds
        self.messages += 1
        self.news.set()

    async def until(self, holds: Any) -> None:
        """Wait until something holds of it."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def refuses(self, token: str) -> bool:
        """Return whether a verifier with this set refuses a token."""
        said = claims(token)
        names = [("token", said["jti"]), ("principal", said["sub"]), ("client", said["client_id"])]
        names += [("audience", said["aud"]), ("key", jwt.get_unverified_header(token)["kid"])]
        names += [("token", one) for one in said.get("tm_lineage", ())]
        act = said.get("act")
        while act:
            if "iss" not in act:
                names.append(("principal", act["sub"]))
            act = act.get("act")
        found = [self.held[one] for one in (digest(*name) for name in names) if one in self.held]
        return any(after == 0 or said["iat"] <= after for after in found)


@asynccontextmanager
async def watching(rig: Rig, audience: str = AUDIENCE, position: str = "") -> AsyncIterator[Watcher]:
    """Watch revocations, from the snapshot on."""
    watcher = Watcher()
    call = rig.watch.WatchRevocations(pb.WatchRevocationsRequest(audience=audience, position=position), **as_api(rig))
    task = asyncio.ensure_future(watcher.follow(call))
    try:
        await watcher.until(lambda: watcher.messages or task.done())
        if task.done():
            task.result()
        yield watcher
    finally:
        call.cancel()
        await asyncio.gather(task, return_exceptions=True)

"""A provider whose answers a test decides, and key sets that fetch from it on a virtual clock."""

import asyncio
import json
from collections.abc import Callable

from tests.fakes import FakeClock
from tests.issuer import jwk, rsa_key

from tokenmint.verification.key_source import FetchResult, KeySource
from tokenmint.verification.keyset import KeySets

URL = "https://idp.example/jwks.json"
SOURCE = KeySource("jwks", url=URL)


def jwks(*names: str) -> bytes:
    return json.dumps({"keys": [jwk(rsa_key(index), kid=name) for index, name in enumerate(names)]}).encode()


class FakeFetch:
    """Answers as told, and counts."""

    def __init__(self, body: bytes = b"", status: int = 200) -> None:
        self.answer: FetchResult | Exception = FetchResult(status, {}, body)
        self.answers: dict[str, FetchResult | Exception] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        self.asked.append((url, etag))
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.get(url, self.answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def serve(self, body: bytes, status: int = 200) -> None:
        self.answer = FetchResult(status, {}, body)


def sets(
    fetch: FakeFetch, clock: FakeClock, source: KeySource = SOURCE, chance: Callable[[], float] = lambda: 0.0
) -> KeySets:
    return KeySets({"idp": source}, fetch=fetch, clock=clock, chance=chance)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(30):
        await asyncio.sleep(0)

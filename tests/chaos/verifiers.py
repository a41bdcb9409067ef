"""Three kinds of verifier that keep their contract, and no more than that: none looks again for a kid it lacks."""

import asyncio
import contextlib
import heapq
import itertools
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx2
import jwt
from tests.chaos.ledger import Ledger, Minted, Refusal
from tests.chaos.plan import ALGORITHMS, ISSUER, SCHEDULE, audience
from tests.chaos.replicas import Replica

TICK: Final = 0.05  # seconds
LAST: Final = 0.4  # seconds before its expiry that a token is verified for the last time
HOLD: Final = Path(__file__).parents[1] / "interop" / "hold.mjs"
UNKNOWN_KID: Final = "ERR_JWKS_NO_MATCHING_KEY"
REFUSED: Final = frozenset({UNKNOWN_KID, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "ERR_JWKS_MULTIPLE_MATCHING_KEYS"})


@dataclass
class PyJwtVerifier:
    """PyJWT with a key set that is kept for as long as its headers say, or for C and without regard to them."""

    name: str
    fixed: bool
    fleet: list[Replica]
    ledger: Ledger
    http: httpx2.AsyncClient
    random: Random
    keys: dict[str, Any] = field(default_factory=dict)
    asked: float = 0.0
    received: float = 0.0
    until: float = 0.0

    async def verify(self, tokens: list[Minted]) -> None:
        """Verify what is due, with a key set that may still be used."""
        if time.time() >= self.until:
            await self._fetch()
        now = time.time()
        for token in tokens:
            if now >= token.expires:
                continue
            # A set that may be used for nothing but what it was asked for (max-age=0) serves this batch.
            if now >= self.until and self.asked < now - 2.5 * TICK:
                self.ledger.deferred[self.name] += 1
                continue
            self.ledger.verifications[self.name] += 1
            self._verify(token, now)

    def _verify(self, token: Minted, now: float) -> None:
        key = self.keys.get(token.key_id)
        if key is None:
            self._refuse(token, now, "unknown kid", unknown_kid=True)
            return
        try:
            jwt.decode(token.token, key, algorithms=list(ALGORITHMS), audience=audience(token.algorithm), issuer=ISSUER)
        except jwt.InvalidTokenError as error:
            if isinstance(error, jwt.ExpiredSignatureError) and time.time() >= token.expires:
                return
            self._refuse(token, now, type(error).__name__)

    def _refuse(self, token: Minted, now: float, reason: str, *, unknown_kid: bool = False) -> None:
        if unknown_kid and over(token, now, self.received):
            return
        self.ledger.refusals.append(
            Refusal(self.name, token.key_id, now, reason, unknown_kid, self.asked, self.received)
        )

    async def _fetch(self) -> None:
        replica = self.random.choice(self.fleet)
        asked = time.time()
        try:
            answer = await self.http.get(f"http://{replica.listen['http']}/.well-known/jwks.json")
        except httpx2.HTTPError:
            return  # the replica is being started again; it is another one's turn next time
        if answer.status_code != 200:
            return
        found = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
        assert found is not None
        self.keys = {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}
        self.received = time.time()
        self.asked, self.until = asked, asked + (SCHEDULE.verifier_cache if self.fixed else float(found[1]))
        self.ledger.fetched.append((asked, frozenset(self.keys)))


def over(token: Minted, asked: float, received: float) -> bool:
    """Whether a token had expired when it was verified, or when the set came: then its key may be gone."""
    return max(asked, received) >= token.expires


class JoseVerifier:
    """npm's `jose` in a process of its own: one remote key set for each replica, kept for C."""

    name = "jose"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, tuple[Minted, float]] = {}
        self._numbers = itertools.count()
        self._reader: asyncio.Task[None] | None = None

    async def start(self, fleet: list[Replica]) -> None:
        """Start the process."""
        urls = [f"http://{replica.listen['http']}/.well-known/jwks.json" for replica in fleet]
        self._process = await asyncio.create_subprocess_exec(
            "node", str(HOLD), ISSUER, str(int(SCHEDULE.verifier_cache * 1000)), *urls,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise RuntimeError("jose does not start: `npm ci --prefix tests/interop` installs it")
        self._reader = asyncio.create_task(self._read(self._process.stdout))

    async def verify(self, tokens: list[Minted]) -> None:
        """Hand over what is due."""
        assert self._process is not None
        assert self._process.stdin is not None
        for token in tokens:
            number = next(self._numbers)
            self._waiting[number] = (token, time.time())
            line = {"id": number, "set": number % 3, "token": token.token, "audience": audience(token.algorithm)}
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self, answers: asyncio.StreamReader) -> None:
        while line := await answers.readline():
            answer = json.loads(line)
            token, asked = self._waiting.pop(answer["id"])
            code = answer.get("code", "")
            if answer["ok"]:
                self._ledger.verifications[self.name] += 1
            elif code in REFUSED:
                self._ledger.verifications[self.name] += 1
                self._refuse(token, asked, code, answer)
            elif code == "ERR_JWT_EXPIRED" and time.time() >= token.expires:
                pass
            elif code in ("ERR_JWKS_TIMEOUT", "ERR_JOSE_GENERIC", "TypeError", "ECONNREFUSED", "ECONNRESET"):
                self._ledger.deferred[self.name] += 1
            else:
                self._refuse(token, asked, f"unexpected {code}", answer)

    def _refuse(self, token: Minted, asked: float, reason: str, answer: dict[str, Any]) -> None:
        fetched, received = answer["fetched"] / 1000, answer["received"] / 1000
        if reason == UNKNOWN_KID and over(token, asked, received):
            return
        # A token that was handed over while the set was fetched is judged when the set is there.
        verified = max(asked, received)
        self._ledger.refusals.append(
            Refusal(self.name, token.key_id, verified, reason, reason == UNKNOWN_KID, fetched, received)
        )

    async def stop(self) -> None:
        """End the process."""
        if self._reader is not None:
            self._reader.cancel()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Verifiers:
    """Has each token verified by all of them: at once, some time later, and shortly before it expires."""

    def __init__(self, fleet: list[Replica], ledger: Ledger, random: Random) -> None:
        self._fleet = fleet
        self._random = random
        self._due: list[tuple[float, int, Minted]] = []
        self._numbers = itertools.count()
        self._jose = JoseVerifier(ledger)
        self._http = httpx2.AsyncClient(timeout=2.0)
        self._pyjwt = [
            PyJwtVerifier(name, fixed, fleet, ledger, self._http, random)
            for name, fixed in (("PyJWT by headers", False), ("PyJWT keeping for C", True))
        ]

    def add(self, token: Minted) -> None:
        """Plan a token's verifications."""
        now = time.time()
        for when in (now, self._random.uniform(now, token.expires - LAST), token.expires - LAST):
            heapq.heappush(self._due, (when, next(self._numbers), token))

    async def run(self, stop: asyncio.Event) -> None:
        """Verify what is due until told to stop."""
        await self._jose.start(self._fleet)
        try:
            while not stop.is_set():
                await asyncio.sleep(TICK)
                now, batch = time.time(), []
                while self._due and self._due[0][0] <= now:
                    batch.append(heapq.heappop(self._due)[2])
                if batch:
                    await asyncio.gather(self._jose.verify(batch), *(one.verify(batch) for one in self._pyjwt))
        finally:
            await self._jose.stop()
            await self._http.aclose()

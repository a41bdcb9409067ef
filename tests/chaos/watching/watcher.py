"""Watches one verifier: asks it again and again whether it accepts the tokens that are revoked."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from tests.chaos.plan import ISSUER, WATCHED
from tests.chaos.watching.drivers import DriverProcess, Gone
from tests.chaos.watching.gates import Gate
from tests.chaos.watching.seen import MAX_LAG, Accepted, Period, Refused, Seen, Verifier, Watched
from tests.process import CLIENT

TICK: Final = 0.02  # seconds between two looks, while a verdict is awaited
SLOW: Final = 0.25  # seconds between two looks at a token whose verdict should not change any more
FAST_FOR: Final = 2.0  # seconds after a revocation in which each tick asks
AGAIN: Final = 1.0  # seconds before a process that ended by itself is started again
LAST: Final = 0.3  # seconds before its expiry that a token is asked about for the last time
REVOKED: Final = "REVOKED"
TOO_OLD: Final = "REVOCATIONS_UNAVAILABLE"


class Watcher:
    """One verifier's.

    Args:
        verifier: its language, and whether it fails closed.
        gate: its way to the replicas.
        jwks_url: where it gets the key set.
        log: for its standard error.
        seen: where it is written down what is seen.
    """

    def __init__(self, verifier: Verifier, gate: Gate, jwks_url: str, log: Path, seen: Seen) -> None:
        self.verifier = verifier
        self.gate = gate
        self._jwks_url = jwks_url
        self._seen = seen
        self._driver = DriverProcess(verifier.language, log)
        self._tokens: list[Watched] = []
        self._refused: set[str] = set()
        self._next: dict[str, float] = {}
        self._period: Period | None = None
        self.known = float("-inf")
        """Its set was complete as of this time or later."""
        self._killed = False

    def add(self, watched: Watched) -> None:
        """Ask about a token until it expires."""
        self._tokens.append(watched)

    def leave(self, watched: Watched) -> None:
        """Ask no more about a token."""
        self._tokens = [one for one in self._tokens if one is not watched]

    async def kill(self) -> None:
        """End the process. It is started again at once."""
        self._killed = True
        await self._driver.kill()

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until told to stop."""
        try:
            while not stop.is_set():
                self.known = float("-inf")
                try:
                    await self._driver.start(self._configuration())
                    await self._ask(stop)
                except Gone as gone:
                    await self._driver.kill()
                    self._ends_period(time.time())
                    if not self._killed:
                        (self._seen.silent if self._driver.silent else self._seen.ended).append(str(gone))
                        await asyncio.sleep(AGAIN)
                    self._killed = False
        finally:
            await self._driver.kill()

    def _configuration(self) -> dict[str, Any]:
        failing = {"revocations": "refuse", "max_lag": MAX_LAG} if self.verifier.closed else {"revocations": "accept"}
        return failing | {
            "target": self.gate.place, "issuer": ISSUER, "jwks_url": self._jwks_url,
            "credential": {"kind": "secret", "client_id": "watcher", "secret": CLIENT.reveal()},
        }  # fmt: skip

    async def _ask(self, stop: asyncio.Event) -> None:
        looked = float("-inf")
        while not stop.is_set():
            now = time.time()
            self._tokens = [one for one in self._tokens if now < one.expires - LAST]
            due = [one for one in self._tokens if now >= self._next.get(one.token, 0.0)]
            if due or now >= looked + SLOW:
                looked = now
                await self._ask_lag()
            for watched in due:
                self._next[watched.token] = time.time() + self._pause(watched)
                await self._ask_about(watched)
            await asyncio.sleep(TICK)

    def _pause(self, watched: Watched) -> float:
        language = self.verifier.language
        if watched.token in self._refused or (watched.asked is None and language in watched.accepted_by):
            return SLOW
        late = watched.revoked is not None and time.time() > watched.revoked + FAST_FOR
        return SLOW if late else 0.0

    async def _ask_lag(self) -> None:
        asked = time.time()
        answer = (await self._driver.ask({"do": "lag", "audience": WATCHED})).get("ok", {})
        if answer.get("lag") is None:
            return
        self.known = asked - answer["lag"]
        if answer["lag"] < MAX_LAG:
            self._ends_period(asked)
        for cut in self._seen.cuts:
            if cut.language == self.verifier.language and cut.caught_up is None and self.known >= cut.ended:
                cut.caught_up = time.time()

    async def _ask_about(self, watched: Watched) -> None:
        known, asked, language = self.known, time.time(), self.verifier.language
        answer = await self._driver.ask({"do": "verify", "token": watched.token, "audience": WATCHED})
        answered, reason = time.time(), answer.get("error", {}).get("reason", "")
        if "ok" in answer:
            if watched.revoked is not None and asked > watched.revoked:
                self._seen.accepted.append(Accepted(language, watched, asked, answered, known))
            elif watched.asked is None:
                watched.accepted_by.add(language)
        elif reason == TOO_OLD and self._period is None and self.verifier.closed:
            self._period = Period(language, asked)
            self._seen.periods.append(self._period)
        elif reason == REVOKED and language in watched.accepted_by and watched.token not in self._refused:
            self._refused.add(watched.token)
            if watched.asked is None:  # its key was revoked
                watched.accepted_by.discard(language)
            else:
                self._seen.refused.append(Refused(language, watched, asked, answered))

    def _ends_period(self, when: float) -> None:
        if self._period is not None:
            self._period.ended, self._period = when, None

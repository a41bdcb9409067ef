"""Verifiers of four languages that follow revocations, from their start to their end."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.load import serving
from tests.chaos.quiet import Quiet
from tests.chaos.replicas import Replica
from tests.chaos.watching.cuts import keep_cutting
from tests.chaos.watching.gates import Gate
from tests.chaos.watching.key_sets import KeySets
from tests.chaos.watching.revoker import Revoker
from tests.chaos.watching.seen import Seen, Verifier
from tests.chaos.watching.watcher import Watcher
from tests.issuer import Issuer

BACK: Final = 60.0  # seconds for every verifier to be up to date again, in calm, on a busy machine
LOOK: Final = 0.05  # seconds


class Watching:
    """Everything that follows revocations, and what is done to it.

    Args:
        fleet: the replicas.
        issuer: the provider.
        seed: chooses who fails closed, what is revoked, and what is cut.
        quiet: held while the store is made to forget.
        seen: where it is written down what is seen.
    """

    def __init__(self, fleet: list[Replica], issuer: Issuer, seed: int, quiet: Quiet, seen: Seen) -> None:
        self._fleet = fleet
        self._issuer = issuer
        self._random = Random(f"watching {seed}")
        self._seed = seed
        self._quiet = quiet
        self._seen = seen
        self._watchers: list[Watcher] = []
        self._key_sets = KeySets(fleet, self._random)

    @contextlib.asynccontextmanager
    async def running(self, languages: list[str], logs: Path) -> AsyncIterator[None]:
        """Have the gates and the key set of the verifiers, until the end of the block."""
        with self._key_sets.running() as jwks_url:
            try:
                for place, language in enumerate(languages):
                    verifier = Verifier(language, closed=(place + self._seed) % 2 == 0)
                    gate = Gate(language, self._choose, self._seen.connections)
                    await gate.start()
                    self._seen.verifiers[language] = verifier
                    watcher = Watcher(verifier, gate, jwks_url, logs / f"{language}.log", self._seen)
                    self._watchers.append(watcher)
                yield
            finally:
                for watcher in self._watchers:
                    await watcher.gate.stop()

    async def run(self, calm: asyncio.Event, over: asyncio.Event) -> None:
        """Follow and revoke until ``over``, and cut until ``calm``."""
        if not self._watchers:
            return
        revoker = Revoker(self._fleet, self._issuer, self._random, self._quiet, self._watchers, self._seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._key_sets.fetch(over))
            for watcher in self._watchers:
                group.create_task(watcher.run(over))
            group.create_task(revoker.keep_revoking(over))
            group.create_task(keep_cutting(self._watchers, self._random, self._seen, calm))

    async def settle(self) -> None:
        """Wait until every verifier is up to date, and write down those that are not after :data:`BACK` seconds."""
        began = time.time()
        while behind := [one.verifier.language for one in self._watchers if one.known < began]:
            if time.time() > began + BACK:
                self._seen.behind += behind
                return
            await asyncio.sleep(LOOK)

    def _choose(self) -> tuple[int, str] | None:
        there = serving(self._fleet)
        if not there:
            return None
        chosen = self._random.choice(there)
        return chosen.number, chosen.listen["grpc"]

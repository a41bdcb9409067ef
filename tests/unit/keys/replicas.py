"""Replicas of one ring in one process, on a real store."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fakes import FakeClock, FakeEntropy

from tokenmint.base.clock import Clock
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.local import LocalSource
from tokenmint.keys.signers.types import KeySource
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.store import RingStore
from tokenmint.model.secret import Secret
from tokenmint.storage.redis import Store

KEK = Secret(b"k" * 32)


@dataclass
class Replica:
    """A process's view of the ring."""

    signing_keys: SigningKeys
    rotator: Rotator
    mark: HighWaterMark

    async def start(self) -> None:
        await self.rotator.start()

    def signs_with(self, algorithm: str = "ES256") -> str:
        """The id of the key that it signs with."""
        return self.signing_keys.signer(algorithm).key_id


class Machine:
    """Makes replicas on one store. They share the clock, which is the store's too, and the mark by default."""

    def __init__(self, store: Store, clock: FakeClock, directory: Path) -> None:
        self._store = store
        self._clock = clock
        self._directory = directory
        self._count = itertools.count()

    def replica(
        self,
        algorithms: tuple[str, ...] = ("ES256",),
        kek: Secret = KEK,
        others: tuple[Secret, ...] = (),
        mark: str = "mark.json",
        source: KeySource | None = None,
        own_clock: Clock | None = None,
        may_begin: Callable[[], bool] = lambda: True,
        **schedule: float,
    ) -> Replica:
        number = next(self._count)
        sealer = Sealer(kek, FakeEntropy(number), others)
        local = LocalSource(sealer)
        sources: dict[str, KeySource] = {local.name: local}
        if source is not None:
            sources[source.name] = source
        kept = HighWaterMark(self._directory / mark)
        clock, timing = own_clock or self._clock, Schedule(**schedule)
        clocks = ClockCheck(self._clock.store_time, clock, timing.skew)
        ring = RingStore(self._store)
        signing_keys = SigningKeys(ring, sources, timing, kept, clocks=clocks, clock=clock, replica=f"replica-{number}")
        name = source.name if source is not None else local.name
        rotator = Rotator(signing_keys, sources, name, sealer, algorithms, clock=clock, may_begin=may_begin)
        return Replica(signing_keys, rotator, kept)

"""Which fault comes when: every kind has its turn before one comes again."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tests.chaos.faults import clock_jumps, connections, hangs, log_readers, old_stores, processes, stores, versions
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.stores import Topology

QUIET: Final = (0.5, 2.0)  # seconds between two faults


def kinds_of(topology: Topology, *, clocks: bool, two_versions: bool = False) -> list[Kind]:
    """Return all that can be done to a fleet on a store."""
    kinds = [*processes.KINDS, *hangs.KINDS, *log_readers.KINDS, hangs.HANG]
    kinds += versions.KINDS if two_versions else ()
    kinds += clock_jumps.KINDS if clocks else ()
    kinds += stores.kinds(topology)
    if topology.one_server:
        kinds += [*connections.KINDS, *old_stores.KINDS]
    return kinds


class Faults:
    """Chooses and does."""

    def __init__(self, scene: Scene, kinds: Sequence[Kind], pause: tuple[float, float] = QUIET) -> None:
        self._scene = scene
        self._kinds = list(kinds)
        self._pause = pause
        self.rounds = 0
        """How often every kind had its turn."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do one thing after another until told to stop."""
        while not stop.is_set():
            for part in self._round():
                await self._do_all(part, stop)
            self.rounds += not stop.is_set()

    def _round(self) -> list[list[Kind]]:
        """Return every kind, those that touch the store apart: no worker may be started while one does."""
        apart = [[kind for kind in self._kinds if kind.on_store is on_store] for on_store in (False, True)]
        for part in apart:
            self._scene.random.shuffle(part)
        self._scene.random.shuffle(apart)
        return [part for part in apart if part]

    async def _do_all(self, kinds: list[Kind], stop: asyncio.Event) -> None:
        """Do what is given, one after another, and beside it what takes half a minute of waiting."""
        aside = [asyncio.create_task(kind.do(self._scene)) for kind in kinds if kind is hangs.HANG]
        try:
            for kind in kinds:
                if kind is not hangs.HANG:
                    await self._do(kind, stop)
            for task in aside:
                await task
        finally:
            for task in aside:
                task.cancel()

    async def _do(self, kind: Kind, stop: asyncio.Event) -> None:
        await asyncio.sleep(self._scene.random.uniform(*self._pause))
        if not stop.is_set():
            await kind.do(self._scene)

    async def run_once(self, names: Sequence[str], stop: asyncio.Event) -> None:
        """Do what is named, in this order."""
        known = {kind.name: kind for kind in self._kinds}
        for name in names:
            await self._do(known[name], stop)
        self.rounds = 1

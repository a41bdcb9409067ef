"""The near cache before a Cluster, in random histories: no value outlives its change by more than the heartbeat.

The nodes are modelled: each reports its changes in order, answers questions about its slots, and may be silent, be cut
off, or give its keys away. Reads may arrive late.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes import FakeClock

from tokenmint.base.errors import StoreUnavailable
from tokenmint.profiles.near_cache import HEARTBEAT, PROFILE, NearCache
from tokenmint.storage.reading import Reading
from tokenmint.storage.tracking import Changes

KEYS = ("profile:a", "profile:b", "profile:c")
NODES = ("one", "two")


@dataclass(frozen=True)
class Claimed:
    """The keys that a node claims. The own key of a process is always there."""

    node: str
    keys: frozenset[str]

    def serve(self, key: str) -> bool:
        return key in self.keys

    def name_within(self, base: str) -> str:
        return f"{base}:{self.node}"


@dataclass
class Node:
    """A primary, and the connection on which it reports."""

    name: str
    tracked: bool = False
    silent: bool = False
    waiting: deque[tuple[str, float, Claimed | None]] = field(default_factory=deque)
    """Reports and answers on their way: a changed key, or "" and the time of the question."""

    def report(self, key: str) -> None:
        if self.tracked:
            self.waiting.append((key, 0.0, None))


class World:
    """The nodes, their values with the times of all changes, and the cache."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.nodes = {name: Node(name) for name in NODES}
        self.owner = {key: NODES[index % 2] for index, key in enumerate(KEYS)}
        self.history: dict[str, list[tuple[float, bytes | None]]] = {key: [(0.0, None)] for key in KEYS}
        self.landing: list[asyncio.Event] = []
        self.reads: list[asyncio.Task[bytes | None]] = []
        self.used = 0
        self.versions = itertools.count(1)
        self.cache = NearCache(self, ("profile:",), 100 * PROFILE, self.clock, "p")  # type: ignore[arg-type]

    # --- the store ---

    async def read_many(self, keys: Sequence[str]) -> Reading:
        values, nodes = [self.history[key][-1][1] for key in keys], [self.owner[key] for key in keys]
        landed = asyncio.Event()
        self.landing.append(landed)
        await landed.wait()
        return Reading(list(values), nodes)

    async def touch(self, key: str, *, ttl: float) -> None:
        self.nodes[key.rpartition(":")[2]].report(key)

    # --- events ---

    def write(self, key: str, value: bytes | None) -> None:
        self.history[key].append((self.clock.monotonic(), value))
        self.nodes[self.owner[key]].report(key)

    def move(self, key: str) -> None:
        source = self.owner[key]
        self.owner[key] = NODES[1 - NODES.index(source)]
        if self.history[key][-1][1] is not None:
            self.nodes[source].report(key)  # it was deleted there
            self.nodes[self.owner[key]].report(key)

    def ask(self, node: Node) -> None:
        if node.tracked and not node.silent:
            claim = Claimed(node.name, frozenset(key for key, owner in self.owner.items() if owner == node.name))
            node.waiting.append(("", self.clock.monotonic(), claim))

    def deliver(self, node: Node) -> None:
        if not node.waiting or node.silent:
            return
        key, asked, claim = node.waiting.popleft()
        if claim is None:
            self.cache._note(Changes([key], None, node.name))
        else:
            slots: Any = claim
            self.cache._note(Changes((), self.clock.monotonic() - asked, node.name, slots))

    def cut(self, node: Node) -> None:
        node.tracked, node.silent = False, False
        node.waiting.clear()
        self.cache._note(Changes((), None, node.name, lost=StoreUnavailable()))

    def connect(self, node: Node) -> None:
        if not node.tracked:
            node.tracked = True

    def check(self) -> None:
        now = self.clock.monotonic()
        for key in KEYS:
            entry = self.cache.peek(key, now)
            if entry is None:
                continue
            self.used += 1
            history = self.history[key]
            ended = [then for (_, value), (then, _) in itertools.pairwise(history) if value == entry.raw]
            current = history[-1][1] == entry.raw
            assert current or (ended and now - ended[-1] <= HEARTBEAT), (key, entry.raw, history, now)

    async def round(self, _: int) -> None:
        """Ask, report and prove, as happens all the time where nothing fails."""
        for node in self.nodes.values():
            self.connect(node)
            self.ask(node)
            self.deliver_all(node)
        await asyncio.sleep(0)
        await self.cache._prove()
        for node in self.nodes.values():
            self.ask(node)
            self.deliver_all(node)

    def deliver_all(self, node: Node) -> None:
        while node.waiting and not node.silent:
            self.deliver(node)

    def land(self, number: int) -> None:
        for landed in self.landing[: 1 + number % 3]:
            landed.set()
        del self.landing[: 1 + number % 3]

    def silence(self, node: Node) -> None:
        node.silent = node.tracked

    async def prove(self, _: int) -> None:
        await self.cache._prove()

    def step(self, what: str, number: int) -> Awaitable[None] | None:
        """Take a step; return what has to be awaited."""
        key, node = KEYS[number % len(KEYS)], self.nodes[NODES[number % 2]]
        if what == "write":
            self.write(key, None if number % 5 == 4 else str(next(self.versions)).encode())
        elif what == "read":
            self.reads.append(asyncio.ensure_future(self.cache.get(key)))
        elif what == "pass":
            self.clock.advance((1 + number) / 5)
        elif what == "move":
            self.move(key)
        elif what in ("land", "round", "prove"):
            done: Awaitable[None] | None = getattr(self, what)(number)
            return done
        else:
            getattr(self, what)(node)
        return None

    async def play(self, steps: Sequence[tuple[str, int]]) -> None:
        for what, number in steps:
            waited = self.step(what, number)
            if waited is not None:
                await waited
            for _ in range(4):  # what is ready runs
                await asyncio.sleep(0)
            self.check()

    async def end(self) -> None:
        """Let every read come to its end."""
        while not all(read.done() for read in self.reads):
            self.land(2)
            await asyncio.sleep(0)
            if self.cache._pending:
                self.cache._send()


STEPS = ("write", "move", "read", "land", "pass", "prove", "round", "silence", "ask", "deliver", "cut", "connect")
USED: Sequence[tuple[str, int]] = [
    ("round", 0), ("read", 0), ("read", 1), ("read", 2), ("land", 2), ("land", 2), ("round", 0),
]  # fmt: skip
"""Every value is in the cache."""
often = ("write", "read", "read", "land", "land", "pass", "ask", "deliver", "deliver", "round")
step = st.tuples(st.sampled_from((*STEPS, *often)), st.integers(0, 5))


LATE_ANSWER: Sequence[tuple[str, int]] = [
    ("ask", 0), ("pass", 0), ("write", 0), ("pass", 3), ("deliver", 0), ("pass", 3),
]  # fmt: skip
"""An answer counts from its question."""
LATE_READ: Sequence[tuple[str, int]] = [
    ("cut", 0), ("read", 0), ("write", 0), ("round", 0), ("land", 2), ("pass", 5), ("round", 0),
]  # fmt: skip
"""A read began before its server reported changes."""
ABSENT_KEY: Sequence[tuple[str, int]] = [
    ("cut", 1), ("move", 0), ("write", 0), ("pass", 5), ("ask", 0), ("deliver", 0),
]  # fmt: skip
"""An absent key moves, so no node reports its deletion, and its new node reports nothing."""
UNCLAIMED_KEY: Sequence[tuple[str, int]] = [
    ("cut", 0), ("move", 0), ("read", 0), ("land", 2), ("move", 0), ("write", 0), ("pass", 5), ("ask", 1),
    ("deliver", 1),
]  # fmt: skip
"""A key is on a node for a moment, which never claimed it."""


@example(LATE_ANSWER)
@example(LATE_READ)
@example(ABSENT_KEY)
@example(UNCLAIMED_KEY)
@given(st.lists(step, min_size=5, max_size=40))
def test_no_value_outlives_its_change_by_more_than_the_heartbeat(steps: Sequence[tuple[str, int]]) -> None:
    async def run() -> None:
        world = World()
        await world.play([*USED, *steps])
        await world.end()

    asyncio.run(run())


def test_in_a_quiet_history_values_are_used() -> None:
    world = World()
    asyncio.run(world.play([("round", 0), *[("read", 0), ("land", 2), ("round", 0)] * 3]))
    assert world.used > 0


async def test_the_loss_of_one_server_ends_the_use_of_its_values_alone() -> None:
    world = World()
    await world.play(USED)
    now = world.clock.monotonic()
    assert [world.cache.peek(key, now) is not None for key in KEYS] == [True, True, True]
    world.cut(world.nodes["one"])
    assert [world.cache.peek(key, now) is not None for key in KEYS] == [False, True, False]
    assert not world.cache.live
    world.connect(world.nodes["one"])
    await world.play([("round", 0)])
    assert [world.cache.peek(key, now) is not None for key in KEYS] == [False, True, False], "read anew, not revived"


async def test_the_slots_of_a_server_change_and_so_its_values_are_read_anew() -> None:
    """An absent key is not deleted when its slot moves, so nothing would be reported."""
    world = World()
    await world.play([("round", 0), ("read", 0), ("land", 2), ("round", 0)])
    now = world.clock.monotonic()
    assert world.cache.peek(KEYS[0], now) is not None
    world.move(KEYS[0])
    world.ask(world.nodes["one"])
    world.deliver(world.nodes["one"])
    assert world.cache.peek(KEYS[0], now) is None


async def test_a_server_that_is_no_primary_any_more_is_no_failure() -> None:
    world = World()
    await world.play([("round", 0)])
    world.cache._note(Changes((), None, "one", lost=StoreUnavailable()))
    live = [world.cache.live]
    world.cache._note(Changes((), None, "one", over=True))
    assert [*live, world.cache.live] == [False, True]
    assert list(world.cache._lanes) == ["two"]


async def test_a_value_of_an_unknown_server_is_not_remembered() -> None:
    world = World()
    await world.play([("round", 0)])
    world.owner[KEYS[0]] = ""
    await world.play([("read", 0), ("land", 0)])
    assert len(world.cache) == 0

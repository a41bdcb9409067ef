"""The key ring in the store is one value, changed by compare-and-swap."""

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from typing import Any, Final

from tokenmint.base.errors import CorruptRecord
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.storage.listening import Notice
from tokenmint.storage.redis import Store
from tokenmint.storage.replies import number

KEY: Final = "ring"
REPLICAS: Final = "ring-replicas"
LEASE: Final = "ring-lease"
VERSION: Final = 1
_MAX_NUMBER: Final = 2**53
"""Counters and lifetimes stay below: a float does not represent all larger integers."""
_RENAMED: Final = {"handle": "key_ref"}
"""Members of a key under the names that earlier versions write."""


class RingStore:
    """Reads, changes and follows the ring. Raises as :class:`Store` does, and ``CorruptRecord``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._beat = f"{{{store.prefix}{KEY}}}-beat"

    async def read(self) -> tuple[bytes | None, KeyRing | None]:
        """Return the stored bytes, for a swap to compare, and the ring parsed from them."""
        raw = await self._store.get(KEY)
        return raw, parse(raw) if raw is not None else None

    async def clock(self) -> float:
        """Return the clock of the server that holds the ring, in Unix seconds."""
        return await self._store.clock_of(KEY)

    async def swap(self, expected: bytes | None, ring: KeyRing, *, until: float | None = None) -> bool:
        """Replace ``expected`` by ``ring`` and notify the other replicas. Returns whether ``expected`` was stored.

        After ``until``, by :meth:`clock`, nothing is stored, because the times in the ring would be outdated.
        """
        return await self._store.swap(KEY, expected, dump(ring), channel=KEY, notice=str(ring.generation), until=until)

    async def beat(self, by: int = 1) -> int:
        """Raise the store's beat by ``by`` and return it, confirmed as durable. Raises as :meth:`Store.count`.

        The beat only grows, so a smaller one proves a loss. In a Cluster it is on the node that holds the ring.
        """
        return await self._store.count(self._beat, by)

    def expect(self, beat: int, within: int, noticed: Callable[[], object]) -> None:
        """Trust a missing value only while the store's beat is one of the ``within`` values from ``beat`` on.

        As :meth:`Store.expect`.
        """
        self._store.expect(self._beat, range(beat, beat + within), noticed)

    async def last_beat(self) -> int:
        """Return the beat, which may not be confirmed yet; 0 if there is none."""
        raw = await self._store.get(self._beat)
        return number(raw) or 0

    async def acknowledge(self, replica: str, generation: int, ttl: float) -> None:
        """Announce the generation that this replica serves; the replica counts as live for ``ttl`` seconds."""
        await self._store.join(REPLICAS, replica, str(generation), ttl=ttl)

    async def replicas(self) -> dict[str, int]:
        """Return the live replicas and the generation that each serves."""
        members = await self._store.members(REPLICAS)
        return {replica: int(value) for replica, value in members.items() if value.isdecimal()}

    async def lease(self, holder: str, *, ttl: float, above: int) -> int:
        """Return the fencing token with which ``holder`` may advance the ring for ``ttl`` seconds, or 0."""
        return await self._store.lease(LEASE, holder, ttl=ttl, above=above)

    def changes(self) -> AsyncGenerator[Notice, None]:
        """Yield whenever the ring may have changed, beginning once the subscription stands."""
        return self._store.listen(KEY)


def dump(ring: KeyRing) -> bytes:
    """Return the stored form."""
    keys = [asdict(key) | {"public_jwk": dict(key.public_jwk)} for key in ring.keys]
    value = {
        "v": VERSION,
        "lineage": ring.ring_id,
        "generation": ring.generation,
        "fence": ring.fence,
        "max_lifetime": ring.max_lifetime,
        "keys": keys,
        "losses": ring.losses,
        "losses_accepted": ring.losses_accepted,
        "disowned": list(ring.disowned),
    }
    return json.dumps(value, separators=(",", ":")).encode()


def parse(raw: bytes) -> KeyRing:
    """Read the stored form. Raises ``CorruptRecord`` for anything else."""
    try:
        value: Any = json.loads(raw)
        if value["v"] != VERSION or not isinstance(value["lineage"], str):
            raise TypeError
        keys = tuple(_key(item) for item in value["keys"])
        ring = KeyRing(
            value["lineage"],
            int(value["generation"]),
            int(value["fence"]),
            float(value["max_lifetime"]),
            keys,
            # Earlier versions drop these fields; a replica that holds them restores them.
            int(value.get("losses", 0)),
            int(value.get("losses_accepted", 0)),
            tuple(map(str, value.get("disowned", ()))),
        )
        # A merge keeps the larger of two numbers, so a number out of range would stay for ever.
        numbers = (ring.generation, ring.fence, ring.max_lifetime, ring.losses, ring.losses_accepted)
        if not all(0 <= number < _MAX_NUMBER for number in numbers):
            raise TypeError
        return ring
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise CorruptRecord(detail=f"{KEY}: not a key ring of version {VERSION}") from None


def _key(item: dict[str, Any]) -> SigningKey:
    item = {_RENAMED.get(name, name): value for name, value in dict(item).items()}
    key = SigningKey(**(item | {"state": KeyState(item["state"])}))
    fields: list[tuple[object, type]] = [(key.key_id, str), (key.publish_time, float), (key.public_jwk, dict)]
    if not all(isinstance(value, kind) for value, kind in fields):
        raise TypeError
    return key

"""The key set that this process publishes: the keys of its ring, and those of the other regions."""

import asyncio
from dataclasses import replace

from tokenmint.keys.published import MOST_KEPT, NO_REGIONS, PublishedKeySet, max_age_at, next_change, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, RegionKey, RegionKeys


class Publication:
    """Holds the published key set.

    Args:
        schedule: the timing rules.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._ring = KeyRing(ring_id="")
        self._others = NO_REGIONS
        self._by_id: dict[str, RegionKey] = {}
        self._next_change = float("inf")
        self._set = publish(self._ring, schedule)
        self.changed = asyncio.Event()
        """Set when the key set changes; the next change has another event."""

    def of_ring(self, ring: KeyRing) -> None:
        """Publish the keys of ``ring`` from now on."""
        self._ring = ring
        self._next_change = next_change(ring, self._schedule)
        self._publish()

    def of_others(self, others: RegionKeys) -> None:
        """Publish these keys of other regions from now on. The caller guarantees that none has an id of the ring."""
        if others != self._others:
            self._others = others
            self._by_id = {key.key_id: key for key in others.keys}
            self._publish()

    def other(self, key_id: str) -> RegionKey | None:
        """Return the key of another region with this id."""
        return self._by_id.get(key_id)

    def current(self, now: float) -> PublishedKeySet:
        """Return the key set, with the time for which it may be cached when it is fetched ``now``."""
        max_age = max_age_at(self._next_change, self._schedule, now)
        return replace(self._set, max_age=max_age) if max_age != self._set.max_age else self._set

    def detail(self) -> str:
        """Return a message for operators if the set has more keys than verifiers keep, or ""."""
        count = len(self._set.keys)
        if count <= MOST_KEPT:
            return ""
        return (
            f"the key set has {count} keys, and verifiers keep {MOST_KEPT}: they refuse tokens of the oldest keys. "
            "Rotate less often, or let tokens live shorter, in all regions"
        )

    def _publish(self) -> None:
        before, self._set = self._set, publish(self._ring, self._schedule, self._others)
        if self._set.etag != before.etag:
            self.changed.set()
            self.changed = asyncio.Event()

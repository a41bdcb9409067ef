"""The records of the other regions in this region's store. Each is one value, changed by compare-and-swap."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final

from tokenmint.base.errors import Conflict
from tokenmint.regions import copied, given_up, records
from tokenmint.regions.copied import Copied
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.records import Record
from tokenmint.storage.listening import Notice
from tokenmint.storage.redis import Store

COPIED: Final = "region-profiles:"
CHANNEL: Final = "regions"
ATTEMPTS: Final = 8  # compare-and-swap rounds before a change is called a conflict


class RegionStore:
    """Reads, changes and follows the records. What is changed is confirmed as durable.

    Every method raises ``StoreUnavailable`` and ``CorruptRecord``; changes raise ``OutcomeUnknown`` and ``Conflict``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, region: str) -> Record | None:
        """Return the record of a region."""
        key = f"region:{region}"
        raw = await self._store.get(key)
        return records.parse(key, raw, region) if raw is not None else None

    async def given_up(self) -> dict[str, GivenUp]:
        """Return the regions that were given up."""
        return given_up.parse(await self._store.get(given_up.KEY))

    async def change(self, region: str, change: Callable[[Record | None], Record]) -> Record:
        """Change a region's record, and tell the other replicas. ``change`` runs again after a concurrent change."""
        key = f"region:{region}"
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            before = records.parse(key, raw, region) if raw is not None else None
            after = change(before)
            if after == before or await self._store.swap(key, raw, records.dump(after), channel=CHANNEL, notice=region):
                return after
        raise Conflict()

    async def give_up(self, statements: Mapping[str, GivenUp]) -> dict[str, GivenUp]:
        """Add regions that were given up; return all of them. One that is there already stays as it is."""
        for _ in range(ATTEMPTS):
            raw = await self._store.get(given_up.KEY)
            before = given_up.parse(raw)
            after = {**statements, **before}
            if after == before:
                await self._store.confirm(given_up.KEY)  # an earlier attempt may have left it unconfirmed
                return before
            if await self._store.swap(given_up.KEY, raw, given_up.dump(after), channel=CHANNEL, notice="given up"):
                return after
        raise Conflict()

    async def copied(self, region: str) -> tuple[bytes | None, Copied]:
        """Return the state of the copies of a region's profiles: as it is stored, and read."""
        key = f"{COPIED}{region}"
        raw = await self._store.get(key)
        return raw, copied.parse(key, raw, region)

    async def note_copied(self, before: bytes | None, state: Copied) -> bytes | None:
        """Replace the state of the copies, and tell the other replicas; return its stored form, or None if another
        replica was faster.
        """
        raw = copied.dump(state)
        made = await self._store.swap(f"{COPIED}{state.region}", before, raw, channel=CHANNEL, notice=state.region)
        return raw if made else None

    async def lease(self, region: str, holder: str, ttl: float) -> bool:
        """Return whether this process pulls from a region for the next ``ttl`` seconds."""
        return bool(await self._store.lease(f"region-lease:{region}", holder, ttl=ttl, above=0))

    def notices(self) -> AsyncGenerator[Notice, None]:
        """Yield whenever a record may have changed, beginning once the subscription stands."""
        return self._store.listen(CHANNEL)

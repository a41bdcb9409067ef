"""Who fetched the key set, and which: so that an operator sees who has not got the next key yet.

Kept by address and program, since a key set is public and nobody has to say who they are. Bounded, and no promise: what
was seen in the last seconds before a crash may be lost.
"""

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import structlog

from tokenmint.base.background import Background
from tokenmint.base.clock import Clock
from tokenmint.base.errors import StoreUnavailable
from tokenmint.base.foreign_text import clipped
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import KeyState
from tokenmint.storage.redis import Store

log = structlog.get_logger(__name__)

KEY: Final = "key-set-verifiers"
LIMIT: Final = 1000
AGENT_LIMIT: Final = 100  # bytes
INTERVAL: Final = 5.0  # seconds between writes
_ATTEMPTS: Final = 4
_NEWS: Final = 60.0  # seconds after which the same sighting is worth writing again


@dataclass(frozen=True, slots=True)
class Sighting:
    """A verifier that fetched a key set."""

    address: str
    agent: str
    """What it calls itself: the User-Agent."""
    generation: int
    """The generation of the newest set that it has fetched."""
    time: float
    """When it last asked, Unix seconds."""


@dataclass(frozen=True, slots=True)
class KnownVerifier:
    """A sighting, and what follows from it."""

    sighting: Sighting
    missing: tuple[str, ...]
    """Ids of prepared keys that it has not fetched yet."""


class JwksFetchLog:
    """Collects sightings of all replicas in one value of the store."""

    def __init__(self, store: Store, signing_keys: SigningKeys, clock: Clock) -> None:
        self._store = store
        self._signing_keys = signing_keys
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], Sighting] = OrderedDict()
        self._news: dict[tuple[str, str], Sighting] = {}

    def saw(self, address: str, agent: str, generation: int) -> None:
        """Note that a verifier fetched the set of ``generation``."""
        who = (clipped(address), clipped(agent, AGENT_LIMIT))
        now = self._clock.now()
        before = self._seen.pop(who, None)
        if before is not None and before.generation == generation and now - before.time < _NEWS:
            self._seen[who] = before
            return
        self._seen[who] = self._news[who] = Sighting(*who, generation, now)
        for things in (self._seen, self._news):
            if len(things) > LIMIT:
                del things[next(iter(things))]

    def follow(self, background: Background) -> None:
        """Write what is new, for ever."""
        background.every("known verifiers", INTERVAL, self.flush)

    async def flush(self) -> None:
        """Write what is new. Raises ``StoreUnavailable``; what could not be written stays for the next time."""
        if not self._news:
            return
        news = dict(self._news)
        for _ in range(_ATTEMPTS):
            raw = await self._store.get(KEY)
            now = self._clock.now()  # a time to come, of a clock that was wrong, would keep its place for as long
            known = {(one.address, one.agent): replace(one, time=min(one.time, now)) for one in _parse(raw)}
            for who, sighting in news.items():
                other = known.get(who)
                newest = max(sighting.generation, other.generation) if other is not None else sighting.generation
                known[who] = Sighting(*who, newest, max(sighting.time, other.time if other is not None else 0.0))
            kept = sorted(known.values(), key=lambda one: -one.time)[:LIMIT]
            value = json.dumps([asdict(one) for one in kept], separators=(",", ":")).encode()
            if await self._store.swap(KEY, raw, value, durable=False):
                for who, sighting in news.items():
                    if self._news.get(who) is sighting:
                        del self._news[who]
                return
        raise StoreUnavailable(detail=f"{KEY}: changed too often")

    async def known(self) -> list[KnownVerifier]:
        """Return who fetched the key set lately, those that miss a prepared key first. Raises ``StoreUnavailable``.

        Who has not asked for twice as long as any verifier keeps a set is taken to be gone.
        """
        await self.flush()
        schedule = self._signing_keys.schedule
        oldest = self._clock.now() - 2 * max(schedule.max_age, schedule.verifier_cache)
        prepared = [key for key in self._signing_keys.ring.keys if key.state is KeyState.PREPARED]
        known = [
            KnownVerifier(one, tuple(key.key_id for key in prepared if key.publish_generation > one.generation))
            for one in _parse(await self._store.get(KEY))
            if one.time >= oldest
        ]
        return sorted(known, key=lambda one: (not one.missing, -one.sighting.time))


def _parse(raw: bytes | None) -> list[Sighting]:
    """Read the stored form; what is none is begun anew, since it is only an aid."""
    try:
        value: Any = json.loads(raw or b"[]")
        return [
            Sighting(str(one["address"]), str(one["agent"]), int(one["generation"]), float(one["time"]))
            for one in value
        ]
    except (ValueError, KeyError, TypeError):
        log.error("the sightings of verifiers can't be read and are begun anew", key=KEY)  # noqa: TRY400
        return []

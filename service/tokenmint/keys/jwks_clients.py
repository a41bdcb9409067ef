"""A log of the key-set fetches by verifiers, so that an operator sees which verifiers lack the next key.

Entries are kept by address and program, because the key set is public and fetches are not authenticated. The log is
bounded and best-effort: a crash may lose the last seconds.
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
_NEWS: Final = 60.0  # seconds after which an unchanged sighting is written again


@dataclass(frozen=True, slots=True)
class Sighting:
    """A verifier that fetched a key set."""

    address: str
    agent: str
    """The User-Agent header."""
    generation: int
    """The generation of the newest set that the verifier has fetched."""
    time: float
    """The time of the last fetch, Unix seconds."""


@dataclass(frozen=True, slots=True)
class KnownVerifier:
    """A sighting, and the prepared keys that the verifier lacks."""

    sighting: Sighting
    missing: tuple[str, ...]
    """The ids of prepared keys that the verifier has not fetched yet."""


class JwksFetchLog:
    """Collects the sightings of all replicas in one value of the store."""

    def __init__(self, store: Store, signing_keys: SigningKeys, clock: Clock) -> None:
        self._store = store
        self._signing_keys = signing_keys
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], Sighting] = OrderedDict()
        self._news: dict[tuple[str, str], Sighting] = {}

    def saw(self, address: str, agent: str, generation: int) -> None:
        """Record that a verifier fetched the set of ``generation``."""
        verifier = (clipped(address), clipped(agent, AGENT_LIMIT))
        now = self._clock.now()
        before = self._seen.pop(verifier, None)
        if before is not None and before.generation == generation and now - before.time < _NEWS:
            self._seen[verifier] = before
            return
        self._seen[verifier] = self._news[verifier] = Sighting(*verifier, generation, now)
        for sightings in (self._seen, self._news):
            if len(sightings) > LIMIT:
                del sightings[next(iter(sightings))]

    def follow(self, background: Background) -> None:
        """Write new sightings periodically, without end."""
        background.every("known verifiers", INTERVAL, self.flush)

    async def flush(self) -> None:
        """Write new sightings. Raises ``StoreUnavailable``; unwritten ones stay for the next attempt."""
        if not self._news:
            return
        news = dict(self._news)
        for _ in range(_ATTEMPTS):
            raw = await self._store.get(KEY)
            now = self._clock.now()  # times in the future, from a clock that was wrong, would keep their place too long
            stored = {(one.address, one.agent): replace(one, time=min(one.time, now)) for one in _parse(raw)}
            for verifier, sighting in news.items():
                other = stored.get(verifier)
                newest = max(sighting.generation, other.generation) if other is not None else sighting.generation
                last = max(sighting.time, other.time if other is not None else 0.0)
                stored[verifier] = Sighting(*verifier, newest, last)
            kept = sorted(stored.values(), key=lambda one: -one.time)[:LIMIT]
            value = json.dumps([asdict(one) for one in kept], separators=(",", ":")).encode()
            if await self._store.swap(KEY, raw, value, durable=False):
                for verifier, sighting in news.items():
                    if self._news.get(verifier) is sighting:
                        del self._news[verifier]
                return
        raise StoreUnavailable(detail=f"{KEY}: changed too often")

    async def known(self) -> list[KnownVerifier]:
        """Return the verifiers that fetched the set lately; those that lack a prepared key come first.

        A verifier counts as gone after twice the longest time that any verifier keeps a set. Raises
        ``StoreUnavailable``.
        """
        await self.flush()
        schedule = self._signing_keys.schedule
        oldest = self._clock.now() - 2 * max(schedule.max_age, schedule.verifier_cache)
        prepared = [key for key in self._signing_keys.ring.keys if key.state is KeyState.PREPARED]
        verifiers = [
            KnownVerifier(one, tuple(key.key_id for key in prepared if key.publish_generation > one.generation))
            for one in _parse(await self._store.get(KEY))
            if one.time >= oldest
        ]
        return sorted(verifiers, key=lambda one: (not one.missing, -one.sighting.time))


def _parse(raw: bytes | None) -> list[Sighting]:
    """Read the stored form. Other content is dropped with an error in the log: the list is only an aid."""
    try:
        value: Any = json.loads(raw or b"[]")
        return [
            Sighting(str(one["address"]), str(one["agent"]), int(one["generation"]), float(one["time"]))
            for one in value
        ]
    except (ValueError, KeyError, TypeError):
        log.error("the sightings of verifiers can't be read and are begun anew", key=KEY)  # noqa: TRY400
        return []

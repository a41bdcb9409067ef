"""Requests to another region, and whose turn it is to make them: one replica at a time, by a lease.

After a failure a replica gives the lease back, so another one tries.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import urlencode

from tokenmint.base.background import Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import DependencyUnavailable, TokenmintError
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.threads import Busy, Threads
from tokenmint.regions.directory import Regions
from tokenmint.regions.identity import REQUEST, RegionRefused
from tokenmint.regions.options import OtherRegion
from tokenmint.revocation.log import RevocationLog
from tokenmint.verification.key_source import Fetch, FetchFailed, KeySource

REQUEST_LIFE: Final = 60.0  # seconds for which one signed request is sent again
LEASE: Final = 5.0  # seconds beyond two intervals in which no other replica pulls
GIVEN_BACK: Final = 0.001  # seconds of a lease that is given back
LONGEST_PAUSE: Final = 10.0  # seconds at most after pulls that failed, or a tenth of L
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PullParts:
    """The parts that pulls share."""

    regions: Regions
    issuer: str
    fetch: Fetch
    log: RevocationLog
    clock: Clock
    clock_problem: Callable[[], str]
    """Returns a message while this process's clock is wrong, or ""."""
    holder: str
    """The name of this process, which no other process has."""


class RegionClient:
    """Asks one other region.

    Args:
        other: the region.
        parts: the parts that pulls share.
    """

    def __init__(self, other: OtherRegion, parts: PullParts) -> None:
        self._other = other
        self._parts = parts
        self._threads = Threads("region documents", 1)
        self._source: KeySource | None = None
        self._source_until = float("-inf")

    async def ask(self, path: str, query: Mapping[str, str | int], read: Callable[[bytes], T]) -> T:
        """Return the answer to a signed request, as ``read`` proves and reads it, which may raise ``RegionRefused``.

        Raises ``DependencyUnavailable``: there is no answer, or it is not accepted. The task names the region.
        """
        named = {"for": self._parts.regions.options.name, **query}
        url = f"{self._other.source.url}{path}?{urlencode(named)}"
        source = self._signed()
        try:
            async with asyncio.timeout(source.timeout):
                answer = await self._parts.fetch(source, url, etag=None)
            if answer.status != 200:
                raise FetchFailed(f"{source.place} answered {answer.status}{_reason(answer.body)}")
            return await self._threads.run(read, answer.body)
        except (FetchFailed, RegionRefused) as error:
            raise DependencyUnavailable(detail=clipped(str(error), 2 * LONG)) from None
        except (TimeoutError, Busy):
            raise DependencyUnavailable(detail=f"no answer in {source.timeout:g} s") from None

    def _signed(self) -> KeySource:
        """Return the source with a signed request, which serves for a while: each new one has threads of its own."""
        now, options = self._parts.clock.monotonic(), self._parts.regions.options
        if self._source is None or now >= self._source_until:
            claims = {
                "iss": self._parts.issuer,
                "region": options.name,
                "aud": self._other.name,
                "iat": int(self._parts.regions.times.now()),
            }
            identity = options.identity
            if identity is None:
                raise DependencyUnavailable(detail="regions.key_file is missing")
            header = f"Bearer {identity.value.sign(REQUEST, claims)}"
            self._source = replace(self._other.source, headers=(("authorization", header),))
            self._source_until = now + REQUEST_LIFE
        return self._source


class Turns:
    """Pulls from one region without end, whenever it is this replica's turn.

    Args:
        name: the name of the lease.
        region: the name of the region.
        parts: the parts that pulls share.
        pull: takes over everything that the region has to tell.
    """

    def __init__(self, name: str, region: str, parts: PullParts, pull: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._region = region
        self._parts = parts
        self._pull = pull
        self._failed = 0

    async def follow(self, unit: Unit) -> None:
        """Pull without end."""
        while True:
            await self._parts.clock.sleep(await self.attempt(unit))

    async def attempt(self, unit: Unit) -> float:
        """Pull if this process holds the lease; return the pause until the next attempt."""
        regions = self._parts.regions
        poll = regions.options.poll
        if not regions.serves(self._region):
            unit.works()
            return poll
        try:
            if await regions.store.lease(self._name, self._parts.holder, 2 * poll + LEASE):
                await self._pull_or_give_back()
            unit.works()
            self._failed = 0
        except TokenmintError as error:
            self._failed += 1
            unit.fails(error)
        longest = max(poll, min(LONGEST_PAUSE, regions.options.longest_cut / 10))
        return min(longest, poll * (1 << min(self._failed, 8)))

    async def _pull_or_give_back(self) -> None:
        try:
            await self._pull()
        except TokenmintError:
            with contextlib.suppress(TokenmintError):
                await self._parts.regions.store.lease(self._name, self._parts.holder, GIVEN_BACK)
            raise


def _reason(body: bytes) -> str:
    """Return the reason that the region itself gives for its refusal, bounded."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    text = value.get("error_description") if isinstance(value, dict) else None
    return f": {clipped(text, LONG)}" if isinstance(text, str) else ""

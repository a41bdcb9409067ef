"""Answers that are kept for as long as tokenmint allows, and one question at a time for each key."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.clock import Clock
from tokenmint.edge.question import Question

ENTRIES: Final = 10_000
SIZE: Final = 64 * 1024 * 1024  # bytes of all answers
LARGEST: Final = 80 * 1024  # bytes of one
_MAX_AGE: Final = re.compile(r"max-age=([0-9]{1,6})\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of tokenmint."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Those that the gateway gets, in lower case, with `cache-control`."""
    body: bytes = b""

    @property
    def keep(self) -> int:
        """For how many seconds it may be kept; 0 unless exactly one `cache-control` says so and nothing else."""
        values = [value for name, value in self.headers if name == "cache-control"]
        found = _MAX_AGE.match(values[0]) if len(values) == 1 else None
        return int(found[1]) if found is not None and self.status == 200 else 0

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.body) + sum(len(name) + len(value) + 100 for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is given now."""

    answer: Answer
    left: float
    """The seconds for which it may still be kept."""
    kept: bool
    """Whether tokenmint was not asked for it anew."""

    @property
    def may_be_shared(self) -> bool:
        """Whether requests that waited for it may get it, too (RFC 9111 section 4)."""
        return self.left > 0 or self.answer.status != 200


class Answers:
    """Gives answers, and asks for those that it does not have.

    A kept answer is given until it ends, also while tokenmint is away. Failures are not kept.

    Args:
        ask: asks tokenmint.
        clock: measures the time.
        longest: the seconds for which an answer is kept at most. As long, a revocation may go unnoticed.
        entries: the largest number of answers.
    """

    def __init__(
        self, ask: Callable[[Question], Awaitable[Answer]], clock: Clock, *, longest: float, entries: int = ENTRIES
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._longest = longest
        self._kept: Remembered[bytes, tuple[float, Answer]] = Remembered(entries=entries, size=SIZE, largest=LARGEST)
        self._asking: dict[bytes, asyncio.Task[Given]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def give(self, question: Question) -> Given:
        """Return the answer. Raises as ``ask``. A caller that is cancelled does not end the question of the others."""
        key = question.key
        found = self._kept.find(key)
        if found is not None:
            ends, answer = found
            left = ends - self._clock.monotonic()
            if left > 0:
                return Given(answer, left, kept=True)
            self._kept.forget(key)
        asking = self._asking.get(key)
        if asking is not None:
            given = await asyncio.shield(asking)
            # An answer that may not be kept is for one request: a second one would be a second use of the token.
            return replace(given, kept=True) if given.may_be_shared else await self._fetch(key, question)
        asking = asyncio.get_running_loop().create_task(self._fetch(key, question))
        self._asking[key] = asking
        asking.add_done_callback(lambda ended: self._ended(key, ended))
        return await asyncio.shield(asking)

    async def _fetch(self, key: bytes, question: Question) -> Given:
        asked = self._clock.monotonic()  # the time counts from here: the answer is as old as its question at most
        answer = await self._ask(question)
        ends = asked + min(answer.keep, self._longest)
        left = ends - self._clock.monotonic()
        if left > 0:
            self._kept.remember(key, (ends, answer), answer.size)
        return Given(answer, max(0.0, left), kept=False)

    def _ended(self, key: bytes, task: "asyncio.Task[Given]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen here, if nobody waits any more

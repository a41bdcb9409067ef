"""Answers that are kept for as long as tokenmint allows and their tokens are not revoked; one question at a time for
each key."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.clock import Clock
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.edge.following import Following
from tokenmint.edge.question import Question
from tokenmint.edge.revoked import Names, names_of
from tokenmint.gateway.decision import BEARER
from tokenmint.gateway.request import AUTHORIZATION
from tokenmint.web.gateway_auth import PRINCIPAL

ENTRIES: Final = 10_000
SIZE: Final = 64 * 1024 * 1024  # bytes of all answers
LARGEST: Final = 80 * 1024  # bytes of one
QUESTIONS: Final = 2  # for one answer: the first may have been answered just before a revocation
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

    def value(self, name: str) -> str:
        """The value of a header; "" if it has none."""
        return next((value for its, value in self.headers if its == name), "")

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.body) + sum(len(name) + len(value) + 100 for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is given now."""

    answer: Answer
    left: float
    """The seconds for which it may still be kept here."""
    onward: float
    """The seconds for which a cache behind this one may keep it."""
    kept: bool
    """Whether tokenmint was not asked for it anew."""

    @property
    def may_be_shared(self) -> bool:
        """Whether requests that waited for it may get it, too (RFC 9111 section 4)."""
        return self.left > 0 or self.answer.status != 200


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long answers are kept at most, in seconds.

    Args:
        alone: while nothing tells of revocations. As long, one may go unnoticed.
        followed: while revocations are followed.
        lag: for as long their stream may be away.
        ask: whether answers are not kept at all while it is away for longer, or for an audience that is not followed.
    """

    alone: float
    followed: float = 0.0
    lag: float = 0.0
    ask: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer that is kept."""

    answer: Answer
    asked: float
    """When tokenmint was asked for it, by the monotonic clock: so the answer is as old as its question at most."""
    names: Names | None
    """The names by which its token can be revoked; None: it can't be told."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.answer.size + (len(self.names.digests) * 64 if self.names is not None else 0)


class Answers:
    """Gives answers, and asks for those that it does not have.

    A kept answer is given until it ends or its token is revoked, also while tokenmint is away. Failures are not kept.

    Args:
        ask: asks tokenmint.
        clock: measures the time.
        limits: for how long answers are kept.
        following: tells of revocations; None: nothing does.
        client_id: the client that asks.
        entries: the largest number of answers.
    """

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[Answer]],
        clock: Clock,
        limits: Limits,
        *,
        following: Following | None = None,
        client_id: str = "",
        entries: int = ENTRIES,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._limits = limits
        self._following = following
        self._client_id = client_id
        self._kept: Remembered[bytes, _Kept] = Remembered(entries=entries, size=SIZE, largest=LARGEST)
        self._asking: dict[bytes, asyncio.Task[Given]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def give(self, question: Question) -> Given:
        """Return the answer. A caller that is cancelled does not end the question of the others.

        Raises:
            TokenRevoked: tokenmint has answered twice with a token that is known to be revoked.
            TokenmintError: as ``ask``.
        """
        key = question.key
        found = self._kept.find(key)
        if found is not None:
            left = self._left(found)
            if left > 0 and not self._is_revoked(found):
                return self._given(found, left, kept=True)
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
        for _ in range(QUESTIONS):
            asked = self._clock.monotonic()
            answer = await self._ask(question)
            fresh = _Kept(answer, asked, self._names(answer))
            if not self._is_revoked(fresh):
                break
        else:
            raise TokenRevoked
        left = self._left(fresh)
        if left > 0:
            self._kept.remember(key, fresh, fresh.size)
        return self._given(fresh, left, kept=False)

    def _given(self, one: _Kept, left: float, *, kept: bool) -> Given:
        onward = min(left, self._limits.alone)  # a cache behind this one hears nothing of revocations
        return Given(one.answer, max(0.0, left), max(0.0, onward), kept)

    def _left(self, one: _Kept) -> float:
        """Return for how many more seconds an answer may be given."""
        limits, limit = self._limits, self._limits.alone
        if self._following is not None:
            if one.names is not None and self._following.lag(one.names.audience) <= limits.lag:
                limit = limits.followed
            elif limits.ask:
                limit = 0.0
        return one.asked + min(one.answer.keep, limit) - self._clock.monotonic()

    def _names(self, answer: Answer) -> Names | None:
        if self._following is None or answer.status != 200:
            return None
        token = answer.value(AUTHORIZATION).removeprefix(f"{BEARER} ")
        return names_of(token, answer.value(PRINCIPAL), self._client_id)

    def _is_revoked(self, one: _Kept) -> bool:
        return self._following is not None and one.names is not None and self._following.covers(one.names)

    def _ended(self, key: bytes, task: "asyncio.Task[Given]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen here, if nobody waits any more

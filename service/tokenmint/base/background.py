"""Background tasks: endless work beside the calls. Each is a unit, and a failure of one does not affect the others.

An error of a unit is logged once per change of state, counted, shown in `/readyz`, and followed by a restart of the
unit after a pause. It never ends the process or another unit. A cancelled unit does not restart.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from tokenmint.base.clock import Clock
from tokenmint.base.errors import TokenmintError
from tokenmint.base.log_library import structlog
from tokenmint.base.tasks import end
from tokenmint.base.telemetry import Metrics, places

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 0.1  # seconds at most before a failed unit restarts; doubles up to ...
LONGEST_PAUSE: Final = 5.0
CALM: Final = 60.0  # seconds without a failure after which the pause starts over
DETAIL_LIMIT: Final = 300  # characters kept of a failure's text

Sleep: TypeAlias = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds."""


class EndedUnexpectedly(TokenmintError):
    """The work of a unit returned, although it should never end."""

    reason = "ENDED"
    summary = "it ended unexpectedly"


class Unit:
    """One background task and its state."""

    def __init__(self, name: str, clock: Clock, metrics: Metrics) -> None:
        self.name = name
        self.failure = ""
        """The reason why it fails now, for operators and without secrets; "" while it works."""
        self.failures = 0
        """The number of failures; it starts over after :data:`CALM` seconds without one."""
        self._clock = clock
        self._metrics = metrics
        self._failed_at = float("-inf")
        self._logged: set[str] = set()

    def works(self) -> None:
        """Record a successful round."""
        if self.failure:
            self.failure = ""
            self._report("works again" if self._logged else "")
            self._logged.clear()

    def fails(self, error: BaseException, *, logged: bool = False) -> None:
        """Record a failed round. The first failure of each kind is logged until the unit works again.

        ``logged``: the work itself logs this failure and its end.
        """
        now = self._clock.monotonic()
        self.failures = 1 if now - self._failed_at > CALM else self.failures + 1
        self._failed_at = now
        kind = type(error).__name__
        ours = isinstance(error, TokenmintError)
        text = (error.detail or error.message) if isinstance(error, TokenmintError) else kind
        self.failure = text[:DETAIL_LIMIT] or kind
        first = not logged and kind not in self._logged
        if not logged:
            self._logged.add(kind)
        self._report("fails" if first else "", [] if ours else places(error)[-6:])

    def over(self) -> None:
        """Record that the unit was stopped; it no longer counts as failing."""
        self.failure = ""
        self._report("")

    def _report(self, state: str, where: Iterable[str] = ()) -> None:
        # A failure to log or count must not end the unit.
        with contextlib.suppress(Exception):
            self._metrics.task(self.name, failed=bool(self.failure))
        with contextlib.suppress(Exception):
            if state == "fails":
                log.error("a background task fails", task=self.name, error=self.failure, where=list(where))
            elif state:
                log.info("a background task works again", task=self.name, failures=self.failures)


class Background:
    """Starts units, and restarts them after failures.

    Args:
        clock: measures pauses.
        jitter: returns a number in [0, 1), so that replicas do not retry in step.
        metrics: counts failures.
    """

    def __init__(self, clock: Clock, jitter: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._jitter = jitter
        self._metrics = metrics
        self._units: set[Unit] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def unit(self, name: str) -> Unit:
        """Return a unit whose failures the caller reports: its work is not a task of this object, or it ends."""
        unit = Unit(name, self._clock, self._metrics)
        self._metrics.task(name, failed=False)  # the time series exists before the first failure
        self._units.add(unit)
        return unit

    def start(
        self,
        name: str,
        work: Callable[[Unit], Coroutine[Any, Any, None]],
        *,
        longest: float = LONGEST_PAUSE,
        sleep: Sleep | None = None,
    ) -> "asyncio.Task[None]":
        """Run ``work`` without end. It calls ``Unit.works`` after each round.

        Args:
            name: the unit's name in logs and metrics; each name is a time series, so there must be few.
            work: the work. An error that it raises is this unit's failure, and so is a return.
            longest: seconds at most before a restart.
            sleep: waits for that pause; default: the clock.
        """
        unit = self.unit(name)
        task = asyncio.get_running_loop().create_task(self._run(unit, work, longest, sleep or self._clock.sleep))
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def every(
        self, name: str, seconds: float, work: Callable[[], Awaitable[None]], *, longest: float = LONGEST_PAUSE
    ) -> "asyncio.Task[None]":
        """Run ``work`` repeatedly, ``seconds`` after each end. Otherwise as :meth:`start`."""

        async def rounds(unit: Unit) -> None:
            while True:
                if not unit.failure:  # a failure was followed by a pause already
                    await self._clock.sleep(seconds)
                await work()
                unit.works()

        return self.start(name, rounds, longest=longest)

    def failing(self) -> dict[str, str]:
        """Return the failing units with their reasons."""
        return {unit.name: unit.failure for unit in self._units if unit.failure}

    def describe(self) -> str:
        """Return the failing units as a text for operators; "" while all units work."""
        return "; ".join(f"{name}: {failure}" for name, failure in sorted(self.failing().items()))

    def running(self) -> list[str]:
        """Return the names of all units that :meth:`start` started and that were not cancelled."""
        return sorted(task.get_name() for task in self._tasks)

    async def close(self) -> None:
        """Cancel every unit, and wait until all have ended."""
        await end(self._tasks)

    async def _run(
        self, unit: Unit, work: Callable[[Unit], Coroutine[Any, Any, None]], longest: float, sleep: Sleep
    ) -> None:
        task = asyncio.current_task()
        try:
            while True:
                try:
                    await work(unit)
                    failure: BaseException = EndedUnexpectedly()
                except (KeyboardInterrupt, SystemExit, GeneratorExit):
                    raise
                except BaseException as error:  # noqa: BLE001  # a panic in Rust does not derive from Exception
                    failure = error
                # A library may have swallowed the cancellation, and continued or raised another error.
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                unit.fails(failure)
                del failure
                await sleep(min(longest, FIRST_PAUSE * 2 ** min(unit.failures - 1, 16)) * (0.5 + self._jitter() / 2))
        finally:
            self._units.discard(unit)
            unit.over()

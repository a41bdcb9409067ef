"""Background tasks: work that goes on for ever beside the calls. Each is a unit of its own, and fails alone.

Whatever a unit raises is logged once per change of state, counted, shown in `/readyz`, and followed by another start of
the same work after a pause. It never ends the process, nor another unit. A unit that is cancelled does not come back.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

import structlog

from tokenmint.base.clock import Clock
from tokenmint.base.errors import TokenmintError
from tokenmint.base.tasks import end
from tokenmint.base.telemetry import Metrics, places

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 0.1  # seconds at most before a unit that failed is started again; doubles up to ...
LONGEST_PAUSE: Final = 5.0
CALM: Final = 60.0  # seconds without a failure after which the next one is the first again
DETAIL_LIMIT: Final = 300  # characters of a failure that are kept

Sleep: TypeAlias = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""


class EndedUnexpectedly(TokenmintError):
    """A unit's work returned, where it has to go on for ever."""

    reason = "ENDED"
    summary = "it ended, though it has to go on for ever"


class Unit:
    """One background task, and whether it works."""

    def __init__(self, name: str, clock: Clock, metrics: Metrics) -> None:
        self.name = name
        self.failure = ""
        """Why it fails now, for operators and without secrets; "" while it works."""
        self.failures = 0
        """How often it failed; from 1 again after :data:`CALM` seconds without a failure."""
        self._clock = clock
        self._metrics = metrics
        self._failed_at = float("-inf")
        self._told: set[str] = set()

    def works(self) -> None:
        """Note that a round is done."""
        if self.failure:
            self.failure = ""
            self._tell("works again" if self._told else "")
            self._told.clear()

    def fails(self, error: BaseException, *, logged: bool = False) -> None:
        """Note that a round failed. The first failure of each kind is logged until the unit works again.

        ``logged``: the work has a line of its own for this failure, and for its end.
        """
        now = self._clock.monotonic()
        self.failures = 1 if now - self._failed_at > CALM else self.failures + 1
        self._failed_at = now
        kind = type(error).__name__
        ours = isinstance(error, TokenmintError)
        text = (error.detail or error.message) if isinstance(error, TokenmintError) else kind
        self.failure = text[:DETAIL_LIMIT] or kind
        first = not logged and kind not in self._told
        if not logged:
            self._told.add(kind)
        self._tell("fails" if first else "", [] if ours else places(error)[-6:])

    def over(self) -> None:
        """Note that the unit has ended, as it was asked to: it fails no longer."""
        self.failure = ""
        self._tell("")

    def _tell(self, state: str, where: Iterable[str] = ()) -> None:
        # A log or a metric that can't be written must not end what it tells of.
        with contextlib.suppress(Exception):
            self._metrics.task(self.name, failed=bool(self.failure))
        with contextlib.suppress(Exception):
            if state == "fails":
                log.error("a background task fails", task=self.name, error=self.failure, where=list(where))
            elif state:
                log.info("a background task works again", task=self.name, failures=self.failures)


class Background:
    """Starts units, and starts them again when they fail.

    Args:
        clock: for pauses.
        jitter: returns a number from 0 (included) to 1 (not included): replicas must not come back in step.
        metrics: where failures are counted.
    """

    def __init__(self, clock: Clock, jitter: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._jitter = jitter
        self._metrics = metrics
        self._units: set[Unit] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def unit(self, name: str) -> Unit:
        """Return a unit whose failures somebody else notices: what is no task of its own, or one that ends."""
        unit = Unit(name, self._clock, self._metrics)
        self._metrics.task(name, failed=False)  # the time series is there before the first failure
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
        """Let ``work`` go on for ever. It calls ``Unit.works`` whenever it has done a round.

        Args:
            name: what the unit is called in logs and metrics: one of few, since each is a time series.
            work: the work. What it raises is this unit's failure, and that it returns is one too.
            longest: seconds at most before it is started again.
            sleep: waits for that; by default the clock does.
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
        """Do ``work`` again and again, ``seconds`` after it was done. As :meth:`start`."""

        async def rounds(unit: Unit) -> None:
            while True:
                if not unit.failure:  # the pause of a failure was one already
                    await self._clock.sleep(seconds)
                await work()
                unit.works()

        return self.start(name, rounds, longest=longest)

    def failing(self) -> dict[str, str]:
        """Return what fails now, by unit, with the reason."""
        return {unit.name: unit.failure for unit in self._units if unit.failure}

    def describe(self) -> str:
        """Return what fails now as a text for operators; "" where all units work."""
        return "; ".join(f"{name}: {failure}" for name, failure in sorted(self.failing().items()))

    def running(self) -> list[str]:
        """Return the names of all units that :meth:`start` started, and that were not cancelled."""
        return sorted(task.get_name() for task in self._tasks)

    async def close(self) -> None:
        """Cancel every unit, and wait until they are over."""
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
                except BaseException as error:  # noqa: BLE001  # a panic in Rust is none of Exception's
                    failure = error
                # A library may have swallowed the cancellation, and gone on or raised something else.
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                unit.fails(failure)
                del failure
                await sleep(min(longest, FIRST_PAUSE * 2 ** min(unit.failures - 1, 16)) * (0.5 + self._jitter() / 2))
        finally:
            self._units.discard(unit)
            unit.over()

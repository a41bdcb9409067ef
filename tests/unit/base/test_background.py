"""Background tasks: a failure is that of one unit, told once, and over when it is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.fakes import FakeClock

from tokenmint.base.background import FIRST_PAUSE, LONGEST_PAUSE, Background, Unit
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.base.tasks import end
from tokenmint.base.telemetry import Metrics


class Group:
    """Background tasks with a clock, and what metrics say of them."""

    def __init__(self, jitter: float = 1.0) -> None:
        self.clock, self.metrics = FakeClock(), Metrics()
        self.background = Background(self.clock, lambda: jitter, self.metrics)

    def metric(self, name: str, task: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"tokenmint_{name}", {"task": task})

    async def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass in small steps, and what waits for it run."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def for_ever(unit: Unit) -> None:
    unit.works()
    await asyncio.get_running_loop().create_future()


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    made = Group()
    yield made
    await made.background.close()


class Failing:
    """Work that raises what it is told to, and notes when it began."""

    def __init__(self, group: Group, *errors: BaseException | None) -> None:
        self._group = group
        self.errors = list(errors)
        self.begun: list[float] = []

    async def __call__(self, unit: Unit) -> None:
        self.begun.append(self._group.clock.monotonic())
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
            return
        await for_ever(unit)


class Panic(BaseException):
    """As `pyo3_runtime.PanicException`, which extensions in Rust raise: it is no `Exception`."""


FAILURES: dict[str, BaseException | None] = {
    "a store that is away": StoreUnavailable(detail="server x: ConnectionError"),
    "RuntimeError as uvloop's": RuntimeError("the handler is closed"),
    "BrokenPipeError": BrokenPipeError(32, "Broken pipe"),
    "ExceptionGroup": ExceptionGroup("some", [ValueError("x"), TypeError("y")]),
    "a cancellation that nobody asked for": asyncio.CancelledError(),
    "a panic of an extension": Panic("a secret"),
    "an unexpected return": None,
}


@pytest.mark.parametrize("name", FAILURES)
async def test_whatever_a_unit_raises_is_its_own_failure_and_it_starts_again(group: Group, name: str) -> None:
    work, beside = Failing(group, FAILURES[name]), Failing(group)
    group.background.start("it", work)
    group.background.start("beside", beside)
    await settle()
    assert set(group.background.failing()) == {"it"}
    assert group.metric("task_failures_total", "it") == 1
    assert (group.metric("task_failing", "it"), group.metric("task_failing", "beside")) == (1, 0)
    await group.pass_time(2 * FIRST_PAUSE)
    assert len(work.begun) == 2
    assert group.background.describe() == ""
    assert (group.metric("task_failing", "it"), group.metric("task_failures_total", "it")) == (0, 1)
    assert len(beside.begun) == 1
    assert group.background.running() == ["beside", "it"]


async def test_a_change_of_state_is_logged_once_and_each_kind_of_failure_once(group: Group) -> None:
    away = [StoreUnavailable(detail="server x: ConnectionError")] * 3
    work = Failing(group, *away, TypeError("a secret"), *away, None, *away[:1])
    with capture_logs() as lines:
        group.background.start("it", work)
        await group.pass_time(60)
        work.errors = []
    told = [(line["event"], line.get("error", line.get("failures"))) for line in lines]
    assert told == [
        ("a background task fails", "server x: ConnectionError"),
        ("a background task fails", "TypeError"),
        ("a background task fails", "it ended unexpectedly"),
        ("a background task works again", 9),
    ]
    assert lines[0]["where"] == []
    assert any("Failing.__call__" in place for place in lines[1]["where"])  # a fault of ours shows its place
    assert "a secret" not in str(lines)


async def test_a_unit_that_works_again_is_told_of_anew_when_it_fails_again(group: Group) -> None:
    rounds: list[BaseException | None] = [StoreUnavailable(), None, None, StoreUnavailable(), None]

    async def work() -> None:
        error = rounds.pop(0) if rounds else None
        if error is not None:
            raise error

    with capture_logs() as lines:
        group.background.every("it", 1.0, work)
        await settle()
        await group.pass_time(20)
    assert [line["event"].removeprefix("a background task ") for line in lines] == 2 * ["fails", "works again"]


@pytest.mark.parametrize("jitter", [0.0, 0.999999])
async def test_pauses_grow_to_a_bound_and_are_spread_by_chance(jitter: float) -> None:
    group = Group(jitter)
    work = Failing(group, *[StoreUnavailable()] * 100)
    task = group.background.start("it", work)
    while len(work.begun) < 12:
        await group.pass_time(0.01, step=0.01)
    pauses = [round(after - before, 3) for before, after in zip(work.begun, work.begun[1:], strict=False)]
    share = 0.5 + jitter / 2
    for number, pause in enumerate(pauses):
        assert pause == pytest.approx(share * min(LONGEST_PAUSE, FIRST_PAUSE * 2**number), abs=0.011)
    await end([task])


async def test_a_unit_is_started_again_within_the_pause_that_it_asks_for(group: Group) -> None:
    work = Failing(group, *[StoreUnavailable()] * 50)
    group.background.start("it", work, longest=0.5)
    await group.pass_time(20)
    assert work.begun[-1] - work.begun[-2] <= 0.55


async def test_a_round_that_failed_is_tried_again_without_its_own_pause(group: Group) -> None:
    begun: list[float] = []

    async def work() -> None:
        begun.append(group.clock.monotonic())
        if len(begun) == 1:
            raise StoreUnavailable()

    group.background.every("it", 10.0, work)
    await settle()
    await group.pass_time(11)
    assert [round(at - begun[0], 1) for at in begun] == [0.0, pytest.approx(0.1, abs=0.06)]


async def test_what_was_cancelled_does_not_come_back(group: Group) -> None:
    work = Failing(group, *[StoreUnavailable()] * 50)
    task = group.background.start("it", work)
    await group.pass_time(1)
    assert group.background.failing()
    await end([task])
    begun = len(work.begun)
    await group.pass_time(60)
    assert len(work.begun) == begun
    assert (group.background.failing(), group.background.running(), group.metric("task_failing", "it")) == ({}, [], 0)


@pytest.mark.parametrize("swallowed", [TimeoutError(), RuntimeError(), None])
async def test_what_was_cancelled_does_not_come_back_where_a_library_swallows_the_cancellation(
    group: Group, swallowed: Exception | None
) -> None:
    begun: list[None] = []

    async def work(unit: Unit) -> None:
        begun.append(None)
        try:
            await for_ever(unit)
        except asyncio.CancelledError:
            if swallowed is not None:
                raise swallowed from None

    task = group.background.start("it", work)
    await settle()
    await end([task])
    await group.pass_time(10)
    assert len(begun) == 1
    assert group.metric("task_failures_total", "it") == 0


async def test_a_log_that_fails_does_not_end_the_task_that_it_tells_of(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getattr__(self, _: str) -> Any:
            raise BrokenPipeError

    monkeypatch.setattr("tokenmint.base.background.log", Broken())
    work = Failing(group, StoreUnavailable())
    group.background.start("it", work)
    await group.pass_time(1)
    assert len(work.begun) == 2


async def test_a_failure_is_kept_in_few_characters(group: Group) -> None:
    group.background.start("it", Failing(group, CorruptRecord(detail="x" * 100_000)))
    await settle()
    assert len(group.background.describe()) < 400


async def test_a_unit_that_somebody_else_watches_is_told_of_the_same_way(group: Group) -> None:
    unit = group.background.unit("fills")
    with capture_logs() as lines:
        for _ in range(3):
            unit.fails(StoreUnavailable(detail="away"))
        assert group.background.failing() == {"fills": "away"}
        unit.works()
        unit.works()
    assert len(lines) == 2
    assert group.metric("task_failures_total", "fills") == 3

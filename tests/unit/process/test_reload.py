"""Reloads: a disk that hangs holds up neither the service nor a later reload."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs
from tests.fakes import FakeClock

from tokenmint.base.background import Background
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.telemetry import Metrics
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.process.reload import HUNG, ReloadRequests

PATIENCE = 20.0


class PanicException(BaseException):
    """Stands for what a panic in a library of Rust raises."""


class Service:
    """Takes configurations over, as the service does."""

    def __init__(self, read: Callable[[], Settings], limit: float = PATIENCE) -> None:
        self.background = Background(FakeClock(), lambda: 0.5, Metrics())
        self.taken: list[Settings] = []
        self.reading: list[int] = []
        self._changed = asyncio.Event()
        self._read = read
        self.requests = ReloadRequests(
            self._load, self._take_over, load(None, {}), self.background.unit("reload"), limit=limit
        )

    def _load(self) -> Settings:
        self.reading.append(threading.get_ident())
        return self._read()

    async def _take_over(self, settings: Settings) -> None:
        self.taken.append(settings)

    def failure(self) -> str:
        return self.background.failing().get("reload", "")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # a thread brings it about
            await asyncio.sleep(0.005)


async def test_a_disk_that_hangs_holds_up_neither_the_event_loop_nor_a_later_reload() -> None:
    mended = threading.Event()
    hangs = [True, False]

    def read() -> Settings:
        if hangs.pop(0):
            assert mended.wait(PATIENCE)
        return load(None, {})

    service = Service(read, limit=0.05)
    with capture_logs() as lines:
        service.requests.request()
        await until(service.failure)  # which the event loop notices while the thread hangs
        assert not service.taken
        assert "does the disk of one of its files hang?" in service.failure()
        service.requests.request()
        await until(lambda: service.taken)
        await until(lambda: not service.failure())
        mended.set()
    told = [line["event"] for line in lines if "configuration" in line["event"]]
    assert told == ["configuration not reloaded: the running one stays", "configuration reloaded"]
    assert len(service.taken) == 1  # what the first has read meanwhile is not taken over any more
    assert threading.get_ident() not in service.reading


async def test_readings_that_hang_are_bounded() -> None:
    mended = threading.Event()

    def read() -> Settings:
        assert mended.wait(PATIENCE)
        return load(None, {})

    service = Service(read, limit=0.01)
    with capture_logs() as lines:

        def refusals() -> int:
            return sum("not reloaded" in line["event"] for line in lines)

        for _ in range(HUNG + 1):
            before = refusals()
            service.requests.request()
            await until(lambda before=before: refusals() > before)  # type: ignore[misc]  # a default
    assert "have not ended" in service.failure()
    assert len(service.reading) == HUNG
    mended.set()


@pytest.mark.parametrize("error", [ConfigurationError("it is wrong"), RuntimeError("secret"), PanicException("secret")])
async def test_whatever_a_reading_raises_the_running_configuration_stays(error: BaseException) -> None:
    def read() -> Settings:
        raise error

    service = Service(read)
    with capture_logs() as lines:
        service.requests.request()
        await until(service.failure)
    assert not service.taken
    assert "secret" not in str(lines) + service.failure()


async def test_many_requests_at_once_are_one_reading_that_comes_after_the_last_of_them() -> None:
    service = Service(lambda: load(None, {}))
    for _ in range(100):
        service.requests.request()
    await until(lambda: service.taken)
    assert len(service.reading) == 1

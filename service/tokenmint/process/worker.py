"""One worker process: an event loop that runs the whole service until a signal ends it."""

import asyncio
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog

from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import TokenmintError
from tokenmint.base.logs import catch_the_rest, configure, log_loop_error
from tokenmint.base.standard_streams import ERROR, FAREWELL, hold, say
from tokenmint.base.telemetry import places
from tokenmint.config.load import load
from tokenmint.process.app import App
from tokenmint.process.heartbeat import Pulse
from tokenmint.process.reload import ReloadRequests
from tokenmint.process.supervisor import Job, Ready

log = structlog.get_logger(__name__)

DESCRIPTORS: Final = 65_536  # open files, if the system allows that many
SAME_SIGNAL: Final = 1.0  # seconds; supervisors and process groups may send a signal twice
COLLECT_AFTER: Final = 20_000  # new objects after which the youngest generation is collected


def run(job: Job, announce: Callable[[Ready], None], on_open: Callable[[], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status.

    Args:
        job: the task.
        announce: called when the service is ready.
        on_open: called before the first listener takes connections.
    """
    _raise_descriptor_limit()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(job, announce, on_open))
    finally:
        ERROR.writer.flush(FAREWELL)


def _raise_descriptor_limit() -> None:
    """Use the largest limit that the system allows: the usual 1,024 files are fewer than the listeners' connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # an optional accelerator that some platforms lack
        return None
    return uvloop.Loop


async def _serve(job: Job, announce: Callable[[Ready], None], on_open: Callable[[], None] | None) -> int:
    config = Path(job.config) if job.config else None
    settings = load(config, os.environ, development=job.development, listen=job.listen)
    writer = configure(settings.log.level, settings.log.format)
    catch_the_rest()
    app = App(
        settings,
        job,
        clock=SystemClock(),
        entropy=os.urandom,
        log_writer=writer,
        on_open=on_open,
    )
    stop = StopSignals()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    environment = dict(os.environ)  # a reload reads in a thread
    reloads = ReloadRequests(
        lambda: load(config, environment, development=job.development, listen=job.listen),
        app.reload,
        settings,
        app.base.background.unit("reload"),
        facts=app.facts,
    )
    started, early = False, False  # a reload needs parts that exist

    def on_hangup() -> None:
        nonlocal early
        early = not started
        if started:
            reloads.request()

    loop.add_signal_handler(signal.SIGTERM, stop.came, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, stop.came, signal.SIGINT)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    await app.start()
    started = True
    if early:
        on_hangup()
    settle_memory()
    try:
        announce(Ready(os.getpid(), app.listen))
        await stop.requested.wait()
        await app.retire(stop.hurry)
        return 0
    finally:
        await app.stop()


class StopSignals:
    """The stop, as signals request it. SIGINT comes from a person who waits, so it allows no pause.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.requested = asyncio.Event()
        """Set when the process has to stop."""
        self.hurry = asyncio.Event()
        """Set when it has to stop without a pause."""
        self._monotonic = monotonic
        self._first = 0.0

    def came(self, number: int) -> None:
        """Handle SIGTERM or SIGINT. A second SIGTERM sets ``hurry``, unless it is a duplicate that follows at once."""
        now = self._monotonic()
        if number == signal.SIGINT or (self.requested.is_set() and now - self._first >= SAME_SIGNAL):
            self.hurry.set()
        if not self.requested.is_set():
            self._first = now
            self.requested.set()


def settle_memory() -> None:
    """Exclude permanent objects from garbage collection, and make it rarer, because calls make no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def main() -> int:
    """Read the job from standard input and run it; the supervisor starts a worker this way.

    Arguments: the descriptor of the pipe to the supervisor, and the seconds between heartbeats.
    """
    hold()
    try:
        pulse = Pulse(int(sys.argv[1]), float(sys.argv[2]))

        def announce(ready: Ready) -> None:
            pulse.say(json.dumps(asdict(ready)))

        return run(Job(**json.load(sys.stdin)), announce, on_open=pulse.start)
    except TokenmintError as error:
        say(f"tokenmint: {error.message}\n")
        return 1
    except Exception as error:  # noqa: BLE001  # its text may hold data of the store or a caller
        where = " < ".join(reversed(places(error)[-6:]))
        say(f"tokenmint: a fault of tokenmint itself, please report it: {type(error).__name__} at {where}\n")
        return 70


if __name__ == "__main__":
    sys.exit(main())

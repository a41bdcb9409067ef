"""One worker process: an event loop with the whole service in it, until a signal ends it."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from tokenmint.app import App
from tokenmint.clock import SystemClock
from tokenmint.config import load
from tokenmint.errors import TokenmintError
from tokenmint.logs import catch_the_rest, configure, log_loop_error
from tokenmint.standardstreams import ERROR, FAREWELL, hold, say
from tokenmint.supervisor import Job, Ready, print_ready
from tokenmint.telemetry import places

log = structlog.get_logger(__name__)

COLLECT_AFTER: Final = 20_000  # objects more than before, after which the young ones are looked through


def run(job: Job, announce: Callable[[Ready], None]) -> int:
    """Serve until SIGTERM or SIGINT, telling ``announce`` when ready. Returns the exit status."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(job, announce))
    finally:
        ERROR.writer.flush(FAREWELL)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # an optional accelerator: not built for every platform
        return None
    return uvloop.Loop


async def _serve(job: Job, announce: Callable[[Ready], None]) -> int:
    config = Path(job.config) if job.config else None
    settings = load(config, os.environ, development=job.development)
    writer = configure(settings.log.level, settings.log.format)
    catch_the_rest()
    app = App(
        settings,
        job,
        clock=SystemClock(),
        entropy=os.urandom,
        log_writer=writer,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await app.reload(load(config, os.environ, development=job.development))
            log.info("configuration reloaded")
        except TokenmintError as error:
            log.error("configuration not reloaded: the running one stays", problems=error.message)  # noqa: TRY400

    def on_hangup() -> None:
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    await app.start()
    _settle_memory()
    try:
        announce(Ready(os.getpid(), app.listen))
        stopped = loop.create_task(stop.wait())
        failed = loop.create_task(app.failed.wait())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        failed.cancel()
        return 1 if app.failed.is_set() else 0
    finally:
        await app.stop()


def _settle_memory() -> None:
    """Take what is there for good out of the collector's sight, and let it look less often: calls make no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def main() -> int:
    """Read the job from standard input and do it: how the supervisor starts a worker."""
    hold()
    try:
        return run(Job(**json.load(sys.stdin)), print_ready)
    except TokenmintError as error:
        say(f"tokenmint: {error.message}\n")
        return 1
    except Exception as error:  # noqa: BLE001  # its text may hold what a store or a caller sent
        where = " < ".join(reversed(places(error)[-6:]))
        say(f"tokenmint: a fault of tokenmint itself, please report it: {type(error).__name__} at {where}\n")
        return 70


if __name__ == "__main__":
    sys.exit(main())

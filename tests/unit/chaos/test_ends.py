"""`make chaos` writes down each process that ends by itself, and none that it ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos import listeners
from tests.chaos.ledger import Ledger
from tests.chaos.replicas import Replica
from tests.unit.chaos.waiting import LIMIT, until

SUPERVISOR = """
import subprocess, sys, time
WAIT = [sys.executable, "-c", "import time; time.sleep(60)"]
workers = [subprocess.Popen(WAIT, stdout=subprocess.DEVNULL) for _ in range(2)]
print("ready", flush=True)
for worker in workers: worker.wait()
time.sleep(60)
"""


@asynccontextmanager
async def stand_in(directory: Path, ledger: Ledger) -> AsyncIterator[Replica]:
    """A replica whose supervisor and workers are processes that only wait."""
    replica = Replica(1, directory, directory / "config", "redis://127.0.0.1:1", ledger)
    process = replica.process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISOR, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    workers = replica.workers()
    replica.look()
    try:
        yield replica
    finally:
        for pid in [process.pid, *workers]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.communicate()


async def test_a_worker_that_ends_by_itself_is_written_down_once_and_one_that_the_lane_ended_is_not(
    tmp_path: Path,
) -> None:
    ledger = Ledger()
    async with stand_in(tmp_path, ledger) as replica:
        ours, own = replica.workers()
        replica.end_worker(ours)
        os.kill(own, signal.SIGKILL)  # stands for a fault of its own
        await until(lambda: not replica.workers())
        replica.look()
        replica.log.ended[own] = 70  # as its supervisor says
        for _ in range(3):
            replica.look()
        assert [(end.replica, end.process, end.status) for end in ledger.ends] == [(1, f"worker {own}", 70)]


async def test_a_worker_that_ends_while_nobody_reads_the_log_is_written_down_without_its_status(tmp_path: Path) -> None:
    ledger = Ledger()
    async with stand_in(tmp_path, ledger) as replica:
        own, _ = replica.workers()
        os.kill(own, signal.SIGKILL)
        await until(lambda: own not in replica.workers())
        for _ in range(3):
            replica.look()
        assert [(end.process, end.status) for end in ledger.ends] == [(f"worker {own}", None)]


async def test_a_replica_that_the_lane_killed_has_not_ended_by_itself(tmp_path: Path) -> None:
    ledger = Ledger()
    async with stand_in(tmp_path, ledger) as replica:
        assert replica.process is not None
        replica.kill()
        await replica.process.wait()
        replica.look()
        assert ledger.ends == []


async def test_a_worker_that_was_never_seen_is_told_by_the_log_of_its_supervisor(tmp_path: Path) -> None:
    ledger = Ledger()
    async with stand_in(tmp_path, ledger) as replica:
        replica.log.ended[4711] = 70
        replica.look()
        assert [(end.process, end.status) for end in ledger.ends] == [("worker 4711", 70)]


async def test_a_supervisor_that_ends_by_itself_is_written_down_and_not_started_again(tmp_path: Path) -> None:
    ledger = Ledger()
    async with stand_in(tmp_path, ledger) as replica:
        assert replica.process is not None
        keeper = asyncio.create_task(replica.keep_running())
        replica.process.terminate()
        await asyncio.wait_for(keeper, LIMIT)
        assert replica.gone
        assert replica.down_since is not None
        assert [(end.process, end.status) for end in ledger.ends] == [(f"supervisor {replica.process.pid}", -15)]


async def test_which_process_listens_is_told_by_its_sockets() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert listeners.listens(os.getpid(), f"127.0.0.1:{port}")
    server.close()
    await server.wait_closed()
    assert not listeners.listens(os.getpid(), f"127.0.0.1:{port}")
    assert not listeners.listens(1 << 22, f"127.0.0.1:{port}")

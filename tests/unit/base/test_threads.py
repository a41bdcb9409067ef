"""Calls that block, and may never return."""

import asyncio
import subprocess
import sys
import threading

import pytest

from tokenmint.base.threads import Busy, Threads

PATIENCE = 20.0  # seconds


async def test_what_a_call_returns_or_raises_is_the_callers() -> None:
    threads = Threads("test", 1)
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    assert threads.running == 0


async def test_a_call_that_does_not_return_has_its_thread_until_it_does() -> None:
    threads, goes_on = Threads("test", 1), threading.Event()
    waiting = asyncio.create_task(threads.run(goes_on.wait, PATIENCE))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await threads.run(divmod, 7, 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert threads.running == 1
    goes_on.set()
    async with asyncio.timeout(PATIENCE):
        while threads.running:  # noqa: ASYNC110  # what is awaited is a thread
            await asyncio.sleep(0)
    assert await threads.run(divmod, 7, 2) == (3, 1)


def test_a_process_ends_though_a_call_never_returns() -> None:
    program = """
import asyncio, threading
from tokenmint.base.threads import Threads
async def main():
    asyncio.create_task(Threads("test", 1).run(threading.Event().wait))
    await asyncio.sleep(0)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False).returncode == 0

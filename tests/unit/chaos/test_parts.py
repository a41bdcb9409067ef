"""The parts of `make chaos` that break things: each does what it says, to real sockets, pipes and clocks."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.chaos import clocks
from tests.chaos.logs import SMALLEST, LogReader
from tests.chaos.proxy import Proxy
from tests.ports import own_port
from tests.unit.chaos.waiting import LIMIT, until


class Echo:
    """A server that answers each line, unless it is told to keep silent; a proxy before it; and clients of that."""

    def __init__(self) -> None:
        self.clients: list[asyncio.StreamWriter] = []
        self.proxy = Proxy(0)
        self.silent = False
        self.connections = 0
        self.heard = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.heard.set()
                if not self.silent:
                    writer.write(line)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.connections -= 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.clients.append(writer)
        return reader, writer


@asynccontextmanager
async def echo(*, gone: bool = False) -> AsyncIterator[Echo]:
    async with AsyncExitStack() as exit_stack:
        made = Echo()
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        made.proxy = Proxy(int(server.sockets[0].getsockname()[1]))
        if gone:
            server.close()
        else:
            await exit_stack.enter_async_context(server)
        await made.proxy.start()
        yield made
        for writer in made.clients:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await made.proxy.close()
        await until(lambda: not made.connections)


async def test_idle_connections_are_reset_with_rst_and_new_ones_serve() -> None:
    async with echo() as server:
        connections = [await server.connect() for _ in range(3)]
        for reader, writer in connections:
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
        assert await server.proxy.reset(busy=False) == 3
        for reader, _ in connections:
            with pytest.raises(ConnectionResetError):  # RST: an orderly end would be b""
                await reader.read()
        reader, writer = await server.connect()
        writer.write(b"again\n")
        assert await reader.readline() == b"again\n"


async def test_a_connection_that_waits_for_its_answer_is_busy_and_no_other_is() -> None:
    async with echo() as server:
        idle, first = await server.connect()
        first.write(b"hello\n")
        assert await idle.readline() == b"hello\n"
        server.silent = True
        server.heard.clear()
        busy, second = await server.connect()
        second.write(b"hello\n")
        await server.heard.wait()
        assert await server.proxy.reset(busy=True) == 1
        with pytest.raises(ConnectionResetError):
            await busy.read()
        assert await server.proxy.reset(busy=False) == 1
        with pytest.raises(ConnectionResetError):
            await idle.read()


async def test_a_proxy_before_a_server_that_is_gone_resets_what_connects() -> None:
    async with echo(gone=True) as server:
        reader, _ = await server.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()


def fill(pipe: int) -> int:
    """Write until that would block. Returns the bytes that were written."""
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(pipe, b"x" * 512)
    return written


async def test_a_log_is_copied_until_nobody_reads_it_and_then_writing_blocks(tmp_path: Path) -> None:
    log = LogReader(tmp_path / "log")
    writer = log.open()
    os.set_blocking(writer, False)
    os.write(writer, b'{"event":"one","level":"warning"}\n')
    await until(lambda: log.file.read_bytes().count(b"\n") == 1)
    log.pause()
    written = fill(writer)
    assert written == SMALLEST
    log.resume()
    await until(lambda: log.file.read_bytes().count(b"x") == written)
    log.close()
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


async def test_the_supervisor_tells_the_status_of_a_worker_and_news_are_no_last_words(tmp_path: Path) -> None:
    log = LogReader(tmp_path / "log")
    writer = log.open()
    os.write(writer, b'{"event":"audit","level":"info"}\n{"event":"bad","level":"error"}\ntokenmint: worker 47')
    os.write(writer, b"11 ended with -9; starting another\n")
    os.close(writer)
    await until(lambda: log.ended == {4711: -9})
    assert log.last_words() == [
        '{"event":"bad","level":"error"}',
        "tokenmint: worker 4711 ended with -9; starting another",
    ]


def test_an_own_port_is_given_once_and_to_no_outgoing_connection() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [own_port() for _ in range(20)]
    assert all(1024 < port < lowest for port in ports)
    assert len(set(ports)) == len(ports)


CLOCK = """
import time, uvloop, asyncio
async def tell():
    began = time.monotonic()
    while input():
        time.sleep(0.01)
        print(time.time(), time.monotonic() - began < 20, flush=True)
uvloop.run(tell())
"""


def left_in_memory(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"*faketime*_{pid}"))


async def test_a_clock_is_moved_and_corrected_while_a_process_runs_and_its_monotonic_one_is_left_alone(
    tmp_path: Path,
) -> None:
    library = clocks.find_library()
    if library is None:
        if os.environ.get(clocks.REQUIRE_LANES):
            pytest.fail(clocks.MISSING)
        pytest.skip(clocks.MISSING)
    clock = clocks.ReplicaClock(tmp_path, library)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLOCK, env=os.environ | clock.environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for offset in (0.0, 600.0, -600.0, 86400.0, -86400.0, 0.0):
        clock.set(offset)
        before = time.time()
        process.stdin.write(b"now\n")
        told, monotonic_alone = (await asyncio.wait_for(process.stdout.readline(), LIMIT)).split()
        assert before <= float(told) - offset <= time.time()
        assert monotonic_alone == b"True"
    process.kill()
    await process.communicate()
    clocks.tidy(process.pid)
    assert not left_in_memory(process.pid)

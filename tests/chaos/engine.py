"""One server of a store, as a process on loopback."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import redis.asyncio as driver
from redis.exceptions import RedisError
from tests.ports import own_port

from tokenmint.storage.embedded import find_engine

PATIENCE: Final = 60.0  # seconds for a store to come up or to come back


class Server:
    """One process of the engine."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = own_port()
        self.directory = directory / str(self.port)
        self.directory.mkdir(parents=True)
        self.arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start it; does not wait."""
        command = [find_engine().path, *self.arguments, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--logfile", str(self.directory / "log"), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power failure would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(timeout=20)
            self.process = None

    async def ask(self, *command: str | int) -> object:
        """Send one command on a connection of its own. Raises ``RedisError``."""
        client = driver.Redis(port=self.port, socket_timeout=2, protocol=2)
        try:
            reply: object = await client.execute_command(*command)  # type: ignore[no-untyped-call]  # untyped there
            return reply
        finally:
            await client.aclose()

    async def answers(self) -> bool:
        """Whether it answers."""
        try:
            return bool(await self.ask("PING"))
        except (RedisError, OSError):
            return False


async def until(condition: Callable[[], Awaitable[bool]], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition, ``patience`` seconds at most. Raises ``TimeoutError``."""
    deadline = time.monotonic() + patience
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience:.0f} s")
        await asyncio.sleep(0.05)

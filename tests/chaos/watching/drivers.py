"""The processes of `make test-clients`, each with a client of one language, asked a line at a time."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

from tests.clients.building import DRIVERS

LIMIT: Final = 60.0  # seconds for an answer
LONGEST: Final = 1 << 20  # bytes of a line


class Gone(Exception):
    """The process has ended, failed in itself, or gives no answer for :data:`LIMIT` seconds."""


class DriverProcess:
    """One process. It answers in the order of the questions."""

    def __init__(self, language: str, log: Path) -> None:
        log.parent.mkdir(exist_ok=True)
        self._language = language
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.silent = False
        """Whether it lives, but gave no answer."""

    async def start(self, configuration: dict[str, Any]) -> None:
        """Start it and configure it. Raises :class:`Gone`."""
        self.silent = False
        errors = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(DRIVERS / self._language / "run"),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, limit=LONGEST,
            )  # fmt: skip
        finally:
            os.close(errors)
        await self.ask({"do": "configure"} | configuration)

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer. Raises :class:`Gone`."""
        process = self._process
        if process is None:
            raise Gone(self._language)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            await process.stdin.drain()
            line = await asyncio.wait_for(process.stdout.readline(), LIMIT)
        except TimeoutError as error:
            self.silent = True
            raise Gone(self._language) from error
        except OSError as error:
            raise Gone(self._language) from error
        if not line:
            raise Gone(self._language)
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise Gone(f"{self._language}: {answer['failure'][:300]}")
        return answer

    async def kill(self) -> None:
        """End it as a power failure would."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

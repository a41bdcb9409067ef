"""A driver: one long-lived process of a language, asked a line at a time."""

import json
import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

LIMIT = 90.0  # seconds for an answer; a busy machine is not what the scenarios are about


class Driver:
    """Starts `run` and speaks with it."""

    def __init__(self, script: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def send(self, command: dict[str, Any]) -> None:
        """Ask."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the answer to the oldest question that has none yet."""
        try:
            line = self._answers.get(timeout=LIMIT)
        except queue.Empty:
            raise AssertionError(f"no answer within {LIMIT:.0f} s") from None
        if line is None:
            raise AssertionError(f"the driver ended: {self.log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        assert "failure" not in answer, answer["failure"]
        return answer

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask and return the answer."""
        self.send(command)
        return self.receive()

    def close(self) -> int:
        """End it as the protocol says; return its status."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            status = self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

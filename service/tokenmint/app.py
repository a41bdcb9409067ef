"""The composition root: configuration → objects → servers → graceful stop. One :class:`App` per worker process.

The only place that wires adapters. Everything it builds is handed its clock and entropy, so that a test can run the
whole service with time in its hands.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tokenmint.clock import Clock
from tokenmint.config import Settings
from tokenmint.supervisor import Job

log = structlog.get_logger(__name__)

READINESS_INTERVAL = 1.0  # seconds between looks at what readiness depends on
PREFETCH_LIMIT = 5.0  # seconds that a start or a reload waits for providers' keys; they go on loading after it


class App:
    """The whole service in one event loop.

    Args:
        settings: the configuration.
        job: where to listen, and what else the supervisor decided.
        clock: where time comes from.
        entropy: where randomness comes from: ``entropy(n)`` returns ``n`` bytes.
    """

    def __init__(self, settings: Settings, job: Job, *, clock: Clock, entropy: Callable[[int], bytes]) -> None:
        self.settings = settings
        self.job = job
        self.clock = clock
        self.entropy = entropy
        self.failed = asyncio.Event()
        """Set when a part that has to run for ever has ended."""
        self.listen: dict[str, str] = dict(job.listen)
        self._tasks: set[asyncio.Task[None]] = set()
        self._exit = contextlib.AsyncExitStack()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the servers; its end, unless asked for, ends the service."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                log.error("a background task ended", task=name, error=type(task.exception()).__name__)
                self.failed.set()

        task.add_done_callback(ended)
        return task

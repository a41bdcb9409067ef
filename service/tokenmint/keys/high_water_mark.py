"""The high-water mark: a record of the ring that this machine keeps outside the store.

A store restored from an old copy shows no sign of it: revoked keys would sign again, and disabled users would get
tokens. Running replicas detect this from the ring in their memory. At a start without running replicas, the store is
compared with the mark.
"""

import asyncio
import fcntl
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_text
from tokenmint.base.threads import Busy, Threads
from tokenmint.keys.types import KeyRing, KeyState

log = structlog.get_logger(__name__)

FILE: Final = "high-water-mark.json"
PATIENCE: Final = 5.0  # seconds that a change waits for the file: the disk or the holder of the lock may hang
_WRITES: Final = 8  # writes in progress at a time
BEATS: Final = 20  # beats between two writes of the file, because each write waits for the disk


@dataclass(frozen=True, slots=True)
class Mark:
    """The last state of a ring that this machine saw."""

    ring_id: str
    generation: int
    revoked: frozenset[str]
    beat: int = 0
    """The highest beat of the store that was confirmed to this machine."""

    @classmethod
    def of(cls, ring: KeyRing, beat: int = 0) -> "Mark":
        """Return the mark for ``ring``."""
        revoked = frozenset(key.key_id for key in ring.keys if key.state is KeyState.REVOKED)
        return cls(ring.ring_id, ring.generation, revoked | frozenset(ring.disowned), beat)

    def merged(self, other: "Mark") -> "Mark":
        """Combine this mark with ``other``. A mark of another ring id is ignored."""
        if other.ring_id != self.ring_id:
            return self
        return Mark(
            self.ring_id,
            max(self.generation, other.generation),
            self.revoked | other.revoked,
            max(self.beat, other.beat),
        )

    def missing(self, ring: KeyRing | None, beat: int | None = None) -> list[str]:
        """List in words the parts of this mark that ``ring`` lacks; empty if the ring is as new as the mark.

        With the store's ``beat``, also report that other records are older although the ring is current.
        """
        if ring is None:
            return [f"it holds no key ring, but generation {self.generation} was served here before"]
        if ring.ring_id != self.ring_id:
            return ["it holds another key ring than the one that was served here before"]
        problems = []
        if ring.generation < self.generation:
            problems.append(f"it holds generation {ring.generation}, but {self.generation} was served here before")
        back = sorted(self.revoked - Mark.of(ring).revoked)
        if back:
            problems.append("these keys were revoked, and it lacks that: " + ", ".join(back))
        if beat is not None and beat < self.beat:
            problems.append(f"it counts {beat} beats, but {self.beat} were seen here before: later changes are lost")
        return problems


class HighWaterMark:
    """Keeps the mark in a file that all processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Mark | None = None
        self._failure = ""
        self._threads = Threads("high-water mark", _WRITES)
        self._hangs = False

    def read(self) -> Mark | None:
        """Return the mark; None before the first one.

        Raises:
            ConfigurationError: the file is not a mark.
        """
        try:
            value: Any = json.loads(read_text(self.path))
            return Mark(
                str(value["lineage"]),
                int(value["generation"]),
                frozenset(map(str, value["revoked"])),
                int(value.get("beat", 0)),  # marks of earlier versions have none
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise ConfigurationError(
                f"{self.path}: can't be read as a high-water mark: restore it, or let `tokenmint keys accept-store` "
                "write a new one"
            ) from None

    def problem(self) -> str:
        """Return the reason why the mark can't be kept, for operators, or ""."""
        return self._failure

    async def raise_to(self, ring: KeyRing, beat: int = 0) -> None:
        """Raise the mark to ``ring`` if the ring is newer. A failed write is logged once and reported by `problem`.

        A write that takes too long counts as failed, and no other write starts before it ends. If only the beat is
        newer, the mark is written only once in :data:`BEATS` beats.
        """
        mark, written = Mark.of(ring, beat), self._written
        if written is not None and replace(mark, beat=written.beat) == written and mark.beat < written.beat + BEATS:
            return
        if self._hangs and self._threads.running:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._threads.run(self._raise, mark)
        except (OSError, Busy, ConfigurationError) as error:  # TimeoutError is an OSError
            self._hangs = isinstance(error, TimeoutError)
            if not self._failure:
                log.error("the high-water mark can't be kept", file=str(self.path), error=type(error).__name__)  # noqa: TRY400
            self._failure = (
                f"{self.path}: the high-water mark can't be kept ({type(error).__name__}): if all replicas "
                "restart, changes that the store has lost go unnoticed; put the file on a persistent disk, "
                "writable by this process"
            )
        else:
            self._written, self._failure, self._hangs = mark, "", False

    def replace(self, ring: KeyRing, beat: int = 0) -> None:
        """Make ``ring`` the mark, in place of any other. Raises ``OSError``."""
        self._write(Mark.of(ring, beat))

    def _raise(self, mark: Mark) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file
            current = self.read()
            mark = mark.merged(current) if current is not None else mark
            if mark != current:
                self._write(mark)

    def _write(self, mark: Mark) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        value = {
            "lineage": mark.ring_id,
            "generation": mark.generation,
            "revoked": sorted(mark.revoked),
            "beat": mark.beat,
        }
        new = self.path.with_suffix(f".{os.getpid()}")
        with new.open("w") as file:
            file.write(json.dumps(value) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

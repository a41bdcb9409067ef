"""The high-water mark: what this machine knows of the ring outside the store.

A store that was restored from an old copy answers as if nothing had happened since: revoked keys sign again. Replicas
that are running put back what it lost. Where none is, the mark is what a start compares the store with.
"""

import asyncio
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from tokenmint.errors import ConfigurationError
from tokenmint.keys.types import KeyRing, KeyState

log = structlog.get_logger(__name__)

FILE: Final = "high-water-mark.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was last seen of a ring."""

    lineage: str
    generation: int
    revoked: frozenset[str]

    @classmethod
    def of(cls, ring: KeyRing) -> "Mark":
        """Return the mark that ``ring`` leaves."""
        return cls(
            ring.lineage,
            ring.generation,
            frozenset(key.key_id for key in ring.keys if key.state is KeyState.REVOKED),
        )

    def missing(self, ring: KeyRing | None) -> list[str]:
        """Return what of this mark ``ring`` does not know, in words; nothing where the ring is as new."""
        if ring is None:
            return [f"it holds no key ring, where generation {self.generation} was served here before"]
        if ring.lineage != self.lineage:
            return ["it holds another key ring than the one that was served here before"]
        problems = []
        if ring.generation < self.generation:
            problems.append(f"it holds generation {ring.generation}, where {self.generation} was served here before")
        back = sorted(self.revoked - Mark.of(ring).revoked)
        if back:
            problems.append("these keys were revoked, and it does not know: " + ", ".join(back))
        return problems


class HighWaterMark:
    """Keeps the mark in a file, which the processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Mark | None = None
        self._failed = False

    def read(self) -> Mark | None:
        """Return the mark, None before the first one.

        Raises:
            ConfigurationError: the file is none.
        """
        try:
            value: Any = json.loads(self.path.read_text())
            return Mark(str(value["lineage"]), int(value["generation"]), frozenset(map(str, value["revoked"])))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"{self.path}: can't be read as a high-water mark: restore it, or let `tokenmint keys accept-store` "
                "write a new one"
            ) from None

    async def raise_to(self, ring: KeyRing) -> None:
        """Note ``ring`` where it is newer than the mark. A file that can't be written is logged, once."""
        mark = Mark.of(ring)
        if mark == self._written:
            return
        try:
            await asyncio.to_thread(self._raise, mark)
        except (OSError, ConfigurationError) as error:
            if not self._failed:
                log.error("the high-water mark can't be kept", file=str(self.path), error=type(error).__name__)  # noqa: TRY400
            self._failed = True
        else:
            self._written, self._failed = mark, False

    def replace(self, ring: KeyRing) -> None:
        """Make ``ring`` the mark, whatever it was."""
        self._write(Mark.of(ring))

    def _raise(self, mark: Mark) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file
            known = self.read()
            if known is not None and known.lineage == mark.lineage:
                mark = Mark(mark.lineage, max(known.generation, mark.generation), known.revoked | mark.revoked)
            if mark != known:
                self._write(mark)

    def _write(self, mark: Mark) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        value = {"lineage": mark.lineage, "generation": mark.generation, "revoked": sorted(mark.revoked)}
        new = self.path.with_suffix(f".{os.getpid()}")
        with new.open("w") as file:
            file.write(json.dumps(value) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

"""The progress of a long command: a bar with rate and time left, on a terminal alone."""

import contextlib
import sys
import time
from collections.abc import Iterator


class Progress:
    """Counts the finished part."""

    def __init__(self) -> None:
        self.done = 0
        self._started = time.monotonic()
        self._first = 0

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """The number that was done in a second, on average."""
        return (self.done - self._first) / max(self.seconds, 1e-6)

    def begin(self, done: int) -> None:
        """Say how much was done before."""
        self.done = self._first = done

    def update(self, done: int) -> None:
        """Say how much is done."""
        self.done = done


@contextlib.contextmanager
def shown_progress(total: int, what: str) -> Iterator[Progress]:
    """Show the progress of the block."""
    from rich.console import Console

    console = Console(stderr=True)  # obeys NO_COLOR
    if not (console.is_terminal and sys.stderr.isatty()):  # the first alone may be forced by the environment
        yield Progress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:.0f}/s"), TimeRemainingColumn()
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, rate=0.0)

        class Drawn(Progress):
            def begin(self, done: int) -> None:
                super().begin(done)
                bar.update(task, completed=done, refresh=True)

            def update(self, done: int) -> None:
                self.done = done
                bar.update(task, completed=done, rate=self.rate, refresh=True)

        yield Drawn()

"""Which calls become spans, and where these go."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Final, Protocol

from tokenmint.base.clock import Clock
from tokenmint.base.trace_context import CallTrace, TraceContext
from tokenmint.tracing.spans import Span

_NANO: Final = 1_000_000_000


class Sink(Protocol):
    """Takes spans."""

    def add(self, spans: Sequence[Span]) -> None:
        """Take the spans of one call, or drop and count them. Never waits, never raises."""
        ...


class Sampler:
    """Decides which calls become spans: those whose callers record theirs, and a share of those without a trace.

    Args:
        ratio: that share, 0 to 1.
        calls_per_second: the limit of both together. A caller can ask for spans, so their number needs one.
        draw: returns a random number in [0, 1).
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(
        self, ratio: float, calls_per_second: int, draw: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._ratio = ratio
        self._rate = float(calls_per_second)
        self._draw = draw
        self._monotonic = monotonic
        self._places = self._rate
        self._at = monotonic()

    def wants(self, parent: TraceContext | None) -> bool:
        """Return whether a call becomes a span, as long as :meth:`take` finds a place when it ends."""
        chosen = parent.sampled if parent is not None else self._ratio > 0 and self._draw() < self._ratio
        return chosen and self.has_place

    @property
    def has_place(self) -> bool:
        """Whether the limit has a place now."""
        now = self._monotonic()
        self._places = min(self._rate, self._places + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._places >= 1

    def take(self) -> bool:
        """Take a place. Returns False if there is none."""
        if not self.has_place:
            return False
        self._places -= 1
        return True


class Tracer:
    """Begins and ends the traces of calls. Without a sink, it only continues the traces of callers.

    Args:
        entropy: ``entropy(n)`` returns ``n`` random bytes.
        clock: the time.
        sink: takes the spans.
        sampler: decides which calls become spans; None: none.
    """

    def __init__(
        self, entropy: Callable[[int], bytes], clock: Clock, sink: Sink | None = None, sampler: Sampler | None = None
    ) -> None:
        self._entropy = entropy
        self._clock = clock
        self._sink = sink
        self._sampler = sampler
        self._owed: Counter[str] = Counter()

    def begin(self, method: str, parent: TraceContext | None, *, recordable: bool = True) -> CallTrace | None:
        """Return the trace of a call that begins; None if it has none.

        Args:
            method: the method's name.
            parent: the caller's place in a trace.
            recordable: whether calls of this method may become spans.
        """
        if self._sampler is not None and recordable:
            owed = parent is None and self._owed[method] > 0
            if owed:
                self._owed[method] -= 1
            if owed or self._sampler.wants(parent):
                ids = self._ids()
                if parent is None:
                    return CallTrace(self._entropy(16).hex(), next(ids), new_ids=ids)
                return CallTrace(parent.trace_id, next(ids), parent.span_id, parent.state, ids)
        return CallTrace(parent.trace_id, parent.span_id) if parent is not None else None

    def keeps_from_fast_way(self, method: str, parent: TraceContext | None) -> bool:
        """Return whether a call has to leave the fast way, because it becomes a span.

        A call without a trace was not begun, so the next one of the method that begins takes its place; if that tried
        the fast way, too, it was drawn for twice.

        Args:
            method: the method's name.
            parent: the caller's place in a trace.
        """
        if self._sampler is None or not self._sampler.wants(parent):
            return False
        if parent is None:
            self._owed[method] += 1
        return True

    def end(self, make: Callable[[Callable[[float], int]], Sequence[Span]]) -> None:
        """Pass the spans of a call on, if the limit has a place for it.

        ``make`` makes them, with a function from times of ``perf_counter`` to Unix nanoseconds.
        """
        if self._sink is None or self._sampler is None or not self._sampler.take():
            return
        now, at = int(self._clock.now() * _NANO), perf_counter()
        self._sink.add(make(lambda moment: now - int((at - moment) * _NANO)))

    def _ids(self) -> Iterator[str]:
        while True:
            yield self._entropy(8).hex()


def sampler_of(ratio: float, calls_per_second: int, entropy: Callable[[int], bytes], clock: Clock) -> Sampler:
    """Return the sampler of a process."""
    # Chooses calls; nothing secret follows from it.
    return Sampler(ratio, calls_per_second, random.Random(entropy(8)).random, clock.monotonic)  # noqa: S311

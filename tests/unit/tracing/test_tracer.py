"""Which calls become spans: by the parent, by a ratio, and within a limit."""

from collections.abc import Sequence

from tests.fakes import FakeClock, FakeEntropy

from tokenmint.base.trace_context import TraceContext
from tokenmint.tracing.spans import Kind, Span
from tokenmint.tracing.tracer import Sampler, Tracer

TRACE, SPAN = "a" * 32, "b" * 16
SAMPLED, NOT_SAMPLED = TraceContext(TRACE, SPAN, sampled=True, state="v=1"), TraceContext(TRACE, SPAN, sampled=False)
METHOD = "/x/Y"


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, spans: Sequence[Span]) -> None:
        self.spans += spans


def tracer(draw: float = 1.0, ratio: float = 0.5, limit: int = 100, clock: FakeClock | None = None) -> Tracer:
    clock = clock or FakeClock()
    return Tracer(FakeEntropy(), clock, Kept(), Sampler(ratio, limit, lambda: draw, clock.monotonic))


def end(made: Tracer) -> int:
    """End a call; return the number of its spans that were kept."""
    sink = made._sink
    assert isinstance(sink, Kept)
    before = len(sink.spans)
    made.end(lambda moment: [Span(TRACE, SPAN, "", "x", Kind.SERVER, moment(0.0), moment(1.0), {})])
    return len(sink.spans) - before


def test_a_call_continues_its_callers_trace_and_is_recorded_if_that_is() -> None:
    made = tracer()
    sampled, other = made.begin(METHOD, SAMPLED), made.begin(METHOD, NOT_SAMPLED)
    assert sampled is not None
    assert other is not None
    assert (sampled.trace_id, sampled.parent_id, sampled.state) == (TRACE, SPAN, "v=1")
    assert sampled.recorded
    assert sampled.span_id not in (SPAN, "")
    assert not other.recorded
    assert other.ids() == {"trace_id": TRACE, "span_id": SPAN}


def test_a_share_of_the_calls_without_a_trace_begins_one() -> None:
    chosen, other = tracer(draw=0.49).begin(METHOD, None), tracer(draw=0.5).begin(METHOD, None)
    assert chosen is not None
    assert chosen.recorded
    assert (len(chosen.trace_id), chosen.parent_id) == (32, "")
    assert other is None
    assert tracer(draw=0.0, ratio=0.0).begin(METHOD, None) is None


def test_without_an_export_nothing_is_recorded() -> None:
    made = Tracer(FakeEntropy(), FakeClock())
    continued = made.begin(METHOD, SAMPLED)
    assert continued is not None
    assert not continued.recorded
    assert made.begin(METHOD, None) is None
    assert not made.keeps_from_fast_way(METHOD, SAMPLED)


def test_the_limit_holds_for_callers_that_ask_for_spans() -> None:
    clock = FakeClock()
    made = tracer(limit=2, clock=clock)
    assert [end(made) for _ in range(3)] == [1, 1, 0]
    refused = made.begin(METHOD, SAMPLED)
    assert refused is not None
    assert not refused.recorded
    assert not made.keeps_from_fast_way(METHOD, SAMPLED), "beyond the limit a call stays on the fast way"
    clock.advance(0.5)
    assert made.keeps_from_fast_way(METHOD, SAMPLED)
    assert [end(made) for _ in range(2)] == [1, 0]


def test_a_call_without_a_trace_that_left_the_fast_way_is_drawn_once() -> None:
    draws = iter([0.0, 0.9])
    clock = FakeClock()
    made = Tracer(FakeEntropy(), clock, Kept(), Sampler(0.5, 100, lambda: next(draws), clock.monotonic))
    assert made.keeps_from_fast_way(METHOD, None)
    other = made.begin("/x/Other", None)  # draws 0.9
    assert other is None
    begun = made.begin(METHOD, None)
    assert begun is not None
    assert begun.recorded


def test_methods_of_strangers_are_not_recorded() -> None:
    made = tracer(draw=0.0)
    assert made.begin(METHOD, None, recordable=False) is None
    continued = made.begin(METHOD, SAMPLED, recordable=False)
    assert continued is not None
    assert not continued.recorded

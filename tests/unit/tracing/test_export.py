"""The export of spans: bounded, counted, repeated where that can help, and never in the way of a call."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.fakes import FakeClock

from tokenmint.base.background import Background
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.tracing.export import TASK, Export, ExportFailed
from tokenmint.tracing.otlp import Encoder
from tokenmint.tracing.spans import Kind, Span

AGAIN, NEVER = ExportFailed("it is away", again=True), ExportFailed("it refused", again=False)


def spans(count: int) -> list[Span]:
    return [Span("a" * 32, f"{number:016x}", "", "x", Kind.SERVER, 1, 2, {"n": 1, "t": "é"}) for number in range(count)]


class Target:
    """A collector that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[bytes | BaseException] = []
        self.bodies: list[bytes] = []
        self.closed = False

    @property
    def files(self) -> Sequence[RenewedFiles[Any]]:
        return ()

    async def send(self, body: bytes) -> bytes:
        self.bodies.append(body)
        answer = self.answers.pop(0) if self.answers else b""
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def made(target: Target, *, most: int = 10, batch: int = 4) -> Export:
    return Export(target, Encoder({"service.name": "x"}, "1"), most=most, batch=batch)


async def test_spans_are_sent_in_batches() -> None:
    target = Target()
    export = made(target)
    export.add(spans(9))
    await export.flush()
    assert len(target.bodies) == 3
    assert (export.outcomes, export.problem, len(export)) == ({"sent": 9, "dropped": 0, "refused": 0}, "", 0)


async def test_beyond_the_queue_the_spans_of_a_call_are_dropped_together_and_counted() -> None:
    export = made(Target())
    for count in (6, 5, 4, 1):
        export.add(spans(count))
    assert (len(export), export.dropped) == (10, 6)
    await export.flush()
    assert export.problem == "6 spans since the start did not reach the collector"


async def test_what_a_retry_can_help_stays_in_the_queue_and_the_rest_does_not() -> None:
    target = Target()
    export = made(target)
    export.add(spans(5))
    target.answers = [AGAIN]
    with pytest.raises(ExportFailed):
        await export.flush()
    assert (len(export), export.problem) == (5, "5 spans wait (it is away)")
    target.answers = [NEVER]
    with pytest.raises(ExportFailed):
        await export.flush()
    assert (len(export), export.refused) == (1, 4)
    await export.flush()
    assert export.outcomes == {"sent": 1, "dropped": 0, "refused": 4}


async def test_an_unforeseen_error_does_not_keep_the_same_batch_for_ever() -> None:
    target = Target()
    export = made(target)
    export.add(spans(4))
    target.answers = [KeyError("tms_secret")]
    with pytest.raises(KeyError):
        await export.flush()
    assert len(export) == 0
    assert "tms_secret" not in export.problem


async def test_rejected_spans_are_counted_and_an_odd_response_is_taken_for_none() -> None:
    target = Target()
    export = made(target)
    target.answers = [b"\x0a\x02\x08\x03", b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x01", b"\xff\xff"]  # 3 spans; -1; garbage
    for _ in range(3):
        export.add(spans(4))
        await export.flush()
    assert export.outcomes == {"sent": 9, "dropped": 0, "refused": 3}


async def test_a_failing_export_is_a_failing_task_that_goes_on(background: Background, clock: FakeClock) -> None:
    target = Target()
    target.answers = [AGAIN]
    export = made(target)
    export.follow(background, 1.0)
    export.add(spans(1))
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(1.0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert background.failing() == {TASK: "it is away"}
    clock.advance(10.0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert background.failing() == {}
    assert export.sent == 1


async def test_a_stop_sends_what_waits_and_never_fails() -> None:
    target = Target()
    export = made(target)
    export.add(spans(2))
    await export.close()
    assert (export.sent, target.closed) == (2, True)
    target.answers = [AGAIN]
    export.add(spans(3))
    await export.close()
    assert export.dropped == 3

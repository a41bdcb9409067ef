"""The audit trail: durable before an admin action, soon after an exchange, and never with a secret in it."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes import FakeClock

from tokenmint.admission import audit
from tokenmint.admission.audit import AuditLimits, AuditTrail
from tokenmint.admission.audit_stream import BATCH
from tokenmint.base import logs
from tokenmint.base.background import Background
from tokenmint.base.errors import AuditUnavailable, StoreUnavailable
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.telemetry import json_text
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow


async def events(store: Store, stream: str = audit.EXCHANGES) -> list[dict[str, object]]:
    entries = await store.server.client.xrange(store.prefix + stream)
    return [json.loads(fields[b"event"]) for _, fields in entries]


@contextmanager
def json_log(descriptor: int) -> Iterator[LineWriter]:
    """Log to a descriptor, one line of JSON for each event, for a while."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    writer = logs.configure("info", "json", LineWriter(descriptor))
    try:
        yield writer
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.configure(**before)
        assert writer.flush(20)


async def test_a_record_is_in_the_stream_when_it_is_made(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock)
    await trail.record({"kind": "admin", "method": "/x", "reason": "", "key_id": None})
    assert await events(store, audit.ADMIN) == [{"time": clock.now(), "kind": "admin", "method": "/x"}]
    assert await events(store) == []


async def test_notes_follow_in_their_order(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock)
    for number in range(BATCH + 50):
        trail.note({"kind": "exchange", "number": number})
    assert await events(store) == []
    await trail.close()
    assert [event["number"] for event in await events(store)] == list(range(BATCH + 50))


async def test_what_can_not_be_recorded_is_an_error_and_notes_wait(store: Store, clock: FakeClock) -> None:
    broken = Store(replace(store.url, socket_path="/nonexistent"), store.prefix, store.options)
    trail = AuditTrail(broken, clock)
    with pytest.raises(StoreUnavailable):
        await trail.record({"kind": "admin"})
    trail.note({"kind": "exchange", "number": 1})
    with pytest.raises(StoreUnavailable):
        await trail.flush()
    await trail.close()  # says so, and does not raise
    trail._store = store
    await trail.flush()
    assert [event.get("number") for event in await events(store)] == [1]
    await broken.close()


async def test_what_is_not_kept_is_in_the_log_alone(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock)
    trail.note({"kind": "exchange", "caller": "anybody"}, keep=False)
    await trail.flush()
    assert await events(store) == []


@pytest.mark.parametrize("limits", [{"waiting_events": 3}, {"waiting_bytes": 120}], ids=["events", "bytes"])
async def test_notes_that_wait_are_bounded(store: Store, clock: FakeClock, limits: dict[str, Any]) -> None:
    trail = AuditTrail(store, clock, AuditLimits(**limits))
    for number in range(5):
        trail.note({"number": number})
    trail.note({"kind": "admin", "number": 9})  # has places of its own
    assert trail.dropped == {"exchanges": 2, "admin": 0}
    assert trail.problem == "2 events since the start are not in their stream: see the log"
    await trail.flush()
    assert [event["number"] for event in await events(store)] == [0, 1, 2]
    assert [event["number"] for event in await events(store, audit.ADMIN)] == [9]


async def test_operators_events_are_not_pushed_out_by_clients(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock, AuditLimits(exchange_events=200, exchange_bytes=4096))
    await trail.record({"kind": "admin", "method": "/first"})
    for number in range(3000):
        trail.note({"kind": "exchange", "number": number, "detail": "x" * 200})
    await trail.flush()
    kept = [event["number"] for event in await events(store)]
    assert kept == list(range(3000 - len(kept), 3000))  # the newest
    assert 5 < len(kept) < 20
    assert [event["method"] for event in await events(store, audit.ADMIN)] == ["/first"]


@pytest.mark.parametrize("size", [100, 4000])
async def test_a_stream_holds_about_so_many_bytes_whatever_their_number(
    store: Store, clock: FakeClock, size: int
) -> None:
    most = 64 * 1024
    trail = AuditTrail(store, clock, AuditLimits(exchange_bytes=most))
    for _ in range(5):
        for number in range(5 * most // size // 5):
            trail.note({"kind": "exchange", "number": number, "detail": "x" * size})
        await trail.flush()
    entries = await store.server.client.xrange(store.prefix + audit.EXCHANGES)
    held = sum(len(fields[b"event"]) for _, fields in entries)
    assert most / 2 < held <= most + 8 * 1024


async def test_a_lower_limit_is_reached_step_by_step(store: Store, clock: FakeClock) -> None:
    """No call takes more from the store than it brings and a few more, so that none holds the store up."""
    before = AuditTrail(store, clock)
    for number in range(500):
        before.note({"kind": "exchange", "number": number, "detail": "x" * 100})
    await before.flush()
    after = AuditTrail(store, clock, AuditLimits(exchange_bytes=2048))
    lengths = []
    for _ in range(40):
        await after._exchanges.write(store, [b'{"kind":"exchange"}'], durable=False)
        lengths.append(len(await events(store)))
    assert lengths[0] > 470
    assert lengths[-1] < 30


async def test_events_of_before_there_were_sums_are_read_and_go_with_their_number(
    store: Store, clock: FakeClock
) -> None:
    client = store.server.client
    for number in range(10):
        await client.xadd(store.prefix + audit.EXCHANGES, {"event": json.dumps({"number": number})})
    trail = AuditTrail(store, clock, AuditLimits(exchange_bytes=1_000_000))
    trail.note({"kind": "exchange", "number": 10})
    await trail.flush()
    assert [event["number"] for event in await events(store)] == list(range(11))
    small = AuditTrail(store, clock, AuditLimits(exchange_bytes=200))
    for number in range(11, 30):
        small.note({"kind": "exchange", "number": number, "detail": "x" * 100})
    await small.flush()
    assert [event["number"] for event in await events(store)][-1] == 29
    assert len(await events(store)) < 5


async def test_each_event_is_bounded_and_stays_json(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock, AuditLimits(event_bytes=1024))
    trail.note({"kind": "exchange", "caller": "web", "detail": "typ '" + "\u20ac" * 60_000 + "'"})
    trail.note({"kind": "exchange", "caller": "web", "minted": [{"jti": "j" * 40, "kid": "k" * 43}] * 8})
    trail.note({"kind": "exchange", "caller": "web", **{f"f{number}": ["x" * 999] * 999 for number in range(99)}})
    await trail.flush()
    entries = await store.server.client.xrange(store.prefix + audit.EXCHANGES)
    assert all(len(fields[b"event"]) <= 1024 for _, fields in entries)
    long, batch, wide = await events(store)
    assert long["caller"] == "web"
    assert str(long["detail"]).startswith("typ '\u20ac")
    assert str(long["detail"]).endswith("...(60006 characters)")
    assert len(batch["minted"]) == 8  # type: ignore[arg-type]  # what was done is told in full
    assert wide["cut"] == "102 fields"


async def test_one_clients_refusals_are_told_to_a_limit_and_then_counted(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock, AuditLimits(refusals_per_second=1.0, refusals_at_once=3))
    refused = {"kind": "exchange", "outcome": "refused", "caller": "spa", "reason": "BAD_SIGNATURE"}
    for _ in range(1000):
        trail.note(refused)
    trail.note(refused | {"caller": "web"})  # another client is told of
    trail.note({"kind": "exchange", "outcome": "done", "caller": "spa"})  # and so is what the same one gets
    await trail.flush()
    told = [(event["caller"], event["outcome"]) for event in await events(store)]
    assert told == [("spa", "refused")] * 3 + [("web", "refused"), ("spa", "done")]
    clock.advance(audit.SUMMARY)
    trail.note(refused)
    await trail.flush()
    *_, again, counted = await events(store)
    assert "count" not in again
    assert (counted["caller"], counted["reason"], counted["count"]) == ("spa", "BAD_SIGNATURE", 997)


async def test_an_exchange_that_has_to_be_recorded_needs_a_log_or_a_stream(store: Store, clock: FakeClock) -> None:
    """``audit.required``: either is enough; a stream that failed is one that takes events again once it took some."""
    works = [False]
    trail = AuditTrail(store, clock, AuditLimits(required=True, waiting_events=4), log_works=lambda: works[0])
    trail.check()  # nothing is known against the stream
    trail.note({"kind": "exchange"})
    broken = Store(replace(store.url, socket_path="/nonexistent"), store.prefix, store.options)
    trail._store = broken
    with pytest.raises(StoreUnavailable):
        await trail.flush()
    with pytest.raises(AuditUnavailable):
        trail.check()
    assert trail.problem.startswith("1 events wait for the store (")
    works[0] = True
    trail.check()
    works[0], trail._store = False, store
    await trail.flush()
    trail.check()
    assert trail.problem == ""
    for _ in range(2):
        trail.note({"kind": "exchange"})
    with pytest.raises(AuditUnavailable):  # what is begun now might find no place when it ends
        trail.check()
    AuditTrail(broken, clock, AuditLimits(waiting_events=0)).check()  # nothing has to be recorded
    await broken.close()


async def test_whatever_the_store_fails_with_the_trail_goes_on(
    store: Store, clock: FakeClock, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(store, clock)
    trail.follow(background)
    failing = asyncio.Event()

    async def fails(*_: object, **__: object) -> None:
        failing.set()
        raise RuntimeError("canary")

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", fails)
        trail.note({"kind": "exchange", "number": 1})
        await _next_turn(clock, failing.is_set)
    assert trail.problem == "1 events wait for the store (RuntimeError)"
    await _next_turn(clock, lambda: not trail.problem)
    assert [event["number"] for event in await events(store)] == [1]


async def _next_turn(clock: FakeClock, happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():
            clock.advance(audit.PAUSE)
            await asyncio.sleep(0)


@pytest.mark.parametrize("value", ["\ud800", 2**70], ids=["lone surrogate", "beyond 64 bits"])
async def test_no_value_keeps_an_event_from_being_kept(store: Store, clock: FakeClock, value: object) -> None:
    trail = AuditTrail(store, clock)
    await trail.record({"kind": "exchange", "detail": value})
    assert [event["detail"] for event in await events(store)] == [value]


async def test_exchanges_that_minted_are_recorded_as_notes_are(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    """The same lines of the log and the same events, whole or cut, whichever way they come."""
    minted = [{"jti": "j", "kid": "k"}]
    plain = {"kind": "exchange", "caller": "web", "audience": '"\\\u00e9\u2028', "principal": "ada", "minted": minted}
    long = plain | {"detail": "x" * 600}
    with (tmp_path / "log").open("wb") as file, json_log(file.fileno()) as writer:
        for limit in (8192, 1024, 512):
            recorded = []
            for by_bytes in (False, True):
                trail = AuditTrail(store, clock, AuditLimits(event_bytes=limit))
                if by_bytes:
                    trail.note_minted([json_text(event)[:-1].encode() for event in (plain, long)])
                else:
                    for event in (plain, long):
                        trail.note(event)
                await trail.flush()
                assert writer.flush(20)
                lines = [json.loads(line) | {"timestamp": ""} for line in (tmp_path / "log").read_text().splitlines()]
                recorded.append((await events(store), lines))
            (noted, noted_lines), (all_events, all_lines) = recorded
            assert all_events[-4:-2] == all_events[-2:] == noted[-2:]
            assert all_lines[-4:-2] == all_lines[-2:] == noted_lines[-2:]
            assert [line["principal"] for line in all_lines[-2:]] == ["ada", "ada"]

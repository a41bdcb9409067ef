"""The audit trail: durable before an admin action, soon after an exchange, and never with a secret in it."""

import json
from dataclasses import replace

import pytest
from tests.fakes import FakeClock

from tokenmint import audit
from tokenmint.audit import AuditTrail
from tokenmint.errors import StoreUnavailable
from tokenmint.storage.redis import Store


async def events(store: Store) -> list[dict[str, object]]:
    entries = await store._read_client().xrange(store.prefix + audit.STREAM)
    return [json.loads(fields[b"event"]) for _, fields in entries]


async def test_a_record_is_in_the_stream_when_it_is_made(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock)
    await trail.record({"kind": "admin", "method": "/x", "reason": "", "key_id": None})
    assert await events(store) == [{"time": clock.now(), "kind": "admin", "method": "/x"}]


async def test_notes_follow_in_their_order(store: Store, clock: FakeClock) -> None:
    trail = AuditTrail(store, clock)
    for number in range(audit.BATCH + 50):
        trail.note({"kind": "exchange", "number": number})
    assert await events(store) == []
    await trail.close()
    assert [event["number"] for event in await events(store)] == list(range(audit.BATCH + 50))


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


async def test_notes_that_wait_are_bounded(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 3)
    trail = AuditTrail(store, clock)
    for number in range(5):
        trail.note({"number": number})
    assert trail.dropped == 2
    await trail.flush()
    assert [event["number"] for event in await events(store)] == [2, 3, 4]


@pytest.mark.parametrize("value", ["\ud800", 2**70], ids=["lone surrogate", "beyond 64 bits"])
async def test_no_value_keeps_an_event_from_being_kept(store: Store, clock: FakeClock, value: object) -> None:
    trail = AuditTrail(store, clock)
    await trail.record({"kind": "exchange", "detail": value})
    assert [event["detail"] for event in await events(store)] == [value]

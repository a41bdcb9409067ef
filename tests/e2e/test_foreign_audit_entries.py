"""Another program wrote into the audit streams, or operators read what their role does not show them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.console import LISTEN, Page, page_of
from tests.rig import Rig, Serve, person, refusal

from tokenmint.admission import audit, audit_pages
from tokenmint.storage import merging, streams
from tokenmint.v1 import audit_admin_service_pb2 as pb

BIDI = "\u202e\u061c\x1b]0;x\x07"
WIDE: dict[str, Any] = {
    **dict.fromkeys(("method", "outcome", "reason", "caller", "provider", "principal", "actor", "detail"), BIDI * 60),
    **dict.fromkeys(("audience", "refused"), [BIDI * 60] * 40),
    "minted": [{"jti": BIDI * 60, "kid": BIDI * 60}] * 40,
    "time": 1.8e9,
}
FOREIGN = (
    b"", b"\xff" * 1000, b"not json", b"[1]", b"[" * 100_000, b'{"a":' * 2000, b'{"time":NaN}', b"1" * 6000,
    b'{"caller":"\\ud800"}', b"x" * (streams.LONGEST + 1),
)  # fmt: skip


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    async with serve(listen=LISTEN) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


@pytest.fixture
async def page(rig: Rig) -> AsyncIterator[Page]:
    async with page_of(rig) as opened:
        yield opened


async def write(rig: Rig, *values: bytes, key: str = audit.EXCHANGES) -> None:
    store = rig.parts.store
    for value in values:
        await store.server.client.xadd(store.prefix + key, {"event": value})


async def trail(rig: Rig, operator: str, **fields: Any) -> list[str]:
    await rig.parts.audit.flush()
    answer = await rig.trail.ListAuditEvents(pb.ListAuditEventsRequest(**fields), **rig.auth(operator))
    return [event.event_json for event in answer.events]


@pytest.mark.parametrize("stream", [pb.AUDIT_STREAM_EXCHANGES, pb.AUDIT_STREAM_ADMIN])
async def test_a_viewer_of_the_trail_does_not_see_the_compared_values_that_explain_is_for(
    rig: Rig, stream: pb.AuditStream
) -> None:
    token = rig.issuer.token(rig.clock.now(), aud="secret-other-app")
    await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    await write(rig, json.dumps({"kind": "admin", "detail": "secret-other-app"}).encode(), key=audit.ADMIN)
    seen = [json.loads(text) for text in await trail(rig, "guest", stream=stream)]
    assert seen
    assert "secret-other-app" not in str(seen)
    assert "detail" not in {name for event in seen for name in event}
    assert "secret-other-app" in str(await trail(rig, "root", stream=stream))


@pytest.mark.parametrize("operator", ["guest", "root"])
async def test_an_entry_that_is_no_event_is_empty(rig: Rig, operator: str) -> None:
    await write(rig, *FOREIGN, b'{"kind":"exchange"}')
    assert await trail(rig, operator) == [""] * len(FOREIGN) + ['{"kind":"exchange"}']


async def test_the_page_shows_its_own_events_beside_the_largest_foreign_ones(page: Page, rig: Rig) -> None:
    own = json.dumps({"kind": "exchange", "caller": "web", "outcome": "done", "time": 1.8e9}).encode()
    await write(rig, own, *FOREIGN, *[json.dumps(WIDE, ensure_ascii=False).encode()] * 120)
    found, before, pages = [], "", 0
    while True:
        document = await page.document("/api/exchanges", "root", before=before)
        found += document["events"]
        before, pages = document["older"], pages + 1
        if not before:
            break
    assert sum(one.get("caller") == "web" for one in found) == 1
    assert len(found) >= 121
    assert not set(str(found)) & set(BIDI[:3])
    assert (await page.document("/api/refusals"))["complete"]


async def test_positions_at_the_ends_of_the_range(page: Page, rig: Rig) -> None:
    await write(rig, b'{"time": 1}')
    last = f"{2**64 - 1}-{2**64 - 1}"
    for field, position, number in (("before", "0-0", 0), ("after", "0-0", 1), ("before", last, 1), ("after", last, 0)):
        assert len((await page.document("/api/exchanges", **{field: position}))["events"]) == number
    assert await trail(rig, "guest", position=last) == []


async def test_a_stream_of_another_type_is_told_without_ending_anything(page: Page, rig: Rig) -> None:
    await rig.parts.audit.flush()
    store = rig.parts.store
    await store.server.client.delete(store.prefix + audit.EXCHANGES)
    await store.server.client.set(store.prefix + audit.EXCHANGES, b"text")
    for path in ("/api/exchanges", "/api/refusals"):
        answer = await page.ask(path)
        assert (answer.status_code, answer.json()["reason"]) == (500, "CORRUPT_RECORD")
    told = await refusal(rig.trail.ListAuditEvents(pb.ListAuditEventsRequest(), **rig.auth("guest")))
    assert told.reason == "CORRUPT_RECORD"
    assert (await page.ask("/api/keys")).status_code == 200


async def test_searches_take_turns(page: Page, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One search reads thousands of events: exchanges are answered between two parts of one, and not of many."""
    read, at_once, most = merging.backwards, 0, 0

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await read(*arguments, **options)
        finally:
            at_once -= 1

    await write(rig, b'{"time": 1}')
    monkeypatch.setattr(merging, "backwards", counted)
    await asyncio.gather(*(page.document("/api/exchanges", client="none") for _ in range(8)))
    assert most == 1


async def test_an_operator_that_a_reload_removes_is_refused_at_once(page: Page, rig: Rig) -> None:
    assert (await page.ask("/api/session")).status_code == 200
    text = rig.config.read_text()
    for changed, status in (
        (text.replace("[operators.guest]", "[operators.other]"), 401),
        (text, 200),
    ):
        rig.config.write_text(changed)
        await rig.app.reload(rig.settings())
        assert (await page.ask("/api/session")).status_code == status
        assert (await page.ask("/api/exchanges")).status_code == status


def test_the_largest_page_fits_a_message() -> None:
    usual = 4 << 20  # of gRPC's clients
    assert usual > audit_pages.MOST_BYTES + 100 * audit_pages.MOST_EVENTS

"""Operators read the audit trail: page by page, within the limits of a request."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from tests.console import LISTEN, page_of
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.admission import audit_pages
from tokenmint.admission.audit import EXCHANGE_SHARDS
from tokenmint.storage import merging
from tokenmint.storage.shards import LONGEST
from tokenmint.storage.streams import BEGINNING
from tokenmint.v1 import audit_admin_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2 as exchange_pb

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"position": "x"}, "position"),
    ({"position": f"{2**64}-0"}, "position"),
    ({"position": "1-0", "start_time": Timestamp(seconds=1)}, "start_time"),
    ({"start_time": Timestamp(seconds=-1)}, "start_time"),
    ({"start_time": Timestamp(seconds=1 << 40)}, "start_time"),
    ({"page_size": -1}, "page_size"),
    ({"page_size": audit_pages.MOST_EVENTS + 1}, "page_size"),
    ({"page_bytes": audit_pages.LEAST_BYTES - 1}, "page_bytes"),
    ({"page_bytes": audit_pages.MOST_BYTES + 1}, "page_bytes"),
    ({"stream": 7}, "stream"),
]


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    async with serve(transport=transport) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


async def page(rig: Rig, **fields: Any) -> tuple[list[dict[str, Any]], pb.ListAuditEventsResponse]:
    await rig.parts.audit.flush()
    answer = await rig.trail.ListAuditEvents(pb.ListAuditEventsRequest(**fields), **rig.auth("guest"))
    return [json.loads(event.event_json) for event in answer.events], answer


async def exchange(rig: Rig, **claims: Any) -> None:
    token = rig.issuer.token(rig.clock.now(), **claims)
    await rig.exchange.ExchangeToken(
        exchange_pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE), **rig.auth("web")
    )


async def test_a_viewer_follows_the_exchanges(rig: Rig) -> None:
    before, answer = await page(rig)
    assert before == []
    await exchange(rig)
    events, answer = await page(rig, position=answer.next_position)
    assert [(one["caller"], one["outcome"], one["principal"]) for one in events] == [("web", "done", "ada")]
    told = await refusal(
        rig.exchange.ExchangeToken(
            exchange_pb.ExchangeTokenRequest(subject_token="x.y.z", audience=AUDIENCE), **rig.auth("web")
        )
    )
    events, answer = await page(rig, position=answer.next_position, stream=pb.AUDIT_STREAM_EXCHANGES)
    assert [one["reason"] for one in events] == [told.reason]
    assert (answer.has_more, answer.has_gap) == (False, False)
    assert (await page(rig, position=answer.next_position))[0] == []
    assert len((await page(rig, page_size=1))[0]) == 1
    assert len((await page(rig, start_time=Timestamp(seconds=1)))[0]) == 2


async def test_operators_actions_are_in_the_other_stream_and_reading_is_not_recorded(rig: Rig) -> None:
    events, _ = await page(rig, stream=pb.AUDIT_STREAM_ADMIN)
    again, _ = await page(rig, stream=pb.AUDIT_STREAM_ADMIN)
    assert {one["method"].rpartition("/")[2] for one in events} == {"CreateProfile"}
    assert again == events


async def test_a_request_beyond_the_limits_is_refused(rig: Rig) -> None:
    for fields, wrong in WRONG:
        told = await refusal(rig.trail.ListAuditEvents(pb.ListAuditEventsRequest(**fields), **rig.auth("guest")))
        violations = error_details_pb2.BadRequest()
        assert any(detail.Unpack(violations) for detail in told.status.details)
        assert (told.code, [item.field for item in violations.field_violations]) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            [wrong],
        ), fields


SHARDED = "\n[audit]\nshards = 24\n"


@pytest.fixture
async def sharded(serve: Serve) -> AsyncIterator[Rig]:
    async with serve(extra=SHARDED, listen=LISTEN) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


async def test_exchanges_of_all_shards_are_read_as_one_stream(sharded: Rig) -> None:
    """Over gRPC and in the console, from any event on, while further exchanges come."""
    for number in range(30):
        await exchange(sharded, jti=f"t{number}")
        await sharded.parts.audit.flush()
    store = sharded.parts.store
    assert len(await merging.present(store, EXCHANGE_SHARDS)) == 24
    found: list[str] = []
    position = BEGINNING
    while True:
        events, answer = await page(sharded, position=position, page_size=7)
        found += [one["minted"][0]["jti"] for one in events]
        position = answer.next_position
        assert not answer.has_gap
        if not answer.has_more:
            break
        if len(found) < 20:
            await exchange(sharded)
    assert len(found) == len(set(found)) >= 32
    whole = [one["minted"][0]["jti"] for one in (await page(sharded, position=BEGINNING, page_size=1000))[0]]
    assert sorted(whole) == sorted(found)
    newest, answer = await page(sharded, page_size=5)
    assert [one["minted"][0]["jti"] for one in newest] == whole[-5:]
    assert all(len(event.position) <= LONGEST for event in answer.events)
    after, _ = await page(sharded, position=answer.events[1].position)
    assert [one["minted"][0]["jti"] for one in after] == whole[-3:]
    assert (await page(sharded, position=answer.next_position))[0] == []

    async with page_of(sharded) as console:
        shown = await console.document("/api/exchanges")
        ids = [one["minted"][0]["jti"] for one in shown["events"]]
        assert ids == whole[::-1][: len(ids)]
        older = await console.document("/api/exchanges", before=shown["events"][3]["id"])
        assert [one["minted"][0]["jti"] for one in older["events"]] == ids[4:]
        await exchange(sharded)
        await sharded.parts.audit.flush()
        news = await console.document("/api/exchanges", after=shown["newest"])
        assert len(news["events"]) == 1
        assert (await console.document("/api/exchanges", after=news["newest"]))["events"] == []


@pytest.mark.parametrize(
    "position", ["1-0/25", "1-0,1-0", "1-0/1,", f"{2**64}-0/3", "1-0," * 5000 + "1-0", "0" * LONGEST + "1-0"]
)
async def test_a_forged_position_is_refused_before_the_store_is_asked(sharded: Rig, position: str) -> None:
    told = await refusal(sharded.trail.ListAuditEvents(asked(position=position), **sharded.auth("guest")))
    assert told.code == grpc.StatusCode.INVALID_ARGUMENT
    admin = asked(position="1-0/1", stream=pb.AUDIT_STREAM_ADMIN)
    told = await refusal(sharded.trail.ListAuditEvents(admin, **sharded.auth("guest")))
    assert told.code == grpc.StatusCode.INVALID_ARGUMENT, "operators' actions have one stream"
    async with page_of(sharded) as console:
        for bound in ("before", "after"):
            assert (await console.ask("/api/exchanges", **{bound: position})).status_code == 400


def asked(**fields: Any) -> pb.ListAuditEventsRequest:
    return pb.ListAuditEventsRequest(**fields)


async def test_a_forged_position_that_has_the_form_of_one_shows_no_more_than_the_stream(sharded: Rig) -> None:
    await exchange(sharded)
    end = f"{2**64 - 1}-{2**64 - 1}"
    all_ends = ",".join(f"{end}/{number}" if number else end for number in range(25))
    events, answer = await page(sharded, position=all_ends)
    assert (events, answer.next_position) == ([], all_ends)
    events, answer = await page(sharded, position=f"{end}/24")
    assert len(events) == 1
    assert len(answer.next_position) <= LONGEST

"""Operators read the audit trail: page by page, within the limits of a request."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.admission import audit_pages
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

"""The events of the audit trail on the command line: filters, lines and rates."""

import json
from typing import Any, cast

import pytest

from tokenmint.cli.audit_events import MOST_SHOWN, PAGE, STREAMS, Filter, Trail, as_line, dated, described, parsed
from tokenmint.cli.key_changes import Change, Ring
from tokenmint.cli.output import plain
from tokenmint.cli.top import rates
from tokenmint.v1 import audit_admin_service_pb2 as pb

NOW = 1_800_000_000.0
METHOD = "/tokenmint.v1.TokenExchangeService/ExchangeToken"


def event(**fields: Any) -> dict[str, Any]:
    minted = {"kind": "exchange", "method": METHOD, "outcome": "done", "caller": "web", "provider": "idp"}
    return minted | {"principal": "ada", "audience": "https://a.example", "time": NOW} | fields


REFUSED = event(outcome="refused", reason="EXPIRED", principal="", detail="exp 1 < 2")
BATCH = event(method="/tokenmint.v1.TokenExchangeService/BatchExchangeTokens", refused=["AUDIENCE_DENIED"])
ACTION = {"kind": "admin", "method": "/x/RevokeSigningKey", "outcome": "begun", "caller": "root", "key_id": "k" * 43}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), "REFUSED BATCH ACTION"),
        (Filter(client=["web"]), "REFUSED BATCH"),
        (Filter(client=["web", "root"]), "REFUSED BATCH ACTION"),
        (Filter(client=["we"]), ""),
        (Filter(principal=["ada"]), "BATCH"),
        (Filter(provider=["idp"]), "REFUSED BATCH"),
        (Filter(outcome=["refused", "begun"]), "REFUSED ACTION"),
        (Filter(reason=["EXPIRED"]), "REFUSED"),
        (Filter(reason=["AUDIENCE_DENIED"]), "BATCH"),
        (Filter(kind="admin"), "ACTION"),
        (Filter(kind="exchange", client=["web"], outcome=["refused"]), "REFUSED"),
        (Filter(kind="admin", client=["web"]), ""),
    ],
)
def test_a_filter_takes_events_with_one_of_the_values_of_each_field(wanted: Filter, expected: str) -> None:
    named = {"REFUSED": REFUSED, "BATCH": BATCH, "ACTION": ACTION}
    assert " ".join(name for name, one in named.items() if wanted.takes(one)) == expected


def test_an_operator_finds_the_explanations_of_a_client() -> None:
    assert Filter(client=["web"]).takes(ACTION | {"client_id": "web"})


def test_entries_that_are_no_events_are_left_out() -> None:
    texts = ("", "x", "[1]", '{"kind":"exchange"}', "[" * 100_000)
    found = list(parsed(pb.AuditEvent(position="1-0", event_json=text) for text in texts))
    assert found == [{"kind": "exchange"}]


def test_a_line_has_the_names_and_the_reason_and_controls_no_terminal() -> None:
    line = "  ".join(text for text, _ in described(REFUSED | {"detail": "\x1b[2J", "provider": "i\u202edp"}))
    assert line.startswith("2027-01-15 08:00:00Z  refused  web  ExchangeToken  EXPIRED  provider=i\\u202edp")
    assert "\x1b" not in line
    assert "AUDIENCE_DENIED" in str(described(BATCH))
    assert "k" * 43 in str(described(ACTION))
    assert "EXPIRED x 7" in str(described({"reason": "EXPIRED", "count": 7, "time": "soon"}))
    assert json.loads(as_line(REFUSED)) == REFUSED
    assert "\x9b" not in as_line({"x": "\x9b\n"})


def test_rates_are_of_the_window_alone() -> None:
    events = [event(time=NOW - 100)] + [event(time=NOW - age) for age in (50, 40, 1)] + [REFUSED, ACTION]
    found = rates(events, 60.0, NOW)
    assert (found.seconds, found.calls["web"], found.refused["web"]) == (60.0, 4, 1)
    assert dict(found.reasons) == {("EXPIRED", "web"): 1}
    document = found.document(NOW)
    assert (document["calls_per_second"], document["refused_per_second"]) == (round(4 / 60, 3), round(1 / 60, 3))
    assert document["refusals"] == [
        {"reason": "EXPIRED", "client": "web", "count": 1, "last_time": "2027-01-15T08:00:00Z"}
    ]


def test_at_high_rates_the_page_tells_the_time_that_it_covers() -> None:
    events = [event(time=NOW - 10 + number / 100) for number in range(PAGE)]
    found = rates(events, 60.0, NOW)
    assert (found.seconds, found.calls["web"]) == (10.0, PAGE)


def test_refusals_that_were_only_counted_count() -> None:
    found = rates([REFUSED | {"count": 500}, BATCH], 60.0, NOW)
    assert (found.calls["web"], found.refused["web"], found.reasons["EXPIRED", "web"]) == (501, 501, 500)
    assert found.reasons["AUDIENCE_DENIED", "web"] == 1
    assert rates([], 60.0, NOW).document(NOW)["clients"] == []


def test_the_changes_of_a_ring_are_told_once() -> None:
    ring = Ring()
    first = ring.changes({"a": "active", "b": "prepared"}, {"generation": "1"})
    assert first == [
        Change("key", "a", "", "active"), Change("key", "b", "", "prepared"), Change("generation", "", "", "1"),
    ]  # fmt: skip
    assert ring.changes({"a": "active", "b": "prepared"}, {"generation": "1"}) == []
    assert ring.changes({"a": "retiring", "b": "active", "c": "prepared"}, {"generation": "2"}) == [
        Change("key", "a", "active", "retiring"), Change("key", "b", "prepared", "active"),
        Change("key", "c", "", "prepared"), Change("generation", "", "1", "2"),
    ]  # fmt: skip
    assert ring.changes({"b": "active", "c": "prepared"}, {"generation": "2"}) == [Change("key", "a", "retiring", "")]
    assert Change("key", "a", "", "active").document(NOW) == {
        "time": "2027-01-15T08:00:00Z", "change": "key", "key_id": "a", "from": "", "to": "active",
    }  # fmt: skip


HUGE = 10**400
DEEP = "[" * 900 + "]" * 900
FOREIGN = [
    f'{{"{name}":{value}}}'
    for name in (
        "time", "count", "refused", "reason", "caller", "client_id", "principal", "method", "kind", "audience", "detail"
    )
    for value in (
        "null", "true", "-1", "1e308", str(HUGE), '"x"', '"\\ud800"', "[[1]]", '{"a":[]}', DEEP, '"\\u001b[2J\\u061c"'
    )
]  # fmt: skip


@pytest.mark.parametrize("text", [*FOREIGN, '{"time":NaN}', '{"count":Infinity}', '{"time":1e999}'])
def test_an_event_of_another_program_breaks_neither_the_lines_nor_the_rates(text: str) -> None:
    """A program that may write into the store may write any JSON into the stream."""
    merged = '{"kind":"exchange","outcome":"refused","caller":"web","reason":"EXPIRED",' + text[1:]
    for shown in (text, merged):
        for found in dated([pb.AuditEvent(position=f"{NOW * 1000:.0f}-0", event_json=shown)]):
            line = as_line(found) + str(described(found))
            assert not set(line) & {"\x1b", "\u061c", "\ud800"}
            Filter(client=["web"], principal=["ada"], reason=["EXPIRED"]).takes(found)
            json.dumps(rates([found, REFUSED], 60.0, NOW).document(NOW), allow_nan=False)
            assert all(len(part) <= MOST_SHOWN for part, _ in described(found))


def test_a_number_that_json_does_not_have_is_no_event() -> None:
    texts = ('{"time":NaN}', '{"x":[Infinity]}', '{"x":-Infinity}')
    assert list(parsed(pb.AuditEvent(position="1-0", event_json=text) for text in texts)) == []


def test_an_event_of_the_future_hides_no_others() -> None:
    """The store's clock, which is in the position, says when it came."""
    stored = [
        pb.AuditEvent(position=f"{(NOW - 2) * 1000:.0f}-0/3,1-0,2-0/1", event_json=json.dumps(event(time=time)))
        for time in (NOW - 2, NOW + 10**9, NOW - 2)
    ]
    found = rates(dated(stored), 60.0, NOW)
    assert (found.seconds, found.calls["web"]) == (60.0, 3)


@pytest.mark.parametrize(
    "steering", ["\u061c", "\u200e", "\u202e", "\u2066", "\u2028", "\u2029", "\x85", "\x9b", "\x7f"]
)
def test_what_turns_text_or_ends_a_line_is_escaped(steering: str) -> None:
    assert plain(f"a{steering}b") == f"a\\u{ord(steering):04x}b"


def test_a_long_text_is_cut_on_a_line_for_people_and_whole_in_json() -> None:
    long = event(caller="x" * 1_000_000)
    assert all(len(part) <= MOST_SHOWN for part, _ in described(long))
    assert json.loads(as_line(long)) == long


class Service:
    """Answers with one event for each call and stream, and fails at the calls of some numbers."""

    def __init__(self, *fails: int) -> None:
        self.fails = set(fails)
        self.calls = 0

    def ListAuditEvents(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        self.calls += 1
        if self.calls in self.fails:
            raise OSError
        place = int(request.position.partition("-")[0] or 0) + 1
        line = json.dumps(event(caller=f"{request.stream}/{place}"))
        return pb.ListAuditEventsResponse(
            events=[pb.AuditEvent(position=f"{place}-0", event_json=line)], next_position=f"{place}-0",
            has_more=place < 3,
        )  # fmt: skip


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_failure_between_two_pages_loses_no_event_and_repeats_none(failing: int) -> None:
    service = Service(failing)
    trail = Trail(cast(Any, service), {}, list(STREAMS))
    seen: list[str] = []
    with pytest.raises(OSError):
        seen.extend(one["caller"] for one in trail.read())
    seen.extend(one["caller"] for one in trail.read())
    assert sorted(seen) == [f"{stream}/{place}" for stream in sorted(STREAMS.values()) for place in (1, 2, 3)]

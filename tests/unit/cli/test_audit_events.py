"""The events of the audit trail on the command line: filters, lines and rates."""

import json
from typing import Any

import pytest

from tokenmint.cli.audit_events import PAGE, Filter, as_line, described, parsed
from tokenmint.cli.key_changes import Change, Ring
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

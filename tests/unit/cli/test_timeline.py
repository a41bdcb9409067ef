"""The timeline of the keys as SVG: it shows the service's times, its parts do not overlap, and names stay text."""

import re
from xml.etree import ElementTree

from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.timeline import WIDTH, svg
from tokenmint.v1.signing_key_pb2 import SigningKey

NOW = 1_800_000_000.0
DAY = 86400.0
State = SigningKey.State
WIDE = 7.5
"""Pixels of a character at 12 px at most, on average."""


def key(state: State.ValueType, key_id: str = "kid", **times: float) -> SigningKey:
    stamps = {f"{name}_time": Timestamp(seconds=int(NOW + days * DAY)) for name, days in times.items()}
    return SigningKey(key_id=key_id, algorithm="ES256", state=state, **stamps)  # type: ignore[arg-type]  # by name


KEYS = [
    key(State.STATE_ACTIVE, "one", publish=-3, activate=-1, planned_retire=2, planned_delete=3),
    key(State.STATE_PREPARED, '<script>&"\x1b', publish=-1, planned=2, activate=1),
    key(State.STATE_RETIRED, "gone", publish=-9, activate=-8, retire=-2, delete=-1),
    key(State.STATE_REVOKED, "leaked", publish=-9, revoke=-4, delete=-4),
]


def elements(picture: str, tag: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(picture)  # noqa: S314  # our own document
    return [element for element in root.iter() if element.tag.endswith("}" + tag)]


def titles(picture: str) -> list[str]:
    return [element.text or "" for element in elements(picture, "title")]


def bars(picture: str) -> list[tuple[str, bool, float, float]]:
    """The bars: the state, whether it is planned, and the two ends."""
    found = []
    for rect in elements(picture, "rect"):
        for title in rect:
            left = float(rect.attrib["x"])
            state = (title.text or "").partition(":")[0]
            found.append((state, "opacity" in rect.attrib, left, left + float(rect.attrib["width"])))
    return found


def test_the_picture_has_a_row_for_each_key_and_is_well_formed() -> None:
    texts = [element.text or "" for element in elements(svg(KEYS, NOW), "text")]
    assert any(text.startswith("one") for text in texts)
    assert any(text.startswith('<script>&"\\u001b') for text in texts)  # as text, escaped
    assert {"prepared", "active", "retired", "revoked"} <= set(texts)


def test_an_active_key_is_pale_after_now_and_retires_when_its_successor_begins() -> None:
    picture = svg(KEYS[:2], NOW)
    [now] = [float(line.attrib["x1"]) for line in elements(picture, "line") if line.attrib["stroke"] == "#212529"]
    one, two = bars(picture)[:4], bars(picture)[4:]
    assert [(state, planned) for state, planned, _, _ in one] == [
        ("prepared", False), ("active", False), ("active", True), ("retiring", True),
    ]  # fmt: skip
    assert one[1][3] == now == one[2][2]
    assert [(state, planned) for state, planned, _, _ in two] == [
        ("prepared", False), ("prepared", True), ("active", True),
    ]  # fmt: skip
    assert two[2][2] == one[3][2]  # its successor begins where it begins to retire


def test_a_service_that_plans_no_end_leaves_the_active_key_open() -> None:
    old = key(State.STATE_ACTIVE, "one", publish=-3, activate=-1)
    assert [state for state, _, _, _ in bars(svg([old], NOW))] == ["prepared", "active", "active"]


def test_every_label_is_within_the_picture_and_now_is_off_the_legend() -> None:
    for keys in (KEYS, KEYS[:1], [key(State.STATE_PREPARED, publish=-0.001, planned=0)], []):
        picture = svg(keys, NOW)
        legend = []
        for text in elements(picture, "text"):
            at, half = float(text.attrib["x"]), len(text.text or "") * WIDE / 2
            if text.attrib.get("text-anchor") == "middle":
                assert half <= at <= WIDTH - half, text.text
            if text.text in ("prepared", "active", "retiring", "revoked") and "text-anchor" not in text.attrib:
                legend.append(float(text.attrib["y"]))
        [now] = [float(text.attrib["y"]) for text in elements(picture, "text") if text.text == "now"]
        assert now - 12 > max(legend)


def test_titles_tell_the_instants_and_whether_they_are_planned() -> None:
    told = titles(svg(KEYS[:1], NOW))
    assert "retiring: 2027-01-17 08:00:00Z to 2027-01-18 08:00:00Z, planned" in told
    assert all(re.search(r"Z(, planned)?$", title) for title in told if ": " in title)


def test_a_ring_without_keys_is_a_picture_too() -> None:
    assert "no keys" in svg([], NOW)


def test_a_state_of_a_later_version_is_named_as_unknown_and_hides_no_other_key() -> None:
    strange = [key(State.STATE_UNSPECIFIED, "unset"), key(9, "later", publish=-1)]  # type: ignore[arg-type]  # no such state
    texts = [element.text for element in elements(svg([*KEYS, *strange], NOW), "text")]
    assert texts.count("unknown") == 2
    assert {"unset  ES256", "later  ES256", "one  ES256"} <= set(texts)
    assert "</svg>" in svg(strange, NOW)

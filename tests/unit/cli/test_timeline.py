"""The timeline of the keys: what each bar stands for, and that names can't break out of the picture."""

from xml.etree import ElementTree

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.timeline import spans, svg
from tokenmint.v1.signing_key_pb2 import SigningKey

NOW = 1_800_000_000.0
DAY = 86400.0
State = SigningKey.State


def key(state: State.ValueType, key_id: str = "kid", **times: float) -> SigningKey:
    stamps = {f"{name}_time": Timestamp(seconds=int(NOW + days * DAY)) for name, days in times.items()}
    return SigningKey(key_id=key_id, algorithm="ES256", state=state, **stamps)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (key(State.STATE_PREPARED, publish=-1, planned=2), [("prepared", -1, 2), ("active", 2, 9)]),
        (key(State.STATE_ACTIVE, publish=-3, activate=-1), [("prepared", -3, -1), ("active", -1, 9)]),
        (
            key(State.STATE_RETIRING, publish=-5, activate=-3, retire=-1, delete=1),
            [("prepared", -5, -3), ("active", -3, -1), ("retiring", -1, 1)],
        ),
        (
            key(State.STATE_RETIRED, publish=-5, activate=-3, retire=-2, delete=-1),
            [("prepared", -5, -3), ("active", -3, -2), ("retiring", -2, -1)],
        ),
        (
            key(State.STATE_REVOKED, publish=-5, activate=-3, revoke=-1, delete=-1),
            [("prepared", -5, -3), ("active", -3, -1), ("revoked", -1, 0)],
        ),
    ],
    ids=["prepared", "active", "retiring", "retired", "revoked"],
)
def test_the_states_that_a_key_goes_through(shown: SigningKey, expected: list[tuple[str, float, float]]) -> None:
    found = spans(shown, NOW, NOW + 9 * DAY)
    assert found == [(state, NOW + start * DAY, NOW + stop * DAY) for state, start, stop in expected]


def test_the_picture_has_a_row_for_each_key_and_is_well_formed() -> None:
    keys = [
        key(State.STATE_ACTIVE, "one", publish=-3, activate=-1),
        key(State.STATE_PREPARED, '<script>&"\x1b', publish=-1, planned=2),
    ]
    picture = svg(keys, NOW)
    root = ElementTree.fromstring(picture)  # noqa: S314  # our own document
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert any(text.startswith("one") for text in texts)
    assert any(text.startswith('<script>&"\\u001b') for text in texts)  # as text, escaped
    titles = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
    assert sum(title.startswith("prepared: ") for title in titles) == 2
    assert sum(title.startswith("active: ") for title in titles) == 2


def test_a_ring_without_keys_is_a_picture_too() -> None:
    assert "no keys" in svg([], NOW)

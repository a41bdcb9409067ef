"""The slots that a node of a Cluster claims: what it does not claim without doubt is not its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from tokenmint.storage.slots import SLOTS, Slots, own_slots

ID, OTHER = "a" * 40, "b" * 40


def line(flags: str, *slots: str, of: str = ID) -> str:
    return f"{of} 127.0.0.1:7000@17000 {flags} - 0 0 1 connected {' '.join(slots)}".strip()


def claimed(*lines: str) -> Slots:
    return own_slots("\n".join(lines).encode() + b"\n", "t:")


def test_a_primary_claims_its_ranges_and_none_of_its_neighbours() -> None:
    slots = claimed(line("master", "5461-16383", of=OTHER), line("myself,master", "0-10", "77", "100-5460"))
    assert slots.ranges == ((0, 10), (77, 77), (100, 5460))
    for number in range(300):
        slot = key_slot(f"t:{number}".encode())
        assert slots.serve(str(number)) == (slot <= 10 or slot == 77 or 100 <= slot <= 5460)


def test_a_slot_that_is_given_away_is_no_longer_its_own() -> None:
    slot = key_slot(b"t:ada")
    assert claimed(line("myself,master", "0-16383")).serve("ada")
    assert not claimed(line("myself,master", "0-16383", f"[{slot}->-{OTHER}]")).serve("ada")
    assert not claimed(line("myself,master", f"[{slot}-<-{OTHER}]")).serve("ada"), "on its way, and not here yet"


@pytest.mark.parametrize(
    "told",
    [
        "",
        line("master", "0-16383"),
        line("myself,slave", "0-16383"),
        line("myself,master,fail", "0-16383"),
        line("myself,master,fail?", "0-16383"),
        line("myself,master,noaddr", "0-16383"),
        line("myself,master", "0-x"),
        line("myself,master", "all"),
        line("myself,master"),
        "myself,master",
    ],
)
def test_a_node_without_a_clear_claim_serves_nothing(told: str) -> None:
    slots = claimed(told)
    assert not slots.serve("ada")
    assert slots.name_within("near:x") is None


@given(st.binary(max_size=400))
def test_any_answer_is_read(told: bytes) -> None:
    assert own_slots(told, "t:").ranges == ()


@given(st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 3000)), min_size=1, max_size=5))
def test_a_name_within_is_a_key_of_the_node(pairs: list[tuple[int, int]]) -> None:
    words = [f"{low}-{min(SLOTS - 1, low + size)}" for low, size in pairs]
    slots = claimed(line("myself,master", *words))
    name = slots.name_within("near:x")
    if name is not None:
        assert name.startswith("near:x:")
        assert slots.serve(name)
    else:
        assert sum(size + 1 for _, size in pairs) < 50, "so few slots that none of many names is in them"

"""The encoding of status lists, by the draft's own examples, and the order of indices."""

import json
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.status_lists import segment

from tokenmint.status_list.encoding import KEY, compressed, is_invalid, mark_invalid, place_of, status_list

VECTORS = json.loads((Path(__file__).parents[2] / "clients" / "status_list_vectors.json").read_text())["vectors"]
ONE_BIT = [vector for vector in VECTORS if vector["bits"] == 1]


@pytest.mark.parametrize("vector", ONE_BIT, ids=lambda vector: vector["name"])
def test_section_4_1_and_the_test_vectors(vector: dict[str, object]) -> None:
    size, statuses, lst = vector["size"], vector["statuses"], vector["lst"]
    assert isinstance(size, int)
    assert isinstance(statuses, dict)
    assert isinstance(lst, str)
    made = bytearray(size // 8)
    for index, status in statuses.items():
        if status:
            mark_invalid(made, int(index))
    assert zlib.decompress(segment(lst)) == made
    ours = status_list(bytes(made))
    assert ours["bits"] == 1
    assert zlib.decompress(segment(str(ours["lst"]))) == made
    assert len(str(ours["lst"])) <= len(lst)
    assert all(is_invalid(made, int(index)) == bool(status) for index, status in statuses.items())


def test_the_list_of_a_million_tokens_has_at_most_130_kb_even_if_nothing_compresses_it() -> None:
    noise = bytes(zlib.crc32(b"%d" % number) & 0xFF for number in range(1_000_000 // 8))
    assert len(compressed(noise)) <= 130_000


@given(st.integers(2, 3000), st.binary(min_size=KEY, max_size=KEY))
def test_each_number_has_an_index_of_its_own(size: int, key: bytes) -> None:
    assert sorted(place_of(number, size, key) for number in range(size)) == list(range(size))


def test_section_12_5_indices_are_in_no_order_and_another_one_in_each_list() -> None:
    one = [place_of(number, 100_000, b"a" * KEY) for number in range(200)]
    other = [place_of(number, 100_000, b"b" * KEY) for number in range(200)]
    assert len(set(one) & set(other)) < 10
    differences = {following - before for before, following in pairwise(one)}
    assert len(differences) > 190
    assert max(one) - min(one) > 80_000

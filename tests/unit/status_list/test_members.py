"""The bits of a list: the same in any order of events, and those that a verifier of revocations would find."""

from hypothesis import given
from hypothesis import strategies as st

from tokenmint.revocation.entries import DIGEST
from tokenmint.status_list.directory import StatusList
from tokenmint.status_list.encoding import is_invalid
from tokenmint.status_list.members import FEW, Members
from tokenmint.status_list.records import MOST_OWN, SHARED, TokenRecord, dump, parse

SIZE = 64
NAMES = [bytes([number]) * DIGEST for number in range(30)]
LIST = StatusList("l", "a", "ES256", b"", SIZE, 0, 0, 0, 0)
names = st.sampled_from(NAMES)
records = st.lists(
    st.builds(
        TokenRecord,
        st.integers(0, SIZE + 3),
        st.integers(1, 10),
        st.tuples(names, names, names),
        st.lists(names, min_size=1, max_size=4, unique=True).map(tuple),
    ),
    max_size=30,
)
revocations = st.dictionaries(names, st.integers(0, 10), max_size=FEW + 8)


def expected(tokens: list[TokenRecord], revoked: dict[bytes, int]) -> set[int]:
    """Decide for each token alone."""
    return {
        token.index
        for token in tokens
        for name in (*token.own, *token.shared)
        if token.index < SIZE and name in revoked and (revoked[name] == 0 or token.issued_at <= revoked[name])
    }


def shown(members: Members) -> set[int]:
    marked = {index for index in range(SIZE) if is_invalid(members.statuses, index)}
    assert len(marked) == members.invalid
    return marked


@given(records, revocations, st.integers(0, 30), st.data())
def test_any_order_of_records_and_revocations(
    tokens: list[TokenRecord], revoked: dict[bytes, int], cut: int, data: st.DataObject
) -> None:
    members = Members(LIST)
    first = dict(data.draw(st.permutations(list(revoked.items())))[: len(revoked) // 2])
    members.add(tokens[:cut], {})
    members.apply(first)
    members.add(tokens[cut:], first)
    members.apply(revoked)
    assert shown(members) == expected(tokens, revoked)


@given(records, revocations)
def test_what_is_read_again_is_there_once(tokens: list[TokenRecord], revoked: dict[bytes, int]) -> None:
    members = Members(LIST)
    half = tokens[: len(tokens) // 2]
    members.add(half, {})
    before = members.names
    members.add(half, {}, members.rows())
    assert members.names == before
    members.add(tokens, revoked, members.rows())
    members.apply(revoked)
    assert shown(members) == expected(tokens, revoked)


def test_bytes_that_lie_across_two_names_are_no_name() -> None:
    own = bytes(range(DIGEST)), bytes(range(100, 100 + DIGEST))
    members = Members(LIST)
    members.add([TokenRecord(1, 5, (NAMES[0],) * SHARED, own)], {})
    row = bytes(members._own)
    for start in range(1, len(row) - DIGEST):
        if start not in {0, len(row) // 2}:
            members.apply({row[start : start + DIGEST]: 0})
    assert shown(members) == set()
    members.apply({own[1]: 5})
    assert shown(members) == {1}


@given(st.binary(max_size=400))
def test_a_foreign_record_is_none_and_never_an_error(raw: bytes) -> None:
    found = parse(raw)
    assert found is None or (dump(found) == raw and 0 < len(found.own) <= MOST_OWN)

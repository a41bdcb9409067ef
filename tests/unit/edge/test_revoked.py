"""The names by which an answer's token can be revoked, and the set of revocations."""

from typing import Any

import jwt
import pytest
from tests.fakes import FakeClock

from tokenmint.edge.following import Following
from tokenmint.edge.revoked import DEPTH, HOLD, NAMES, PRUNE, RevokedSet, TooMany, names_of
from tokenmint.revocation.entries import Kind, digest
from tokenmint.v1 import revocation_service_pb2 as pb

ORDERS = "https://orders.example"
CLAIMS = {"aud": ORDERS, "jti": "one", "sub": "ada", "iat": 1000, "client_id": "web", "iss": "https://us.example"}
KEY = "k" * 32


def token(*, key_id: str | None = "key", **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jwt.encode(claims, KEY, "HS256", headers={"kid": key_id} if key_id is not None else None)


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        (Kind.TOKEN, "one", {}),
        (Kind.TOKEN, "session", {"tm_lineage": ["first", "session"]}),
        (Kind.PRINCIPAL, "ada", {}),
        (Kind.PRINCIPAL, "named beside it", {}),
        (Kind.PRINCIPAL, "robot", {"act": {"sub": "agent", "act": {"sub": "robot"}}}),
        (Kind.CLIENT, "web", {}),
        (Kind.CLIENT, "sidecar", {}),
        (Kind.AUDIENCE, ORDERS, {"aud": [ORDERS]}),
        (Kind.KEY, "key", {}),
    ],
)
def test_a_token_is_revoked_by_each_of_its_names(kind: Kind, name: str, changes: dict[str, Any]) -> None:
    names = names_of(token(**changes), "named beside it", "sidecar")
    assert names is not None
    assert names.audience == ORDERS
    revoked = RevokedSet()
    revoked.add(digest(kind, f"not {name}"), 0, 9000, 0)
    assert not revoked.covers(names)
    revoked.add(digest(kind, name), 999, 9000, 0)
    assert not revoked.covers(names)  # it was issued later
    revoked.add(digest(kind, name), 1000, 9000, 0)
    assert revoked.covers(names)


def test_an_actor_of_another_issuer_is_no_principal() -> None:
    names = names_of(token(act={"sub": "robot", "iss": "https://other.example"}), "", "web")
    assert names is not None
    assert digest(Kind.PRINCIPAL, "robot") not in names.digests


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("a reference token", "tmr_abc"),
        ("nothing", ""),
        ("no JSON", "a.b.c"),
        ("no id", token(jti=None)),
        ("no time of issue", token(iat=None)),
        ("no subject", token(sub=None)),
        ("two audiences", token(aud=[ORDERS, "https://next.example"])),
        ("no key", token(key_id=None)),
        ("more names than are looked up", token(tm_lineage=[str(number) for number in range(NAMES)])),
        ("another script", "\u00e9.\u00e9.\u00e9"),
        ("half a character", "\ud800"),
    ],
)
def test_a_token_that_may_be_revoked_under_an_unknown_name_has_no_names(case: str, text: str) -> None:
    assert names_of(text, "ada", "web") is None, case


def test_an_endless_chain_of_actors_ends() -> None:
    act: dict[str, object] = {"sub": "last"}
    for number in range(DEPTH):
        act = {"sub": f"agent-{number}", "act": act}
    assert names_of(token(act=act), "", "web") is None  # deeper than JSON that the parser accepts


def test_the_set_is_bounded_and_an_entry_goes_once_it_has_expired_and_no_answer_is_older() -> None:
    revoked = RevokedSet(most=2)
    one, other, third = (digest(Kind.TOKEN, name) for name in "abc")
    revoked.add(one, 0, 100, 0)
    revoked.add(one, 0, 100, 0)
    revoked.add(b"short", 0, 100, 0)  # no digest
    revoked.add(other, 0, 5000, 0)
    with pytest.raises(TooMany):
        revoked.add(third, 0, 100, 0)
    revoked.prune(now=90, at=HOLD)
    assert len(revoked) == 2  # not expired
    revoked.prune(now=200, at=HOLD + 1)
    assert len(revoked) == 2  # it looks from time to time
    revoked.prune(now=200, at=HOLD + PRUNE)
    assert len(revoked) == 1
    revoked.add(third, 0, 100, HOLD + PRUNE)
    revoked.prune(now=200, at=HOLD + 2 * PRUNE)
    assert len(revoked) == 2  # expired by a clock that may be wrong: an answer may be older than the entry


def test_the_set_is_current_only_after_a_whole_snapshot_and_as_its_messages_say() -> None:
    clock = FakeClock()
    following = Following([ORDERS], clock)
    stream = following.streams[ORDERS]
    part = pb.WatchRevocationsResponse(revocations=[pb.Revocation(digest=digest(Kind.TOKEN, "one"))])
    following.take(stream, part)
    assert (following.lag(ORDERS), stream.position, len(following.revoked)) == (float("inf"), "", 1)
    rest = pb.WatchRevocationsResponse(position="0.1-0")
    rest.age.FromMilliseconds(2500)
    following.take(stream, rest)
    assert (following.lag(ORDERS), stream.position) == (2.5, "0.1-0")
    clock.advance(1)
    assert following.lag(ORDERS) == 3.5
    rest.age.FromMilliseconds(60_000)
    following.take(stream, rest)
    assert following.lag(ORDERS) == 3.5  # an older state of another replica takes nothing back
    rest.age.FromMilliseconds(-60_000)
    following.take(stream, rest)
    assert following.lag(ORDERS) == 0
    assert following.lag("https://next.example") == float("inf")


def test_without_room_the_place_is_not_moved_on_so_that_the_entries_come_again() -> None:
    following = Following([ORDERS], FakeClock(), RevokedSet(most=1))
    names = [pb.Revocation(digest=digest(Kind.TOKEN, name)) for name in "ab"]
    with pytest.raises(TooMany):
        following.take(following.streams[ORDERS], pb.WatchRevocationsResponse(position="0.2-0", revocations=names))
    assert (following.streams[ORDERS].position, following.lag(ORDERS)) == ("", float("inf"))

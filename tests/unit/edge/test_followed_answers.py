"""Answers of a sidecar that follows revocations: kept for longer, and not given long after a revocation."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import jwt
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.fakes import FakeClock

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.edge.answers import Answer, Answers, Limits
from tokenmint.edge.following import Following
from tokenmint.edge.question import Question
from tokenmint.revocation.entries import Kind, digest
from tokenmint.v1 import revocation_service_pb2 as pb

ORDERS, NEXT = "https://orders.example", "https://next.example"
ALONE, FOLLOWED, LAG = 1.0, 300.0, 5.0
LIFE = 200  # seconds of tokenmint's own limit


def question(name: str) -> Question:
    return Question("/auth/x", (("authorization", f"Bearer {name}"),))


@dataclass
class Tokenmint:
    """Answers with a token of the principal that the subject token names; tells watchers of revocations."""

    clock: FakeClock
    audience: str = ORDERS
    revoked: dict[str, int] = field(default_factory=dict)
    """For each principal, the last second whose tokens are revoked."""
    away: bool = False
    asked: int = 0
    on_way: Callable[[], None] = lambda: None

    async def ask(self, asked: Question) -> Answer:
        self.asked += 1
        if self.away:
            raise DependencyUnavailable
        name, now = dict(asked.headers)["authorization"].removeprefix("Bearer "), int(self.clock.now())
        if self.revoked.get(name, 0) >= now:
            return Answer(401, ())
        claims = {"aud": self.audience, "sub": name, "jti": f"{name}{self.asked}", "iat": now, "client_id": "sidecar"}
        token = jwt.encode(claims, "k" * 32, "HS256", headers={"kid": "key"})
        self.on_way()
        return Answer(200, (("authorization", f"Bearer {token}"), ("cache-control", f"max-age={LIFE}")))

    def message(self, age: float = 0.0) -> pb.WatchRevocationsResponse:
        found = pb.WatchRevocationsResponse(position="0.1-0")
        found.age.FromMilliseconds(round(age * 1000))
        for name, after in self.revoked.items():
            one = found.revocations.add(digest=digest(Kind.PRINCIPAL, name), tokens_valid_after=after)
            one.expire_time.seconds = after + 4000
        return found


@dataclass
class Sidecar:
    """A sidecar and its tokenmint."""

    tokenmint: Tokenmint
    following: Following
    answers: Answers

    def hear(self, age: float = 0.0) -> None:
        self.following.take(self.following.streams[ORDERS], self.tokenmint.message(age))

    async def is_kept(self, name: str) -> bool:
        return (await self.answers.give(question(name))).kept


def sidecar(*, ask: bool = False) -> tuple[Sidecar, FakeClock]:
    clock = FakeClock()
    tokenmint, following = Tokenmint(clock), Following([ORDERS], clock)
    limits = Limits(ALONE, FOLLOWED, LAG, ask=ask)
    answers = Answers(tokenmint.ask, clock, limits, following=following, client_id="sidecar")
    return Sidecar(tokenmint, following, answers), clock


async def test_while_revocations_are_followed_an_answer_is_kept_for_as_long_as_tokenmint_allows() -> None:
    edge, clock = sidecar()
    edge.hear()
    first = await edge.answers.give(question("ada"))
    assert (first.left, first.onward) == (LIFE, ALONE)  # a cache behind hears nothing
    for _ in range(LIFE - 1):
        clock.advance(1)
        edge.hear()
        assert await edge.is_kept("ada")
    last = await edge.answers.give(question("ada"))
    assert (last.left, last.onward) == (1, 1)
    clock.advance(1)
    assert not await edge.is_kept("ada")


async def test_before_the_first_snapshot_an_answer_is_kept_for_as_long_as_without_a_stream() -> None:
    edge, clock = sidecar()
    assert (await edge.answers.give(question("ada"))).left == ALONE
    clock.advance(ALONE)
    assert not await edge.is_kept("ada")


async def test_once_the_stream_has_been_away_for_too_long_an_answer_is_kept_for_a_short_time() -> None:
    edge, clock = sidecar()
    edge.hear()
    assert not await edge.is_kept("ada")
    clock.advance(LAG)
    assert await edge.is_kept("ada")
    clock.advance(0.1)
    assert not await edge.is_kept("ada")
    clock.advance(0.9)
    assert await edge.is_kept("ada")
    clock.advance(0.1)
    assert not await edge.is_kept("ada")
    edge.hear(age=LAG + 1)  # tokenmint itself does not hear of revocations
    clock.advance(1)
    assert not await edge.is_kept("ada")
    edge.hear()
    clock.advance(1)
    assert await edge.is_kept("ada")


async def test_fail_closed_without_the_stream_each_request_is_a_question() -> None:
    edge, clock = sidecar(ask=True)
    given = await edge.answers.give(question("ada"))
    assert (given.left, given.onward, await edge.is_kept("ada")) == (0, 0, False)
    edge.hear()
    assert [await edge.is_kept("ada") for _ in range(2)] == [False, True]
    clock.advance(LAG + 0.1)
    edge.tokenmint.away = True
    with pytest.raises(DependencyUnavailable):
        await edge.is_kept("ada")


@pytest.mark.parametrize("ask", [False, True])
async def test_an_answer_for_an_audience_that_is_not_followed(ask: bool) -> None:
    edge, _ = sidecar(ask=ask)
    edge.hear()
    edge.tokenmint.audience = NEXT
    assert (await edge.answers.give(question("ada"))).left == (0 if ask else ALONE)


async def test_a_revoked_answer_ends_at_once_and_nobody_elses() -> None:
    edge, clock = sidecar()
    edge.hear()
    await edge.is_kept("ada")
    await edge.is_kept("bob")
    edge.tokenmint.revoked["ada"] = int(clock.now())
    assert await edge.is_kept("ada")  # nothing is known of it yet
    edge.hear()
    assert await edge.is_kept("bob")
    assert (await edge.answers.give(question("ada"))).answer.status == 401
    clock.advance(1)
    given = await edge.answers.give(question("ada"))  # she has signed in again
    assert (given.answer.status, given.kept) == (200, False)
    assert await edge.is_kept("ada")


async def test_a_token_that_is_revoked_while_its_answer_is_on_its_way_is_not_given() -> None:
    edge, clock = sidecar()
    edge.hear()
    sent: list[int] = []

    def revoke() -> None:
        if not sent:
            edge.tokenmint.revoked["ada"] = int(clock.now())
            edge.hear()
            sent.append(1)

    edge.tokenmint.on_way = revoke
    answers = await asyncio.gather(*(edge.answers.give(question("ada")) for _ in range(3)))
    assert [one.answer.status for one in answers] == [401] * 3


async def test_a_replica_that_does_not_know_of_a_revocation_yet_is_not_believed() -> None:
    edge, clock = sidecar()
    edge.tokenmint.revoked["ada"] = int(clock.now())
    edge.hear()
    edge.tokenmint.revoked.clear()
    with pytest.raises(TokenRevoked):
        await edge.answers.give(question("ada"))
    assert (edge.tokenmint.asked, len(edge.answers)) == (2, 0)


NAMES = st.sampled_from("abc")


class History(RuleBasedStateMachine):
    """Requests, revocations, cuts of the stream, restarts of the sidecar, and a tokenmint that is away."""

    ask = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.edge, self.clock = sidecar(ask=self.ask)
        self.connected = True
        self.told_at = self.clock.monotonic()
        self.history: dict[str, list[tuple[int, float]]] = {name: [] for name in "abc"}
        """For each principal, its revocations: the second, and when it was by the monotonic clock."""

    def teardown(self) -> None:
        self.loop.close()

    @rule(name=NAMES)
    def request(self, name: str) -> None:
        try:
            given = self.loop.run_until_complete(self.edge.answers.give(question(name)))
        except DependencyUnavailable:
            assert self.edge.tokenmint.away
            return
        except TokenRevoked:
            return
        if given.answer.status != 200:
            return
        token = given.answer.value("authorization").removeprefix("Bearer ")
        claims = jwt.decode(token, options={"verify_signature": False})
        covering = [at for after, at in self.history[name] if claims["iat"] <= after]
        if covering:
            now, shortest = self.clock.monotonic(), 0.0 if self.ask else ALONE
            assert now - min(covering) <= max(LAG, shortest)
            assert now - min(covering) <= max(now - self.told_at, shortest)
        assert given.onward <= ALONE

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.9, 1.0, 3.0, 5.0, 9.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        self.edge.tokenmint.revoked[name] = int(self.clock.now())
        self.history[name].append((self.edge.tokenmint.revoked[name], self.clock.monotonic()))

    @precondition(lambda self: self.connected)
    @rule(age=st.sampled_from([0.0, 0.0, 0.5, 4.0, 30.0]))
    def message(self, age: float) -> None:
        """``age``: for as long this replica has heard nothing, so the newest revocations are missing."""
        whole, known_at = self.edge.tokenmint.revoked, self.clock.monotonic() - age
        told = {name: [after for after, at in seconds if at <= known_at] for name, seconds in self.history.items()}
        self.edge.tokenmint.revoked = {name: max(seconds) for name, seconds in told.items() if seconds}
        self.edge.hear(age)
        self.edge.tokenmint.revoked = whole
        self.told_at = max(self.told_at, known_at)

    @rule()
    def the_stream_is_cut_or_back(self) -> None:
        self.connected = not self.connected

    @rule()
    def tokenmint_is_away_or_back(self) -> None:
        self.edge.tokenmint.away = not self.edge.tokenmint.away

    @rule()
    def the_sidecar_restarts(self) -> None:
        tokenmint = self.edge.tokenmint
        following = Following([ORDERS], self.clock)
        limits = Limits(ALONE, FOLLOWED, LAG, ask=self.ask)
        answers = Answers(tokenmint.ask, self.clock, limits, following=following, client_id="sidecar")
        self.edge = Sidecar(tokenmint, following, answers)

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        assert len(self.edge.answers) <= 3


class ClosedHistory(History):
    """The same, fail closed."""

    ask = True


TestHistory = History.TestCase
TestClosedHistory = ClosedHistory.TestCase

"""The sidecar's answers: kept for as long as is allowed, one question at a time, given while tokenmint is away."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeClock

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.edge.answers import Answer, Answers, Limits
from tokenmint.edge.question import Question


def question(token: str = "a", path: str = "/auth/x") -> Question:
    return Question(path, (("authorization", f"Bearer {token}"),))


class Tokenmint:
    """Answers with a number for each question."""

    def __init__(self) -> None:
        self.count = 0
        self.status = 200
        self.away = False
        self.gate: asyncio.Event | None = None
        self.on_way: Callable[[], None] = lambda: None
        self.cache_control: tuple[str, ...] = ("max-age=5",)

    async def ask(self, _: Question) -> Answer:
        self.count += 1
        number = self.count
        if self.gate is not None:
            await self.gate.wait()
        self.on_way()
        if self.away:
            raise DependencyUnavailable
        headers = tuple(("cache-control", value) for value in self.cache_control)
        return Answer(self.status, (("authorization", f"Bearer {number}"), *headers))


@pytest.fixture
def tokenmint() -> Tokenmint:
    return Tokenmint()


def answers_of(tokenmint: Tokenmint, clock: FakeClock, longest: float = 60.0, entries: int = 100) -> Answers:
    return Answers(tokenmint.ask, clock, Limits(longest), entries=entries)


async def test_an_answer_is_given_until_it_ends(tokenmint: Tokenmint) -> None:
    clock = FakeClock()
    answers = answers_of(tokenmint, clock)
    first = await answers.give(question())
    assert (first.kept, first.left) == (False, 5)
    clock.advance(4.9)
    again = await answers.give(question())
    assert (again.kept, again.answer, round(again.left, 3)) == (True, first.answer, 0.1)
    clock.advance(0.1)
    assert not (await answers.give(question())).kept
    assert tokenmint.count == 2


async def test_the_time_counts_from_the_question(tokenmint: Tokenmint) -> None:
    """A token may be revoked while the answer is on its way."""
    clock = FakeClock()
    answers = answers_of(tokenmint, clock, longest=1)
    tokenmint.on_way = lambda: clock.advance(0.7)
    assert round((await answers.give(question())).left, 3) == 0.3
    tokenmint.on_way = lambda: clock.advance(2)
    late = await answers.give(question("b"))
    assert (late.left, len(answers)) == (0, 1)


@pytest.mark.parametrize(
    ("case", "status", "cache_control", "longest", "left"),
    [
        ("tokenmint's limit", 200, ("max-age=5",), 60, 5),
        ("the sidecar's own", 200, ("max-age=300",), 1, 1),
        ("the sidecar keeps nothing", 200, ("max-age=300",), 0, 0),
        ("no word of keeping", 200, (), 60, 0),
        ("not at all", 200, ("no-store",), 60, 0),
        ("two words", 200, ("max-age=5", "max-age=5"), 60, 0),
        ("more than one directive", 200, ("max-age=5, private",), 60, 0),
        ("a number that is none", 200, ("max-age=5.5",), 60, 0),
        ("a refusal", 401, ("max-age=5",), 60, 0),
        ("another status", 503, ("max-age=5",), 60, 0),
    ],
)
async def test_what_is_kept(
    tokenmint: Tokenmint, case: str, status: int, cache_control: tuple[str, ...], longest: float, left: float
) -> None:
    tokenmint.status, tokenmint.cache_control = status, cache_control
    answers = answers_of(tokenmint, FakeClock(), longest)
    assert (await answers.give(question())).left == left, case
    assert len(answers) == (left > 0), case


async def test_one_question_at_a_time_for_each_key(tokenmint: Tokenmint) -> None:
    answers = answers_of(tokenmint, FakeClock())
    tokenmint.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(answers.give(question(token))) for token in "ab" * 50]
    await asyncio.sleep(0)
    waiting[0].cancel()  # ends nobody else's question
    await asyncio.sleep(0)
    tokenmint.gate.set()
    given_to = await asyncio.gather(*waiting[1:])
    assert (tokenmint.count, len({one.answer for one in given_to})) == (2, 2)
    assert waiting[0].cancelled()
    assert [one.kept for one in given_to].count(False) == 1  # the other question's caller was cancelled


@pytest.mark.parametrize(
    ("case", "cache_control", "on_way", "questions"),
    [
        ("it may be kept", "max-age=5", 0, 1),
        ("a single-use token's: a second request would be a second use", "no-store", 0, 3),
        ("it has ended on its way: a revocation since would go unnoticed", "max-age=5", 6, 3),
    ],
)
async def test_rfc_9111_section_4_an_answer_on_its_way_is_shared_only_if_it_may_be_given_again(
    tokenmint: Tokenmint, case: str, cache_control: str, on_way: float, questions: int
) -> None:
    clock = FakeClock()
    answers = answers_of(tokenmint, clock)
    tokenmint.cache_control, tokenmint.gate = (cache_control,), asyncio.Event()
    tokenmint.on_way = lambda: clock.advance(on_way)
    waiting = [asyncio.ensure_future(answers.give(question())) for _ in range(3)]
    await asyncio.sleep(0)
    tokenmint.gate.set()
    given_to = await asyncio.gather(*waiting)
    assert (tokenmint.count, len({one.answer for one in given_to})) == (questions, questions), case
    assert [one.kept for one in given_to].count(False) == questions, case


async def test_a_refusal_on_its_way_is_shared(tokenmint: Tokenmint) -> None:
    answers = answers_of(tokenmint, FakeClock())
    tokenmint.status, tokenmint.gate = 401, asyncio.Event()
    waiting = [asyncio.ensure_future(answers.give(question())) for _ in range(3)]
    await asyncio.sleep(0)
    tokenmint.gate.set()
    assert [one.answer.status for one in await asyncio.gather(*waiting)] == [401] * 3
    assert tokenmint.count == 1


async def test_while_tokenmint_is_away_what_is_allowed_is_given_and_the_rest_refused(tokenmint: Tokenmint) -> None:
    clock = FakeClock()
    answers = answers_of(tokenmint, clock)
    await answers.give(question())
    tokenmint.away = True
    clock.advance(4)
    assert (await answers.give(question())).kept
    with pytest.raises(DependencyUnavailable):
        await answers.give(question("b"))
    clock.advance(1)
    with pytest.raises(DependencyUnavailable):
        await answers.give(question())
    tokenmint.away = False
    assert not (await answers.give(question())).kept  # failures are not kept


async def test_the_number_of_answers_is_bounded(tokenmint: Tokenmint) -> None:
    answers = answers_of(tokenmint, FakeClock(), entries=10)
    for number in range(50):
        await answers.give(question(str(number)))
    assert len(answers) == 10


HEADERS = st.lists(
    st.tuples(st.sampled_from(["authorization", "cookie", "x-forwarded-host"]), st.text(max_size=5)), max_size=3
).map(tuple)


@given(HEADERS, HEADERS, st.sampled_from(["/auth", "/auth/x"]), st.sampled_from(["/auth", "/auth/x"]))
def test_two_questions_have_one_key_only_if_they_are_the_same(
    one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...], path: str, other_path: str
) -> None:
    same = (one, path) == (other, other_path)
    assert (Question(path, one).key == Question(other_path, other).key) == same

"""The lives of the signing keys on a time axis: past and planned states, and the changes that come next.

One function makes the data of every picture of the keys: the console's, and that of `tokenmint keys timeline`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tokenmint.keys.ring import activation_planned
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

UNPUBLISHED: Final = "unpublished"
"""The event at the end of a planned life: the key leaves the key set."""
TICKS: Final = 6
_SHORTEST: Final = 60.0  # seconds on the axis at least
_ROOM: Final = 0.04
"""The empty part of the axis at each end."""


@dataclass(frozen=True, slots=True)
class Life:
    """The times of one key, Unix seconds. A time that has not come yet is planned; None: it is not planned either."""

    key_id: str
    algorithm: str
    state: KeyState
    published: float
    activated: float | None = None
    retired: float | None = None
    deleted: float | None = None
    revoked: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A state of a key, from its begin to its end (Unix seconds)."""

    state: KeyState
    begin: float
    end: float
    planned: bool = False
    """Whether the span is in the future."""


@dataclass(frozen=True, slots=True)
class Change:
    """A planned change of a key."""

    time: float
    key_id: str
    to: str
    """The state that begins, or ``UNPUBLISHED``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key of the picture."""

    life: Life
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture: an axis from ``begin`` to ``end`` (Unix seconds), a row for each key, and the changes to come."""

    now: float
    begin: float
    end: float
    rows: tuple[Row, ...]
    ticks: tuple[float, ...]
    coming: tuple[Change, ...]
    """In the order of their times."""


def planned_end(key: SigningKey, schedule: Schedule, ring: KeyRing) -> tuple[float, float] | None:
    """Return the times at which an active key is planned to stop signing and to leave the key set.

    Its successor begins when it stops. None for a key that is not active, or has no successor yet.
    """
    successor = ring.only(key.algorithm, KeyState.PREPARED) if key.state is KeyState.ACTIVE else None
    if successor is None:
        return None
    stops = activation_planned(ring, successor, schedule)
    return stops, stops + schedule.retention(ring.max_lifetime)


def life_of(key: SigningKey, schedule: Schedule, ring: KeyRing) -> Life:
    """Return the life of a key of ``ring``, with its planned times."""
    activated, retired, deleted = key.activate_time, key.retire_time, key.delete_time
    if key.state is KeyState.PREPARED:
        activated = activation_planned(ring, key, schedule)
    elif (end := planned_end(key, schedule, ring)) is not None:
        retired, deleted = end
    times = (key.publish_time, activated, retired, deleted, key.revoke_time)
    return Life(key.key_id, key.algorithm, key.state, *times)


def timeline(lives: Sequence[Life], now: float) -> Timeline:
    """Return the picture of ``lives`` at ``now``."""
    times = [(life.published, life.activated, life.retired, life.deleted, life.revoked) for life in lives]
    moments = [now, *(moment for of_life in times for moment in of_life if moment is not None)]
    room = max(max(moments) - min(moments), _SHORTEST) * _ROOM
    begin, end = min(moments) - room, max(moments) + room
    rows = tuple(Row(life, tuple(_spans(life, now, end))) for life in lives)
    ticks = tuple(begin + (end - begin) * (2 * tick + 1) / (2 * TICKS) for tick in range(TICKS))
    coming = sorted((change for row in rows for change in _coming(row)), key=lambda change: change.time)
    return Timeline(now, begin, end, rows, ticks, tuple(coming))


def _spans(life: Life, now: float, end: float) -> Iterator[Span]:
    """Yield the states of a key in order, until ``end`` at the latest; a span never lies on both sides of now."""
    over = life.revoked if life.revoked is not None else life.deleted if life.deleted is not None else end
    for state, begin, stop in _states(life, now, max(over, now) if _is_published(life) else over):
        if begin < now < stop:
            yield Span(state, begin, now)
            yield Span(state, now, stop, planned=True)
        else:
            yield Span(state, begin, stop, planned=begin >= now)
    if life.revoked is not None:
        yield Span(KeyState.REVOKED, life.revoked, max(life.revoked, min(now, end)))


def _states(life: Life, now: float, over: float) -> Iterator[tuple[KeyState, float, float]]:
    # The number of states that have begun. A later one is planned: if it is overdue, it begins now.
    reached = {KeyState.PREPARED: 1, KeyState.ACTIVE: 2}.get(life.state, 3)
    begins = (life.published, life.activated, life.retired)
    states = (KeyState.PREPARED, KeyState.ACTIVE, KeyState.RETIRING)
    steps: list[tuple[KeyState, float]] = []
    for number, (state, begin) in enumerate(zip(states, begins, strict=True), start=1):
        if begin is not None:
            moment = begin if number <= reached else max(begin, now)
            if moment <= over:
                steps.append((state, moment))
    for (state, begin), (_, stop) in pairwise([*steps, (KeyState.RETIRED, over)]):
        if stop > begin:
            yield state, begin, stop


def _is_published(life: Life) -> bool:
    return life.state in (KeyState.PREPARED, KeyState.ACTIVE, KeyState.RETIRING)


def _coming(row: Row) -> Iterator[Change]:
    """Yield the planned changes of a key: the states that begin, and the end of its publication."""
    planned = [span for span in row.spans if span.planned]
    for before, span in pairwise(row.spans):
        if span.planned and span.state is not before.state:
            yield Change(span.begin, row.life.key_id, span.state)
    if planned and planned[-1].state is KeyState.RETIRING:
        yield Change(planned[-1].end, row.life.key_id, UNPUBLISHED)

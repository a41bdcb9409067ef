"""Reading of the audit stream of exchanges: events that match a query, in bounded pages, and counts of refusals."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson

from tokenmint.admission.audit import EXCHANGE_SHARDS
from tokenmint.base.clock import Clock
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.storage import merging
from tokenmint.storage.redis import Store

PAGE: Final = 500
"""Entries of one answer of the store."""
MOST_SCANNED: Final = 5_000
"""Entries that one query reads at most."""
MOST_BYTES: Final = 512 * 1024
"""Bytes of the events that one query returns, as JSON, beyond the last of them."""
MOST_COUNTED: Final = 10_000
"""Entries that one count reads at most; the next count goes on."""
HOUR: Final = 3600.0
DAY: Final = 86_400.0
OTHER: Final = "OTHER"
"""Stands for reasons that this version does not have."""
_BUCKET: Final = 60.0  # seconds
_MOST_ITEMS: Final = 16
_TEXTS: Final = (
    "method", "outcome", "reason", "caller", "provider", "principal", "actor", "token_sha256", "trace_id"
)  # fmt: skip
_LISTS: Final = ("audience", "refused")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A filter. Each text that is not empty has to occur in the event, in any case of its letters."""

    client: str = ""
    principal: str = ""
    """Matches the actor too."""
    provider: str = ""
    jti: str = ""
    trace: str = ""
    outcome: str = ""
    """`minted`, `refused` or "" for all."""

    def holds(self, event: Event) -> bool:
        """Return whether an event matches."""
        if self.outcome == "refused" and not (event.get("reason") or event.get("refused")):
            return False
        if self.outcome == "minted" and not event.get("minted"):
            return False
        searched = {
            "client": [event.get("caller", "")],
            "principal": [event.get("principal", ""), event.get("actor", "")],
            "provider": [event.get("provider", "")],
            "jti": [minted["jti"] for minted in event.get("minted", ())],
            "trace": [event.get("trace_id", "")],
        }
        texts = {field.name: getattr(self, field.name).lower() for field in fields(self) if field.name in searched}
        return all(any(text in value.lower() for value in searched[name]) for name, text in texts.items() if text)


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one query, the newest first."""

    events: tuple[Event, ...]
    newest: str
    """The position of the newest entries that were read; later queries may begin after it."""
    older: str
    """The position before which a further query goes on; "" at the end of the stream."""
    scanned: int


async def events(
    store: Store, query: Query, *, most: int, before: str = "", after: str = "", details: bool = False
) -> Events:
    """Return at most ``most`` events that match, the newest first, with positions as the bounds (exclusive).

    ``details`` includes the compared values of refusals. Raises as ``merging.backwards``.
    """
    found: list[Event] = []
    newest, at, scanned, size = "", before, 0, 0
    while scanned < MOST_SCANNED:
        page = await merging.backwards(store, EXCHANGE_SHARDS, count=PAGE, before=at, after=after)
        newest = newest or page.newest
        for at, value in page.entries:
            scanned += 1
            event = shaped(value, details=details)
            if event is not None and query.holds(event):
                found.append(event | {"id": at})
                size += len(orjson.dumps(event)) + len(at)
                if len(found) >= most or size >= MOST_BYTES:
                    return Events(tuple(found), newest, at, scanned)
        if not page.more:
            return Events(tuple(found), newest, "", scanned)
    return Events(tuple(found), newest, at, scanned)


def shaped(value: bytes, *, details: bool) -> Event | None:
    """Return the fields of an event that are shown, each bounded; None for an entry of another form."""
    parsed = _parsed(value)
    if parsed is None:
        return None
    event: Event = {"time": _number(parsed.get("time"))}
    for name in (*_TEXTS, *(("detail",) if details else ())):
        if isinstance(parsed.get(name), str):
            event[name] = clipped(parsed[name], LONG)
    for name in _LISTS:
        if texts := _texts(parsed.get(name)):
            event[name] = texts
    minted = parsed.get("minted")
    if isinstance(minted, list):
        event["minted"] = [one for item in minted[:_MOST_ITEMS] if (one := _minted(item)) is not None]
    if (count := int(_number(parsed.get("count")))) > 1:
        event["count"] = count
    return event


def event_json(value: bytes, *, details: bool) -> str:
    """Return an entry's JSON, or "" for an entry of another form. ``details`` as in :func:`events`."""
    parsed = _parsed(value)
    if parsed is None:
        return ""
    if not details and "detail" in parsed:
        value = orjson.dumps({name: field for name, field in parsed.items() if name != "detail"})
    return value.decode()


def _parsed(value: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [clipped(item, LONG) for item in items[:_MOST_ITEMS] if isinstance(item, str) and item]


def _minted(item: object) -> dict[str, object] | None:
    if not isinstance(item, dict) or not isinstance(item.get("jti"), str):
        return None
    return {"jti": clipped(item["jti"]), "kid": clipped(str(item.get("kid", ""))), "reused": bool(item.get("reused"))}


@dataclass(frozen=True, slots=True)
class Counts:
    """Refusals by reason, the most frequent first."""

    hour: Mapping[str, int]
    day: Mapping[str, int]
    since: float | None
    """The time of the oldest event that was counted, Unix seconds; None if there is none."""
    complete: bool
    """Whether everything of the last day was counted; otherwise the next count goes on."""


class RefusalCounts:
    """Counts the refusals of the last hour and day, minute by minute. It reads each entry of the stream once.

    Args:
        store: holds the stream.
        clock: the time.
        known: the reasons that are counted by themselves.
    """

    def __init__(self, store: Store, clock: Clock, known: frozenset[str]) -> None:
        self._store = store
        self._clock = clock
        self._known = known
        self._minutes: dict[int, Counter[str]] = {}
        self._newest = self._oldest = ""
        self._since: float | None = None
        self._complete = False
        self._one_at_a_time = asyncio.Lock()

    async def read(self) -> Counts:
        """Count what is new, and go on with what is old. Raises as ``merging.backwards``."""
        async with self._one_at_a_time:
            left = await self._newer(MOST_COUNTED)
            await self._older(left)
            now = self._clock.now()
            oldest = int((now - DAY) // _BUCKET)
            for minute in [minute for minute in self._minutes if minute < oldest]:
                del self._minutes[minute]
            hour, day = self._sum(now - HOUR), self._sum(now - DAY)
            return Counts(hour, day, self._since, self._complete)

    async def _newer(self, left: int) -> int:
        """Count the entries after the newest one that was counted. Returns how many more may be read."""
        if not self._newest:
            return left
        kept, at, first = (self._minutes, self._since), "", ""
        self._minutes = {}
        try:
            while left > 0:
                page = await self._page(before=at, after=self._newest)
                first = first or page.newest
                at = page.entries[-1][0] if page.entries else at
                left -= len(page.entries)
                self._count(page.entries)
                if not page.more:
                    for minute, counted in kept[0].items():
                        self._minutes.setdefault(minute, Counter()).update(counted)
                    self._newest = first or self._newest
                    self._since = kept[1]
                    return left
        except BaseException:
            self._minutes, self._since = kept
            raise
        # More than that came since: what is older is read anew.
        self._newest, self._oldest, self._complete = first, at, False
        return left

    async def _older(self, left: int) -> None:
        """Count the entries before the oldest one that was counted, until a day ago."""
        while left > 0 and not self._complete:
            page = await self._page(before=self._oldest)
            if not page.entries:
                self._complete = bool(self._newest)
                return
            self._newest = self._newest or page.newest
            self._oldest = page.entries[-1][0]
            left -= len(page.entries)
            reached = self._count(page.entries)
            self._complete = not page.more or reached < self._clock.now() - DAY

    async def _page(self, *, before: str, after: str = "") -> merging.Backwards:
        return await merging.backwards(self._store, EXCHANGE_SHARDS, count=PAGE, before=before, after=after)

    def _count(self, entries: list[tuple[str, bytes]]) -> float:
        """Count entries. Returns the time of the last one that has a time, or infinity."""
        last, now = float("inf"), self._clock.now()
        for _, value in entries:
            event = shaped(value, details=False)
            if event is None or not event["time"]:
                continue
            last = min(event["time"], now)  # a wrong clock may have written it
            self._since = last if self._since is None else min(last, self._since)
            for reason, count in _refusals(event) if last >= now - DAY else ():
                minute = self._minutes.setdefault(int(last // _BUCKET), Counter())
                minute[reason if reason in self._known else OTHER] += count
        return last

    def _sum(self, since: float) -> dict[str, int]:
        total: Counter[str] = Counter()
        for minute, counted in self._minutes.items():
            if (minute + 1) * _BUCKET > since:
                total.update(counted)
        return dict(total.most_common())


def _refusals(event: Event) -> Iterator[tuple[str, int]]:
    """Yield the refusals of an event with their number: that of the call, or those of a batch's targets."""
    if event.get("reason"):
        yield event["reason"], event.get("count", 1)
        return
    for reason in event.get("refused", ()):
        yield reason, 1

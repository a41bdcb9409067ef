"""The entries of the near cache: their names, origins and sizes. They are small, because there are many."""

from typing import Final, TypeAlias

from tokenmint.storage.slots import Slots

OVERHEAD: Final = 250  # bytes of an entry beyond its texts: its objects, its place in the table, a reader's result
HASH: Final = 32  # bytes of the hash of an identity
TOGETHER: Final = 0.05  # seconds in which values that are requested one after the other share the time of the first
NEVER: Final = float("-inf")
_HASHED: Final = "identity:"
"""The prefix of keys that end in a hash in hex."""

Place: TypeAlias = str | int
"""The name of an entry in memory: its key. Of an identity it is the hash alone: a number takes half of its text."""


def place_of(key: str) -> Place:
    """Return the name of a key's entry. No two keys of the service have the same one."""
    if key.startswith(_HASHED):
        try:
            return int(key[len(_HASHED) :], 16)
        except ValueError:  # the store reports a key that this service does not write
            return key
    return key


class Lane:
    """The reports of one server, and how far they prove that its values are current. Times are monotonic."""

    __slots__ = ("complete_until", "own", "proven_at", "reading", "slots", "unproven", "unreported", "usable_until")

    def __init__(self, own: str | None, slots: Slots | None) -> None:
        self.own = own
        """This process's key on the server; None: it has no place for one, so nothing is proven."""
        self.slots = slots
        self.complete_until = NEVER
        """The time until which every change was reported."""
        self.unproven: float | None = None
        """The time at which this process's key was first written after its last report."""
        self.unreported = 0
        """Its writes that succeeded since the last report of it."""
        self.proven_at = NEVER
        """The time of the last write of that key that was reported."""
        self.usable_until = NEVER
        self.reading = Reading(NEVER, self)
        """The last one."""

    def reading_at(self, asked: float) -> "Reading":
        """Return the reading of values that were requested at ``asked``: an earlier one, if it is just before."""
        if not self.reading.asked <= asked <= self.reading.asked + TOGETHER:
            self.reading = Reading(asked, self)
        return self.reading


class Reading:
    """The origin of values. Those that were requested within ``TOGETHER`` share it."""

    __slots__ = ("asked", "lane")

    def __init__(self, asked: float, lane: Lane) -> None:
        self.asked = asked
        """The time at which the first of them was requested. A value may seem older than it is, never younger."""
        self.lane = lane
        """The server that they were read from."""


class Entry:
    """A value as read; None if the key was missing."""

    __slots__ = ("raw", "reading")

    def __init__(self, raw: bytes | None, reading: Reading) -> None:
        self.raw = raw
        self.reading = reading


class Noted(Entry):
    """An entry with the last result of a reader for its bytes, kept for the next call and dropped with the bytes."""

    __slots__ = ("memo",)

    def __init__(self, entry: Entry, memo: object) -> None:
        super().__init__(entry.raw, entry.reading)
        self.memo = memo


def size_of(place: Place, raw: bytes | None) -> int:
    """Return the bytes for which an entry counts. A reader's result may repeat the value."""
    return OVERHEAD + (len(place) if isinstance(place, str) else HASH) + 2 * len(raw or b"")

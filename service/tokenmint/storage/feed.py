"""Which changes of values a store notes in streams, in the same step: so no change is missing there after a crash."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

URGENT: Final = "!"
"""Marks a note for both streams."""
ORDINARY: Final = "-"
"""Marks a note for the second one alone."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Notes the keys of changed values in two streams: one has the urgent changes alone, the other has all.

    Args:
        prefixes: the prefixes of the keys that are noted.
        urgent: returns whether a change is urgent, by key and new value (None: deleted).
        streams: the keys of the streams: of urgent changes, and of all.
        most: about how many entries each of them keeps.
    """

    prefixes: tuple[str, ...]
    urgent: Callable[[str, bytes | None], bool]
    streams: tuple[str, str]
    most: int

    def one(self, prefix: str, key: str, new: bytes | None) -> tuple[list[str], list[str]]:
        """Return the streams (with the store's ``prefix``) and the arguments that SWAP notes a change with."""
        note = self._note(key, new)
        if not note:
            return [], []
        streams = [prefix + stream for stream in self.streams]
        return streams if note.startswith(URGENT) else streams[1:], [str(self.most), note[1:]]

    def many(self, prefix: str, changes: Iterable[tuple[str, bytes | None]]) -> tuple[list[str], list[str]]:
        """Return the streams and the arguments that SWAP_MANY notes changes (key, new value) with."""
        notes = [self._note(key, new) for key, new in changes]
        if not any(notes):
            return [], ["0"]
        return [prefix + stream for stream in self.streams], [*notes, str(self.most), str(len(self.streams))]

    def _note(self, key: str, new: bytes | None) -> str:
        """Return the key after a mark, or "" for a change that is not noted."""
        if not key.startswith(self.prefixes):
            return ""
        return (URGENT if self.urgent(key, new) else ORDINARY) + key


NOTHING: Final = Feed((), lambda _, __: False, ("", ""), 0)
"""Notes no change."""

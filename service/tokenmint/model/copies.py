"""Pages of profiles, which one region tells another."""

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """The part of a region's profiles that a page is of."""

    ENDS = "ends"
    """Changes that refuse somebody, or old tokens. They are told first."""
    CHANGES = "changes"
    """All changes."""
    ALL = "all"
    """Every profile, for a region that is new or fell behind."""


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """Records of a region's own profiles, as they are now."""

    records: tuple[str, ...]
    """Stored forms: of profiles, tombstones, and markers of unlinked identities."""
    erased: tuple[str, ...]
    """Keys of records that were erased with their person, who is refused from then on."""
    gone: tuple[str, ...]
    """Keys of other records that are gone."""
    following: str
    """The place where the next page begins: after a change, or a cursor ("" at the end)."""
    more: bool
    """Whether there are later pages already."""
    gap: bool = False
    """Whether changes since the asked place are not known any more, so that every profile has to be copied."""
    newest: str = ""
    """The place of the newest change."""

"""This process's knowledge of how far the profiles of the other regions were copied."""

from collections.abc import Callable, Mapping

from tokenmint.base.background import Background
from tokenmint.regions.copied import Copied
from tokenmint.regions.directory import RETRY, Regions


class Copying:
    """Knows the ages of the copies.

    Args:
        regions: the other regions.
        refused: returns by region how many of its records were not taken over.
        begun: whether a key of this region has ever signed.
    """

    def __init__(self, regions: Regions, refused: Callable[[], Mapping[str, int]], begun: Callable[[], bool]) -> None:
        self.regions = regions
        self.refused = refused
        self._begun = begun
        self._states: dict[str, Copied] = {}

    def note(self, state: Copied) -> None:
        """Take over a state that the store holds."""
        self._states[state.region] = state

    async def refresh(self) -> None:
        """Read the states. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        for name in self.regions.options.others:
            self.note((await self.regions.store.copied(name))[1])

    def follow(self, background: Background) -> None:
        """Follow the states without end."""
        background.every("copies of profiles", self.regions.times.replica_lag / 3, self.refresh, longest=RETRY)

    def copied_at(self, region: str) -> float:
        """Return the time up to which a region's profiles were copied, Unix seconds; 0: not yet."""
        state = self._states.get(region)
        return state.as_of if state is not None else 0.0

    def age(self, region: str) -> float:
        """Return the seconds since the copies of a region's profiles were known to be complete; infinite: never."""
        copied = self.copied_at(region)
        return max(0.0, self.regions.times.now() - copied) if copied else float("inf")

    def ages(self) -> dict[str, float]:
        """Return these ages of the regions that are served."""
        return {name: self.age(name) for name in self.regions.options.others if self.regions.serves(name)}

    def problem(self) -> str:
        """Return a message for operators if this process must not serve yet, or "": a new region without copies would
        take principals that were disabled elsewhere for unknown ones.
        """
        never = [name for name, age in self.ages().items() if age == float("inf")]
        if never and not self._begun():
            return f"this region is new, and has not copied the profiles of {', '.join(never)} yet"
        return ""

    def detail(self) -> str:
        """Return a message for operators about old copies, and about records that were not taken over, or ""."""
        longest = self.regions.options.longest_cut
        said = [
            f"those of {name} were never complete" if age == float("inf") else f"those of {name} are {age:.0f} s old"
            for name, age in self.ages().items()
            if age > longest - self.regions.times.skew
        ]
        said += [
            f"{count} records of {name} were not taken over: their principals or identities are of another region here"
            for name, count in sorted(self.refused().items())
            if count
        ]
        return "; ".join(said)

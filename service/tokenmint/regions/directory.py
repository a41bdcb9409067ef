"""This process's copy of what is known of the other regions. It publishes their keys beside the ring's.

A copy only moves forward. A record that the store has lost stays in memory and is written again with the next document.
Only the place in the log of revocations goes back with the store, which lost those that were taken over, too.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from tokenmint.base.background import Background, Unit
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.keys.publication import Publication
from tokenmint.keys.types import RegionKeys
from tokenmint.regions import records
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.options import RegionOptions
from tokenmint.regions.records import Record
from tokenmint.regions.store import RegionStore
from tokenmint.revocation.entries import MARGIN

RETRY: Final = 1.0  # seconds at most between attempts to reach the store again


@dataclass(frozen=True, slots=True)
class Times:
    """The times that regions are compared by.

    Args:
        now: the time by the store's clock, Unix seconds.
        replica_lag: R.
        skew: S.
        held: seconds for which a verifier may hold a key that is not published any more: max(A, C).
        longest: returns the seconds that this region's longest token lives.
    """

    now: Callable[[], float]
    replica_lag: float
    skew: float
    held: float
    longest: Callable[[], float]


class Regions:
    """Knows the other regions.

    Args:
        store: holds the records.
        options: the regions of the configuration.
        publication: publishes the keys of the other regions.
        times: the times.
        begun: whether a key of this region has ever signed.
    """

    def __init__(
        self,
        store: RegionStore,
        options: RegionOptions,
        publication: Publication,
        times: Times,
        begun: Callable[[], bool],
    ) -> None:
        self.store = store
        self.options = options
        self.times = times
        self._publication = publication
        self.begun = begun
        self.before_first_key = [self.problem]
        """Each returns why this region must not begin to sign, or ""."""
        self._records: dict[str, Record] = {}
        self._given_up: dict[str, GivenUp] = {}

    # --- use -----------------------------------------------------------------------------------------------------

    @property
    def given_up(self) -> dict[str, GivenUp]:
        """The regions that were given up, of the configured ones and this one."""
        return self._given_up

    def record(self, region: str) -> Record | None:
        """Return the record of a region."""
        return self._records.get(region)

    def serves(self, region: str) -> bool:
        """Return whether a region is configured, and was not given up."""
        return region in self.options.others and region not in self._given_up

    def longest(self) -> float:
        """Return the seconds that the longest token of any region lives."""
        return max([self.times.longest(), *(record.max_lifetime for record in self._records.values())])

    def memory(self) -> float:
        """Return the seconds for which a verifier may accept a token of a key that is not published any more."""
        return self.times.held + self.longest() + self.times.skew + MARGIN

    def ages(self) -> dict[str, float]:
        """Return by region the seconds since its keys were known to be complete; infinite: never. Without those that
        were given up.
        """
        now = self.times.now()
        return {name: self._age(name, now) for name in self.options.others if name not in self._given_up}

    def revocation_ages(self) -> dict[str, float]:
        """The same for its revocations."""
        now = self.times.now()
        found = {name: self._records.get(name) for name in self.options.others if name not in self._given_up}
        return {
            name: max(0.0, now - record.revocations_as_of) if record is not None else float("inf")
            for name, record in found.items()
        }

    def revoked_keys(self) -> dict[str, float]:
        """Return the revoked keys of other regions, and all keys of those that were given up, with the end of their
        tokens.
        """
        found: dict[str, float] = {}
        for name, record in self._records.items():
            given_up = self._given_up.get(name)
            found |= records.told(record, given_up.since if given_up is not None else None)
        memory = self.memory()
        return {key_id: time + memory for key_id, time in found.items()}

    def problem(self) -> str:
        """Return a message for operators if this process must not serve, or ""."""
        if self.options.name in self._given_up:
            return (
                f"this region, {self.options.name}, was given up: its tokens are refused everywhere; "
                "follow docs/runbooks/giving-up-a-region.md to return under another name"
            )
        never = [name for name, age in self.ages().items() if age == float("inf")]
        if never and not self.begun():
            return f"this region is new, and has not heard of {', '.join(never)}: its key set would lack their keys"
        return ""

    def may_begin(self) -> bool:
        """Return whether the first key of this region may sign: it lacks nothing of the others."""
        return not any(problem() for problem in self.before_first_key)

    def detail(self) -> str:
        """Return a message for operators about regions that were not heard for longer than L, or "".

        The age is by two clocks, so it may be S more than it seems.
        """
        longest = self.options.longest_cut
        late = {name: age for name, age in self.ages().items() if age > longest - self.times.skew}
        said = [
            f"{name} was never heard" if age == float("inf") else f"{name} was not heard for {age:.0f} s"
            for name, age in late.items()
        ]
        if not said:
            return ""
        return f"{'; '.join(said)}: verifiers may miss keys that sign there (regions.longest_cut is {longest:.0f} s)"

    def require_serving(self) -> None:
        """Raise ``DependencyUnavailable`` if this region was given up."""
        if self.options.name in self._given_up:
            raise DependencyUnavailable(
                "this region was given up and issues no tokens: ask another region", detail=self.problem()
            )

    # --- following -----------------------------------------------------------------------------------------------

    def follow(self, background: Background) -> None:
        """Follow the records without end: by their notices, and by looking every third of R."""
        background.start("region notices", self._listen, longest=RETRY)
        background.every("regions", self.times.replica_lag / 3, self.refresh, longest=RETRY)

    async def _listen(self, unit: Unit) -> None:
        async with aclosing(self.store.notices()) as notices:
            async for _ in notices:
                await self.refresh()
                unit.works()

    async def refresh(self) -> None:
        """Read the records. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        self.note_given_up(await self.store.given_up())
        for name in self.options.others:
            self.note(name, await self.store.record(name))

    def note(self, region: str, stored: Record | None) -> None:
        """Take over a record that the store holds."""
        known = records.newer(stored, self._records.get(region))
        if known is not None:
            self._records[region] = known
            self._publish()

    def note_given_up(self, stored: dict[str, GivenUp]) -> None:
        """Take over the regions that were given up. None returns."""
        self._given_up = {**self._given_up, **stored}
        self._publish()

    def _publish(self) -> None:
        live = [self._records[name] for name in sorted(self._records) if name not in self._given_up]
        changes = sum(record.changes for record in self._records.values()) + len(self._given_up)
        self._publication.of_others(RegionKeys(tuple(key for record in live for key in record.keys), changes))

    def _age(self, region: str, now: float) -> float:
        record = self._records.get(region)
        return max(0.0, now - record.as_of) if record is not None else float("inf")

"""The events of a run with regions, and the promises that did not hold."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.regions.plan import LOST, PROFILES_BOUND, SHORT, Pace


class Token(NamedTuple):
    """A minted token."""

    text: str
    key_id: str
    region: str
    expires: float


class Refusal(NamedTuple):
    """A token that a verifier refused."""

    verifier: str
    follows: str
    token: Token
    at: float
    fetched: float
    reason: str


class Acceptance(NamedTuple):
    """A token of the lost region that a verifier accepted after it was given up."""

    verifier: str
    follows: str
    at: float


@dataclass
class Ledger:
    """The events."""

    pace: Pace = SHORT
    minted: Counter[str] = field(default_factory=Counter)
    signers: dict[str, set[str]] = field(default_factory=dict)
    """The keys that signed, by region."""
    verifications: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    accepted: list[Acceptance] = field(default_factory=list)
    given_up: dict[str, float] = field(default_factory=dict)
    """By region: when it knew that the lost one was given up."""
    asked: float = float("inf")
    """When operators began to give it up."""
    cuts: list[tuple[str, str, float]] = field(default_factory=list)
    oldest: Counter[str] = field(default_factory=Counter)
    """The greatest age of another region's keys, in tenths of a second, by the region that knew them."""
    spread: list[float] = field(default_factory=list)
    """Seconds until a revocation was known in another region."""
    linked: list[float] = field(default_factory=list)
    """The same, of those that came over a link that was not cut meanwhile."""
    refused_elsewhere: list[float] = field(default_factory=list)
    """Seconds until a principal that was disabled at home was refused in another region."""
    refused_while_linked: list[float] = field(default_factory=list)
    """The same, where the link was not cut meanwhile."""
    served_again: int = 0
    """Exchanges in another region for a principal that it had refused before."""
    active_after: int = 0
    """Introspections that took a token of the lost region for active, where it was given up."""
    introspected_after: int = 0
    problems: list[str] = field(default_factory=list)

    def wrong_refusals(self) -> list[Refusal]:
        """Return the refusals that break the promise: a token of a live region, or of the lost one before its end."""
        return [one for one in self.refusals if one.token.region != LOST or one.fetched < self.asked]

    def wrong_acceptances(self) -> list[Acceptance]:
        """Return the acceptances after the bound."""
        return [one for one in self.accepted if one.at > self.given_up[one.follows] + self.pace.bound]

    def broken(self, least: int) -> list[str]:
        """Return the promises that did not hold, in words."""
        found = list(self.problems)
        if wrong := self.wrong_refusals():
            found.append(f"{len(wrong)} tokens were refused; the first: {_without_text(wrong[0])}")
        if late := self.wrong_acceptances():
            found.append(f"{len(late)} tokens of the lost region were accepted after the bound; the first: {late[0]}")
        if self.active_after:
            found.append(f"{self.active_after} tokens of the lost region were active where it was given up")
        if self.served_again:
            found.append(f"{self.served_again} exchanges for a principal that was refused before")
        if slow := [one for one in self.refused_while_linked if one > PROFILES_BOUND]:
            found.append(
                f"{len(slow)} principals were refused later than {PROFILES_BOUND:.0f} s over a link that was there"
            )
        if self.verifications.total() < least:
            found.append(f"{self.verifications.total()} verifications, fewer than {least}")
        if max(self.oldest.values(), default=0) > 10 * self.pace.schedule.region_lag:
            found.append("a region did not hear another one for longer than L: the machine is too busy for this pace")
        if any(len(keys) < 2 for keys in self.signers.values()):
            found.append("a region did not rotate")
        return found


def _without_text(refusal: Refusal) -> str:
    token = refusal.token
    return (
        f"{refusal.verifier} of {refusal.follows}, key {token.key_id}, {refusal.reason}, fetched "
        f"{refusal.at - refusal.fetched:.1f} s before, {token.expires - refusal.at:.1f} s before its end"
    )

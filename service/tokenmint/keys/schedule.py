"""The timing rules: verifiers can always get the key of a token, and no key is withdrawn before its tokens expire."""

from dataclasses import dataclass

from tokenmint.base.durations import spoken

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Durations in seconds; the letters are those of docs/keys.md."""

    replica_lag: float = 10.0
    """R: how long a replica may lag behind the store before it stops signing."""
    max_age: float = 300.0
    """A: the `max-age` of the published key set."""
    verifier_cache: float = DAY
    """C: the longest time that a supported verifier keeps a key set, even beyond `max-age`."""
    max_lifetime: float = 3600.0
    """T: the longest lifetime of a token of any audience."""
    skew: float = 60.0
    """S: the largest difference between two clocks."""
    publish_ahead: float | None = None
    """P, if longer than the rule requires."""
    rotation_interval: float = 30 * DAY
    """The time for which a key signs before its successor does."""
    region_lag: float = 0.0
    """L: how long another region may be cut off from new keys; 0 without other regions."""

    @property
    def ahead(self) -> float:
        """P: the time for which a prepared key is published before it may sign."""
        return self.publish_ahead if self.publish_ahead is not None else self.least_ahead

    @property
    def least_ahead(self) -> float:
        """The shortest P with which no verifier meets an unknown key: R + L + max(A, C) + S."""
        return self.replica_lag + self.region_lag + max(self.max_age, self.verifier_cache) + self.skew

    def retention(self, max_lifetime: float = 0.0) -> float:
        """Return the time for which a key stays published after its replacement: T + 2 S + R.

        S counts twice: once between the replicas that replace and withdraw the key, and once between the replica that
        signs its last token and the verifier. ``max_lifetime`` is the longest lifetime on other replicas, if longer
        than T here.
        """
        return max(self.max_lifetime, max_lifetime) + 2 * self.skew + self.replica_lag

    @property
    def serve_unconfirmed(self) -> float:
        """The time for which the key set is served without the store: P - L - A - S after the last confirmation.

        Another replica may prepare a key meanwhile. That key does not sign before the set served here has expired. Nor
        does a key of another region, whose keys were known here up to L before.
        """
        return max(self.replica_lag, self.ahead - self.region_lag - self.max_age - self.skew)

    def problems(self) -> list[str]:
        """Return the broken rules, each with its numbers."""
        problems = []
        region, cut = (" + regions.longest_cut", f" + {spoken(self.region_lag)}") if self.region_lag else ("", "")
        if self.ahead < self.least_ahead:
            problems.append(
                f"publish_ahead is {spoken(self.ahead)} and has to be at least "
                f"replica_lag{region} + max(max_age, verifier_cache) + skew = {spoken(self.replica_lag)}{cut} + "
                f"max({spoken(self.max_age)}, {spoken(self.verifier_cache)}) + {spoken(self.skew)} = "
                f"{spoken(self.least_ahead)}: otherwise a key signs before verifiers have fetched it"
            )
        if self.rotation_interval <= self.ahead:
            problems.append(
                f"rotation_interval is {spoken(self.rotation_interval)} and has to be longer than publish_ahead "
                f"({spoken(self.ahead)}): otherwise the next key is never ready in time"
            )
        return problems

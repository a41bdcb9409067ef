"""The timing rules. What follows from them: no verifier meets a key that it can't get, no token outlives its key."""

from dataclasses import dataclass

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Durations in seconds; the letters are those of docs/keys.md."""

    replica_lag: float = 10.0
    """R: how long a replica may lag behind the store before it stops signing."""
    max_age: float = 300.0
    """A: the `max-age` of the published key set."""
    verifier_cache: float = DAY
    """C: the longest that a supported verifier keeps a key set, whatever `max-age` says."""
    max_lifetime: float = 3600.0
    """T: the longest lifetime of a token of any audience."""
    skew: float = 60.0
    """S: how far clocks may differ."""
    publish_ahead: float | None = None
    """P, where it is longer than the rule asks for."""
    rotation_interval: float = 30 * DAY
    """How long a key signs before the next one does."""

    @property
    def ahead(self) -> float:
        """P: how long a prepared key is published before it may sign."""
        return self.publish_ahead if self.publish_ahead is not None else self.least_ahead

    @property
    def least_ahead(self) -> float:
        """The least P that surprises nobody: R + max(A, C) + S."""
        return self.replica_lag + max(self.max_age, self.verifier_cache) + self.skew

    def retention(self, max_lifetime: float = 0.0) -> float:
        """Return how long a key stays published after it was replaced: T + 2 S + R.

        Clocks matter twice: those of the replicas that replace and withdraw the key, and those of the replica that
        signs its last token and the verifier. ``max_lifetime`` is what other replicas may have given tokens, where
        that is longer than T here.
        """
        return max(self.max_lifetime, max_lifetime) + 2 * self.skew + self.replica_lag

    @property
    def serve_unconfirmed(self) -> float:
        """How long the key set is served from memory without the store: P - A - S after the last confirmation.

        A key that another replica prepares meanwhile does not sign before a set that was served until then has
        expired.
        """
        return max(self.replica_lag, self.ahead - self.max_age - self.skew)

    def problems(self) -> list[str]:
        """Return the rules that are broken, each with its numbers."""
        problems = []
        if self.ahead < self.least_ahead:
            problems.append(
                f"publish_ahead is {self.ahead:.0f} s and has to be at least "
                "replica_lag + max(max_age, verifier_cache) + skew = "
                f"{self.replica_lag:.0f} + max({self.max_age:.0f}, {self.verifier_cache:.0f}) + {self.skew:.0f} = "
                f"{self.least_ahead:.0f} s: or a key would sign before verifiers have seen it"
            )
        if self.rotation_interval <= self.ahead:
            problems.append(
                f"rotation_interval is {self.rotation_interval:.0f} s and has to be longer than publish_ahead "
                f"({self.ahead:.0f} s): or the next key would never be ready in time"
            )
        return problems

"""One attempt at an exchange: the request, the client, the time, and the trace of its steps."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from tokenmint.base.foreign_text import clipped
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Client, ExchangeRequest, TokenGrant


class Trace:
    """The steps of an attempt and their results, in order, even if it is refused.

    Explain reads the steps, audit the facts, the metrics the minted tokens, and spans the steps with their times. A
    batch has one trace.

    Args:
        timed: whether the times of steps are kept.
    """

    __slots__ = ("actor", "keep", "minted", "principal", "provider", "step", "steps", "times", "token_sha256")

    def __init__(self, *, timed: bool = False) -> None:
        self.steps: list[str] = []
        """The names of the steps that were started. After a failure, the last one is the one that failed."""
        self.times: list[float] = []
        """When each began, by ``time.perf_counter``, if they are kept."""
        self.step: Callable[[str], None] = self._timed_step if timed else self.steps.append
        """Records the name of a step at its start."""
        self.token_sha256 = ""
        self.provider = ""
        self.principal = ""
        self.actor = ""
        self.minted: list[tuple[str, MintedToken]] = []
        """Each token with its audience."""
        self.keep = 0
        """The seconds for which a cache may give the answer again to the same request."""

    def _timed_step(self, name: str) -> None:
        self.times.append(perf_counter())
        self.steps.append(name)

    def actor_step(self, name: str) -> None:
        """Record the name of a step for the actor token."""
        self.step(f"actor.{name}")

    def granted(self, grant: TokenGrant) -> None:
        """Record the principal and the actor of a grant; an actor that is no principal here with its issuer."""
        self.principal = grant.principal
        act = grant.act or {}
        self.actor = grant.actor or " ".join(str(act[name]) for name in ("sub", "iss") if name in act)

    def facts(self) -> dict[str, object]:
        """Return the audit fields of an exchange."""
        return {
            "token_sha256": self.token_sha256,
            "provider": self.provider,
            "principal": clipped(self.principal),
            "actor": clipped(self.actor),
            "minted": [
                {"jti": minted.token_id, "kid": minted.key_id}
                | ({"reused": True} if minted.reused else {})
                | ({"txn": minted.txn} if minted.txn else {})
                for _, minted in self.minted
            ],
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One requested exchange, or, if ``dry``, the explanation of its outcome."""

    request: ExchangeRequest
    client: Client
    now: float
    """The time, read once."""
    trace: Trace
    dry: bool = False
    """Without effect: fetches no keys, creates no profile, records no use of a reference token, consumes no token."""

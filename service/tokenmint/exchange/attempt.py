"""One attempt at an exchange: what is asked for, by which client, when, and the trace that it leaves."""

from collections.abc import Callable
from dataclasses import dataclass

from tokenmint.base.foreign_text import clipped
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Client, ExchangeRequest, TokenGrant


class Trace:
    """The steps of an attempt and what they found, in order, also where it ends with a refusal.

    Explain reads the steps, audit reads the facts, and the metrics read the minted tokens. A batch has one trace.
    """

    __slots__ = ("actor", "minted", "principal", "provider", "step", "steps", "token_sha256")

    def __init__(self) -> None:
        self.steps: list[str] = []
        """The names of the steps that were begun. The last one is the one that failed, where one did."""
        self.step: Callable[[str], None] = self.steps.append
        """Takes the name of a step as it begins."""
        self.token_sha256 = ""
        self.provider = ""
        self.principal = ""
        self.actor = ""
        self.minted: list[tuple[str, MintedToken]] = []
        """Each token with its audience."""

    def actor_step(self, name: str) -> None:
        """Take the name of a step that is about the actor token."""
        self.step(f"actor.{name}")

    def granted(self, grant: TokenGrant) -> None:
        """Note for whom a token is minted."""
        self.principal = grant.principal
        self.actor = grant.actor or str((grant.act or {}).get("sub", ""))

    def facts(self) -> dict[str, object]:
        """Return the audit fields of an exchange."""
        return {
            "token_sha256": self.token_sha256,
            "provider": self.provider,
            "principal": clipped(self.principal),
            "actor": clipped(self.actor),
            "minted": [
                {"jti": minted.token_id, "kid": minted.key_id} | ({"reused": True} if minted.reused else {})
                for _, minted in self.minted
            ],
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange that a client asks for, or (``dry``) the explanation of how it would end."""

    request: ExchangeRequest
    client: Client
    now: float
    """The time, read once."""
    trace: Trace
    dry: bool = False
    """Nothing changes: no keys are fetched, no profile is created, no use of a handle is noted, no token is claimed."""

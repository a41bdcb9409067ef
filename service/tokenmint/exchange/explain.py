"""A dry run of an exchange that says what was checked, in order, and which check ended it.

Mints nothing, claims no token, creates no profile, fetches no keys.
"""

from dataclasses import dataclass
from enum import StrEnum

from tokenmint.base.errors import TokenmintError, TokenReplayed
from tokenmint.exchange.exchange import ExchangeRecord, TokenExchange, single_use
from tokenmint.model.policy import Client, ExchangeRequest


class Outcome(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One check."""

    name: str
    outcome: Outcome
    reason: str = ""
    detail: str = ""


async def explain(exchange: TokenExchange, request: ExchangeRequest, client: Client) -> list[Step]:
    """Return the steps up to the one that ended the exchange, or all of them."""
    steps: list[Step] = []
    names: list[str] = []

    def begin(name: str) -> None:
        if names:
            steps.append(Step(names[-1], Outcome.PASSED))
        names.append(name)

    now, nothing = exchange.clock.now(), ExchangeRecord()
    try:
        begin("policy.client")
        audience = exchange.policy.admit(client, request)
        subject = await exchange.prove_subject(request, client, now, nothing, observe=begin, dry=True)

        def begin_of_actor(name: str) -> None:
            begin(f"actor.{name}")

        actor = await exchange.prove_actor(request, client, now, observe=begin_of_actor, dry=True)
        grant = await exchange.decide(request, client, audience, subject, actor, now, observe=begin, dry=True)
        begin("minting.signer")
        exchange.minter.check(grant)
        begin("replay.unclaimed")
        single = single_use(subject, actor, whatever=audience.single_use)
        if any([await exchange.replay.claimed(assertion) for assertion in single]):
            raise TokenReplayed()
        steps.append(Step(names[-1], Outcome.PASSED if single else Outcome.SKIPPED))
    except TokenmintError as error:
        steps.append(Step(names[-1], Outcome.FAILED, error.reason, error.detail or error.message))
    return steps

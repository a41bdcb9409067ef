"""A dry run of an exchange: it lists the checks in order, up to the one that ends the exchange.

It mints nothing, consumes no token, creates no profile, and fetches no keys.
"""

from dataclasses import dataclass
from enum import StrEnum

from tokenmint.base.errors import TokenmintError
from tokenmint.base.token_errors import TokenReplayed
from tokenmint.exchange.attempt import Attempt, Trace
from tokenmint.exchange.exchange import TokenExchange, single_use
from tokenmint.model.policy import Client, ExchangeRequest


class Outcome(StrEnum):
    """The outcome of a step."""

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
    """Return the steps up to the one that ends the exchange, or all of them.

    Raises:
        InvalidRequest: a required part of the request is missing.
    """
    request = exchange.policy.completed(client, request)
    trace = Trace()
    attempt = Attempt(request, client, exchange.clock.now(), trace, dry=True)
    try:
        audience = exchange.admit(attempt)
        subject = await exchange.verify_subject(attempt)
        actor = await exchange.verify_actor(attempt)
        grant = await exchange.decide(attempt, audience, subject, actor)
        trace.step("minting.signer")
        exchange.minter.check(grant)
        trace.step("replay.unclaimed")
        single = single_use(audience, subject, actor)
        if any([await exchange.replay.consumed(verified) for verified in single]):
            raise TokenReplayed()
        last = Step(trace.steps[-1], Outcome.PASSED if single else Outcome.SKIPPED)
    except TokenmintError as error:
        last = Step(trace.steps[-1], Outcome.FAILED, error.reason, error.detail or error.message)
    return [*(Step(name, Outcome.PASSED) for name in trace.steps[:-1]), last]

"""A dry run of an exchange: it lists the checks in order, up to the one that ends the exchange.

It mints nothing, consumes no token, creates no profile, and fetches no keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tokenmint.base.errors import TokenmintError
from tokenmint.base.token_errors import TokenRejected, TokenReplayed
from tokenmint.exchange.attempt import Attempt, Trace
from tokenmint.exchange.exchange import TokenExchange, single_use
from tokenmint.model.minted import PlannedToken
from tokenmint.model.policy import Client, ExchangeRequest
from tokenmint.model.secret import Secret

TARGET: Final = "policy.target"
"""The step that finds the audience. It appears only if it fails."""


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of an exchange up to the one that ends it, or all of them."""

    steps: list[Step]
    planned: PlannedToken | None
    """The token that would be minted; None if the exchange would be refused."""
    names: Mapping[str, str]
    """The names of its `client`, its `audience` and the `provider` of the last token; "" for none. The audience and the
    provider may be unknown to the configuration."""


async def explain(exchange: TokenExchange, request: ExchangeRequest, client: Client) -> Explanation:
    """Return the steps of an exchange, and the token that it would mint.

    Raises:
        InvalidRequest: a required part of the request is missing.
    """
    try:
        request = exchange.policy.completed(client, request)
    except TokenRejected as error:  # the resources of an ID-JAG, before anything is verified
        last = Step(TARGET, Outcome.FAILED, error.reason, error.detail or error.message)
        return Explanation([last], None, _names(exchange, request, client, request.subject_token))
    trace, planned = Trace(), None
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
        planned = exchange.minter.plan(grant)
    except TokenmintError as error:
        last = Step(trace.steps[-1], Outcome.FAILED, error.reason, error.detail or error.message)
    token = request.actor_token if last.name.startswith("actor.") and request.actor_token else request.subject_token
    names = _names(exchange, request, client, token)
    return Explanation([*(Step(name, Outcome.PASSED) for name in trace.steps[:-1]), last], planned, names)


def _names(exchange: TokenExchange, request: ExchangeRequest, client: Client, token: Secret) -> Mapping[str, str]:
    """Return ``Explanation.names``. ``token``: the last one that was looked at."""
    return {"client": client.client_id, "audience": request.audience, "provider": exchange.verifier.chosen(token)}

"""A dry run of an exchange that says what was checked, in order, and which check ended it.

Mints nothing, claims no token, creates no profile, fetches no keys.
"""

from dataclasses import dataclass
from enum import StrEnum

from tokenmint.errors import TokenmintError, TokenReplayed
from tokenmint.exchange import TokenExchange
from tokenmint.policy.types import Client, ExchangeRequest, OnMissingProfile


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

    now = exchange.clock.now()
    try:
        begin("policy.client")
        audience = exchange.policy.admit(client, request)
        assertion = await exchange.verifier.verify(
            request.subject_token, request.subject_token_type, nonce=request.nonce, now=now, observe=begin, fetch=False
        )
        begin("profile.find")
        lookup = await exchange.profiles.find(assertion)
        begin("policy.provider")
        assertion = exchange.policy.derive(assertion, client, request)
        exchange.policy.admit_assertion(audience, assertion, client, request)
        begin("profile.missing")
        mode = audience.on_missing_profile
        dry = OnMissingProfile.WITHOUT if mode is OnMissingProfile.CREATE else mode
        profile = await exchange.profiles.settle(lookup, dry, now=now)
        begin("policy.decision")
        grant = exchange.policy.decide(request, client, audience, assertion, profile, now=now)
        begin("minting.signer")
        exchange.minter.check(grant)
        begin("replay.unclaimed")
        single = assertion.single_use or audience.single_use
        if single and await exchange.replay.claimed(assertion):
            raise TokenReplayed()
        steps.append(Step(names[-1], Outcome.PASSED if single else Outcome.SKIPPED))
    except TokenmintError as error:
        steps.append(Step(names[-1], Outcome.FAILED, error.reason, error.detail or error.message))
    return steps

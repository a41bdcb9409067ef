"""A trial of one provider from this machine, with the code that the service fetches and verifies with.

Nothing is stored, minted or consumed. Only the provider's own documents are fetched.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final

from tokenmint.base.clock import Clock, SystemClock
from tokenmint.base.errors import ConditionDenied, KeySetInvalid, KeySetUnavailable, TokenmintError
from tokenmint.cli.output import without_log
from tokenmint.config.settings import Settings, issuer_of, provider_claims, provider_conditions
from tokenmint.exchange.explain import Outcome, Step
from tokenmint.model.policy import Client
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import VerifiedToken
from tokenmint.policy.grant import Policy
from tokenmint.verification.answers import Answer
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.jws import parse_compact
from tokenmint.verification.keyset import KeySets, KeySetStatus
from tokenmint.verification.provider import Provider
from tokenmint.verification.selection import Selection
from tokenmint.verification.verifier import Verifier

_OF_A_CALL: Final = re.compile(r"\b(client|request)\b")
"""Variables of conditions that only an exchange has."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A token to try."""

    token: Secret
    token_type: str
    """URN of RFC 8693 section 3."""
    nonce: str | None = None


@dataclass(slots=True)
class Trial:
    """The results of a trial."""

    provider: Provider
    answers: list[tuple[Answer, float | None]] = field(default_factory=list)
    """The answers to the fetches, each with the server's clock less ours, in seconds."""
    keys: tuple[VerificationKey, ...] = ()
    status: KeySetStatus | None = None
    problem: str = ""
    """The reason why there are no keys; "" if there are some."""
    again: bool = False
    """Whether a later trial may succeed, because the provider could not be reached."""
    steps: list[Step] = field(default_factory=list)
    """The checks of the token, up to the one that refused it."""
    verified: VerifiedToken | None = None

    @property
    def refused(self) -> bool:
        """Whether a check refused the token."""
        return any(step.outcome is Outcome.FAILED for step in self.steps)

    def serves(self, key: VerificationKey) -> bool:
        """Return whether tokens of the provider may be signed with ``key``."""
        return bool(key.algorithms & self.provider.algorithms)


def try_provider(
    settings: Settings, name: str, presented: Presented | None = None, clock: Clock | None = None
) -> Trial:
    """Fetch the keys of the provider ``name`` of ``settings``, and verify a token with them."""
    with without_log():
        return asyncio.run(_try(settings, name, presented, clock or SystemClock()))


async def _try(settings: Settings, name: str, presented: Presented | None, clock: Clock) -> Trial:
    trial = Trial(settings.providers[name])

    def observe(answer: Answer) -> None:
        trial.answers.append((answer, answer.clock_difference(clock.now())))

    sources = {each: provider.key_source for each, provider in settings.providers.items()}
    key_sets = KeySets(sources, fetch=HttpFetch(observe), clock=clock)
    trial.problem, trial.again = await fetched(key_sets, name)
    trial.keys, trial.status = key_sets.trusted(name), key_sets.status(name)
    if not trial.problem and not any(map(trial.serves, trial.keys)):
        accepted = ", ".join(sorted(trial.provider.algorithms))
        trial.problem = f"no key is for the provider's algorithms: {accepted}"
    if presented is not None:
        await _verify(trial, settings, key_sets, presented, clock.now())
    return trial


async def fetched(key_sets: KeySets, name: str) -> tuple[str, bool]:
    """Fetch the keys of a provider; return the reason if that failed, and whether a retry can help."""
    try:
        await key_sets.refresh(name)
    except (KeySetUnavailable, KeySetInvalid) as error:
        return key_sets.status(name).last_error or error.message, isinstance(error, KeySetUnavailable)
    return "", False


async def _verify(trial: Trial, settings: Settings, key_sets: KeySets, presented: Presented, now: float) -> None:
    own, most = issuer_of(settings.issuer, settings.listen.http), settings.limits.token_bytes
    other = _other_provider(trial, Selection(settings.providers.values(), own), presented.token, most)
    if other:
        trial.steps = [Step("assertion.form", Outcome.PASSED), Step("assertion.issuer", Outcome.FAILED, detail=other)]
        return
    started: list[str] = []
    verifier = Verifier(settings.providers, key_sets, own_issuer=own, max_token=most)
    try:
        trial.verified = await verifier.verify(
            presented.token, presented.token_type, nonce=presented.nonce, now=now, observe=started.append, fetch=False
        )
    except TokenmintError as error:
        failed = Step(started.pop(), Outcome.FAILED, error.reason, error.detail or error.message)
        trial.steps = [*(Step(step, Outcome.PASSED) for step in started), failed]
        return
    trial.steps = [Step(step, Outcome.PASSED) for step in started]
    if trial.provider.users is not None:
        trial.steps.append(Step("assertion.user", Outcome.SKIPPED, detail="Firebase is not asked about the user"))
    trial.steps.append(_condition(trial.provider, trial.verified, own))


def _other_provider(trial: Trial, selection: Selection, token: Secret, most: int) -> str:
    """Return the reason why the token is another provider's; "" if it is not."""
    try:
        chosen = selection.provider(parse_compact(token, most)).name
    except TokenmintError:
        return ""  # the verifier tells the reason at its step
    return "" if chosen == trial.provider.name else f"the token is judged by the rules of the provider {chosen}"


def _condition(provider: Provider, verified: VerifiedToken, own: str) -> Step:
    """Return the step of the provider's condition, which is a part of the policy in the service."""
    name, conditions, claims = "policy.provider", provider_conditions, provider_claims
    texts = [provider.condition or "", *(text for _, text in provider.claims)]
    if provider.condition is None:
        return Step(name, Outcome.SKIPPED, detail="the provider has no condition")
    if any(_OF_A_CALL.search(text) for text in texts):
        detail = "the condition depends on the client or the request: `tokenmint token explain` evaluates it"
        return Step(name, Outcome.SKIPPED, detail=detail)
    mine = {provider.name: provider}
    try:
        holds = Policy({}, own, conditions(mine), claims(mine)).admits_workload(verified, Client(""))
    except TokenmintError as error:
        return Step(name, Outcome.FAILED, error.reason, error.detail or error.message)
    if holds:
        return Step(name, Outcome.PASSED)
    return Step(name, Outcome.FAILED, ConditionDenied.reason, f"the condition does not hold: {provider.condition}")

"""The rules that a configuration makes, at the start and at a reload: exchange, authentication, rate limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenmint.admission.callers import AssertionRules, Callers, ClientAuthenticator
from tokenmint.admission.rate_limit import Rate, RateLimits
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.config.places import Place
from tokenmint.config.settings import Settings, provider_claims, provider_conditions
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.policy.grant import Policy
from tokenmint.process import bootstrap
from tokenmint.process.foundation import Foundation
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider
from tokenmint.verification.users import UserCheck
from tokenmint.verification.verifier import Verifier

WAITING_SHARE: Final = 4
"""One in this many calls may wait for providers' keys, another for clients' keys, and another for Firebase."""
EMULATED: Final = "https://securetoken.google.com/demo-"
"""Issuers of project ids that Firebase reserves for its emulators; no real project has such an id."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for calls. Each call uses one configuration from end to end."""

    exchange: TokenExchange
    authenticator: ClientAuthenticator
    files: tuple[RenewedFiles[Any], ...]
    """The files that the configuration reads, except for those of key sources."""
    places: Mapping[str, Place]
    """The places of the keys that the configuration sets."""


class RulesInForce:
    """The current rules, which a reload replaces as a whole. A call keeps the rules that it began with."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def exchange(self) -> TokenExchange:
        """The current exchange."""
        return self._rules.exchange

    @property
    def authenticator(self) -> ClientAuthenticator:
        """The current authentication of clients."""
        return self._rules.authenticator

    @property
    def files(self) -> tuple[RenewedFiles[Any], ...]:
        """The files of the current configuration."""
        return self._rules.files

    @property
    def places(self) -> Mapping[str, Place]:
        """The places of the keys that the current configuration sets."""
        return self._rules.places

    def replace(self, rules: Rules) -> None:
        """Use ``rules`` for the calls that begin from now on."""
        self._rules = rules


@dataclass(frozen=True, slots=True)
class Verifiers:
    """Makes verifiers for providers' tokens, and for the assertions of clients."""

    base: Foundation
    fetch: HttpFetch
    users: UserCheck

    def of(self, providers: Mapping[str, Provider], before: KeySets | None = None) -> Verifier:
        """Return the verifier of these providers, with the keys that ``before`` has loaded."""
        base = self.base
        key_sets = KeySets(
            {name: provider.key_source for name, provider in providers.items()},
            fetch=self.fetch,
            clock=base.clock,
            inherit=before,
            chance=self._chance,
            waiters=max(1, base.settings.limits.calls_in_flight // WAITING_SHARE),
        )
        emulated = frozenset(
            name
            for name, provider in providers.items()
            if provider.issuers and all(issuer.startswith(EMULATED) for issuer in provider.issuers)
        )
        # Both are required, so that neither a file nor the environment alone can enable the emulator.
        allowed = base.job.development and base.settings.firebase_emulator
        return Verifier(
            providers,
            key_sets,
            own_issuer=base.issuer,
            users=self.users,
            emulated=emulated if allowed else frozenset(),
            max_token=base.settings.limits.token_bytes,
        )

    def _chance(self) -> float:
        return int.from_bytes(self.base.entropy(4)) / 2**32


def files_of(settings: Settings) -> tuple[RenewedFiles[Any], ...]:
    """Return the files that providers, audiences and the proxy follow, except for those of key sources."""
    users = (provider.users for provider in settings.providers.values() if provider.users is not None)
    accounts = (project.account for project in users if project.account is not None)
    return (
        *accounts,
        *(file for audience in settings.audiences.values() for file in audience.format.files),
        *(settings.proxy.files() if settings.proxy is not None else ()),
    )


def policy_of(base: Foundation, settings: Settings) -> Policy:
    """Return the policy of a configuration."""
    providers = settings.providers
    return Policy(settings.audiences, base.issuer, provider_conditions(providers), provider_claims(providers))


def authenticator_of(
    verifiers: Verifiers, settings: Settings, exchange: TokenExchange, before: ClientAuthenticator | None = None
) -> ClientAuthenticator:
    """Return the authenticator of a configuration's clients, with the keys that ``before`` has loaded."""
    base = verifiers.base
    callers = Callers(settings.clients, bootstrap.operators(settings), allow_anonymous=base.job.development)
    assertions = verifiers.of(settings.assertions, before.assertions.key_sets if before is not None else None)
    admits = exchange.policy.admits_workload
    # The drafts are those of the start, as at the listeners: a change needs a restart.
    rules = AssertionRules(base.issuer, base.settings.oauth.drafts)
    return ClientAuthenticator(
        callers, assertions, exchange.verifier, exchange.replay, base.clock, admits=admits, rules=rules
    )


def rate_limits(settings: Settings) -> RateLimits:
    """Return the rate limits of a configuration."""
    each, together = settings.limits.each_client, settings.limits.all_clients
    return RateLimits(
        Rate(each.per_second, each.burst) if each is not None else None,
        Rate(together.per_second, together.burst) if together is not None else None,
    )

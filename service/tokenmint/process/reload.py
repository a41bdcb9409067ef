"""The reload: replaces providers, audiences, clients and operators while calls continue."""

import asyncio

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.tasks import end
from tokenmint.config.settings import Settings
from tokenmint.process.rules import Rules, authenticator_of, policy_of, rate_limits
from tokenmint.process.wiring import Parts


class Reloads:
    """Applies new configurations, one at a time, and keeps the keys of the current providers fresh."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._one_at_a_time = asyncio.Lock()
        self.following: list[asyncio.Task[None]] = []
        """The tasks that keep keys of providers and clients fresh."""

    def follow_keys(self) -> None:
        """Keep the keys of providers and clients fresh, in the background."""
        background, rules = self._parts.base.background, self._parts.rules
        self.following = [
            *rules.exchange.verifier.key_sets.follow(background, "keys of"),
            *rules.authenticator.assertions.key_sets.follow(background, "keys of client"),
        ]

    async def take_over(self, settings: Settings) -> None:
        """Replace providers, audiences, clients and operators; other changes need a restart.

        Raises:
            ConfigurationError: the new configuration can't be applied; the current one stays.
        """
        async with self._one_at_a_time:
            rules = rules_of(self._parts, settings)
            self._parts.rules.replace(rules)
            self._parts.limiter.limits = rate_limits(settings)
            self._parts.forwarded.proxy_hashes = settings.proxy_hashes
            await end(self.following)
            self.follow_keys()


def rules_of(parts: Parts, settings: Settings) -> Rules:
    """Return the rules of a new configuration, with the keys that are already loaded. Raises ``ConfigurationError``."""
    if settings.schedule.max_lifetime > parts.signing_keys.schedule.max_lifetime:
        raise ConfigurationError(
            "audiences: a max_lifetime is longer than all of those at the start of the service: published keys "
            "would be withdrawn before the tokens they signed expire; restart the service"
        )
    before = parts.rules
    policy = policy_of(parts.base, settings)
    verifier = parts.verifiers.of(settings.providers, before.exchange.verifier.key_sets)
    exchange = before.exchange.under(verifier, policy)
    return Rules(exchange, authenticator_of(parts.verifiers, settings, exchange, before.authenticator))

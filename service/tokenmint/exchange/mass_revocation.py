"""Use case for the revocation of many tokens at once: by principal, client, audience or provider.

A revocation counts up to a second, by the store's clock. The store's records decide for tokens that come back; the log
tells verifiers, and tells every replica of providers whose own tokens are refused.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import NotFound, RevocationsFull
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.issued.store import IssuedStore
from tokenmint.model.policy import Audience
from tokenmint.profiles.refusals import Elsewhere
from tokenmint.profiles.resolve import is_just_in_time
from tokenmint.profiles.store import ProfileStore
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.revocation.entries import Kind, Revocation
from tokenmint.revocation.log import RevocationLog

PROVIDERS_TOKENS: Final = 366 * 86400
"""Seconds for which a provider's own tokens stay refused. Few platforms issue tokens that live for a year."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The names in the configuration in force."""

    audiences: Mapping[str, Audience]
    clients: frozenset[str]
    providers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The extent of a revocation."""

    valid_after: int
    """The second in or before which nothing issued is accepted."""
    audiences: tuple[str, ...] = ()
    """The audiences of which every token was revoked."""


@dataclass(frozen=True, slots=True)
class MassRevocation:
    """Revokes many tokens at once. What is returned is confirmed as durable.

    Every method raises ``StoreUnavailable``, ``OutcomeUnknown`` (a retry is safe), ``ClockWrong`` if the second
    can't be known, and ``RevocationsFull`` if it was done, but verifiers can't be told.
    """

    profiles: ProfileStore
    issued: IssuedStore
    log: RevocationLog
    """Tells verifiers."""
    store_time: Callable[[], Awaitable[float]]
    """Returns the store's clock, Unix seconds."""
    configured: Callable[[], Configured]
    """Returns the configuration in force."""
    unregistered: UnregisteredPrincipals
    """Refuses the tokens of principals without a profile."""

    async def principal(self, principal: str) -> Revoked:
        """Revoke every token of a principal, with or without a profile: ours, and those of its providers."""
        try:
            return Revoked(await self.profiles.revoke_tokens(principal))
        except NotFound:
            pass
        except Elsewhere:  # the log reaches its home, and every other region
            return await self._revoke([(Kind.PRINCIPAL, principal)])
        if is_just_in_time(principal) and not await self.unregistered.refuse(principal, int(await self.store_time())):
            with contextlib.suppress(NotFound):  # it was deleted, or else it got a profile meanwhile
                return Revoked(await self.profiles.revoke_tokens(principal))
        return await self._revoke([(Kind.PRINCIPAL, principal)])

    async def client(self, client_id: str, *, with_derived: bool = False, removed: bool = False) -> Revoked:
        """Revoke the tokens that a client got. Raises ``NotFound``, unless it may be ``removed``.

        ``with_derived``: also every token for an audience that accepts the client's tokens in exchange.
        """
        configured = self.configured()
        if client_id not in configured.clients and not removed:
            raise _not_configured("client", client_id)
        audiences = configured.audiences
        own = {name for name, audience in audiences.items() if client_id in audience.clients}
        derived = derived_from(audiences, own) - own if with_derived else set()
        return await self._revoke([(Kind.CLIENT, client_id)], derived)

    async def audience(self, audience: str, *, with_derived: bool = False, removed: bool = False) -> Revoked:
        """Revoke the tokens for an audience. Raises ``NotFound``, unless it may be ``removed``.

        ``with_derived``: also every token for an audience that accepts its tokens in exchange.
        """
        audiences = self.configured().audiences
        if audience not in audiences and not removed:
            raise _not_configured("audience", audience)
        return await self._revoke([], derived_from(audiences, {audience}) if with_derived else {audience})

    async def provider(self, provider: str) -> Revoked:
        """Revoke a provider's own tokens, and every token for an audience where they may have led to. Raises
        ``NotFound``.
        """
        configured = self.configured()
        if provider not in configured.providers:
            raise NotFound("provider", provider)
        first = {name for name, one in configured.audiences.items() if _accepts(one, provider)}
        return await self._revoke([(Kind.PROVIDER, provider)], derived_from(configured.audiences, first))

    async def _revoke(self, named: list[tuple[Kind, str]], audiences: Iterable[str] = ()) -> Revoked:
        after = int(await self.store_time())
        whole = sorted(audiences)
        named = [*named, *((Kind.AUDIENCE, name) for name in whole)]
        told = await self.log.append(*(self._entry(kind, name, after) for kind, name in named), confirmed=True)
        for kind, name in named:
            if kind is not Kind.PROVIDER:
                await self.issued.revoke_all(kind, name, after)
        if not told:
            raise RevocationsFull()
        return Revoked(after, tuple(whole))

    def _entry(self, kind: Kind, name: str, after: int) -> Revocation:
        if kind is Kind.PROVIDER:
            return Revocation(kind, name, after, after + PROVIDERS_TOKENS)
        return self.log.of(kind, name, after)


def _not_configured(kind: str, name: str) -> NotFound:
    text = (
        f"{kind} {quoted(name, LONG)}: it is not configured: check the name; `removed` accepts one that was taken out"
    )
    return NotFound(kind, name, text)


def derived_from(audiences: Mapping[str, Audience], first: Iterable[str]) -> set[str]:
    """Return these audiences, and all whose tokens may descend from theirs, over any number of exchanges."""
    found = set(first)
    while True:
        further = {
            name
            for name, audience in audiences.items()
            if name not in found
            and (
                audience.reexchange_from & found or (audience.actors is not None and audience.actors.audiences & found)
            )
        }
        if not further:
            return found
        found |= further


def _accepts(audience: Audience, provider: str) -> bool:
    return provider in audience.providers or (audience.actors is not None and provider in audience.actors.providers)

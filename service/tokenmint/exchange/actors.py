"""The actors that a token names: each of them has to be in force, not only the current one."""

from collections.abc import Callable, Sequence

from tokenmint.model.issued import ActorName
from tokenmint.model.profile import Identity
from tokenmint.profiles.resolve import ProfileLookup, Profiles

ProviderOf = Callable[[str], str | None]
"""Returns the provider of an issuer whose `sub` names identities; None if there is none, or more than one."""


async def check_actors(
    profiles: Profiles, actors: Sequence[ActorName], issued_at: float | None, provider_of: ProviderOf
) -> ProfileLookup | None:
    """Look up every actor of a token with this time of issue. Return the current one's profile, if it is known.

    An actor of another issuer is known if its identity is linked to a profile.

    Raises:
        PrincipalDisabled: an actor is disabled or deleted, or its identity was unlinked.
        TokenRevoked: the token was issued in or before the second up to which an actor's tokens are revoked.
    """
    found: list[ProfileLookup | None] = []
    for actor in actors:
        if not actor.issuer:
            found.append(await profiles.find_principal(actor.subject, issued_at or 0.0))
            continue
        provider = provider_of(actor.issuer)
        identity = Identity(provider, actor.subject) if provider is not None else None
        found.append(await profiles.find_identity(identity, issued_at) if identity is not None else None)
    return found[0] if found else None

"""The actors that a token names: each of them has to be in force, not only the current one."""

from collections.abc import Callable, Sequence

from tokenmint.base.errors import ActorDenied
from tokenmint.model.issued import ActorName
from tokenmint.model.profile import Identity
from tokenmint.profiles.resolve import ProfileLookup, Profiles

ProvidersOf = Callable[[str], Sequence[str | None]]
"""Returns the providers of an issuer; None for one whose identities have other names than `sub`."""


def check_current(actors: Sequence[ActorName], issuer: str, providers_of: ProvidersOf) -> None:
    """Check that the current actor of a provider's token is one of this provider, or of no provider.

    A provider vouches for its own actors. Otherwise it could claim the rights that policy gives to another's.

    Raises ``ActorDenied``.
    """
    if actors and actors[0].issuer != issuer and providers_of(actors[0].issuer):
        raise ActorDenied(
            "the subject token's act names an actor of another provider, which only that provider's tokens can do"
        )


async def check_actors(
    profiles: Profiles, actors: Sequence[ActorName], issued_at: float | None, providers_of: ProvidersOf
) -> ProfileLookup | None:
    """Look up every actor of a token with this time of issue. Return the current one's profile, if it is known.

    An actor of another issuer is known if its identity is linked to a profile. If several providers have the issuer,
    nothing tells which of them named the actor: its end at any of them counts, and it has no profile.

    Raises:
        PrincipalDisabled: an actor is disabled or deleted, or its identity was unlinked.
        TokenRevoked: the token was issued in or before the second up to which an actor's tokens are revoked.
    """
    found: list[ProfileLookup | None] = []
    for actor in actors:
        if not actor.issuer:
            found.append(await profiles.find_principal(actor.subject, issued_at or 0.0))
            continue
        providers = providers_of(actor.issuer)
        known = [
            await profiles.find_identity(Identity(name, actor.subject), issued_at)
            for name in providers
            if name is not None
        ]
        found.append(known[0] if known and len(providers) == 1 else None)
    return found[0] if found else None

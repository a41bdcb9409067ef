"""From a verified identity to the profile that enriches its token."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import AlreadyExists, Conflict, PrincipalDisabled, PrincipalUnknown, WrongState
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.tokens import VerifiedToken
from tokenmint.profiles.records import Link, Record, Tombstone, Unregistered, identity_key
from tokenmint.profiles.store import ProfileStore

ROUNDS: Final = 3  # lookups while another replica creates the same profile
_JUST_IN_TIME: Final = re.compile(r"p_[a-z2-7]{52}")


@dataclass(frozen=True, slots=True)
class ProfileLookup:
    """The result of a successful lookup: a profile, or none."""

    identity: Identity | None
    """None for an issued token, which names the principal."""
    profile: Profile | None
    principal: str = ""
    """The principal that an issued token names."""


class Profiles:
    """Finds profiles, and creates them just in time if an audience requires it.

    Args:
        store: the profiles.
        valid_after: returns the second up to which the tokens of a principal without a profile are revoked, or None.
        spread: the same for any principal, by the revocations of all regions; None: there is one region.
    """

    def __init__(
        self,
        store: ProfileStore,
        valid_after: Callable[[str], int | None] = lambda _: None,
        spread: Callable[[str], int | None] | None = None,
    ) -> None:
        self._store = store
        self._valid_after = valid_after
        self.spread = spread

    async def find(self, verified: VerifiedToken) -> ProfileLookup:
        """Look up the identity of ``verified``.

        Raises:
            PrincipalDisabled: its principal is disabled or deleted, or the identity was unlinked.
            TokenRevoked: the token was issued in or before the second up to which the principal's tokens are revoked.
        """
        return await self.find_identity(Identity(verified.provider, verified.subject), verified.issued_at)

    async def find_identity(self, identity: Identity, issued_at: float | None) -> ProfileLookup:
        """Look up an identity that a token with this time of issue names. Raises as :meth:`find`."""
        record = await self._store.resolve(identity)
        if record is None:
            record = await self._unlisted(identity)
        profile = _active(record)
        after = self._refused_up_to(record, profile, just_in_time_principal(identity))
        if _issued_before_revocation(issued_at, after):
            raise TokenRevoked()
        return ProfileLookup(identity, profile)

    async def find_principal(self, principal: str, issued_at: float) -> ProfileLookup:
        """Look up a principal that an issued token with this time of issue names: its own, or an actor.

        Raises:
            PrincipalDisabled: the principal is disabled or deleted.
            TokenRevoked: the token was issued in or before the second up to which the principal's tokens are revoked.
        """
        record = await self._store.record(principal)
        profile = _active(record)
        if _issued_before_revocation(issued_at, self._refused_up_to(record, profile, principal)):
            raise TokenRevoked()
        return ProfileLookup(None, profile, principal)

    def _refused_up_to(self, record: Record | Link | None, profile: Profile | None, unlisted: str) -> int | None:
        """Return the second up to which tokens are refused, by the record and by the revocations of all regions.

        ``unlisted``: the principal's name if it has no profile.
        """
        if profile is None:
            return _later(_recorded(record), self._valid_after(unlisted))
        elsewhere = self.spread(profile.principal) if self.spread is not None else None
        return _later(_recorded(record), elsewhere)

    async def apply_missing_profile_policy(
        self, lookup: ProfileLookup, mode: OnMissingProfile, *, now: float
    ) -> Profile:
        """Return the profile to mint from, by the audience's rule for identities without a profile.

        Raises:
            PrincipalUnknown: there is no profile and the rule is to deny.
            PrincipalDisabled: the principal was deleted or disabled meanwhile.
        """
        if lookup.profile is not None:
            return lookup.profile
        if mode is OnMissingProfile.DENY:
            one = lookup.identity
            raise PrincipalUnknown(
                detail=f"provider {one.provider!r}, subject {quoted(one.subject, LONG)}" if one else ""
            )
        if lookup.identity is None:
            if mode is OnMissingProfile.CREATE:
                raise PrincipalUnknown(detail="an issued token names no identity, so no profile can be created")
            return Profile(principal=lookup.principal)
        principal = just_in_time_principal(lookup.identity)
        new = Profile(
            principal=principal,
            identities=(lookup.identity,),
            tokens_valid_after=self._valid_after(principal),
            create_time=now,
            update_time=now,
        )
        return new if mode is OnMissingProfile.WITHOUT else await self._create(new)

    async def _create(self, new: Profile) -> Profile:
        for _ in range(ROUNDS):
            try:
                return await self._store.create(new, just_in_time=True)
            except (AlreadyExists, Conflict):  # another replica, or an operator, was faster
                profile = _active(await self._store.resolve(new.identities[0]))
                if profile is not None:
                    return profile
            except WrongState:
                raise PrincipalDisabled(detail="its principal was deleted") from None
        raise Conflict()

    async def _unlisted(self, identity: Identity) -> Record | None:
        """Look up the principal that just-in-time creation would use, so that its tombstone is always found."""
        record = await self._store.record(just_in_time_principal(identity))
        if isinstance(record, Profile) and not record.disabled and identity not in record.identities:
            return None
        return record


def just_in_time_principal(identity: Identity) -> str:
    """Return the principal of an unregistered identity: always the same, and unique to the identity."""
    digest = bytes.fromhex(identity_key(identity).partition(":")[2])
    return "p_" + base64.b32encode(hashlib.sha256(digest).digest()).decode().rstrip("=").lower()


def is_just_in_time(principal: str) -> bool:
    """Return whether a principal may be that of an unregistered identity."""
    return _JUST_IN_TIME.fullmatch(principal) is not None


def _issued_before_revocation(issued_at: float | None, valid_after: int | None) -> bool:
    if valid_after is None:
        return False
    return issued_at is None or int(issued_at) <= valid_after


def _later(one: int | None, other: int | None) -> int | None:
    return max((second for second in (one, other) if second is not None), default=None)


def _recorded(record: Record | Link | None) -> int | None:
    return record.tokens_valid_after if isinstance(record, Profile | Unregistered) else None


def _active(record: Record | Link | None) -> Profile | None:
    if isinstance(record, Tombstone):
        raise PrincipalDisabled(detail="its principal was deleted")
    if isinstance(record, Link):
        raise PrincipalDisabled(detail="the identity was unlinked")
    if isinstance(record, Profile) and record.disabled:
        raise PrincipalDisabled(detail="its principal is disabled")
    return record if isinstance(record, Profile) else None

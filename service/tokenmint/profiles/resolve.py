"""From a proved identity to the profile that a token is enriched from."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import AlreadyExists, Conflict, PrincipalDisabled, PrincipalUnknown, TokenRevoked, WrongState
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.tokens import VerifiedToken
from tokenmint.profiles.records import Link, Tombstone, identity_key
from tokenmint.profiles.store import ProfileStore

ROUNDS: Final = 3  # of looking again when another replica creates the same profile at the same time


@dataclass(frozen=True, slots=True)
class ProfileLookup:
    """What was found for an identity that may be served: a profile, or that there is none."""

    identity: Identity | None
    """None: it is a token of ours, which names the principal."""
    profile: Profile | None
    principal: str = ""
    """The principal that a token of ours names."""


class Profiles:
    """Finds profiles, and creates them just in time where an audience asks for it."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store

    async def find(self, verified: VerifiedToken) -> ProfileLookup:
        """Look up the identity that ``assertion`` proves.

        Raises:
            PrincipalDisabled: its principal is disabled or deleted, or the identity was unlinked.
            TokenRevoked: the assertion was issued in or before the second up to which tokens were revoked.
        """
        identity = Identity(verified.provider, verified.subject)
        found = await self._store.resolve(identity)
        if found is None:
            found = await self._unlisted(identity)
        profile = _served(found)
        if profile is not None and _issued_before_revocation(verified, profile.tokens_valid_after):
            raise TokenRevoked()
        return ProfileLookup(identity, profile)

    async def find_principal(self, principal: str, issued_at: float) -> ProfileLookup:
        """Look up the principal of a token of ours that was issued at ``issued_at``.

        Raises:
            PrincipalDisabled: it is disabled or deleted.
            TokenRevoked: the token was issued in or before the second up to which the principal's were revoked.
        """
        profile = _served(await self._store.record(principal))
        valid_after = profile.tokens_valid_after if profile is not None else None
        if valid_after is not None and int(issued_at) <= valid_after:
            raise TokenRevoked()
        return ProfileLookup(None, profile, principal)

    async def apply_missing_profile_policy(
        self, lookup: ProfileLookup, mode: OnMissingProfile, *, now: float
    ) -> Profile:
        """Return the profile to mint from, by the audience's rule for identities without one.

        Raises:
            PrincipalUnknown: there is none and the rule is to deny.
            PrincipalDisabled: it was deleted or disabled meanwhile.
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
                raise PrincipalUnknown(detail="a token of ours names no identity that a profile could be created for")
            return Profile(principal=lookup.principal)
        new = Profile(
            principal=just_in_time_principal(lookup.identity),
            identities=(lookup.identity,),
            create_time=now,
            update_time=now,
        )
        return new if mode is OnMissingProfile.WITHOUT else await self._create(new)

    async def _create(self, new: Profile) -> Profile:
        for _ in range(ROUNDS):
            try:
                return await self._store.create(new)
            except (AlreadyExists, Conflict):  # another replica, or an operator, was faster
                found = _served(await self._store.resolve(new.identities[0]))
                if found is not None:
                    return found
            except WrongState:
                raise PrincipalDisabled(detail="its principal was deleted") from None
        raise Conflict()

    async def _unlisted(self, identity: Identity) -> Tombstone | Profile | None:
        """Look under the principal that just-in-time creation would use, so that a tombstone is met in any case."""
        record = await self._store.record(just_in_time_principal(identity))
        if isinstance(record, Tombstone) or (record is not None and (record.disabled or identity in record.identities)):
            return record
        return None


def just_in_time_principal(identity: Identity) -> str:
    """Return the principal of an identity that nobody registered: the same every time, and for nobody else."""
    digest = bytes.fromhex(identity_key(identity).partition(":")[2])
    return "p_" + base64.b32encode(hashlib.sha256(digest).digest()).decode().rstrip("=").lower()


def _issued_before_revocation(verified: VerifiedToken, valid_after: int | None) -> bool:
    if valid_after is None:
        return False
    return verified.issued_at is None or int(verified.issued_at) <= valid_after


def _served(record: Profile | Tombstone | Link | None) -> Profile | None:
    if isinstance(record, Tombstone):
        raise PrincipalDisabled(detail="its principal was deleted")
    if isinstance(record, Link):
        raise PrincipalDisabled(detail="the identity was unlinked")
    if record is not None and record.disabled:
        raise PrincipalDisabled(detail="its principal is disabled")
    return record

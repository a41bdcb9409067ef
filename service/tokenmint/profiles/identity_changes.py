"""Changes that a provider's signal makes: they are about an identity, with or without a profile.

An audience may serve identities without a profile (`on_missing_profile`). No change here gives such an identity a
profile that is served: an audience that denies missing profiles still denies it.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from tokenmint.base.clock import Clock
from tokenmint.base.errors import AlreadyExists, Conflict, NotFound, RevocationsFull, WrongState
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.signals import Action
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import (
    Link,
    Record,
    Tombstone,
    dump_link,
    identity_key,
    parse_link,
)
from tokenmint.profiles.refusals import Elsewhere
from tokenmint.profiles.resolve import just_in_time_principal
from tokenmint.profiles.store import ATTEMPTS, ProfileStore
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.storage.redis import Store

ROUNDS: Final = 5  # attempts while others change the same profile
DISABLED: Final = "disabled"
REVOKED: Final = "revoked"
UNLINKED: Final = "unlinked"
REFUSED_BEFORE: Final = "refused_before"
"""The identity was unlinked, or its principal deleted: it is refused already."""
ELSEWHERE: Final = "elsewhere"
"""The principal's profile is of another region: its tokens were revoked in all, and nothing else was changed."""
UNKNOWN_SUBJECT: Final = "unknown_subject"
"""Nobody has this identity."""


class Changed(NamedTuple):
    """The principal of a change, "" if there is none, and the outcome."""

    principal: str
    outcome: str


class IdentityChanges:
    """Disables, revokes and unlinks by identity. Each change is confirmed as durable.

    Args:
        profiles: the profiles.
        store: the store that they are in.
        near: its near cache.
        clock: the time of changes.
        revoke: revokes every token of a principal, with or without a profile, and tells verifiers.
    """

    def __init__(
        self,
        profiles: ProfileStore,
        store: Store,
        near: NearCache,
        clock: Clock,
        revoke: Callable[[str], Awaitable[object]],
    ) -> None:
        self._profiles = profiles
        self._store = store
        self._near = near
        self._unregistered = UnregisteredPrincipals(store, near, clock)
        self._revoke_all = revoke

    async def make(self, identity: Identity, action: Action, *, unregistered: bool) -> Changed:
        """Apply an action, which is not IGNORE. Each of them refuses every token issued before.

        Args:
            identity: the identity.
            action: the action.
            unregistered: whether an identity without a profile may be served, and so has to be refused too.

        Raises:
            StoreUnavailable: nothing, or a part, was changed; a repetition completes it.
            Conflict: others change the same profile all the time.
            RevocationsFull: all was changed, but verifiers can't be told; a repetition tells them.
        """
        for _ in range(ROUNDS):
            found = await self._owner(identity)
            if isinstance(found, Link | Tombstone):
                return Changed(found.principal, REFUSED_BEFORE)
            try:
                if isinstance(found, Profile):
                    return Changed(found.principal, await self._of_profile(found.principal, identity, action))
                if not unregistered:
                    return Changed("", UNKNOWN_SUBJECT)
                if await self._of_unregistered(identity, action):
                    return Changed(just_in_time_principal(identity), _OUTCOMES[action])
            except (NotFound, AlreadyExists):
                continue  # its profile was deleted or created meanwhile
        raise Conflict()

    async def _owner(self, identity: Identity) -> Record | Link | None:
        """Return the record that decides on the identity, as ``ProfileStore.resolve``, from the store itself."""
        link = parse_link(identity, await self._store.get(identity_key(identity)))
        if link is not None and link.unlinked:
            return link
        record = await self._profiles.stored(link.principal) if link is not None else None
        if record is None or identity not in record.identities:
            record = await self._profiles.stored(just_in_time_principal(identity))
        if isinstance(record, Profile) and identity not in record.identities:
            return None
        return record

    async def _of_profile(self, principal: str, identity: Identity, action: Action) -> str:
        full: RevocationsFull | None = None
        try:
            self._profiles.require_own(principal, await self._profiles.stored(principal))
        except Elsewhere:
            await self._revoke_all(principal)
            return ELSEWHERE
        if action is Action.DISABLE:
            full = await _unless_full(self._profiles.update(principal, disabled=True))
        elif action is Action.UNLINK:
            # First: a repetition finds the identity unlinked, and nothing tells whose tokens are to end.
            await _unless_full(self._revoke_all(principal))
            await self._profiles.unlink(principal, identity)
        full = await _unless_full(self._revoke_all(principal)) or full
        if full is not None:
            raise full
        return _OUTCOMES[action]

    async def _of_unregistered(self, identity: Identity, action: Action) -> bool:
        # The record counts for as long as a provider's token may live; verifiers are told for as long as ours do.
        if not await self._unregistered.refuse(just_in_time_principal(identity), await self._profiles.second()):
            return False
        full = await _unless_full(self._revoke_all(just_in_time_principal(identity)))
        if action is Action.DISABLE:
            new = Profile(just_in_time_principal(identity), identities=(identity,), disabled=True)
            with contextlib.suppress(WrongState):  # it was erased, and so is refused already
                await self._profiles.create(new)
        elif action is Action.UNLINK and not await self._unlink(identity):
            return False
        if full is not None:
            raise full
        return True

    async def _unlink(self, identity: Identity) -> bool:
        """Refuse an identity without a profile from now on; return False if it got one meanwhile."""
        key, principal = identity_key(identity), just_in_time_principal(identity)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            if link is not None and link.unlinked:
                return await self._store.confirm(key)
            owner = await self._profiles.stored(link.principal) if link is not None else None
            if owner is not None and identity in owner.identities:
                return False
            try:
                if await self._store.swap(key, raw, dump_link(identity, Link(principal, unlinked=True))):
                    return True
            finally:
                self._near.forget(key)
        raise Conflict()


async def _unless_full(change: Awaitable[object]) -> RevocationsFull | None:
    """Make a change; return the error if verifiers can't be told of it, so that the changes after it are made, too."""
    try:
        await change
    except RevocationsFull as full:
        return full
    return None


_OUTCOMES: Final = {Action.DISABLE: DISABLED, Action.REVOKE: REVOKED, Action.UNLINK: UNLINKED}

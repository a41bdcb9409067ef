"""The refusals of changes to profiles."""

from typing import Final

from tokenmint.base.errors import AlreadyExists, Conflict, WrongState
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.limits import MAX_IDENTITIES, MAX_IDENTITIES_BYTES

DELETED: Final = "PROFILE_DELETED"


class Elsewhere(WrongState):
    """The record is a copy of another region's."""


def owned(identity: Identity, principal: str) -> AlreadyExists:
    """Return the refusal of an identity that belongs to another principal."""
    name = f"{identity.provider}/{identity.subject}"
    return AlreadyExists(
        "identity", name, f"the identity belongs to the principal {principal!r}: unlink it there first"
    )


def too_many_identities(principal: str) -> WrongState:
    """Return the refusal of one more identity than a profile may have."""
    return WrongState(
        f"a profile has at most {MAX_IDENTITIES} identities, of {MAX_IDENTITIES_BYTES} bytes as JSON: unlink one first",
        violation="TOO_MANY_IDENTITIES",
        subject=principal,
    )


def deleted(principal: str) -> WrongState:
    """Return the refusal of a principal that was deleted."""
    return WrongState(
        f"the principal {principal!r} was deleted: create it with replace_deleted to use it again",
        violation=DELETED,
        subject=principal,
    )


def erased(identity: Identity) -> WrongState:
    """Return the refusal of an identity that was erased with its person."""
    name = f"{identity.provider}/{identity.subject}"
    return WrongState(
        f"the identity {name!r} was erased with its person: create a profile with it and replace_deleted to let the "
        "person back",
        violation=DELETED,
        subject=name,
    )


def check_etag(profile: Profile, etag: str) -> None:
    """Raise ``Conflict`` if ``etag`` is given, and is not the profile's."""
    if etag and etag != profile.etag:
        raise Conflict()


def elsewhere(name: str, home: str) -> Elsewhere:
    """Return the refusal of a change to the copy of another region's record."""
    return Elsewhere(
        f"{name!r} is a profile of the region {home!r}, and a read-only copy here: change it in that region",
        violation="PROFILE_OF_ANOTHER_REGION",
        subject=name,
    )

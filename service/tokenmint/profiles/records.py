"""The stored form of profiles: keys and values."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson

from tokenmint.base.errors import CorruptRecord
from tokenmint.model.profile import Identity, Profile

VERSION: Final = 1
REMEMBERED: Final = 512  # parsed records that are cached by their bytes
LONGEST: Final = 4096  # bytes of one
PREFIXES: Final = ("profile:", "identity:", "erased:")
"""The prefixes of the keys."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The remainder of a deleted profile."""

    principal: str
    identities: tuple[Identity, ...]
    delete_time: float
    home: str = ""
    """As of a profile."""


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A principal without a profile whose tokens were revoked. It is stored like a profile, for earlier versions."""

    principal: str
    tokens_valid_after: int
    """Tokens issued in or before this second are refused."""

    @property
    def identities(self) -> tuple[Identity, ...]:
        """None: it is no profile of an identity."""
        return ()

    @property
    def home(self) -> str:
        """None: each region has its own."""
        return ""


Record: TypeAlias = Profile | Tombstone | Unregistered


@dataclass(frozen=True, slots=True)
class Link:
    """The index entry of an identity: its principal, or the marker that it was unlinked."""

    principal: str
    unlinked: bool = False
    home: str = ""
    """As of a profile."""


def identity_key(identity: Identity) -> str:
    """Return the index key of an identity. Lengths come first, so that no separator can be forged."""
    provider, subject = identity.provider.encode(), identity.subject.encode()
    encoded = len(provider).to_bytes(4) + provider + len(subject).to_bytes(4) + subject
    return "identity:" + hashlib.sha256(encoded).hexdigest()


def profile_key(principal: str) -> str:
    """Return the key of a profile, or of the tombstone in its place."""
    return f"profile:{principal}"


def etag_of(raw: bytes) -> str:
    """Return the id of this version of a profile."""
    return hashlib.sha256(raw).hexdigest()[:32]


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps({"v": VERSION, **value}, ensure_ascii=False, separators=(",", ":")).encode()


def dump_profile(profile: Profile) -> bytes:
    """Return the stored form of a profile."""
    return _dump(
        {
            "principal": profile.principal,
            "identities": [[identity.provider, identity.subject] for identity in profile.identities],
            "disabled": profile.disabled,
            "claims": dict(profile.claims),
            "roles": list(profile.roles),
            "tokens_valid_after": profile.tokens_valid_after,
            "create_time": profile.create_time,
            "update_time": profile.update_time,
            **_home(profile.home),
        }
    )


def dump_unregistered(record: Unregistered, now: float) -> bytes:
    """Return the stored form of a principal without a profile."""
    profile = Profile(record.principal, tokens_valid_after=record.tokens_valid_after, create_time=now, update_time=now)
    return dump_profile(profile)[:-1] + b',"registered":false}'


def dump_tombstone(tombstone: Tombstone) -> bytes:
    """Return the stored form of a tombstone."""
    return _dump(
        {
            "principal": tombstone.principal,
            "identities": [[identity.provider, identity.subject] for identity in tombstone.identities],
            "delete_time": tombstone.delete_time,
            **_home(tombstone.home),
        }
    )


def dump_link(identity: Identity, link: Link) -> bytes:
    """Return the stored form of an index entry."""
    return _dump(
        {
            "identity": [identity.provider, identity.subject],
            "principal": link.principal,
            "unlinked": link.unlinked,
            **_home(link.home),
        }
    )


def _home(home: str) -> dict[str, str]:
    return {"home": home} if home else {}


def time_of(record: Record | None) -> float:
    """Return the time of a record's last change, by which its versions are compared; 0: it has none."""
    if isinstance(record, Profile):
        return record.update_time
    return record.delete_time if isinstance(record, Tombstone) else 0.0


def time_after(now: float, record: Record | None) -> float:
    """Return the time of a change of a record: now, and later than its last one by any clock."""
    return max(now, math.nextafter(time_of(record), math.inf))


def parse_record(principal: str, raw: bytes) -> Record:
    """Parse the record of ``principal``. Raises ``CorruptRecord``."""
    return _remembered_record(principal, raw) if len(raw) <= LONGEST else _record(principal, raw)


def _record(principal: str, raw: bytes) -> Record:
    key = profile_key(principal)
    value = _load(key, raw)
    if value.get("principal") != principal:
        raise CorruptRecord(detail=f"{key}: it is the record of another principal")
    try:
        identities = tuple(Identity(_text(provider), _text(subject)) for provider, subject in value["identities"])
        if "delete_time" in value:
            return Tombstone(principal, identities, float(value["delete_time"]), _text(value.get("home", "")))
        valid_after = value["tokens_valid_after"]
        if value.get("registered", True) is False:
            return Unregistered(principal, int(valid_after))
        if not isinstance(value["disabled"], bool) or not isinstance(value["claims"], dict):
            raise TypeError
        return Profile(
            principal=principal,
            identities=identities,
            disabled=value["disabled"],
            claims=MappingProxyType(value["claims"]),
            roles=tuple(_text(role) for role in value["roles"]),
            tokens_valid_after=None if valid_after is None else int(valid_after),
            create_time=float(value["create_time"]),
            update_time=float(value["update_time"]),
            etag=etag_of(raw),
            home=_text(value.get("home", "")),
        )
    except (KeyError, TypeError, ValueError):
        raise CorruptRecord(detail=f"{key}: not a profile of version {VERSION}") from None


_remembered_record = lru_cache(maxsize=REMEMBERED)(_record)


def parse_link(identity: Identity, raw: bytes | None) -> Link | None:
    """Parse the index entry of ``identity``. Raises ``CorruptRecord``."""
    if raw is None:
        return None
    return _remembered_link(identity, raw) if len(raw) <= LONGEST else _link(identity, raw)


def _link(identity: Identity, raw: bytes) -> Link:
    key = identity_key(identity)
    value = _load(key, raw)
    if value.get("identity") != [identity.provider, identity.subject]:
        raise CorruptRecord(detail=f"{key}: it is the record of another identity")
    principal, unlinked, home = value.get("principal"), value.get("unlinked"), value.get("home", "")
    if not isinstance(principal, str) or not isinstance(unlinked, bool) or not isinstance(home, str):
        raise CorruptRecord(detail=f"{key}: not an identity's record of version {VERSION}")
    return Link(principal, unlinked, home)


def parse_identity(key: str, raw: bytes) -> Identity:
    """Return the identity of an index entry. Raises ``CorruptRecord``."""
    try:
        provider, subject = _load(key, raw)["identity"]
        return Identity(_text(provider), _text(subject))
    except (KeyError, TypeError, ValueError):
        raise CorruptRecord(detail=f"{key}: not an identity's record of version {VERSION}") from None


_remembered_link = lru_cache(maxsize=REMEMBERED)(_link)


def _load(key: str, raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except ValueError:
        raise CorruptRecord(detail=f"{key}: not JSON") from None
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise CorruptRecord(detail=f"{key}: not a record of version {VERSION}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value

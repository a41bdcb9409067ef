"""The document of a region: what it tells one other region, signed. Reading one trusts nothing but the signature.

It has the region's published keys, its revoked keys, the regions that were given up, and a page of its log of
revocations. `iat` is the time at which the region's store confirmed the keys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tokenmint.base.foreign_text import quoted
from tokenmint.keys.signers.local import key_id_of, public_jwk
from tokenmint.keys.types import RegionKey
from tokenmint.model.tokens import JsonValue
from tokenmint.regions.identity import DOCUMENT, Identity, RegionRefused, proved
from tokenmint.storage import streams
from tokenmint.verification.jwk import BadKey, VerificationKey, read_jwk, weakness

MOST_BYTES: Final = 512 * 1024  # of a document; the fetch function takes no more
MOST_KEYS: Final = 64
MOST_RSA_BITS: Final = 3072  # our signers make 2048; to look for a weakness of 8192 takes a second
MOST_REVOKED: Final = 200
MOST_GIVEN_UP: Final = 64
MOST_STATEMENT: Final = 4096  # bytes of a statement
PAGE: Final = 1000  # revocations of a document
PAGE_BYTES: Final = 48 * 1024  # a character may take six bytes in JSON, and each three bytes take four in base64
_MOST_NUMBER: Final = 2**53
_LONGEST_RING_ID: Final = 64
_SIGNING: Final = frozenset({"ES256", "RS256", "EdDSA"})


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """Entries of a region's log of revocations."""

    epoch: int
    """The number of losses of the region's store: places of another epoch mean nothing."""
    entries: tuple[str, ...]
    following: str
    """The place after which the next page begins."""
    more: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was proved to be a region's own."""

    region: str
    ring_id: str
    generation: int
    as_of: float
    """The time at which the region's store confirmed the keys, by the region's clock, Unix seconds."""
    max_lifetime: float
    """The longest lifetime of the region's tokens."""
    keys: tuple[RegionKey, ...]
    revoked: Mapping[str, float]
    """Revoked keys by id, each with the time of its revocation."""
    given_up: tuple[str, ...]
    """Statements of the authority, not proved yet."""
    page: RevocationPage


def write(identity: Identity, issuer: str, document: Document, to: str) -> str:
    """Return the document for the region ``to``, signed."""
    page = document.page
    return identity.sign(
        DOCUMENT,
        {
            "iss": issuer,
            "aud": to,
            "region": document.region,
            "iat": document.as_of,
            "ring": document.ring_id,
            "generation": document.generation,
            "max_lifetime": document.max_lifetime,
            "keys": [{"kid": key.key_id, "alg": key.algorithm, **key.public_jwk} for key in document.keys],
            "revoked": dict(document.revoked),
            "given_up": list(document.given_up),
            "revocations": {
                "epoch": page.epoch,
                "entries": list(page.entries),
                "following": page.following,
                "more": page.more,
            },
        },
    )


def read(text: bytes, pinned: Iterable[VerificationKey], *, issuer: str, region: str, to: str) -> Document:
    """Prove a document and read it. It may take milliseconds. Raises :class:`RegionRefused`."""
    claims = proved(text, DOCUMENT, pinned, MOST_BYTES)
    for name, expected in (("iss", issuer), ("aud", to), ("region", region)):
        if claims.get(name) != expected:
            raise RegionRefused(f"its {name} is {quoted(str(claims.get(name)))}, expected {expected!r}")
    page = member(claims, "revocations", dict)
    following = _text(page, "following", 64)
    if not streams.is_position(following):
        raise RegionRefused("following is not a place in a log")
    return Document(
        region=region,
        ring_id=_text(claims, "ring", _LONGEST_RING_ID),
        generation=whole(claims, "generation"),
        as_of=number(claims.get("iat"), "iat"),
        max_lifetime=number(claims.get("max_lifetime"), "max_lifetime"),
        keys=_keys(member(claims, "keys", list), region),
        revoked=_revoked(member(claims, "revoked", dict), region),
        given_up=tuple(texts(claims, "given_up", MOST_GIVEN_UP, MOST_STATEMENT)),
        page=RevocationPage(
            epoch=whole(page, "epoch"),
            entries=tuple(texts(page, "entries", PAGE, MOST_BYTES)),
            following=following,
            more=page.get("more") is True,
        ),
    )


def _keys(members: list[JsonValue], region: str) -> tuple[RegionKey, ...]:
    if len(members) > MOST_KEYS:
        raise RegionRefused(f"it has more than {MOST_KEYS} keys")
    try:
        read = [read_jwk(member) for member in members]
    except BadKey as reason:
        raise RegionRefused(f"a key can't be used: {reason}") from None
    keys = tuple(_key(one, region) for one in read)
    if len({key.key_id for key in keys}) != len(keys):
        raise RegionRefused("a key id occurs twice")
    for one in read:  # last: it takes by far the most time
        if weak := weakness(one):
            raise RegionRefused(f"a key can't be used: {quoted(one.key_id or '')}: {weak}")
    return keys


def _key(key: VerificationKey, region: str) -> RegionKey:
    """Return a key under the only id that it may have: no region can name a key of another one."""
    algorithms = key.algorithms & _SIGNING
    if len(algorithms) != 1:
        raise RegionRefused(f"key {quoted(key.key_id or '')} has no alg of {', '.join(sorted(_SIGNING))}")
    if isinstance(key.public_key, rsa.RSAPublicKey) and key.public_key.key_size > MOST_RSA_BITS:
        raise RegionRefused(f"key {quoted(key.key_id or '')} has more than {MOST_RSA_BITS} bits")
    jwk = public_jwk(key.public_key)
    if key.key_id != key_id_of(jwk, region):
        raise RegionRefused(f"key {quoted(key.key_id or '')} does not have the id {key_id_of(jwk, region)}")
    return RegionKey(key.key_id, next(iter(algorithms)), jwk)


def _revoked(members: Mapping[str, JsonValue], region: str) -> dict[str, float]:
    if len(members) > MOST_REVOKED:
        raise RegionRefused(f"it has more than {MOST_REVOKED} revoked keys")
    for key_id in members:
        if len(key_id) > 128 or not key_id.startswith(f"{region}."):
            raise RegionRefused("a revoked key is not one of this region")
    return {key_id: number(time, "revoked") for key_id, time in members.items()}


def member(claims: Mapping[str, JsonValue], name: str, kind: type) -> Any:
    """Return a member of a type. Raises :class:`RegionRefused`."""
    value = claims.get(name)
    if not isinstance(value, kind):
        raise RegionRefused(f"{name} is missing or of another type")
    return value


def _text(claims: Mapping[str, JsonValue], name: str, most: int) -> str:
    value: str = member(claims, name, str)
    if not 0 < len(value) <= most:
        raise RegionRefused(f"{name} has no text of at most {most} characters")
    return value


def texts(claims: Mapping[str, JsonValue], name: str, most: int, longest: int) -> list[str]:
    """Return a list of bounded texts. Raises :class:`RegionRefused`."""
    values: list[JsonValue] = member(claims, name, list)
    if len(values) > most:
        raise RegionRefused(f"{name} has more than {most} members")
    found = [value for value in values if isinstance(value, str) and len(value) <= longest]
    if len(found) != len(values):
        raise RegionRefused(f"a member of {name} is no text, or too long")
    return found


def whole(claims: Mapping[str, JsonValue], name: str) -> int:
    """Return a whole number. Raises :class:`RegionRefused`."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_NUMBER:
        raise RegionRefused(f"{name} is not a whole number")
    return value


def number(value: JsonValue, name: str) -> float:
    """Return a number. Raises :class:`RegionRefused`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _MOST_NUMBER:
        raise RegionRefused(f"{name} is not a number")
    return float(value)

"""A page of a region's own profiles: what it tells one other region about them, signed.

Reading one trusts nothing but the signature. The records in it are checked where they are taken over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tokenmint.base.foreign_text import quoted
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.regions.document import MOST_BYTES, member, number, texts, whole
from tokenmint.regions.identity import PROFILES, Identity, RegionRefused, proved
from tokenmint.storage import streams
from tokenmint.verification.jwk import VerificationKey

MOST_RECORDS: Final = 4000
LONGEST_KEY: Final = 256  # characters
LONGEST_CURSOR: Final = 64


@dataclass(frozen=True, slots=True)
class Told:
    """A page that was proved to be a region's own."""

    as_of: float
    """The time at which the region's store confirmed its key ring, by the region's clock, Unix seconds."""
    epoch: int
    """The number of losses of the region's store: places of another epoch mean nothing."""
    page: ProfilePage


def write(identity: Identity, issuer: str, region: str, to: str, part: Part, told: Told) -> str:
    """Return the page for the region ``to``, signed."""
    page = told.page
    return identity.sign(
        PROFILES,
        {
            "iss": issuer, "aud": to, "region": region, "iat": told.as_of, "epoch": told.epoch, "part": part.value,
            "records": list(page.records), "erased": list(page.erased), "gone": list(page.gone),
            "following": page.following, "more": page.more, "gap": page.gap, "newest": page.newest,
        },
    )  # fmt: skip


def read(text: bytes, pinned: Iterable[VerificationKey], *, issuer: str, region: str, to: str, part: Part) -> Told:
    """Prove a page and read it. It may take milliseconds. Raises :class:`RegionRefused`."""
    claims = proved(text, PROFILES, pinned, MOST_BYTES)
    for name, expected in (("iss", issuer), ("aud", to), ("region", region), ("part", part.value)):
        if claims.get(name) != expected:
            raise RegionRefused(f"its {name} is {quoted(str(claims.get(name)))}, expected {expected!r}")
    following, newest = member(claims, "following", str), member(claims, "newest", str)
    place = is_cursor(following) if part is Part.ALL else streams.is_position(following)
    if not place or (part is Part.ALL and not streams.is_position(newest)):
        raise RegionRefused("following or newest is not a place")
    return Told(
        as_of=number(claims.get("iat"), "iat"),
        epoch=whole(claims, "epoch"),
        page=ProfilePage(
            records=tuple(texts(claims, "records", MOST_RECORDS, MOST_BYTES)),
            erased=tuple(texts(claims, "erased", MOST_RECORDS, LONGEST_KEY)),
            gone=tuple(texts(claims, "gone", MOST_RECORDS, LONGEST_KEY)),
            following=following,
            more=claims.get("more") is True,
            gap=claims.get("gap") is True,
            newest=newest,
        ),
    )


def is_cursor(text: str) -> bool:
    """Return whether ``text`` may be a cursor of the store, or is none ("")."""
    return len(text) <= LONGEST_CURSOR and (not text or all(part.isdecimal() for part in text.split(":")))

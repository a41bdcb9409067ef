"""Regions that were given up: compromised as a whole, or gone for good. A statement of the authority says so.

The authority's private key is kept off every region, so no compromised region can give up another one. Any region may
carry a statement to the others. Nothing takes one back: a region that returns gets another name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenmint.base.errors import CorruptRecord
from tokenmint.regions.document import MOST_STATEMENT
from tokenmint.regions.identity import GIVEN_UP, Identity, RegionRefused, proved
from tokenmint.verification.jwk import VerificationKey

KEY: Final = "regions-given-up"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A region that was given up."""

    statement: str
    """The signed statement, for the other regions."""
    since: float
    """The time at which this region learned of it, Unix seconds."""


def state(authority: Identity, issuer: str, region: str, now: float) -> str:
    """Return the statement that a region was given up, signed."""
    return authority.sign(GIVEN_UP, {"iss": issuer, "region": region, "iat": int(now)})


def region_of(statement: str, authority: Iterable[VerificationKey], issuer: str) -> str:
    """Return the region that a statement is about, once it is proved. Raises :class:`RegionRefused`."""
    claims = proved(statement.encode(), GIVEN_UP, authority, MOST_STATEMENT)
    region = claims.get("region")
    if claims.get("iss") != issuer or not isinstance(region, str):
        raise RegionRefused("the statement is about another issuer, or names no region")
    return region


def dump(given_up: Mapping[str, GivenUp]) -> bytes:
    """Return the stored form."""
    regions = {name: {"statement": one.statement, "since": one.since} for name, one in sorted(given_up.items())}
    return json.dumps({"v": VERSION, "regions": regions}, separators=(",", ":")).encode()


def parse(raw: bytes | None) -> dict[str, GivenUp]:
    """Read the stored form. Raises ``CorruptRecord``: a region that was given up must not return by a broken value."""
    if raw is None:
        return {}
    try:
        value: Any = json.loads(raw)
        if value["v"] != VERSION:
            raise TypeError
        return {
            str(name): GivenUp(str(one["statement"]), float(one["since"])) for name, one in value["regions"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise CorruptRecord(detail=f"{KEY}: not a list of regions of version {VERSION}") from None

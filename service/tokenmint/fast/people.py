"""Profiles of the fast way: an identity's entry in the near cache, and the claims of a plan's tokens from it.

The full way's functions read each value of the near cache once. The result is kept in its entry, so the near cache
drops both together. The near cache's own conditions bound the use of a value. A value that the near cache lacks is read
from the store, for many identities in one round trip.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from tokenmint.base.clock import Clock
from tokenmint.base.errors import CorruptRecord, StoreUnavailable, TokenmintError
from tokenmint.fast.plans import ANY_TOKEN, Template, Templates
from tokenmint.model.policy import Client
from tokenmint.model.profile import Identity, Profile
from tokenmint.policy import mapping
from tokenmint.profiles.limits import PRINCIPAL
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.near_entries import OVERHEAD, Noted
from tokenmint.profiles.records import LONGEST, Link, parse_link, parse_record, profile_key

_NOBODY = Client("")


@dataclass(frozen=True, slots=True)
class Person:
    """An identity's principal and the templates' claims from its profile, while the profile has these bytes."""

    key: str
    """The profile's key."""
    raw: bytes
    """The parsed profile, which may be served and lists the identity."""
    principal: str
    subject: bytes
    """The same as JSON."""
    valid_after: int
    """The second up to which issued tokens are refused; -1: none."""
    templates: Templates
    claims: tuple[bytes, ...]
    """The claims of each template as JSON, each after a comma."""


class Wanted(NamedTuple):
    """An identity whose profile the near cache lacks, wholly or in part."""

    identity: Identity
    key: str
    """The identity's key."""
    templates: Templates


class People:
    """Finds the principals of identities.

    Args:
        near: the near cache.
        providers: the providers' names.
        clock: measures ages.
    """

    def __init__(self, near: NearCache, providers: "frozenset[str]", clock: Clock) -> None:
        self._near = near
        self._clock = clock
        self._begun = {name: hashlib.sha256(len(name.encode()).to_bytes(4) + name.encode()) for name in providers}

    def find(self, provider: str, subject: str, templates: Templates, now: float) -> Person | Wanted | None:
        """Return the principal of an identity that may be served now, by the near cache alone.

        None: the full way has to decide. Repeats ``ProfileStore.resolve`` and ``Profiles.find``, except the check of
        ``valid_after``.
        """
        # records.identity_key
        encoded, digest = subject.encode(), self._begun[provider].copy()
        digest.update(len(encoded).to_bytes(4) + encoded)
        place = int.from_bytes(digest.digest())  # place_of its key
        link = self._near.peek_at(place, now)
        if link is None:
            return Wanted(Identity(provider, subject), "identity:" + digest.hexdigest(), templates)
        if type(link) is Noted:
            person = link.memo
            if type(person) is Person and person.templates == templates:
                entry = self._near.peek_at(person.key, now)
                if entry is not None and entry.raw is person.raw:
                    return person
        identity = Identity(provider, subject)
        found = _link(identity, link.raw)
        if found is None:
            return None
        entry = self._near.peek(profile_key(found.principal), now)
        if entry is None:
            return Wanted(identity, "identity:" + digest.hexdigest(), templates)
        person = _person(identity, found.principal, entry.raw, templates)
        if person is not None and sum(map(len, person.claims)) <= len(person.raw) + OVERHEAD:
            self._near.note(place, link, person)  # no more than it counts for (near_cache.size_of)
        return person

    async def fetch(self, wanted: Wanted) -> Person | None:
        """Return the principal of an identity, as :meth:`find`; reads what the near cache lacks.

        None: the full way has to decide, or the store does not answer.
        """
        identity, templates, key = wanted.identity, wanted.templates, wanted.key
        try:
            link = _link(identity, await self._near.get(key))
            if link is None:
                return None
            key = profile_key(link.principal)
            raw = await self._near.get(key)
        except (StoreUnavailable, CorruptRecord) as error:
            self._near.note_failure(key, error)  # the full way refuses the call, and need not wait for that again
            return None
        found = self.find(identity.provider, identity.subject, templates, self._clock.monotonic())
        if isinstance(found, Wanted):  # nothing is cached: these values count for this call alone
            return _person(identity, link.principal, raw, templates)
        return found


def _link(identity: Identity, raw: bytes | None) -> Link | None:
    """Read an identity's entry (``ProfileStore.resolve``); None if it leads to no principal."""
    try:
        link = parse_link(identity, raw)
    except TokenmintError:
        return None
    return link if link is not None and not link.unlinked and PRINCIPAL.match(link.principal) else None


def _person(identity: Identity, principal: str, raw: bytes | None, templates: Templates) -> Person | None:
    """Read a profile (``ProfileStore.resolve``, ``_active``); None if it may not be served."""
    if raw is None or len(raw) > LONGEST:
        return None
    try:
        record = parse_record(principal, raw)
    except TokenmintError:
        return None
    if not isinstance(record, Profile) or record.disabled or identity not in record.identities:
        return None
    after = record.tokens_valid_after
    return Person(
        key=profile_key(principal),
        raw=raw,
        principal=principal,
        subject=b'"' + principal.encode() + b'"',
        valid_after=-1 if after is None else after,
        templates=templates,
        claims=tuple(_claims(template, record) for template in templates),
    )


def _claims(template: Template, profile: Profile) -> bytes:
    """Return a template's claims from a profile (``mapping.evaluate``)."""
    claims = b""
    for before, source in template:
        value = mapping.evaluate(source, ANY_TOKEN, profile, _NOBODY)
        if value is not None:
            claims += before + orjson.dumps(value)
    return claims

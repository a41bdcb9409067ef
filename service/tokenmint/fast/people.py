"""Profiles of the fast way: an identity's entry in the near cache, and a plan's claims from it.

The full way's functions read each value of the near cache once. The result is kept in its entry, so the near cache
drops both together. The near cache's own conditions bound the use of a value.
"""

import hashlib
from dataclasses import dataclass

import orjson

from tokenmint.base.errors import TokenmintError
from tokenmint.fast.plans import ANY_TOKEN, Template
from tokenmint.model.policy import Client
from tokenmint.model.profile import Identity, Profile
from tokenmint.policy import mapping
from tokenmint.profiles.limits import PRINCIPAL
from tokenmint.profiles.near_cache import Entry, NearCache
from tokenmint.profiles.records import LONGEST, parse_link, parse_record, profile_key

_NOBODY = Client("")


@dataclass(frozen=True, slots=True)
class Person:
    """An identity's principal and one template's claims from its profile, while the profile has these bytes."""

    key: str
    """The profile's key."""
    raw: bytes
    """The profile, parsed; it may be served, and lists the identity."""
    principal: str
    valid_after: int
    """The second up to which issued tokens are refused; -1: none."""
    template: Template
    claims: bytes
    """The template's claims as JSON, each after a comma."""


class People:
    """Finds the principals of identities in the near cache.

    Args:
        near: the near cache.
        providers: the providers' names.
    """

    def __init__(self, near: NearCache, providers: "frozenset[str]") -> None:
        self._near = near
        self._begun = {name: hashlib.sha256(len(name.encode()).to_bytes(4) + name.encode()) for name in providers}

    def find(self, provider: str, subject: str, template: Template, now: float) -> Person | None:
        """Return the principal of an identity that may be served now; None if the full way has to decide.

        Repeats ``ProfileStore.resolve`` and ``Profiles.find``, except the check of ``valid_after``.
        """
        # records.identity_key
        encoded, digest = subject.encode(), self._begun[provider].copy()
        digest.update(len(encoded).to_bytes(4) + encoded)
        link = self._near.peek("identity:" + digest.hexdigest(), now)
        if link is None or link.raw is None:
            return None
        person = link.memo
        if type(person) is Person and person.template is template:
            entry = self._near.peek(person.key, now)
            if entry is not None and entry.raw is person.raw:
                return person
        link.memo = person = self._read(link, Identity(provider, subject), template, now)
        return person

    def _read(self, link: Entry, identity: Identity, template: Template, now: float) -> Person | None:
        """Read link and profile by the full way's rules (``resolve``, ``_served``, ``mapping.evaluate``)."""
        try:
            found = parse_link(identity, link.raw)
            if found is None or found.unlinked or not PRINCIPAL.match(found.principal):
                return None
            entry = self._near.peek(profile_key(found.principal), now)
            if entry is None or entry.raw is None or len(entry.raw) > LONGEST:
                return None
            record = parse_record(found.principal, entry.raw)
        except TokenmintError:
            return None
        if not isinstance(record, Profile) or record.disabled or identity not in record.identities:
            return None
        claims = b""
        for before, source in template:
            value = mapping.evaluate(source, ANY_TOKEN, record, _NOBODY)
            if value is not None:
                claims += before + orjson.dumps(value)
        after = record.tokens_valid_after
        return Person(
            key=profile_key(record.principal),
            raw=entry.raw,
            principal=record.principal,
            valid_after=-1 if after is None else after,
            template=template,
            claims=claims,
        )

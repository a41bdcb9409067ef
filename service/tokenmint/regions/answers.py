"""Answers the pulls of other regions, which prove themselves by a signed request."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.keys.published import by_need, own_keys
from tokenmint.keys.signers.local import parts_of
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import KeyRing, KeyState, RegionKey
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.regions import document, profile_document
from tokenmint.regions.directory import Regions
from tokenmint.regions.document import MOST_KEYS, MOST_REVOKED, PAGE_BYTES, Document, RevocationPage
from tokenmint.regions.identity import REQUEST, Identity, RegionRefused, proved
from tokenmint.regions.profile_document import Told
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage import streams

FRESH: Final = 300.0  # seconds for which a signed request is accepted, for differing clocks too
MOST_REQUEST: Final = 4096  # bytes
ReadProfiles = Callable[[Part, str], Awaitable[ProfilePage]]
"""Reads the page of a part of this region's own profiles after a place."""
_CANT: Final = "this region can't tell its keys now: retry later, or ask another replica"


class RegionAnswers:
    """Writes this region's documents.

    Args:
        regions: the other regions.
        issuer: the `iss` of tokens.
        keys: the keys of this region.
        log: the log of revocations.
        epoch: the number of losses of the store so far.
        profiles: reads pages of this region's own profiles; None: they are not told.
    """

    def __init__(
        self,
        regions: Regions,
        issuer: str,
        keys: SigningKeys,
        log: RevocationLog,
        epoch: Callable[[], int],
        profiles: ReadProfiles | None = None,
    ) -> None:
        self._regions = regions
        self._issuer = issuer
        self._keys = keys
        self._log = log
        self._epoch = epoch
        self._profiles = profiles

    async def answer(self, region: str, request: str, epoch: int, after: str) -> str:
        """Return the document for a region.

        Args:
            region: the region that asks.
            request: its signed request.
            epoch: the epoch of this region's log up to which it has revocations ...
            after: ... and the place within it.

        Raises:
            RegionRefused: the request is not that of a region that is served.
            DependencyUnavailable: another replica may answer.
        """
        self._prove(region, request)
        identity, as_of = self._now()
        options, ring = self._regions.options, self._keys.ring
        current = self._epoch()
        page = await self._log.after(after if epoch == current else streams.BEGINNING, PAGE_BYTES)
        own = f"{options.name}."
        gone = sorted(
            ((key.revoke_time or 0.0, key.key_id) for key in ring.keys if key.state is KeyState.REVOKED), reverse=True
        )
        written = Document(
            region=options.name,
            ring_id=ring.ring_id,
            generation=ring.generation,
            as_of=as_of,
            max_lifetime=ring.max_lifetime,
            keys=keys_to_tell(ring, options.name),
            revoked={key_id: time for time, key_id in gone[:MOST_REVOKED] if key_id.startswith(own)},
            given_up=tuple(one.statement for _, one in sorted(self._regions.given_up.items())),
            page=RevocationPage(current, _texts(page), page.following, page.more),
        )
        return document.write(identity, self._issuer, written, region)

    async def profiles(self, region: str, request: str, part: Part, epoch: int, place: str) -> str:
        """Return a page of this region's own profiles for a region that copies them.

        Args:
            region: the region that asks.
            request: its signed request.
            part: the part of the profiles.
            epoch: the epoch of the place; a place of another one means the beginning.
            place: the place after which the page begins.

        Raises:
            RegionRefused: the request is not that of a region that is served, or profiles are not told.
            DependencyUnavailable: another replica may answer.
        """
        self._prove(region, request)
        if self._profiles is None:
            raise RegionRefused("this region does not tell its profiles: set regions.profiles there, too")
        identity, as_of = self._now()
        current = self._epoch()
        known = epoch == current
        beginning = "" if part is Part.ALL else streams.BEGINNING
        page = await self._profiles(part, place if known else beginning)
        if part is Part.CHANGES and not known:
            page = replace(page, gap=True)
        options = self._regions.options
        return profile_document.write(identity, self._issuer, options.name, region, part, Told(as_of, current, page))

    def _now(self) -> tuple[Identity, float]:
        """Return the identity that signs, and the time that is known. Raises ``DependencyUnavailable``."""
        identity, keys = self._regions.options.identity, self._keys
        if identity is None or keys.clocks.problem() or keys.loss() or keys.confirmed_ago() > keys.schedule.replica_lag:
            raise DependencyUnavailable(_CANT)
        return identity.value, self._regions.times.now() - keys.confirmed_ago()

    def unnamed_keys(self) -> str:
        """Return a message for operators about published keys that other regions do not take over, or ""."""
        if not self._regions.options.others:
            return ""
        name = self._regions.options.name
        unnamed = [key.key_id for key in own_keys(self._keys.ring) if parts_of(key.key_id)[0] != name]
        if not unnamed:
            return ""
        return (
            f"keys that were made before regions.name was {name!r} are unknown in other regions: {', '.join(unnamed)}: "
            "rotate until they have retired, and add the regions then"
        )

    def _prove(self, region: str, request: str) -> None:
        if not self._regions.serves(region):
            raise RegionRefused("the region is not configured here, or was given up")
        pinned = self._regions.options.others[region].keys.value.keys
        claims = proved(request.encode(), REQUEST, pinned, MOST_REQUEST)
        expected = {"iss": self._issuer, "region": region, "aud": self._regions.options.name}
        if any(claims.get(name) != value for name, value in expected.items()):
            raise RegionRefused("the request is of another region, for another one, or of another issuer")
        time = claims.get("iat")
        if not isinstance(time, int) or abs(self._regions.times.now() - time) > FRESH:
            raise RegionRefused("the request is too old, or a clock is wrong")


def keys_to_tell(ring: KeyRing, region: str) -> tuple[RegionKey, ...]:
    """Return the published keys of a region, the oldest first. Of too many, the others get those they need most."""
    own = [key for key in own_keys(ring) if parts_of(key.key_id)[0] == region]
    needed = {key.key_id for key in by_need(own)[:MOST_KEYS]}
    return tuple(RegionKey(key.key_id, key.algorithm, key.public_jwk) for key in own if key.key_id in needed)


def _texts(page: streams.Page) -> tuple[str, ...]:
    texts = []
    for _, raw in page.entries:
        try:
            texts.append(raw.decode())
        except UnicodeDecodeError:  # not ours
            continue
    return tuple(texts)

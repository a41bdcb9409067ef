"""Publishes the status lists: follows records and revocations, signs each list by schedule and after each revocation.

Each process does so for itself, from the same records and the same revocations. So the lists of two processes differ
in their time, and an older one lacks only what was revoked after it.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import DependencyUnavailable, TokenmintError
from tokenmint.base.tasks import end
from tokenmint.base.threads import Threads
from tokenmint.keys.signers.types import Signer
from tokenmint.revocation.follower import Revocations
from tokenmint.status_list import records
from tokenmint.status_list.directory import Directory, StatusList
from tokenmint.status_list.encoding import status_list
from tokenmint.status_list.indices import uri_of
from tokenmint.status_list.members import Members
from tokenmint.status_list.records import TokenRecords
from tokenmint.storage import streams

TYP: Final = "statuslist+jwt"
"""The `typ` of status list tokens (Token Status List section 5.1)."""
PAUSE: Final = 0.2  # seconds between two publications, however many revocations there are
LOOK: Final = 1.0  # seconds between looks for new lists
LOOKS: Final = 20  # looks within such a time that requests for unknown lists may cause
PAGE: Final = 1000  # revocations that are taken together
_SPARE: Final = 1000  # expired revocations that are kept until the rest is gathered again


@dataclass(frozen=True, slots=True)
class Signing:
    """The parts that sign lists.

    Args:
        issuer: the `iss` of tokens.
        signer: returns the active signer of an algorithm, or raises ``SignerUnavailable``.
        published: returns whether verifiers find a key in the key set.
        serving: raises if the clock or the store may be wrong now.
    """

    issuer: str
    signer: Callable[[str], Signer]
    published: Callable[[str], bool]
    serving: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Times:
    """The times of lists, whole seconds."""

    ttl: int
    """For how long verifiers keep a list."""
    valid_for: int
    """The lifetime of a list. The key ring has to publish its key for so long."""

    @property
    def interval(self) -> int:
        """The time after which a list is published again."""
        return max(1, self.ttl // 4)


@dataclass(frozen=True, slots=True)
class Published:
    """A signed list."""

    token: bytes
    etag: str
    """A strong validator of ``token``, without quotes."""
    max_age: int
    """Seconds for which caches on the way may keep it."""
    issued_at: int
    expires_at: int
    key_id: str
    invalid: int
    """The number of tokens that it shows as revoked."""


class StatusLists:
    """The lists of this process.

    Args:
        directory: names the lists.
        tokens: has their tokens.
        revocations: has what was revoked.
        signing: signs.
        times: the times of lists.
        clock: time.
    """

    def __init__(
        self,
        directory: Directory,
        tokens: TokenRecords,
        revocations: Revocations,
        signing: Signing,
        times: Times,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._revocations = revocations
        self._signing = signing
        self._times = times
        self._clock = clock
        self._members: dict[str, Members] = {}
        self._published: dict[str, Published] = {}
        self._revoked: dict[bytes, int] = {}
        self._cursor = 0
        self._epoch = directory.epoch()
        self._anew = False
        self._round: asyncio.Task[None] | None = None
        self._looks = (float("-inf"), 0)
        self._succeeded = float("-inf")
        self._threads = Threads("status lists", 2)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def names(self) -> int:
        """The number of names of tokens in memory."""
        return sum(members.names for members in self._members.values())

    def age(self) -> float:
        """Return the seconds since the last round that succeeded; infinite: there was none."""
        return self._clock.monotonic() - self._succeeded

    async def find(self, list_id: str) -> Published | None:
        """Return a list for a verifier; None if there is none of that name.

        Raises:
            DependencyUnavailable: it can't be published now.
        """
        if list_id not in self._members and not await self._look_for(list_id):
            return None
        found = self._published.get(list_id)
        if found is None or not self._signing.published(found.key_id):  # the key was revoked
            await self.publish()
            found = self._published.get(list_id)
        now = self._clock.now()
        if found is None or now >= found.expires_at:
            raise DependencyUnavailable("the status list can't be published now: retry later", detail=list_id)
        return replace(found, max_age=min(found.max_age, int(found.expires_at - now)))

    async def _look_for(self, list_id: str) -> bool:
        """Look whether another process has opened a list just now. Anybody may ask, so few looks are made."""
        since, looks = self._looks
        now = self._clock.monotonic()
        if now - since >= LOOK:
            since, looks = now, 0
        if looks >= LOOKS:
            raise DependencyUnavailable("too many unknown status lists were asked for: retry later")
        self._looks = since, looks + 1
        await self._look()
        return list_id in self._members

    # --- following -----------------------------------------------------------------------------------------------

    def follow(self, background: Background) -> None:
        """Publish without end; and learn of lists that other processes open."""
        background.start("status lists", self._publish_on, longest=self._times.interval / 2)
        background.start("status list connection", self._listen)
        background.every("status list directory", LOOK, self._look, longest=LOOK)

    async def _publish_on(self, unit: Unit) -> None:
        while True:
            await self.publish()
            unit.works()
            await self._clock.sleep(PAUSE)
            waits: list[asyncio.Task[None]] = [
                asyncio.ensure_future(self._clock.sleep(self._times.interval - PAUSE)),
                asyncio.ensure_future(self._revocations.changed(self._cursor)),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end(waits)

    async def _listen(self, unit: Unit) -> None:
        """Read everything again after a new connection: perhaps it is to another server."""
        async with aclosing(self._tokens.notices()) as notices:
            async for _ in notices:
                self._anew = True
                unit.works()

    async def _look(self) -> None:
        lists = await self._directory.lists()
        for list_id, one in lists.items():
            if list_id not in self._members:
                self._members[list_id] = Members(one)
        if self._round is None:  # a round uses what it began with
            for list_id in self._members.keys() - lists.keys():
                del self._members[list_id]
                self._published.pop(list_id, None)

    async def publish(self) -> None:
        """Publish the lists that are due. Raises as :meth:`Directory.lists`, and the errors of the signers.

        It goes on if the caller is cancelled, because a thread works on its state.
        """
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._publish())
            self._round.add_done_callback(self._end_round)
        await asyncio.shield(self._round)

    def _end_round(self, task: "asyncio.Task[None]") -> None:
        self._round = None
        if not task.cancelled():
            task.exception()  # those that wait get it

    async def _publish(self) -> None:
        self._signing.serving()
        asked = self._clock.now()
        await self._look()
        current = dict(self._members)
        # Revocations come first: a token is recorded before it is revoked, so its record is there by then.
        new = await self._new_revocations()
        epoch, anew = self._directory.epoch(), self._anew
        anew, self._anew = anew or epoch != self._epoch, False
        try:
            for members in current.values():
                await self._read(members, anew=anew)
                if new:
                    await self._threads.run(members.apply, new)
        except BaseException:
            self._anew, self._cursor = True, 0  # nothing may be left out
            raise
        self._epoch = epoch
        failure: TokenmintError | None = None
        for list_id, members in current.items():
            try:
                await self._publish_one(list_id, members, asked)
            except TokenmintError as error:  # an algorithm without a signer: the other lists go on
                failure = error
        if failure is not None:
            raise failure
        self._succeeded = self._clock.monotonic()

    async def _new_revocations(self) -> dict[bytes, int]:
        await self._revocations.refresh()
        if len(self._revoked) > 2 * len(self._revocations) + _SPARE:
            self._revoked, self._cursor = {}, 0
        new: dict[bytes, int] = {}
        more = True
        while more:
            page, self._cursor, more = self._revocations.after(self._cursor, PAGE)
            new |= {held.digest: held.revocation.valid_after for held in page}
        self._revoked |= new
        return new

    async def _read(self, members: Members, *, anew: bool) -> None:
        """Read the new tokens of a list; ``anew``: all of them, of which those that are here stay."""
        known = await self._threads.run(members.rows) if anew else frozenset[bytes]()
        position = streams.BEGINNING if anew else members.position
        more = True
        while more:
            page = await self._tokens.after(members.of.list_id, position)
            if page.entries:
                await self._threads.run(members.add, records.parsed(page), self._revoked, known)
            position, more = page.following, page.more
            members.position = position

    async def _publish_one(self, list_id: str, members: Members, asked: float) -> None:
        before = self._published.get(list_id)
        signer = self._signing.signer(members.of.algorithm)
        same = before is not None and (before.invalid, before.key_id) == (members.invalid, signer.key_id)
        if before is not None and same and asked - before.issued_at < self._times.interval:
            return
        issued_at, times, invalid = int(asked), self._times, members.invalid
        unsigned = await self._threads.run(self._unsigned, members.of, signer, issued_at, bytes(members.statuses))
        token = unsigned + b"." + encode_segment(await signer.sign(unsigned))
        if list_id not in self._members:  # its tokens have expired meanwhile
            return
        self._published[list_id] = Published(
            token=token,
            etag=hashlib.sha256(token).hexdigest()[:32],
            max_age=times.interval,
            issued_at=issued_at,
            expires_at=issued_at + times.valid_for,
            key_id=signer.key_id,
            invalid=invalid,
        )

    def _unsigned(self, of: StatusList, signer: Signer, issued_at: int, statuses: bytes) -> bytes:
        """Return the signing input of a list (section 5.1)."""
        header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": TYP}
        claims: dict[str, Any] = {
            "iss": self._signing.issuer,
            "sub": uri_of(self._signing.issuer, of.list_id),
            "iat": issued_at,
            "exp": issued_at + self._times.valid_for,
            "ttl": self._times.ttl,
            "status_list": status_list(statuses),
        }
        return b".".join(encode_segment(orjson.dumps(part)) for part in (header, claims))

"""An import of profiles: the messages of a stream become batches, and the outcomes of these one response."""

import asyncio
from typing import Final

from tokenmint.base.errors import InvalidRequest, TokenmintError
from tokenmint.base.foreign_text import clipped
from tokenmint.model.profile import Profile
from tokenmint.profiles.batches import BATCH, ProfileBatches
from tokenmint.profiles.limits import profile_violations
from tokenmint.rpc import convert
from tokenmint.v1 import profile_admin_service_pb2 as pb

MAX_FAILURES: Final = 100  # in the response
MOST_BYTES: Final = 1024 * 1024  # of messages whose profiles wait for their batch
MOST_PROVIDERS: Final = 1000  # names that are compared with the configured providers


class Import:
    """An import on its way.

    Args:
        batches: puts profiles.
    """

    def __init__(self, batches: ProfileBatches) -> None:
        self._batches = batches
        self._response = pb.ImportProfilesResponse()
        self._waiting: list[tuple[str, Profile | InvalidRequest]] = []
        self._bytes = 0
        self.count = 0
        """The number of profiles that arrived."""
        self.dry: bool | None = None
        """Whether profiles are only checked; None before the first message."""
        self.providers: set[str] = set()
        """The providers of their identities."""

    async def add(self, request: pb.ImportProfilesRequest) -> None:
        """Import the profiles of a message, now or with those of the next. Raises as :meth:`ProfileBatches.put`."""
        if self.dry is None:
            self.dry = request.validate_only
        self._bytes += request.ByteSize()
        for message in request.profiles or [request.profile]:
            profile = convert.profile(message)
            violations = profile_violations(profile)
            if not violations and len(self.providers) < MOST_PROVIDERS:
                self.providers.update(identity.provider for identity in profile.identities)
            checked = InvalidRequest(violations) if violations else profile
            self._waiting.append((clipped(profile.principal), checked))
        if len(self._waiting) >= BATCH or self._bytes >= MOST_BYTES:
            await self._put()
        else:
            await asyncio.sleep(0)  # other calls go on between two messages

    async def end(self) -> pb.ImportProfilesResponse:
        """Import the rest; return what became of all. Raises as :meth:`add`."""
        await self._put()
        return self._response

    async def _put(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        right = [profile for _, profile in waiting if isinstance(profile, Profile)]
        outcomes = iter(await self._batches.put(right, dry=bool(self.dry)))
        for principal, profile in waiting:
            outcome = profile if isinstance(profile, InvalidRequest) else next(outcomes)
            if isinstance(outcome, TokenmintError):
                self._refused(principal, outcome)
            elif outcome:
                self._response.created_count += 1
            else:
                self._response.updated_count += 1
            self.count += 1

    def _refused(self, principal: str, refusal: TokenmintError) -> None:
        self._response.failed_count += 1
        if len(self._response.failures) < MAX_FAILURES:
            self._response.failures.add(
                index=self.count, principal=principal, reason=refusal.reason, message=refusal.message
            )

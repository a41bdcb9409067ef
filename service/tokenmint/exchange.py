"""The use case: a token that somebody else signed becomes a token that we signed.

Reads like the way of one token. No transport, no store, no wall clock: what it needs is handed to it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenmint.assertion.replay import ReplayGuard
from tokenmint.assertion.types import VerifiedAssertion
from tokenmint.assertion.verifier import Verifier
from tokenmint.clock import Clock
from tokenmint.errors import AccessDenied, DependencyUnavailable
from tokenmint.minting.minter import Minter
from tokenmint.minting.types import MintedToken
from tokenmint.policy.grant import Policy
from tokenmint.policy.types import Audience, Client, ExchangeRequest
from tokenmint.profile.resolve import ProfileLookup, Profiles


@dataclass(slots=True)
class ExchangeRecord:
    """What is known of an exchange as it goes, for whoever records it: filled also where it ends with a refusal."""

    token_sha256: str = ""
    provider: str = ""
    principal: str = ""
    minted: list[MintedToken] = field(default_factory=list)


class TokenExchange:
    """Proves, enriches, decides, mints. ``verifier`` and ``policy`` may be replaced while running (reload)."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        profiles: Profiles,
        policy: Policy,
        minter: Minter,
        replay: ReplayGuard,
        clock: Clock,
    ) -> None:
        self.verifier = verifier
        self.profiles = profiles
        self.policy = policy
        self.minter = minter
        self.replay = replay
        self.clock = clock

    async def exchange(
        self, request: ExchangeRequest, client: Client, record: ExchangeRecord | None = None
    ) -> MintedToken:
        """Exchange one subject token for one token.

        Raises:
            AssertionRejected: the subject token was not proved, or was used before.
            AccessDenied: this client may not have this.
            DependencyUnavailable: keys, store or signer are out of reach.
        """
        now, record = self.clock.now(), record or ExchangeRecord()
        audience = self.policy.admit(client, request)
        assertion = await self._prove(request, now, record)
        lookup = await self.profiles.find(assertion)
        minted = await self._mint(request, client, audience, assertion, lookup, now, record)
        if assertion.single_use or audience.single_use:
            await self.replay.claim(assertion, client.client_id, request.request_id, now=now, wanted=_wanted(request))
        return minted

    async def exchange_batch(
        self, requests: Sequence[ExchangeRequest], client: Client, record: ExchangeRecord | None = None
    ) -> list[MintedToken | AccessDenied | DependencyUnavailable]:
        """Exchange one subject token, the same in all ``requests``, for several tokens: proved once, one profile read.

        Returns a token or the refusal for each request, in order. What concerns the subject token fails the whole.

        Raises: as :meth:`exchange`.
        """
        now, record = self.clock.now(), record or ExchangeRecord()
        assertion = await self._prove(requests[0], now, record)
        lookup = await self.profiles.find(assertion)
        results: list[MintedToken | AccessDenied | DependencyUnavailable] = []
        claim = False
        for request in requests:
            try:
                audience = self.policy.admit(client, request)
                results.append(await self._mint(request, client, audience, assertion, lookup, now, record))
                claim = claim or assertion.single_use or audience.single_use
            except (AccessDenied, DependencyUnavailable) as refusal:
                results.append(refusal)
        if claim:
            request_id, wanted = requests[0].request_id, _wanted(*requests)
            await self.replay.claim(assertion, client.client_id, request_id, now=now, wanted=wanted)
        return results

    async def _prove(self, request: ExchangeRequest, now: float, record: ExchangeRecord) -> VerifiedAssertion:
        record.token_sha256 = request.subject_token.fingerprint()
        assertion = await self.verifier.verify(
            request.subject_token, request.subject_token_type, nonce=request.nonce, now=now
        )
        record.provider = assertion.provider
        return assertion

    async def _mint(
        self,
        request: ExchangeRequest,
        client: Client,
        audience: Audience,
        assertion: VerifiedAssertion,
        lookup: ProfileLookup,
        now: float,
        record: ExchangeRecord,
    ) -> MintedToken:
        assertion = self.policy.derive(assertion, client, request)
        self.policy.admit_assertion(audience, assertion, client, request)
        profile = await self.profiles.settle(lookup, audience.on_missing_profile, now=now)
        record.principal = profile.principal
        grant = self.policy.decide(request, client, audience, assertion, profile, now=now)
        minted = await self.minter.mint(grant)
        record.minted.append(minted)
        return minted


def _wanted(*requests: ExchangeRequest) -> str:
    """Name what is asked for, the same every time, so that a retry can be told from another request."""
    asked = [
        [
            item.audience,
            item.subject_token_type,
            sorted(item.scopes),
            item.lifetime,
            item.requested_token_type,
            item.nonce,
        ]
        for item in requests
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

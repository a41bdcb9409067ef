"""The use case: a token that somebody else signed becomes a token that we signed.

Reads like the way of one token. No transport, no store, no wall clock: what it needs is handed to it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tokenmint.base.capacity import check_deadline
from tokenmint.base.clock import Clock
from tokenmint.base.errors import AccessDenied, DependencyUnavailable
from tokenmint.formats.minter import Minter
from tokenmint.issued.verifier import OwnTokens, as_assertion
from tokenmint.model.issued import IssuedToken
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Actor, Audience, Client, ExchangeRequest, OnMissingProfile, TokenGrant
from tokenmint.model.profile import Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, VerifiedAssertion
from tokenmint.policy.delegation import bound_to, check_possession
from tokenmint.policy.grant import Policy
from tokenmint.profiles.resolve import ProfileLookup, Profiles
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier


@dataclass(slots=True)
class ExchangeRecord:
    """What is known of an exchange as it goes, for whoever records it: filled also where it ends with a refusal."""

    token_sha256: str = ""
    provider: str = ""
    principal: str = ""
    actor: str = ""
    minted: list[MintedToken] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Proved:
    """Somebody who was proved by a token: the subject, or who acts for it."""

    assertion: VerifiedAssertion
    issued: IssuedToken | None
    """What was proved of the token where it is one of ours."""
    lookup: ProfileLookup


class TokenExchange:
    """Proves, enriches, decides, mints. Does not change: a call is judged by one configuration from end to end.

    ``serving`` raises where nothing can be believed or minted now: by this clock, or by this store.
    """

    def __init__(
        self,
        *,
        verifier: Verifier,
        own: OwnTokens,
        profiles: Profiles,
        policy: Policy,
        minter: Minter,
        replay: ReplayGuard,
        clock: Clock,
        serving: Callable[[], None] = lambda: None,
    ) -> None:
        self.verifier = verifier
        self.own = own
        self.profiles = profiles
        self.policy = policy
        self.minter = minter
        self.replay = replay
        self.clock = clock
        self.serving = serving

    def under(self, verifier: Verifier, policy: Policy) -> "TokenExchange":
        """Return what does the same by another configuration (reload)."""
        return TokenExchange(
            verifier=verifier,
            own=self.own,
            profiles=self.profiles,
            policy=policy,
            minter=self.minter,
            replay=self.replay,
            clock=self.clock,
            serving=self.serving,
        )

    async def exchange(
        self, request: ExchangeRequest, client: Client, record: ExchangeRecord | None = None
    ) -> MintedToken:
        """Exchange one subject token for one token.

        Raises:
            AssertionRejected: the subject or actor token was not proved, or was used before.
            AccessDenied: this client may not have this.
            DependencyUnavailable: keys, store or signer are out of reach, or the clock is wrong.
            StoreWentBack: the store lost changes.
        """
        now, record = self.clock.now(), record or ExchangeRecord()
        audience = self.policy.admit(client, request)
        subject = await self.prove_subject(request, client, now, record)
        actor = await self.prove_actor(request, client, now)
        minted = await self._mint(request, client, audience, subject, actor, now, record)
        for assertion in single_use(subject, actor, whatever=audience.single_use):
            check_deadline()  # of a caller that is gone nothing is used up
            await self.replay.claim(assertion, client.client_id, request.request_id, now=now, wanted=_wanted(request))
        return minted

    async def exchange_batch(
        self, requests: Sequence[ExchangeRequest], client: Client, record: ExchangeRecord | None = None
    ) -> list[MintedToken | AccessDenied | DependencyUnavailable]:
        """Exchange one subject token, the same in all ``requests``, for several tokens: proved once, one profile read.

        Returns a token or the refusal for each request, in order. What concerns the subject and actor tokens fails the
        whole.

        Raises: as :meth:`exchange`.
        """
        now, record = self.clock.now(), record or ExchangeRecord()
        subject = await self.prove_subject(requests[0], client, now, record)
        actor = await self.prove_actor(requests[0], client, now)
        results: list[MintedToken | AccessDenied | DependencyUnavailable] = []
        claimed: list[VerifiedAssertion] = []
        for request in requests:
            try:
                audience = self.policy.admit(client, request)
                results.append(await self._mint(request, client, audience, subject, actor, now, record))
                single = single_use(subject, actor, whatever=audience.single_use)
                claimed = single if len(single) > len(claimed) else claimed
            except (AccessDenied, DependencyUnavailable) as refusal:
                results.append(refusal)
        for assertion in claimed:
            check_deadline()  # as above
            request_id, wanted = requests[0].request_id, _wanted(*requests)
            await self.replay.claim(assertion, client.client_id, request_id, now=now, wanted=wanted)
        return results

    # --- steps, which a dry run takes too ------------------------------------------------------------------------

    async def prove_subject(
        self,
        request: ExchangeRequest,
        client: Client,
        now: float,
        record: ExchangeRecord,
        *,
        observe: Callable[[str], None] = lambda _: None,
        dry: bool = False,
    ) -> Proved:
        """Prove the subject token and look its principal up. ``dry``: fetch no keys, and note no use of a handle."""
        self.serving()
        record.token_sha256 = request.subject_token.fingerprint()
        subject = await self._prove(
            request, client, request.subject_token, request.subject_token_type, request.nonce, now, observe, dry
        )
        record.provider = subject.assertion.provider
        return subject

    async def prove_actor(
        self,
        request: ExchangeRequest,
        client: Client,
        now: float,
        *,
        observe: Callable[[str], None] = lambda _: None,
        dry: bool = False,
    ) -> Proved | None:
        """Prove the actor token, where there is one."""
        if request.actor_token is None:
            return None
        kind = request.actor_token_type or ID_TOKEN
        return await self._prove(request, client, request.actor_token, kind, None, now, observe, dry)

    async def decide(
        self,
        request: ExchangeRequest,
        client: Client,
        audience: Audience,
        subject: Proved,
        actor: Proved | None,
        now: float,
        *,
        observe: Callable[[str], None] = lambda _: None,
        dry: bool = False,
    ) -> TokenGrant:
        """Decide what is minted. ``dry``: create no profile."""
        observe("policy.provider")
        assertion = self.policy.derive(subject.assertion, client, request)
        self.policy.admit_assertion(audience, assertion, client, request, subject.issued)
        acting = None
        if actor is not None:
            observe("policy.actor")
            self.policy.admit_actor(audience, assertion, actor.assertion, client, request, actor.issued)
            acting = Actor((await self._settle(actor.lookup, audience, now, dry=True)).principal, actor.assertion)
        observe("profile.missing")
        profile = await self._settle(subject.lookup, audience, now, dry=dry)
        observe("policy.decision")
        return self.policy.decide(
            request, client, audience, assertion, profile, now=now, issued=subject.issued, actor=acting
        )

    async def _prove(
        self,
        request: ExchangeRequest,
        client: Client,
        token: Secret,
        token_type: str,
        nonce: str | None,
        now: float,
        observe: Callable[[str], None],
        dry: bool,
    ) -> Proved:
        if token_type == ACCESS_TOKEN and self.own.recognises(token):
            observe("own.signature")
            issued = await self.own.identify(token, now=now)
            observe("policy.own_token")
            # Who explains can't show the key of whoever would ask.
            shown = replace(request, possession=issued.confirmation) if dry else request
            self.policy.admit_issued(client, shown, issued)
            observe("own.revocation")  # not before: it is nobody else's business
            await self.own.check_revoked(issued)
            observe("profile.find")
            lookup = await self.profiles.find_principal(issued.principal, issued.issued_at)
            if issued.actor is not None:
                await self.profiles.find_principal(issued.actor, issued.issued_at)
            if not dry:
                issued = await self.own.issued.used(issued, now=now)
            return Proved(as_assertion(issued, issuer=self.own.issuer), issued, lookup)
        assertion = await self.verifier.verify(token, token_type, nonce=nonce, now=now, observe=observe, fetch=not dry)
        bound = bound_to(assertion)
        if not dry:  # as above
            check_possession(request.possession, bound)
        observe("profile.find")
        return Proved(assertion, None, await self.profiles.find(assertion))

    async def _settle(self, lookup: ProfileLookup, audience: Audience, now: float, *, dry: bool) -> Profile:
        mode = audience.on_missing_profile
        if dry and mode is OnMissingProfile.CREATE:
            mode = OnMissingProfile.WITHOUT
        return await self.profiles.settle(lookup, mode, now=now)

    async def _mint(
        self,
        request: ExchangeRequest,
        client: Client,
        audience: Audience,
        subject: Proved,
        actor: Proved | None,
        now: float,
        record: ExchangeRecord,
    ) -> MintedToken:
        grant = await self.decide(request, client, audience, subject, actor, now)
        record.principal = grant.principal
        record.actor = grant.actor or str((grant.act or {}).get("sub", ""))
        check_deadline()
        minted = await self.minter.mint(grant)
        record.minted.append(minted)
        return minted


def single_use(subject: Proved, actor: Proved | None, *, whatever: bool) -> list[VerifiedAssertion]:
    """Return what may be used once: by its provider's rule, or the subject token by the audience's (``whatever``)."""
    proved = [subject.assertion] if whatever or subject.assertion.single_use else []
    return proved + ([actor.assertion] if actor is not None and actor.assertion.single_use else [])


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
            item.actor_token.fingerprint() if item.actor_token is not None else None,
            item.confirmation.claim(),
        ]
        for item in requests
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

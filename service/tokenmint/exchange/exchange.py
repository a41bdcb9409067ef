"""The exchange of a token from another issuer for an issued token.

The code follows the way of one token. Transport, store and clock are passed in.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

from tokenmint.base.capacity import check_deadline
from tokenmint.base.clock import Clock
from tokenmint.base.errors import AccessDenied, DependencyUnavailable, FieldViolation, InvalidRequest, JustRevoked
from tokenmint.base.token_errors import TokenRejected, TokenRevoked, UnsupportedTokenType
from tokenmint.exchange.actors import check_actors, check_current
from tokenmint.exchange.attempt import Attempt, Trace
from tokenmint.exchange.retention import seconds_to_keep
from tokenmint.formats.minter import Minter
from tokenmint.issued.verifier import IssuedTokenVerifier, as_verified_token
from tokenmint.model.issued import ActorName, IssuedToken, actors_in
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Actor, Audience, Client, ExchangeRequest, OnMissingProfile, TokenGrant
from tokenmint.model.profile import Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, REFRESH_TOKEN, TXN_TOKEN, VerifiedToken
from tokenmint.policy.delegation import bound_to, check_possession
from tokenmint.policy.grant import Policy
from tokenmint.profiles.resolve import ProfileLookup, Profiles
from tokenmint.revocation.bulk import BulkRevocations
from tokenmint.revocation.entries import Kind
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

OF_OURS: Final = frozenset({ACCESS_TOKEN, JWT, REFRESH_TOKEN, TXN_TOKEN})
"""The kinds as which an issued token may come back."""


class Evidence(NamedTuple):
    """A token of a request that identifies its subject or its actor."""

    token: Secret
    token_type: str
    nonce: str | None
    step: Callable[[str], None]
    """Records the name of each step of its verification."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """An authenticated party (subject or actor) and the evidence."""

    verified: VerifiedToken
    issued: IssuedToken | None
    """The token, if it is an issued one."""
    lookup: ProfileLookup
    actors: tuple[ActorName, ...] = ()
    """The actors that its token names, the current one first."""
    acting: ProfileLookup | None = None
    """The current one's profile, if it is known."""


def _always_serving() -> None:
    """Never raises: for exchanges without a clock or a store that could be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchange:
    """Verifies, enriches, decides, mints. Immutable: a call uses one configuration from end to end."""

    verifier: Verifier
    issued_tokens: IssuedTokenVerifier
    profiles: Profiles
    policy: Policy
    minter: Minter
    replay: ReplayGuard
    clock: Clock
    serving: Callable[[], None] = _always_serving
    """Raises an error if no token can be verified or minted now, because of the clock or the store."""
    bulk: BulkRevocations = field(default_factory=BulkRevocations)
    """The revocations by client, audience and provider."""
    require_revocations: Callable[[], None] = _always_serving
    """Raises ``DependencyUnavailable`` if this process may lack some of them for too long."""

    def under(self, verifier: Verifier, policy: Policy) -> "TokenExchange":
        """Return the same exchange with another configuration (reload)."""
        return replace(self, verifier=verifier, policy=policy)

    async def exchange(self, request: ExchangeRequest, client: Client, trace: Trace | None = None) -> MintedToken:
        """Exchange a subject token for one token.

        Raises:
            TokenRejected: the subject or actor token was refused, or used before.
            AccessDenied: the client is not authorized for this.
            DependencyUnavailable: keys, store or signer are out of reach, or the clock is wrong.
            StoreWentBack: the store lost changes.
        """
        attempt = Attempt(request, client, self.clock.now(), trace or Trace())
        audience = self.admit(attempt)
        subject = await self.verify_subject(attempt)
        actor = await self.verify_actor(attempt)
        grant = await self.decide(attempt, audience, subject, actor)
        minted = await self._mint(attempt, grant)
        single = single_use(audience, subject, actor)
        for verified in single:
            await self._consume(attempt, verified, (request,))
        attempt.trace.keep = seconds_to_keep(
            bound=audience.gateway_cache, ends=(minted.expires_at, subject.verified.expires_at),
            began=attempt.now, now=self.clock.now(), single_use=bool(single),
        )  # fmt: skip
        return minted

    async def exchange_batch(
        self, requests: Sequence[ExchangeRequest], client: Client, trace: Trace | None = None
    ) -> list[MintedToken | AccessDenied | DependencyUnavailable]:
        """Exchange one subject token, the same in all ``requests``, for several tokens. It is verified once.

        Returns a token or the refusal for each request, in order. A fault of the subject or actor token fails the whole
        batch.

        Raises: as :meth:`exchange`.
        """
        first = Attempt(requests[0], client, self.clock.now(), trace or Trace())
        subject = await self.verify_subject(first)
        actor = await self.verify_actor(first)
        results: list[MintedToken | AccessDenied | DependencyUnavailable] = []
        consumed: list[VerifiedToken] = []
        for request in requests:
            attempt = Attempt(request, client, first.now, first.trace)
            try:
                audience = self.admit(attempt)
                grant = await self.decide(attempt, audience, subject, actor)
                results.append(await self._mint(attempt, grant))
                single = single_use(audience, subject, actor)
                consumed = single if len(single) > len(consumed) else consumed
            except (AccessDenied, DependencyUnavailable) as refusal:
                results.append(refusal)
        for verified in consumed:
            await self._consume(first, verified, requests)
        return results

    # --- steps, also of a dry run ------------------------------------------------------------------------

    def admit(self, attempt: Attempt) -> Audience:
        """Return the audience, if the client may request it at all."""
        attempt.trace.step("policy.client")
        return self.policy.admit(attempt.client, attempt.request)

    async def verify_subject(self, attempt: Attempt) -> Authenticated:
        """Verify the subject token and look up its principal."""
        self.serving()
        request, trace = attempt.request, attempt.trace
        trace.token_sha256 = request.subject_token.fingerprint()
        evidence = Evidence(request.subject_token, request.subject_token_type, request.nonce, trace.step)
        subject = await self._verify(attempt, evidence)
        trace.provider = subject.verified.provider
        return subject

    async def verify_actor(self, attempt: Attempt) -> Authenticated | None:
        """Verify the actor token, if there is one."""
        request = attempt.request
        if request.actor_token is None:
            return None
        kind = request.actor_token_type or ID_TOKEN
        return await self._verify(attempt, Evidence(request.actor_token, kind, None, attempt.trace.actor_step))

    async def decide(
        self, attempt: Attempt, audience: Audience, subject: Authenticated, actor: Authenticated | None
    ) -> TokenGrant:
        """Decide the content of the minted token."""
        request, client, step = attempt.request, attempt.client, attempt.trace.step
        step("policy.provider")
        verified = self.policy.derive(subject.verified, client, request)
        self.policy.admit_subject(audience, verified, client, request, subject.issued)
        acting = None
        if actor is not None:
            step("policy.actor")
            self.policy.admit_actor(audience, verified, actor.verified, client, request, actor.issued)
            # No profile is created for an actor.
            found = await self._profile_of(attempt, actor, audience, create=False)
            own = self.policy.derive(actor.verified, client, request)
            acting = Actor(found.principal, own, found, actor.issued.client_id if actor.issued is not None else "")
        elif subject.actors:
            acting = _last_actor(subject)
        step("profile.missing")
        profile = await self._profile_of(attempt, subject, audience, create=not attempt.dry)
        step("policy.decision")
        return self.policy.decide(
            request, client, audience, verified, profile, now=attempt.now, issued=subject.issued, actor=acting
        )

    async def _verify(self, attempt: Attempt, evidence: Evidence) -> Authenticated:
        token, step = evidence.token, evidence.step
        kind = evidence.token_type
        if kind in OF_OURS and self.issued_tokens.recognises(token, kind):
            return await self._verify_issued(attempt, evidence)
        self._check_length(token)
        try:
            verified = await self.verifier.verify(
                token, kind, nonce=evidence.nonce, now=attempt.now, observe=step, fetch=not attempt.dry
            )
        except TokenRejected as refusal:
            if not attempt.client.public:
                refusal.tell()
            raise
        bound = bound_to(verified)
        if not attempt.dry:  # a dry run can't prove possession: assume that the caller holds the bound key
            check_possession(attempt.request.possession, bound)
        self.require_revocations()
        if self.bulk.covers(Kind.PROVIDER, verified.provider, verified.issued_at):
            raise TokenRevoked("the tokens of its provider were revoked: sign in again", detail=verified.provider)
        step("profile.find")
        lookup = await self.profiles.find(verified)
        actors = actors_in(verified.claims, verified.issuer)
        providers_of = partial(self.verifier.named_by_sub, of=verified)
        check_current(actors, verified.issuer, providers_of)
        acting = await check_actors(self.profiles, actors, verified.issued_at, providers_of)
        return Authenticated(verified, None, lookup, actors, acting)

    def _check_length(self, token: Secret) -> None:
        """Refuse a token that is too long, as a mistake of the request. Raises ``InvalidRequest``."""
        size, most = len(token.reveal_bytes()), self.verifier.max_token
        if size > most:
            reason = f"the token has {size} bytes, and at most {most} are accepted (limits.token_bytes)"
            raise InvalidRequest([FieldViolation("subject_token", reason)])

    async def _verify_issued(self, attempt: Attempt, evidence: Evidence) -> Authenticated:
        step = evidence.step
        step("own.signature")
        issued = await self.issued_tokens.identify(evidence.token, now=attempt.now)
        if (issued.kind == TXN_TOKEN) != (evidence.token_type == TXN_TOKEN):
            raise UnsupportedTokenType(detail=f"an issued token of the kind {issued.kind}")
        step("policy.own_token")
        request = attempt.request
        if attempt.dry:  # as in _verify
            request = replace(request, possession=issued.binding)
        self.policy.admit_issued(attempt.client, request, issued)
        step("own.revocation")  # not earlier: only authorized clients may learn it
        await self.issued_tokens.check_revoked(issued)
        step("profile.find")
        lookup = await self.profiles.find_principal(issued.principal, issued.issued_at)
        acting = await check_actors(self.profiles, issued.actors, issued.issued_at, self.verifier.named_by_sub)
        if not attempt.dry:
            issued = await self.issued_tokens.issued.used(issued, now=attempt.now)
        verified = as_verified_token(issued, issuer=self.issued_tokens.issuer)
        return Authenticated(verified, issued, lookup, issued.actors, acting)

    async def _profile_of(self, attempt: Attempt, party: Authenticated, audience: Audience, *, create: bool) -> Profile:
        mode = audience.on_missing_profile
        if mode is OnMissingProfile.CREATE and not create:
            mode = OnMissingProfile.WITHOUT
        return await self.profiles.apply_missing_profile_policy(party.lookup, mode, now=attempt.now)

    # --- steps that change something -----------------------------------------------------------------------------

    async def _mint(self, attempt: Attempt, grant: TokenGrant) -> MintedToken:
        attempt.trace.granted(grant)
        check_deadline()
        self.require_revocations()
        if wait := self.bulk.wait(grant.client_id, grant.audience, grant.issued_at):
            raise JustRevoked(retry_after=wait)
        attempt.trace.step("minting")
        minted = await self.minter.mint(grant)
        attempt.trace.minted.append((grant.audience, minted))
        return minted

    async def _consume(self, attempt: Attempt, verified: VerifiedToken, requests: Sequence[ExchangeRequest]) -> None:
        check_deadline()  # nothing is used up for a caller that is gone
        attempt.trace.step("replay.claim")
        request_id, client_id = attempt.request.request_id, attempt.client.client_id
        await self.replay.consume(
            verified, client_id, request_id, now=attempt.now, request_fingerprint=_fingerprint_of(requests)
        )


def _last_actor(subject: Authenticated) -> Actor:
    """Return the party that acts by the subject token's `act` alone."""
    lookup = subject.acting
    if lookup is None:
        return Actor("")
    return Actor(lookup.profile.principal if lookup.profile is not None else lookup.principal, profile=lookup.profile)


def single_use(audience: Audience, subject: Authenticated, actor: Authenticated | None) -> list[VerifiedToken]:
    """Return the single-use tokens: by their provider's rule, or the subject's by the audience's rule."""
    verified = [subject.verified] if audience.single_use or subject.verified.single_use else []
    return verified + ([actor.verified] if actor is not None and actor.verified.single_use else [])


def _transaction_of(request: ExchangeRequest) -> tuple[tuple[str, object], ...]:
    return ("request_context", request.request_context), ("request_details", request.request_details)


def _fingerprint_of(requests: Sequence[ExchangeRequest]) -> str:
    """Return a hash of the requests; a retry has the same hash, another request has not."""
    fields = [
        [
            item.audience,
            item.subject_token_type,
            sorted(item.scopes),
            item.lifetime,
            item.requested_token_type,
            item.nonce,
            item.actor_token.fingerprint() if item.actor_token is not None else None,
            item.binding.claim(),
            *sorted(item.named),
            *({name: given} for name, given in _transaction_of(item) if given is not None),
        ]
        for item in requests
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()

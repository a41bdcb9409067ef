"""The fast way of an exchange or a batch, in the order of the full way (`exchange/exchange.py`).

It accepts requests only, and a batch only if it accepts all of its tokens. For a request that is unusual or would be
refused it returns None. The call then takes the full way, which is the specification and writes refusals. The fast way
changes nothing until all tokens are signed, so such a call is not counted twice. It waits only for rate limits and
profiles that are not in memory, and for signatures that need a thread or another machine. Calls that arrive together
wait together.

The order may differ from the full way's if no caller can notice: every check except the signature's depends only on the
token and the configuration, and comes before it. The store's data about the subject is checked after the signature, as
on the full way.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.gate import log_internal
from tokenmint.admission.rate_limit import Lot, RateLimiter
from tokenmint.base.clock import Clock
from tokenmint.base.errors import TokenmintError
from tokenmint.base.telemetry import Metrics
from tokenmint.base.trace_context import TraceContext
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.exchange.retention import seconds_to_keep
from tokenmint.fast.computing import Material, computed_of
from tokenmint.fast.minting import Minted, Proved, Unsigned, event_of, minted_of, unsigned_of, varying_of
from tokenmint.fast.people import People, Person, Wanted
from tokenmint.fast.plans import Plan, Plans, Read
from tokenmint.fast.tokens import Tokens, evened, subject_of
from tokenmint.formats.format import TOKEN_ID_BYTES
from tokenmint.keys.signers.together import sign_all, sign_at_once
from tokenmint.keys.signers.types import Signer
from tokenmint.model.policy import Client
from tokenmint.profiles.near_cache import NearCache
from tokenmint.revocation.entries import Kind
from tokenmint.verification.jws import decode_segment, parse_object

SIGNATURES: Final = 4096  # cached good signatures, by the SHA-256 of their token


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the service that the fast way shares with the full way."""

    near: NearCache
    limiter: RateLimiter
    audit: AuditTrail
    metrics: Metrics
    clock: Clock


class Unpaid(NamedTuple):
    """An exchange for which no lot in memory has a place. No part of it has begun."""

    plan: Plan
    token: bytes


class Waiting(NamedTuple):
    """An exchange whose token is verified, and whose profile the near cache lacks."""

    plan: Plan
    proved: Proved
    wanted: Wanted
    paid: tuple[Lot, ...] | None


class Signing(NamedTuple):
    """An exchange whose tokens wait for signatures."""

    plan: Plan
    proved: Proved
    principal: str
    tokens: Sequence[Unsigned]
    paid: tuple[Lot, ...] | None


Unfinished: TypeAlias = Unpaid | Waiting | Signing
"""An exchange that waits. ``paid``: the lots in which it was counted after it had to wait for one."""
Fetched: TypeAlias = tuple[Lot, ...] | Person | list[bytes] | None
"""The lots, the profile or the signatures that it waits for; None: the full way has to decide."""


class _Ready(NamedTuple):
    """The parts of an exchange that the service has at one moment."""

    instant: float
    """The moment (monotonic)."""
    signers: tuple[Signer, ...]
    """Those of the plan."""
    lots: tuple[Lot, ...]
    """The lots that have a place for it, if they are in memory."""
    paid: tuple[Lot, ...] | None
    """The lots in which it was counted already."""


class FastExchange:
    """The fast way under one configuration. A reload makes a new one with empty caches.

    Args:
        exchange: the full way.
        clients: the clients of this configuration, by id.
        service: the parts that both ways share.
    """

    def __init__(self, exchange: TokenExchange, clients: Mapping[str, Client], service: Service) -> None:
        self._exchange = exchange
        self._by_secret = {(one.client_id, digest): one for one in clients.values() for digest in one.secret_hashes}
        self._service = service
        policy, verifier = exchange.policy, exchange.verifier
        self._tokens = Tokens(verifier, frozenset(filter(policy.is_plain, verifier.providers)))
        self._people = People(service.near, frozenset(verifier.providers), service.clock)
        self._signatures: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._plans: dict[str, Plans] = {}
        self._events: list[bytes] = []
        self._ended: list[tuple[str, tuple[str, ...], float, str]] = []

    def plans(self, method: str, read: Read, *, batch: bool = False) -> Plans:
        """Return the plans of one method; ``batch`` as in :class:`Plans`."""
        known = self._plans.get(method)
        if known is None:
            buckets_of = self._service.limiter.buckets_of
            known = self._plans[method] = Plans(self._exchange, method, read, buckets_of, batch=batch)
        return known

    def client(self, identifier: str, secret: str) -> Client | None:
        """Authenticate a client by its secret (``ClientAuthenticator._by_secret``).

        The look-up is by a hash, which callers can't choose, so its duration reveals nothing about secrets or clients.
        """
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
        return self._by_secret.get((identifier, digest)) if secret else None

    def exchange(
        self, plan: Plan, token: bytes, paid: tuple[Lot, ...] | None = None
    ) -> list[Minted] | Unfinished | None:
        """Exchange one subject token for the tokens of a plan, all of them, or return None without any effect.

        An unfinished exchange waits for the results of :meth:`fetch`; then :meth:`finish` continues it.

        The comments name the function of the full way that each step repeats.
        """
        service = self._service
        now, instant = service.clock.now(), service.clock.monotonic()
        signers = self._signers(plan)
        if signers is None:
            return None
        # Gate.enter: the rate limits have places for this call, which takes them when it has succeeded.
        lots = service.limiter.at_hand(plan.buckets, instant, plan.cost) if paid is None else ()
        if lots is None:
            return None if service.limiter.refuses(plan.buckets, instant) else Unpaid(plan, token)
        # TokenExchange.admit, for each target: in the plan.
        # TokenExchange._verify: the token, once, then its principal.
        proved = self._verify(plan, token, now)
        if proved is None:
            return None
        # TokenExchange._verify: its provider's tokens are not revoked. Policy.admit_subject, for all targets.
        if proved.provider not in plan.providers or self._provider_revoked(proved):
            self._pass_on(proved)
            return None
        # Profiles.find and Profiles.apply_missing_profile_policy: there is a profile, and it may be served.
        person = self._people.find(proved.provider, proved.subject, plan.templates, instant)
        if isinstance(person, Wanted):
            return Waiting(plan, proved, person, paid)
        return self._mint(plan, proved, person, _Ready(instant, signers, lots, paid))

    async def fetch(self, unfinished: Sequence[Unfinished]) -> list[Fetched]:
        """Return the results for which exchanges wait."""
        signing = [one for one in unfinished if isinstance(one, Signing)]
        others = [one for one in unfinished if not isinstance(one, Signing)]
        if not others:
            return await self._sign(signing)
        if not signing:
            return await asyncio.gather(*map(self._fetch, others))
        signed, fetched = map(iter, await asyncio.gather(self._sign(signing), self.fetch(others)))
        return [next(signed if isinstance(one, Signing) else fetched) for one in unfinished]

    async def _fetch(self, unfinished: Unpaid | Waiting) -> Fetched:
        try:
            if isinstance(unfinished, Unpaid):
                return await self._service.limiter.pay(unfinished.plan.buckets, unfinished.plan.cost)
            return await self._people.fetch(unfinished.wanted)
        except TokenmintError:
            return None

    async def _sign(self, signing: Sequence[Signing]) -> list[Fetched]:
        """Sign the tokens of exchanges: all that take a thread together (``Signer.sign``)."""
        made = iter(await sign_all([(token.signer, token.text) for one in signing for token in one.tokens]))
        found: list[Fetched] = []
        for one in signing:
            signatures = [signature for signature in islice(made, len(one.tokens)) if signature is not None]
            found.append(signatures if len(signatures) == len(one.tokens) else None)
        return found

    def finish(self, unfinished: Unfinished, fetched: Fetched) -> list[Minted] | Unfinished | None:
        """Continue an exchange, as :meth:`exchange` does, with the current signers, limits and audit trail."""
        if isinstance(unfinished, Unpaid):
            paid = fetched if isinstance(fetched, tuple) else None
            result = self.exchange(unfinished.plan, unfinished.token, paid) if paid is not None else None
        else:
            paid = unfinished.paid
            result = self._go_on(unfinished, fetched)
            if result is None:
                self._pass_on(unfinished.proved)
        if result is None and paid is not None:  # the full way counts the call
            self._service.limiter.refund(paid, unfinished.plan.cost)
        return result

    def _go_on(self, unfinished: Waiting | Signing, fetched: Fetched) -> list[Minted] | Signing | None:
        plan, instant = unfinished.plan, self._service.clock.monotonic()
        signers = self._signers(plan)
        lots = self._service.limiter.at_hand(plan.buckets, instant, plan.cost) if unfinished.paid is None else ()
        if signers is None or lots is None:
            return None
        ready = _Ready(instant, signers, lots, unfinished.paid)
        if isinstance(unfinished, Waiting):
            return self._mint(plan, unfinished.proved, fetched, ready) if isinstance(fetched, Person) else None
        if not isinstance(fetched, list):
            return None
        signed = zip(unfinished.tokens, fetched, strict=True)
        return self._signed(plan, unfinished.proved, unfinished.principal, signed, ready)

    def _signers(self, plan: Plan) -> tuple[Signer, ...] | None:
        """Return the plan's signers, if an exchange may begin or end now."""
        # Gate.admit: an exchange that can't be recorded does not begin.
        if not self._service.audit.takes_exchanges:
            return None
        # TokenExchange.verify_subject: the clock and the store are trusted. TokenExchange._verify: no revocation is
        # missed. Minter.mint: the ring is trusted.
        try:
            self._exchange.serving()
            self._exchange.require_revocations()
            return tuple(map(plan.kit.signer, plan.signing))
        except TokenmintError:
            return None

    def _mint(self, plan: Plan, proved: Proved, person: Person | None, ready: _Ready) -> list[Minted] | Signing | None:
        """Mint for a principal. ``Signing``: a signature takes a thread, or another machine."""
        # Profiles._issued_before_revocation. TokenExchange._mint: what is minted is not revoked already.
        if person is None or proved.issued_at <= person.valid_after or self._just_revoked(plan, proved):
            self._pass_on(proved)
            return None
        if self._revoked_elsewhere(proved, person):
            self._pass_on(proved)
            return None
        # Policy.decide, for each target: in the plan, except for CEL. TokenExchange._mint, for each: all texts before
        # all signatures.
        tokens: list[Unsigned] = []
        drawn, place = plan.kit.entropy(TOKEN_ID_BYTES * plan.cost), 0
        varying: dict[int, bytes | None] = {}  # claims that several targets share
        for target in plan.targets:
            own = drawn[place : place + TOKEN_ID_BYTES]
            signer = ready.signers[target.signer]
            if target.computed or not proved.rules.plain:
                unsigned = computed_of(self._exchange.policy, plan, target, Material(proved, person, signer, own))
            else:
                if target.varying not in varying:
                    varying[target.varying] = varying_of(target, proved, person)
                claims, unsigned = varying[target.varying], None
                if claims is not None:
                    unsigned = unsigned_of(target, plan.kit, proved, person.subject, claims, signer, own)
            if unsigned is None:
                self._pass_on(proved)
                return None
            tokens.append(unsigned)
            place += TOKEN_ID_BYTES
        if not sign_at_once(ready.signers):
            return Signing(plan, proved, person.principal, tokens, ready.paid)
        signed: list[tuple[Unsigned, bytes]] = []
        for token in tokens:
            signed.append((token, ready.signers[token.target.signer].sign_now(token.text)))  # noqa: PERF401  # quicker
        return self._signed(plan, proved, person.principal, signed, ready)

    def _revoked_elsewhere(self, proved: Proved, person: Person) -> bool:
        spread = self._exchange.profiles.spread
        after = spread(person.principal) if spread is not None else None
        return after is not None and proved.issued_at <= after

    def _provider_revoked(self, proved: Proved) -> bool:
        bulk = self._exchange.bulk
        return bool(bulk) and bulk.covers(Kind.PROVIDER, proved.provider, proved.issued_at)

    def _just_revoked(self, plan: Plan, proved: Proved) -> bool:
        bulk = self._exchange.bulk
        return bool(bulk) and any(bulk.wait(plan.client.client_id, one, proved.second) for one in plan.audiences)

    def _signed(
        self, plan: Plan, proved: Proved, principal: str, signed: Iterable[tuple[Unsigned, bytes]], ready: _Ready
    ) -> list[Minted] | None:
        """End the exchange with its tokens, and record it."""
        minted = []
        for unsigned, signature in signed:
            token = minted_of(unsigned, signature, proved, principal)
            if token is None:
                self._pass_on(proved)
                return None
            minted.append(token)
        self._service.limiter.spend(ready.lots, ready.instant, plan.cost)
        self._events.append(event_of(plan, proved, minted))
        return minted

    def _pass_on(self, proved: Proved) -> None:
        """Note a good signature for the full way, which the call takes next, so that it is not verified again."""
        self._exchange.verifier.signatures.note(proved.digest, proved.signed)

    def _verify(self, plan: Plan, token: bytes, now: float) -> Proved | None:
        """Verify a token (``Verifier.verify``)."""
        # parse_compact, split_compact. The characters of each part are checked where it is decoded.
        parts = token.split(b".", 3) if len(token) <= self._tokens.max_token else ()
        if len(parts) != 3 or not parts[0]:
            return None
        header, payload, signature = parts
        try:
            claims = parse_object(decode_segment(payload, "payload"), "payload")
        except TokenmintError:
            return None
        issuer = claims.get("iss")
        if type(issuer) is not str:
            return None
        # Verifier._provider, check_kind, and the key of Verifier._check_signature
        rules = self._tokens.rules(header, issuer, plan.subject_token_type)
        if rules is None:
            return None
        # normalised, check_times, check_audience, check_claims, subject, _replay_id
        claims = evened(rules, claims)
        subject = subject_of(rules, claims, now)
        issued_at = claims.get("iat")
        if subject is None or not isinstance(issued_at, int | float):  # what takes the place of `iat`: the full way
            return None
        # Verifier._check_signature: cached if it was good, for this provider and key.
        digest = hashlib.sha256(token).hexdigest()
        if self._signatures.get(digest) != rules.signed:
            try:
                signed = decode_segment(signature, "signature")
            except TokenmintError:
                return None
            if not rules.key.verify(rules.algorithm, token[: len(header) + 1 + len(payload)], signed):
                return None
            self._signatures[digest] = rules.signed
            if len(self._signatures) > SIGNATURES:
                self._signatures.popitem(last=False)
        return Proved(rules.provider.name, subject, int(issued_at), claims, digest, rules.signed, int(now), now, rules)

    def keep(self, minted: Minted) -> int:
        """Return for how many seconds a gateway may give a token again (``TokenExchange.exchange``)."""
        proved = minted.proved
        ends = proved.claims.get("exp")
        return seconds_to_keep(
            bound=minted.target.audience.gateway_cache,
            ends=(minted.expires_at, ends if isinstance(ends, int | float) else 0),
            began=proved.now,
            now=self._service.clock.now(),
            single_use=False,  # such tokens have no plan
        )

    def ended(
        self, method: str, plan: Plan, seconds: float, code: str = "OK", parent: TraceContext | None = None
    ) -> None:
        """Note that a call was answered (``Gate.ended``, ``Gate.minted``); :meth:`write` records it.

        ``parent``: the caller's place in a trace, for the event of the exchange that ended last, which is this one's.
        """
        if parent is not None:
            self._events[-1] += b',"trace_id":"%b","span_id":"%b"' % (parent.trace_id.encode(), parent.span_id.encode())
        self._ended.append((method, plan.audiences, seconds, code))

    def write(self) -> None:
        """Record the exchanges since the last call, before any of their answers is sent. Never raises."""
        events, self._events = self._events, []
        ended, self._ended = self._ended, []
        try:
            self._service.metrics.minted_calls(ended)
        except Exception as error:  # noqa: BLE001  # as Gate.ended: what comes after this are the answers
            log_internal(ended[0][0], error)
        if not events:
            return
        try:
            self._service.audit.note_minted(events)
        except Exception as error:  # noqa: BLE001  # as above
            log_internal("", error)


InForce = Callable[[], FastExchange]
"""Returns the fast way of the configuration in force."""

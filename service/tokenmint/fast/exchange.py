"""The fast way of one exchange, in the order of the full way (`exchange/exchange.py`).

It recognises only acceptances. A refusal or an odd request makes it return None; the call then takes the full way,
which is the specification and words refusals. The fast way changes nothing until a token is signed, so such a call was
not counted. It waits only for a profile that the near cache lacks, and for many calls together.

The order may differ from the full way's if no caller can notice: every check except the signature's depends only on the
token and the configuration, and comes before it. The store's data about the subject is checked after it, as there.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.gate import log_internal
from tokenmint.admission.rate_limit import Lot, RateLimiter
from tokenmint.base.clock import Clock
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import TokenmintError
from tokenmint.base.telemetry import Metrics
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.fast.people import People, Person, Wanted
from tokenmint.fast.plans import Plan, Plans, Read, header_of
from tokenmint.fast.tokens import Tokens, evened, subject_of
from tokenmint.formats.format import TOKEN_ID_BYTES
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.policy import Client
from tokenmint.model.tokens import JsonValue, at_path
from tokenmint.profiles.near_cache import NearCache
from tokenmint.verification.jws import ALPHABET, decode_segment, parse_object

SIGNATURES: Final = 4096  # cached good signatures, by the SHA-256 of their token


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the service that the fast way shares with the full way."""

    near: NearCache
    limiter: RateLimiter
    audit: AuditTrail
    metrics: Metrics
    clock: Clock


class Proved(NamedTuple):
    """A verified subject token."""

    provider: str
    subject: str
    issued_at: int
    claims: Mapping[str, JsonValue]
    digest: str
    """SHA-256 of the token in hex."""
    signed: tuple[str, str]
    """The provider, and the thumbprint of its key."""
    second: int
    """The time of its verification, and of the minted token."""


class Waiting(NamedTuple):
    """An exchange whose token is verified, and whose profile the near cache lacks."""

    plan: Plan
    proved: Proved
    wanted: Wanted


class _Ready(NamedTuple):
    """What an exchange takes of the service at one moment."""

    instant: float
    """The moment (monotonic)."""
    lots: tuple[Lot, ...]
    """The places of its rate limits."""
    signer: LocalSigner


class Minted(NamedTuple):
    """A minted token."""

    token: bytes
    token_id: bytes
    key_id: str
    expires_at: int
    principal: str


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
        self._ended: list[tuple[str, str, float]] = []

    def plans(self, method: str, read: Read) -> Plans:
        """Return the plans of one method."""
        known = self._plans.get(method)
        if known is None:
            known = self._plans[method] = Plans(self._exchange, method, read, self._service.limiter.buckets_of)
        return known

    def client(self, identifier: str, secret: str) -> Client | None:
        """Authenticate a client by its secret (``ClientAuthenticator._by_secret``).

        The look-up is by a hash, which no caller can steer, so that its time tells nothing about secrets or clients.
        """
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
        return self._by_secret.get((identifier, digest)) if secret else None

    def exchange(self, plan: Plan, token: bytes) -> Minted | Waiting | None:
        """Exchange one subject token for one token, or return None without any effect.

        ``Waiting``: :meth:`fetch` has to bring the profile, and :meth:`finish` ends the exchange.

        The comments name the function of the full way that each step repeats.
        """
        service = self._service
        now, instant = service.clock.now(), service.clock.monotonic()
        ready = self._ready(plan, instant)
        if ready is None:
            return None
        # TokenExchange.admit: in the plan.
        # TokenExchange._verify: the token, then its principal.
        proved = self._verify(plan, token, now)
        if proved is None:
            return None
        # Policy.admit_subject.
        if proved.provider not in plan.providers:
            self._pass_on(proved)
            return None
        # Profiles.find and Profiles.apply_missing_profile_policy: there is a profile, and it may be served.
        person = self._people.find(proved.provider, proved.subject, plan.of_profile, instant)
        if isinstance(person, Wanted):
            return Waiting(plan, proved, person)
        return self._finish(plan, proved, person, ready)

    async def fetch(self, waiting: Sequence[Waiting]) -> list[Person | None]:
        """Return the profiles that exchanges wait for. None: the full way has to decide."""
        return await self._people.fetch([one.wanted for one in waiting])

    def finish(self, waiting: Waiting, person: Person | None) -> Minted | None:
        """Finish an exchange with its profile, as :meth:`exchange`. Signer, limits and times are those of now."""
        ready = self._ready(waiting.plan, self._service.clock.monotonic())
        if ready is None:
            self._pass_on(waiting.proved)
            return None
        return self._finish(waiting.plan, waiting.proved, person, ready)

    def _ready(self, plan: Plan, instant: float) -> _Ready | None:
        """Return what an exchange takes at this moment of the service; None if something is not at hand."""
        service = self._service
        # Gate.admit: an exchange that can't be recorded does not begin.
        if not service.audit.takes_exchanges:
            return None
        # Gate.enter: the rate limits have a place for this call, which takes it when it has succeeded.
        lots = service.limiter.at_hand(plan.buckets, instant)
        if lots is None:
            return None
        # TokenExchange.verify_subject: the clock and the store are trusted. Minter.mint: the ring is.
        try:
            self._exchange.serving()
            signer = plan.kit.signer(plan.grant)
        except TokenmintError:
            return None
        return _Ready(instant, lots, signer) if isinstance(signer, LocalSigner) else None

    def _finish(self, plan: Plan, proved: Proved, person: Person | None, ready: _Ready) -> Minted | None:
        """Mint for a principal, and record it."""
        service = self._service
        # Profiles._issued_before_revocation.
        if person is None or proved.issued_at <= person.valid_after:
            self._pass_on(proved)
            return None
        # Policy.decide: in the plan. TokenExchange._mint.
        minted = self._mint(plan, proved, person, ready.signer)
        if minted is None:
            self._pass_on(proved)
            return None
        service.limiter.spend(ready.lots, ready.instant)
        # Gate.ended: the event.
        self._events.append(
            b"".join(
                (
                    plan.audit, proved.digest.encode(), b'","provider":"', proved.provider.encode(), b'","principal":"',
                    minted.principal.encode(), b'","minted":[{"jti":"', minted.token_id, b'","kid":"',
                    minted.key_id.encode(), b'"}]',
                )
            )
        )  # fmt: skip
        return minted

    def _pass_on(self, proved: Proved) -> None:
        """Note a good signature for the full way, which comes next and need not verify it again."""
        self._exchange.verifier.signatures.note(proved.digest, proved.signed)

    def _verify(self, plan: Plan, token: bytes, now: float) -> Proved | None:
        """Verify a token (``Verifier.verify``)."""
        # parse_compact, split_compact
        if len(token) > self._tokens.max_token or token.translate(None, ALPHABET) != b"..":
            return None
        header, payload, signature = token.split(b".")
        if not header:
            return None
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
        return Proved(rules.provider.name, subject, int(issued_at), claims, digest, rules.signed, int(now))

    def _mint(self, plan: Plan, proved: Proved, person: Person, signer: LocalSigner) -> Minted | None:
        """Mint a JWT (``formats.jwt.signed``, ``claims_of``, ``Policy._claims``)."""
        if plan.key_id != signer.key_id:
            plan.header, plan.key_id = header_of(plan, signer.key_id), signer.key_id
        second = proved.second
        if plan.second != second:
            plan.second, plan.times = second, times_of(second, second + plan.grant.expires_at)
        token_id = encode_segment(plan.kit.entropy(TOKEN_ID_BYTES))
        claims = [plan.claims, b'"', person.principal.encode(), b'"', plan.times, token_id, b'"']
        for before in plan.of_provider:
            claims += before, orjson.dumps(proved.provider)
        try:
            for before, path in plan.of_token:
                value = at_path(proved.claims, path)
                if value is not None:
                    claims += before, orjson.dumps(value)
        except TypeError:  # an integer beyond 64 bits, for which the full way has another codec
            return None
        claims += person.claims, b"}"
        unsigned = plan.header + encode_segment(b"".join(claims))
        if len(unsigned) > plan.grant.max_token_bytes:
            return None
        signature = signer.sign_now(unsigned)
        if signature is None:
            return None
        token = unsigned + b"." + encode_segment(signature)
        if len(token) > plan.grant.max_token_bytes:
            return None
        return Minted(token, token_id, signer.key_id, second + plan.grant.expires_at, person.principal)

    def ended(self, method: str, audience: str, seconds: float) -> None:
        """Note that a call was answered (``Gate.ended``, ``Gate.minted``); :meth:`write` records it."""
        self._ended.append((method, audience, seconds))

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


def times_of(second: int, expires_at: int) -> bytes:
    """Return the claims of a token's times as JSON, and `jti` up to its value."""
    return b',"exp":%d,"iat":%d,"nbf":%d,"jti":"' % (expires_at, second, second)


InForce = Callable[[], FastExchange]
"""Returns the fast way of the configuration in force."""

"""The wiring: settings become the parts of a service. Only this module makes adapters and passes them on.

Every part gets its clock and entropy passed in, so that a test can run the whole service and control its time.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from grpc_health.v1.health import aio as health_aio

from tokenmint.admission.audit import AuditLimits, AuditTrail
from tokenmint.admission.callers import Callers, ClientAuthenticator
from tokenmint.admission.gate import ClientExchanges, Gate
from tokenmint.admission.rate_limit import Rate, RateLimiter, RateLimits
from tokenmint.base.background import Background
from tokenmint.base.capacity import Capacity
from tokenmint.base.clock import Clock
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics
from tokenmint.config.settings import Settings, client_provider, issuer_of, provider_claims, provider_conditions
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.exchange.introspection import Tokens
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.formats.format import Kit
from tokenmint.formats.minter import Minter
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.formats.table import header_types, prefixes
from tokenmint.issued.store import IssuedStore
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.store import RingStore
from tokenmint.policy.grant import Policy
from tokenmint.process import bootstrap
from tokenmint.process.supervisor import Job
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.resolve import Profiles
from tokenmint.profiles.store import ProfileStore
from tokenmint.rpc.forwarded import ForwardedCertificates
from tokenmint.storage.redis import Store
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.users import UserCheck
from tokenmint.verification.verifier import Verifier

log = structlog.get_logger(__name__)

WAITING_SHARE: Final = 4
"""One in this many calls may wait for providers' keys, as many for clients' keys, and as many for Firebase."""
EMULATED: Final = "https://securetoken.google.com/demo-"
"""Issuers of project ids that Firebase reserves for its emulators; no real project has such an id."""

Entropy = Callable[[int], bytes]
"""``entropy(n)`` returns ``n`` random bytes."""
StoreTime = Callable[[], Awaitable[float]]
"""Returns the store's clock, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts of a service that need no store."""

    settings: Settings
    job: Job
    clock: Clock
    entropy: Entropy
    store_time: StoreTime | None
    """None: ask the server that holds the key ring."""
    log_writer: LineWriter | None
    """The writer of the log; None if another process writes it and its state is unknown."""
    issuer: str
    """The `iss` of tokens."""
    metrics: Metrics
    background: Background
    capacity: Capacity
    readiness: Readiness
    health: health_aio.HealthServicer
    draining: asyncio.Event
    """Set when the stop begins; the service is then not ready."""


@dataclass(frozen=True, slots=True)
class Signing:
    """The parts that keep the signing keys."""

    signing_keys: SigningKeys
    rotator: Rotator
    clocks: ClockCheck
    mark: HighWaterMark
    jwks_clients: JwksFetchLog


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for calls. Each call uses one configuration from end to end."""

    exchange: TokenExchange
    authenticator: ClientAuthenticator


class RulesInForce:
    """The current rules, which a reload replaces as a whole. A call keeps the rules that it began with."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def exchange(self) -> TokenExchange:
        """The current exchange."""
        return self._rules.exchange

    @property
    def authenticator(self) -> ClientAuthenticator:
        """The current authentication of clients."""
        return self._rules.authenticator

    def replace(self, rules: Rules) -> None:
        """Use ``rules`` for the calls that begin from now on."""
        self._rules = rules


@dataclass(frozen=True, slots=True)
class Verifiers:
    """Makes verifiers for providers' tokens, and for the assertions of clients."""

    base: Foundation
    fetch: HttpFetch
    users: UserCheck

    def of(self, providers: Mapping[str, Provider], before: KeySets | None = None) -> Verifier:
        """Return the verifier of these providers, with the keys that ``before`` has loaded."""
        base = self.base
        key_sets = KeySets(
            {name: provider.key_source for name, provider in providers.items()},
            fetch=self.fetch,
            clock=base.clock,
            inherit=before,
            chance=self._chance,
            waiters=max(1, base.settings.limits.calls_in_flight // WAITING_SHARE),
        )
        emulated = frozenset(
            name
            for name, provider in providers.items()
            if provider.issuers and all(issuer.startswith(EMULATED) for issuer in provider.issuers)
        )
        # Both are required, so that neither a file nor the environment alone can enable the emulator.
        allowed = base.job.development and base.settings.firebase_emulator
        return Verifier(
            providers,
            key_sets,
            own_issuer=base.issuer,
            users=self.users,
            emulated=emulated if allowed else frozenset(),
        )

    def _chance(self) -> float:
        return int.from_bytes(self.base.entropy(4)) / 2**32


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a service. A reload changes only ``rules``, and assigns nothing else."""

    base: Foundation
    store: Store
    signing: Signing
    near: NearCache
    profiles: ProfileStore
    verifiers: Verifiers
    rules: RulesInForce
    audit: AuditTrail
    limiter: RateLimiter
    gate: Gate
    exchanges: ClientExchanges
    forwarded: ForwardedCertificates

    @property
    def exchange(self) -> TokenExchange:
        """The current exchange."""
        return self.rules.exchange

    @property
    def signing_keys(self) -> SigningKeys:
        """The signing keys."""
        return self.signing.signing_keys


def foundation(
    settings: Settings,
    job: Job,
    *,
    clock: Clock,
    entropy: Entropy,
    store_time: StoreTime | None = None,
    log_writer: LineWriter | None = None,
) -> Foundation:
    """Return the parts that exist before the store is reached."""
    metrics, readiness, draining = Metrics(), Readiness(), asyncio.Event()
    # Differs between replicas; it is not a secret.
    jitter = random.Random(entropy(8)).random  # noqa: S311
    background = Background(clock, jitter, metrics)
    readiness.tell("background tasks", background.describe)
    readiness.require("service", lambda: "stopping" if draining.is_set() else "")
    if log_writer is not None:
        readiness.tell("log", lambda: log_writer.problem)
    if job.replaces is not None:
        metrics.worker_replaced(job.replaces)
    return Foundation(
        settings=settings,
        job=job,
        clock=clock,
        entropy=entropy,
        store_time=store_time,
        log_writer=log_writer,
        issuer=issuer_of(settings.issuer, job.listen["http"]),
        metrics=metrics,
        background=background,
        capacity=Capacity(settings.limits.calls_in_flight, metrics.not_begun),
        readiness=readiness,
        health=health_aio.HealthServicer(),
        draining=draining,
    )


async def assemble(base: Foundation, closing: contextlib.AsyncExitStack) -> Parts:
    """Connect to the store and make the parts; ``closing`` collects how each is closed.

    Raises:
        ConfigurationError: a part can't be used as configured.
        StoreUnavailable: the store can't be reached.
    """
    settings = base.settings
    url = base.job.redis_url or settings.redis_url or ""
    store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
    closing.push_async_callback(store.close)
    log.info("the store is reached", durability=store.durability)
    signing = await _signing(base, store)
    near = NearCache(store, PREFIXES, 2 * settings.caches.profiles, base.clock)
    profiles = ProfileStore(store, base.clock, near, signing.signing_keys.clocks.right_store_time)
    firebase = FirebaseClients(most=max(1, settings.limits.calls_in_flight // WAITING_SHARE))
    issued = IssuedStore(store)
    issued_tokens = IssuedTokenVerifier(
        issuer=base.issuer,
        key=signing.signing_keys.published_key,
        issued=issued,
        header_types=header_types(settings.formats),
        prefixes=prefixes(settings.formats),
    )
    verifiers = Verifiers(base, HttpFetch(), UserCheck(firebase))
    exchange = TokenExchange(
        verifier=verifiers.of(settings.providers),
        issued_tokens=issued_tokens,
        profiles=Profiles(profiles),
        policy=policy_of(base, settings),
        minter=_minter(base, signing, issued, firebase),
        replay=ReplayGuard(store),
        clock=base.clock,
        serving=signing.signing_keys.require_serving,
    )
    tokens = Tokens(
        issued_tokens=issued_tokens,
        profiles=exchange.profiles,
        clock=base.clock,
        serving=signing.signing_keys.require_serving,
    )
    rules = RulesInForce(Rules(exchange, authenticator_of(verifiers, settings, exchange)))
    audit = _audit(base, store)
    closing.push_async_callback(audit.close)
    limiter = RateLimiter(store, rate_limits(settings), base.clock, base.background.unit("shared rate limits"))
    closing.push_async_callback(limiter.close)
    gate = Gate(lambda: rules.authenticator, limiter, base.metrics, audit, signing.clocks.require)
    return Parts(
        base=base,
        store=store,
        signing=signing,
        near=near,
        profiles=profiles,
        verifiers=verifiers,
        rules=rules,
        audit=audit,
        limiter=limiter,
        gate=gate,
        exchanges=ClientExchanges(lambda: rules.exchange, tokens, gate),
        forwarded=ForwardedCertificates(settings.proxy_hashes),
    )


async def _signing(base: Foundation, store: Store) -> Signing:
    """Return the signing keys, after making the first ones if needed."""
    settings = base.settings
    sealer, sources = bootstrap.key_parts(settings, base.entropy)
    replica = base.entropy(16).hex()
    log.info("the key ring is followed", replica=replica, process=os.getpid())
    ring = RingStore(store)
    clocks = ClockCheck(base.store_time or ring.clock, base.clock, settings.schedule.skew)
    mark = HighWaterMark(settings.high_water_mark_file)
    signing_keys = SigningKeys(ring, sources, settings.schedule, mark, clocks=clocks, clock=base.clock, replica=replica)
    base.readiness.require("signing keys", partial(_signing_problem, signing_keys, settings.algorithms))
    base.readiness.require("clock", clocks.problem)
    base.readiness.require("store", signing_keys.loss)
    base.readiness.tell("high-water mark", mark.problem)
    rotator = Rotator(signing_keys, sources, settings.signer, sealer, settings.algorithms, clock=base.clock)
    await rotator.start()
    return Signing(signing_keys, rotator, clocks, mark, JwksFetchLog(store, signing_keys, base.clock))


def _signing_problem(signing_keys: SigningKeys, algorithms: tuple[str, ...]) -> str:
    try:
        for algorithm in algorithms:
            if signing_keys.in_use(algorithm) or not any(map(signing_keys.in_use, algorithms)):
                signing_keys.signer(algorithm)
    except DependencyUnavailable as error:
        return error.detail or error.message
    return ""


def _minter(base: Foundation, signing: Signing, issued: IssuedStore, firebase: FirebaseClients) -> Minter:
    kit = Kit(base.issuer, signing.signing_keys.signer, base.entropy, issued, firebase)
    return Minter(kit, base.settings.formats, ReuseWindow(issued.revoked))


def _audit(base: Foundation, store: Store) -> AuditTrail:
    table = base.settings.audit
    limits = AuditLimits(
        required=table.required,
        exchange_events=table.exchange_events,
        exchange_bytes=table.exchange_bytes,
        admin_events=table.admin_events,
        admin_bytes=table.admin_bytes,
        event_bytes=table.event_bytes,
        waiting_events=table.waiting_events,
        waiting_bytes=table.waiting_bytes,
        refusals_per_second=table.refusals_per_client.per_second,
        refusals_at_once=table.refusals_per_client.burst,
    )
    works = partial(log_takes_events, base.settings.log.level, base.log_writer)
    audit = AuditTrail(store, base.clock, limits, log_works=works)

    def audit_problem() -> str:
        try:
            audit.check()
        except DependencyUnavailable as error:
            return error.detail or error.message
        return ""

    base.readiness.tell("audit", lambda: audit.problem)
    base.readiness.require("audit", audit_problem)
    return audit


def log_takes_events(level: str, writer: LineWriter | None) -> bool:
    """Return whether the log will probably accept an audit event, which is of level `info`."""
    return level in ("debug", "info") and writer is not None and writer.works


# --- parts that depend on the configuration, at a start and at a reload -----------------------------------------------


def policy_of(base: Foundation, settings: Settings) -> Policy:
    """Return the policy of a configuration."""
    providers = settings.providers
    return Policy(settings.audiences, base.issuer, provider_conditions(providers), provider_claims(providers))


def authenticator_of(
    verifiers: Verifiers, settings: Settings, exchange: TokenExchange, before: ClientAuthenticator | None = None
) -> ClientAuthenticator:
    """Return the authenticator of a configuration's clients, with the keys that ``before`` has loaded."""
    base = verifiers.base
    callers = Callers(settings.clients, bootstrap.operators(settings), allow_anonymous=base.job.development)
    client_issuers = {
        name: client_provider(name, keys, base.issuer, settings.proxy) for name, keys in settings.client_keys.items()
    }
    assertions = verifiers.of(client_issuers, before.assertions.key_sets if before is not None else None)
    admits = exchange.policy.admits_workload
    return ClientAuthenticator(callers, assertions, exchange.verifier, exchange.replay, base.clock, admits=admits)


def rate_limits(settings: Settings) -> RateLimits:
    """Return the rate limits of a configuration."""
    each, together = settings.limits.each_client, settings.limits.all_clients
    return RateLimits(
        Rate(each.per_second, each.burst) if each is not None else None,
        Rate(together.per_second, together.burst) if together is not None else None,
    )

"""The composition root: configuration → objects → servers → graceful stop. One :class:`App` per worker process.

The only place that wires adapters. Everything it builds is handed its clock and entropy, so that a test can run the
whole service with time in its hands.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import grpc.aio
import structlog
from grpc_channelz.v1 import channelz, channelz_pb2_grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio
from starlette.routing import Route

from tokenmint.admission.audit import AuditLimits, AuditTrail
from tokenmint.admission.callers import Callers, ClientProof
from tokenmint.admission.certificates import CertificateFiles
from tokenmint.admission.gate import Admission, ClientExchanges
from tokenmint.admission.rate_limit import Rate, RateLimiter, RateLimits
from tokenmint.base.addresses import Address
from tokenmint.base.background import Background
from tokenmint.base.capacity import Capacity
from tokenmint.base.clock import Clock
from tokenmint.base.errors import ConfigurationError, DependencyUnavailable
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.readiness import Readiness
from tokenmint.base.tasks import end
from tokenmint.base.telemetry import Metrics
from tokenmint.config.settings import Settings, client_provider, issuer_of, provider_claims, provider_conditions
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.exchange.introspection import Tokens
from tokenmint.firebase.clients import FirebaseClients, check_user
from tokenmint.formats.minter import Minter
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.formats.table import Formats
from tokenmint.issued.store import IssuedStore
from tokenmint.issued.verifier import OwnTokens
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.jwks_clients import VerifierLog
from tokenmint.keys.keychain import Keychain
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.store import RingStore
from tokenmint.model.tokens import JsonValue, at_path
from tokenmint.policy.grant import Policy
from tokenmint.process import bootstrap
from tokenmint.process.supervisor import Job
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.resolve import Profiles
from tokenmint.profiles.store import ProfileStore
from tokenmint.rpc import access, external_authorization, server
from tokenmint.rpc.credentials import of_connection
from tokenmint.rpc.external_authorization import ExternalAuthorization, Gateway
from tokenmint.rpc.forwarded import ForwardedCertificates
from tokenmint.rpc.hangup import hang_up
from tokenmint.rpc.interceptors import Guard
from tokenmint.rpc.key_admin_service import KeyAdminService
from tokenmint.rpc.key_set_service import KeySetService
from tokenmint.rpc.profile_admin_service import ProfileAdminService
from tokenmint.rpc.provider_admin_service import ProviderAdminService
from tokenmint.rpc.token_exchange_service import TokenExchangeService
from tokenmint.storage.redis import Store
from tokenmint.v1 import (
    key_admin_service_pb2_grpc,
    key_set_service_pb2_grpc,
    profile_admin_service_pb2_grpc,
    provider_admin_service_pb2_grpc,
    token_exchange_service_pb2_grpc,
)
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier
from tokenmint.web import ops, wellknown
from tokenmint.web.closing import ClosingConnections
from tokenmint.web.oauth import OAuthEndpoints
from tokenmint.web.server import HttpLimits, HttpServer

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 0.5  # seconds that a gRPC server has to send its answers, when all calls in hand have them
READINESS_INTERVAL: Final = 1.0  # seconds between looks at what readiness depends on
WAITING_SHARE: Final = 4
"""One of so many calls in hand may wait for providers' keys at a time, and one for clients' keys."""
EMULATED: Final = "https://securetoken.google.com/demo-"
"""Issuers of projects that Firebase keeps for its emulators: no real one has such an id."""
PREFETCH_LIMIT: Final = 5.0  # seconds that a start waits for providers' keys; they go on loading after it


class App:
    """The whole service in one event loop.

    Args:
        settings: the configuration.
        job: where to listen, and what else the supervisor decided.
        clock: where time comes from.
        entropy: where randomness comes from: ``entropy(n)`` returns ``n`` bytes.
        store_time: the store's clock, Unix seconds. Default: asked of the server that holds the key ring.
        log_writer: what writes the log; None: somebody else's, of which nothing is known.
    """

    def __init__(
        self,
        settings: Settings,
        job: Job,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        store_time: Callable[[], Awaitable[float]] | None = None,
        log_writer: LineWriter | None = None,
    ) -> None:
        self.settings = settings
        self.job = job
        self.clock = clock
        self.entropy = entropy
        self._store_time = store_time
        self.listen: dict[str, str] = dict(job.listen)
        self.issuer = issuer_of(settings.issuer, job.listen["http"])
        self._metrics = Metrics()
        # Pauses that differ between replicas; no secret.
        jitter = random.Random(entropy(8)).random  # noqa: S311
        self.background = Background(clock, jitter, self._metrics)
        self._capacity = Capacity(settings.limits.calls_in_flight, self._metrics.not_begun)
        self.readiness = Readiness()
        self.readiness.tell("background tasks", self.background.describe)
        self.readiness.require("service", lambda: "stopping" if self._draining else "")
        self.readiness.require("signing keys", self._why_no_signing)
        if job.replaces is not None:
            self._metrics.worker_replaced(job.replaces)
        self._log_writer = log_writer
        if log_writer is not None:
            self.readiness.tell("log", lambda: log_writer.problem)
        self._health = health_aio.HealthServicer()
        self._forwarded = ForwardedCertificates(settings.proxy_hashes)
        self._draining = False
        self._key_set_tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        self._stopped = False
        self._given_up = 0
        """Calls in hand that did not end within `limits.drain`."""
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Bring everything up; what was begun is taken down again where that fails.

        Raises:
            ConfigurationError: something can't be used as it is configured.
            StoreUnavailable: the store can't be reached.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        url = self.job.redis_url or settings.redis_url or ""
        store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
        self._exit.push_async_callback(store.close)
        log.info("the store is reached", durability=store.durability)
        sealer, sources = bootstrap.key_parts(settings, self.entropy)
        replica = self.entropy(16).hex()
        log.info("the key ring is followed", replica=replica, process=os.getpid())
        ring = RingStore(store)
        clocks = ClockCheck(self._store_time or ring.clock, self.clock, settings.schedule.skew)
        self._mark = HighWaterMark(settings.high_water_mark_file)
        self._keychain = Keychain(
            ring, sources, settings.schedule, self._mark, clocks=clocks, clock=self.clock, replica=replica
        )
        self.readiness.require("clock", clocks.problem)
        self.readiness.require("store", self._keychain.loss)
        self.readiness.tell("high-water mark", self._mark.problem)
        self._rotator = Rotator(self._keychain, sources, settings.signer, sealer, settings.algorithms, clock=self.clock)
        await self._rotator.start()
        self._verifier_log = VerifierLog(store, self._keychain, self.clock)
        self._fetch = HttpFetch()
        self._near = near = NearCache(store, PREFIXES, 2 * settings.caches.profiles, self.clock)
        profiles = ProfileStore(store, self.clock, near, self._keychain.clocks.right_store_time)
        self._firebase = FirebaseClients()
        issued = IssuedStore(store)
        own = OwnTokens(issuer=self.issuer, key=self._keychain.published_key, issued=issued)
        formats = Formats(issuer=self.issuer, issued=issued, firebase=self._firebase, entropy=self.entropy)
        self._exchange = TokenExchange(
            verifier=self._verifier_of(settings.providers),
            own=own,
            profiles=Profiles(profiles),
            policy=self._policy_of(settings),
            minter=Minter(
                issuer=self.issuer,
                signer=self._keychain.signer,
                entropy=self.entropy,
                formats=formats,
                reuse=ReuseWindow(issued.revoked),
            ),
            replay=ReplayGuard(store),
            clock=self.clock,
            serving=self._keychain.require_serving,
        )
        self._tokens = Tokens(
            own=own, profiles=self._exchange.profiles, clock=self.clock, serving=self._keychain.require_serving
        )
        self._proof = self._proof_of(settings, self._exchange.verifier, self._exchange.policy)
        self._audit = AuditTrail(store, self.clock, _audit_limits(settings), log_works=self._log_takes_events)
        self.readiness.tell("audit", lambda: self._audit.problem)
        self.readiness.require("audit", self._why_no_record)
        self._exit.push_async_callback(self._audit.close)
        self._limiter = RateLimiter(
            store, _rate_limits(settings), self.clock, self.background.unit("shared rate limits")
        )
        self._exit.push_async_callback(self._limiter.close)
        self._admission = Admission(lambda: self._proof, self._limiter, self._metrics, self._audit, clocks.require)
        self._exit.push_async_callback(self._stop_tasks)
        for part in (self._keychain, self._rotator, near, self._verifier_log):
            part.follow(self.background)
        await self._prefetch()
        self._follow_key_sets()
        await self._start_servers(profiles)
        self._watch_state()
        self._audit.follow(self.background)
        self.background.every("readiness", READINESS_INTERVAL, self._watch_readiness, longest=READINESS_INTERVAL)
        self.background.every("certificates", READINESS_INTERVAL, self._renew_certificates)

    async def _start_servers(self, profiles: ProfileStore) -> None:
        limits = self.settings.limits
        self._watches = key_sets = KeySetService(
            self._keychain,
            self._verifier_log,
            streams=limits.watch_streams,
            streams_per_peer=limits.watch_streams_per_peer,
            max_age=limits.watch_age,
        )
        self._client_exchanges = client_exchanges = ClientExchanges(self._exchange, self._admission)
        exchanges = TokenExchangeService(client_exchanges, self._tokens)
        table = self.settings.envoy
        gateway = ExternalAuthorization(client_exchanges, Gateway(table.audience, table.hosts, table.cookie))
        data = self._server(
            "grpc",
            access.DATA,
            lambda at: token_exchange_service_pb2_grpc.add_TokenExchangeServiceServicer_to_server(exchanges, at),
            lambda at: key_set_service_pb2_grpc.add_KeySetServiceServicer_to_server(key_sets, at),
            *((gateway.register,) if table.enabled else ()),
        )
        keys = KeyAdminService(self._keychain, self._rotator, self._verifier_log)
        people = ProfileAdminService(profiles)
        providers = ProviderAdminService(lambda: self._exchange.verifier)
        admin = self._server(
            "admin",
            access.ADMIN,
            lambda at: token_exchange_service_pb2_grpc.add_TokenExchangeServiceServicer_to_server(exchanges, at),
            lambda at: key_admin_service_pb2_grpc.add_KeyAdminServiceServicer_to_server(keys, at),
            lambda at: profile_admin_service_pb2_grpc.add_ProfileAdminServiceServicer_to_server(people, at),
            lambda at: provider_admin_service_pb2_grpc.add_ProviderAdminServiceServicer_to_server(providers, at),
            *((_add_channelz,) if self.settings.channelz else ()),
        )
        algorithms = self.settings.algorithms
        routes, metadata = self._oauth(client_exchanges)
        public = self._http(
            "http",
            wellknown.application(
                self.issuer, algorithms, self._keychain.published, self._verifier_log.saw, routes, metadata
            ),
        )
        private = self._http("ops", ops.application(self.readiness, self._metrics))
        self._public_http, self._ops_http = public, private
        for name, http in (("ops", private), ("http", public)):
            http.start(self.background, f"listener {name}")
            self._exit.push_async_callback(http.stop)
        self.readiness.require("http", lambda: self.background.failing().get("listener http", ""))
        for grpc_server in (admin, data):
            await grpc_server.start()
            self._exit.push_async_callback(grpc_server.stop, LAST_WORDS)
        self._exit.push_async_callback(self._drain)

    async def retire(self, hurry: asyncio.Event) -> None:
        """Say that this process is not ready, and go on serving while load balancers find that out, or until ``hurry``.

        With the private store nothing waits: there is no other replica that callers could go to.
        """
        self._draining = True
        alone = self.job.development or self.job.redis_url is not None
        pause = 0.0 if alone else self.settings.limits.lame_duck
        log.info("stopping", listen=self.listen, lame_duck=pause, calls_in_flight=self._capacity.in_flight)
        await self._health.enter_graceful_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await hurry.wait()

    async def stop(self) -> None:
        """Begin nothing more, answer what was begun, close."""
        self._draining = True
        await self._health.enter_graceful_shutdown()
        await self._exit.aclose()
        capacity, told = self._capacity, self._stopped
        self._stopped = True
        if capacity.stopping and not told:
            log.info("stopped", answered=capacity.answered, refused=capacity.refused, given_up=self._given_up)

    async def _drain(self) -> None:
        """Finish the calls in hand, at most `limits.drain` long, and end the connections that they came over."""
        capacity = self._capacity
        capacity.stopping = True
        self._watches.close()
        if not await capacity.idle(self.settings.limits.drain):
            self._given_up = capacity.in_flight
        for name in ("admin", "grpc"):
            if name != "grpc" or self.settings.listen.transport != "native":  # which ends its connections as it should
                hang_up(Address.parse(self.listen[name]))

    async def reload(self, settings: Settings) -> None:
        """Take over providers, audiences, clients and operators; the rest needs a restart.

        Raises:
            ConfigurationError: the new configuration can't be taken over; the running one stays.
        """
        async with self._reloading:
            await self._reload(settings)

    async def _reload(self, settings: Settings) -> None:
        if settings.schedule.max_lifetime > self._keychain.schedule.max_lifetime:
            raise ConfigurationError(
                "audiences: a max_lifetime is longer than every one that the service started with: published keys "
                "would be withdrawn before the tokens they signed expire; restart the service"
            )
        policy = self._policy_of(settings)
        verifier = self._verifier_of(settings.providers, self._exchange.verifier.key_sets)
        proof = self._proof_of(settings, verifier, policy, self._proof)
        # Calls that have begun go on by what they began with: of two halves neither configuration may know.
        self._exchange, self._proof = self._exchange.under(verifier, policy), proof
        self._client_exchanges.use_case = self._exchange
        self._limiter.limits = _rate_limits(settings)
        self._forwarded.proxy_hashes = settings.proxy_hashes
        await end(self._key_set_tasks)
        self._follow_key_sets()

    async def look_at_clock(self) -> None:
        """Compare the clocks now, as is done in each look at the key ring. Raises ``StoreUnavailable``."""
        await self._keychain.clocks.look()

    def _log_takes_events(self) -> bool:
        told = self.settings.log.level in ("debug", "info")  # audit events are of the level `info`
        return told and self._log_writer is not None and self._log_writer.works

    def _why_no_record(self) -> str:
        try:
            self._audit.check()
        except DependencyUnavailable as error:
            return error.detail or error.message
        return ""

    def _why_no_signing(self) -> str:
        try:
            for algorithm in self.settings.algorithms:
                if self._keychain.in_use(algorithm) or not any(map(self._keychain.in_use, self.settings.algorithms)):
                    self._keychain.signer(algorithm)
        except DependencyUnavailable as error:
            return error.detail or error.message
        return ""

    # --- parts ---------------------------------------------------------------------------------------------------

    def _policy_of(self, settings: Settings) -> Policy:
        providers = settings.providers
        return Policy(settings.audiences, self.issuer, provider_conditions(providers), provider_claims(providers))

    def _proof_of(
        self, settings: Settings, verifier: Verifier, policy: Policy, before: ClientProof | None = None
    ) -> ClientProof:
        callers = Callers(settings.clients, bootstrap.operators(settings), allow_anonymous=self.job.development)
        own = {name: client_provider(name, keys, self.issuer) for name, keys in settings.client_keys.items()}
        assertions = self._verifier_of(own, before.assertions.key_sets if before is not None else None)
        replay, admits = self._exchange.replay, policy.admits_workload
        return ClientProof(callers, assertions, verifier, replay, self.clock, admits=admits)

    def _verifier_of(self, providers: Mapping[str, Provider], before: KeySets | None = None) -> Verifier:
        sources = {name: provider.key_source for name, provider in providers.items()}
        key_sets = KeySets(
            sources,
            fetch=self._fetch,
            clock=self.clock,
            inherit=before,
            chance=self._chance,
            waiters=max(1, self.settings.limits.calls_in_flight // WAITING_SHARE),
        )
        emulated = frozenset(
            name
            for name, provider in providers.items()
            if provider.issuers and all(issuer.startswith(EMULATED) for issuer in provider.issuers)
        )
        # Both, so that neither a file nor the environment can switch it on.
        allowed = self.job.development and self.settings.firebase_emulator
        return Verifier(
            providers,
            key_sets,
            own_issuer=self.issuer,
            users=self._check_user,
            emulated=emulated if allowed else frozenset(),
        )

    def _chance(self) -> float:
        return int.from_bytes(self.entropy(4)) / 2**32

    async def _check_user(self, provider: Provider, claims: Mapping[str, JsonValue]) -> None:
        tenant, auth_time = at_path(claims, ("firebase", "tenant")), claims.get("auth_time")
        if provider.users is None or not isinstance(auth_time, int | float):
            return
        named = tenant if isinstance(tenant, str) else None
        await asyncio.to_thread(
            check_user, self._firebase, provider.users, str(claims.get("sub")), named, float(auth_time)
        )

    def _server(self, name: str, table: Any, *register: Callable[[grpc.aio.Server], None]) -> grpc.aio.Server:
        native = name == "grpc" and self.settings.listen.transport == "native"
        forwarded = native and self.settings.listen.forwarded is not None
        guard = Guard(
            table,
            self._admission,
            deadline=self.settings.limits.call_deadline,
            pushback=not native,
            reads=not native,
            certificate=self._forwarded if forwarded else of_connection,
            capacity=self._capacity,
            refusals=external_authorization.REFUSALS,
        )
        return server.build(
            guard,
            Address.parse(self.job.listen[name]),
            register,
            self._health,
            limits=server.Limits(
                message=self.settings.limits.message_bytes,
                metadata=self.settings.limits.metadata_bytes,
                streams=self.settings.limits.streams_per_connection,
                waiting=self.settings.limits.calls_waiting,
                connection_age=self.settings.limits.connection_age,
                connection_grace=self.settings.limits.connection_grace,
                keepalive=self.settings.limits.keepalive,
                keepalive_timeout=self.settings.limits.keepalive_timeout,
                ping_interval=self.settings.limits.ping_interval,
                handshake=self.settings.limits.request_time,
            ),
            tls=self._tls(),
            reflect=self.settings.reflection,
            native=native,
        )

    def _http(self, name: str, application: Any) -> HttpServer:
        listen, files = self.settings.listen, None
        if name == "http" and listen.http_cert_file is not None and listen.http_key_file is not None:
            files = CertificateFiles(listen.http_cert_file, listen.http_key_file, listen.http_client_ca_file)
        application.add_middleware(ClosingConnections, stopping=lambda: self._draining)
        table = self.settings.limits
        return HttpServer(
            application,
            Address.parse(self.job.listen[name]),
            files,
            limits=HttpLimits(
                connections=table.http_connections,
                connections_per_peer=table.http_connections_per_peer,
                requests=table.http_requests,
                request_time=table.request_time,
            ),
            always=ops.HEALTH if name == "ops" else frozenset(),
            count=partial(self._metrics.http_limit, name),
        )

    def _oauth(self, exchanges: ClientExchanges) -> tuple[list[Route], dict[str, object]]:
        """Return the OAuth endpoints and what discovery says of them, where they are switched on."""
        settings = self.settings
        if not settings.oauth.enabled:
            return [], {}
        endpoints = OAuthEndpoints(
            issuer=self.issuer,
            exchanges=exchanges,
            tokens=self._tokens,
            replay=self._exchange.replay,
            clock=self.clock,
            capacity=self._capacity,
            body_limit=settings.limits.message_bytes,
            deadline=settings.limits.call_deadline,
            client_certificates=settings.listen.http_client_ca_file is not None,
        )
        return endpoints.routes(), endpoints.metadata()

    def _tls(self) -> CertificateFiles | None:
        listen = self.settings.listen
        if listen.cert_file is None or listen.key_file is None:
            return None
        return CertificateFiles(listen.cert_file, listen.key_file, listen.client_ca_file)

    def _follow_key_sets(self) -> None:
        self._key_set_tasks = [
            *self._exchange.verifier.key_sets.follow(self.background, "keys of"),
            *self._proof.assertions.key_sets.follow(self.background, "keys of client"),
        ]

    async def _prefetch(self) -> None:
        try:
            async with asyncio.timeout(PREFETCH_LIMIT):
                await self._exchange.verifier.key_sets.prefetch()
        except TimeoutError:
            log.warning("some providers' keys are not at hand yet; they go on loading")

    async def _watch_readiness(self) -> None:
        ready = not self.readiness.problems()
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *server.SERVICES):
            await self._health.set(service, status)
        self._watch_state()

    async def _renew_certificates(self) -> None:
        self._public_http.renew()

    def _watch_state(self) -> None:
        key_sets = self._exchange.verifier.key_sets
        self._metrics.state(
            ready=not self.readiness.problems(),
            confirmed=self._keychain.confirmed_ago(),
            generation=self._keychain.ring.generation,
            in_flight=self._capacity.in_flight,
            clock_offset=self._keychain.clocks.offset,
            store_went_back=bool(self._keychain.loss()),
            mark_kept=not self._mark.problem(),
            providers={name: key_sets.ready(name) for name in self._exchange.verifier.providers},
        )
        writer = self._log_writer
        self._metrics.records(
            log_dropped=writer.dropped if writer is not None else 0,
            log_broken=writer is not None and bool(writer.problem),
            audit_dropped=self._audit.dropped,
        )

    async def _stop_tasks(self) -> None:
        await self.background.close()
        await self._exchange.verifier.key_sets.close()
        await self._proof.assertions.key_sets.close()


def _add_channelz(at: Any) -> None:
    channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.aio.ChannelzServicer(), at)


def _audit_limits(settings: Settings) -> AuditLimits:
    table = settings.audit
    return AuditLimits(
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


def _rate_limits(settings: Settings) -> RateLimits:
    each, together = settings.limits.each_client, settings.limits.all_clients
    return RateLimits(
        Rate(each.per_second, each.burst) if each is not None else None,
        Rate(together.per_second, together.burst) if together is not None else None,
    )

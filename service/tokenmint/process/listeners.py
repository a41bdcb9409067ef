"""The listeners: the gRPC and HTTP servers that are built from the parts of a service."""

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import grpc.aio
from starlette.applications import Starlette
from starlette.routing import Route

from tokenmint.admission import access
from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base.addresses import Address
from tokenmint.base.remedies import remedies
from tokenmint.config.entries import catalogue
from tokenmint.config.gateways import gateway_of, routes_of
from tokenmint.exchange.deciding import Written
from tokenmint.gateway.decision import GatewayChecks
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.process.wiring import Parts
from tokenmint.rpc import external_authorization, server
from tokenmint.rpc.audit_admin_service import AuditAdminService
from tokenmint.rpc.connections import Shares, spare
from tokenmint.rpc.credentials import of_connection
from tokenmint.rpc.external_authorization import ExternalAuthorization
from tokenmint.rpc.fast_calls import FastMethod
from tokenmint.rpc.fast_check import FastCheck
from tokenmint.rpc.fast_exchange import FastBatchExchangeTokens, FastExchangeToken
from tokenmint.rpc.interceptors import Guard
from tokenmint.rpc.key_admin_service import KeyAdminService
from tokenmint.rpc.key_set_service import KeySetService
from tokenmint.rpc.profile_admin_service import ProfileAdminService, ProfileParts
from tokenmint.rpc.provider_admin_service import ProviderAdminService
from tokenmint.rpc.revocation_admin_service import RevocationAdminService
from tokenmint.rpc.revocation_service import RevocationService
from tokenmint.rpc.token_exchange_service import TokenExchangeService
from tokenmint.rpc.watch_slots import WatchSlots
from tokenmint.v1 import (
    audit_admin_service_pb2_grpc,
    key_admin_service_pb2_grpc,
    key_set_service_pb2_grpc,
    profile_admin_service_pb2_grpc,
    provider_admin_service_pb2_grpc,
    revocation_admin_service_pb2_grpc,
    revocation_service_pb2_grpc,
    token_exchange_service_pb2_grpc,
)
from tokenmint.v1.profile_admin_service_pb2 import AuditRetention
from tokenmint.web import ops, wellknown
from tokenmint.web.closing import ClosingConnections
from tokenmint.web.console.routes import Console, ConsoleParts
from tokenmint.web.fast_documents import fast_documents
from tokenmint.web.fast_requests import FastRoute, FastRoutes
from tokenmint.web.fast_token import FastToken
from tokenmint.web.gateway_auth import GatewayAuth
from tokenmint.web.oauth import REVOKE_PATH, TOKEN_PATH, OAuthEndpoints
from tokenmint.web.regions import region_routes
from tokenmint.web.server import HttpLimits, HttpServer
from tokenmint.web.signals import SignalEndpoint
from tokenmint.web.status_lists import status_list_route

Register = Callable[[grpc.aio.Server], None]
"""Registers the methods of one service at a server."""

GRPC_SHARE: Final = 4
"""Each gRPC listener may use one in this many of the open files."""
HTTP_SHARE: Final = 8
"""Each HTTP listener may use one in this many of the open files. The rest is for the store and for providers."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The servers of one process. They are bound to their ports, and do not serve yet."""

    data: grpc.aio.Server
    admin: grpc.aio.Server
    public: HttpServer
    """The key set, discovery, OAuth."""
    ops: HttpServer
    """Health and metrics."""
    console: HttpServer | None
    """The operators' console, if it is configured."""
    watches: KeySetService
    """The watch streams of the key set, which the stop has to end."""
    revocations: RevocationService
    """Those of revocations."""
    tls: Mapping[str, CertificateFiles]
    """The certificates of listeners with TLS, by the listener."""

    shares: Shares
    """The limits of the gRPC listeners' connections."""

    def certificates(self) -> dict[str, bytes]:
        """Return the certificates in use, in PEM, by the listener."""
        return {name: files.pem.certificate for name, files in self.tls.items()}


def build(parts: Parts) -> Listeners:
    """Return the servers. Raises ``ConfigurationError`` if one can't listen."""
    base, signing = parts.base, parts.signing
    limits = base.settings.limits
    watches = KeySetService(
        signing.signing_keys,
        signing.jwks_clients,
        _slots(parts, "poll GetKeySet or the JWKS URL instead"),
        max_age=limits.watch_age,
    )
    revocations = RevocationService(
        parts.revoking.following,
        _slots(parts, "introspect tokens instead"),
        lambda client_id: parts.rules.authenticator.callers.clients.get(client_id),
        max_age=limits.watch_age,
    )
    tls = _certificates(parts)
    exchanges = TokenExchangeService(parts.exchanges, _written(parts))
    table = base.settings.envoy
    gateway = ExternalAuthorization(GatewayChecks(parts.exchanges, gateway_of(table)))
    data = _grpc(
        parts,
        "grpc",
        tls.get("grpc"),
        access.DATA,
        lambda at: token_exchange_service_pb2_grpc.add_TokenExchangeServiceServicer_to_server(exchanges, at),
        lambda at: key_set_service_pb2_grpc.add_KeySetServiceServicer_to_server(watches, at),
        lambda at: revocation_service_pb2_grpc.add_RevocationServiceServicer_to_server(revocations, at),
        *((gateway.register,) if table.enabled else ()),
    )
    keys = KeyAdminService(signing.signing_keys, signing.rotator, signing.jwks_clients, parts.persons.erasures.reseal)
    people = ProfileAdminService(_profile_parts(parts))
    providers = ProviderAdminService(lambda: parts.exchange.verifier)
    trail = AuditAdminService(parts.store)
    many = RevocationAdminService(parts.revoking.many)
    admin = _grpc(
        parts,
        "admin",
        tls.get("grpc"),
        access.ADMIN,
        lambda at: token_exchange_service_pb2_grpc.add_TokenExchangeServiceServicer_to_server(exchanges, at),
        lambda at: key_admin_service_pb2_grpc.add_KeyAdminServiceServicer_to_server(keys, at),
        lambda at: profile_admin_service_pb2_grpc.add_ProfileAdminServiceServicer_to_server(people, at),
        lambda at: provider_admin_service_pb2_grpc.add_ProviderAdminServiceServicer_to_server(providers, at),
        lambda at: audit_admin_service_pb2_grpc.add_AuditAdminServiceServicer_to_server(trail, at),
        lambda at: revocation_admin_service_pb2_grpc.add_RevocationAdminServiceServicer_to_server(many, at),
        *((_add_channelz,) if base.settings.channelz else ()),
    )
    public = _public(parts, tls.get("http"))
    private = _http(parts, "ops", None, ops.application(base.readiness, base.metrics))
    console = _http(parts, "console", tls.get("grpc"), _console(parts)) if "console" in base.job.listen else None
    return Listeners(data, admin, public, private, console, watches, revocations, tls, _shares(parts))


def _public(parts: Parts, files: CertificateFiles | None) -> HttpServer:
    """Return the server of the key set, discovery, OAuth, gateways, signals and status lists."""
    base, signing = parts.base, parts.signing
    routes, metadata = _oauth(parts)
    algorithms, published, saw = base.settings.algorithms, signing.signing_keys.published, signing.jwks_clients.saw
    bundle = base.settings.spiffe.trust_domain is not None
    documents = wellknown.documents(base.issuer, algorithms, published, saw, metadata, bundle=bundle)
    fast = fast_documents(documents)
    if routes:
        fast["POST", TOKEN_PATH] = FastToken(FastWayInForce(parts), base.capacity, base.clock, parts.tracing.tracer)
    routes += [*_gateway(parts), _signals(parts)]
    if parts.status is not None:
        routes.append(status_list_route(parts.status))
    if parts.regions is not None:
        routes += region_routes(parts.regions.answers)
    return _http(parts, "http", files, wellknown.application(documents, routes), fast)


def _slots(parts: Parts, instead: str) -> WatchSlots:
    limits = parts.base.settings.limits
    return WatchSlots(limits.watch_streams, limits.watch_streams_per_peer, instead)


def _console(parts: Parts) -> Starlette:
    """Return the application of the console. Its TLS is that of the operators' gRPC listener."""
    base, signing = parts.base, parts.signing
    listen, limits = base.settings.listen, base.settings.limits
    shown = ConsoleParts(
        exchanges=parts.exchanges,
        signing_keys=signing.signing_keys,
        jwks_clients=signing.jwks_clients,
        store=parts.store,
        readiness=base.readiness,
        clock=base.clock,
        capacity=base.capacity,
        remedies=remedies(),
        written=_written(parts),
        hosts=listen.console_hosts,
        body_limit=limits.message_bytes,
        deadline=limits.call_deadline,
        client_certificates=listen.client_ca_file is not None,
    )
    return Console(shown).application()


def _written(parts: Parts) -> Written:
    own = frozenset(key for entry in catalogue().values() for key in entry.parameters)
    return Written(lambda: parts.rules.places, own)


def _copied_at(parts: Parts, region: str) -> float:
    copies = parts.regions.copies if parts.regions is not None else None
    return copies.copying.copied_at(region) if copies is not None else 0.0


def _profile_parts(parts: Parts) -> ProfileParts:
    audit = parts.base.settings.audit
    return ProfileParts(
        profiles=parts.profiles,
        batches=parts.persons.batches,
        erasure=parts.persons.erasure,
        providers=lambda: parts.exchange.verifier.providers.keys(),
        copied_at=partial(_copied_at, parts),
        retention=AuditRetention(
            exchange_events=audit.exchange_events,
            exchange_bytes=audit.exchange_bytes,
            admin_events=audit.admin_events,
            admin_bytes=audit.admin_bytes,
        ),
    )


def _certificates(parts: Parts) -> dict[str, CertificateFiles]:
    """Return the certificates of the listeners with TLS: one for both of gRPC, and one for HTTP."""
    listen = parts.base.settings.listen
    found = {}
    if listen.cert_file is not None and listen.key_file is not None:
        found["grpc"] = CertificateFiles(listen.cert_file, listen.key_file, listen.client_ca_file)
    if listen.http_cert_file is not None and listen.http_key_file is not None:
        found["http"] = CertificateFiles(listen.http_cert_file, listen.http_key_file, listen.http_client_ca_file)
    return found


def _fast(parts: Parts) -> dict[str, FastMethod]:
    """Return the fast way of each method that has one."""
    in_force, limit, tracer = FastWayInForce(parts), parts.base.settings.limits.message_bytes, parts.tracing.tracer
    checks = GatewayChecks(parts.exchanges, gateway_of(parts.base.settings.envoy))
    methods = (
        FastExchangeToken(in_force, limit, tracer),
        FastBatchExchangeTokens(in_force, limit, tracer),
        FastCheck(in_force, limit, checks, tracer),
    )
    return {one.name: one for one in methods}


def _grpc(
    parts: Parts, name: str, tls: CertificateFiles | None, table: Mapping[str, access.Row], *register: Register
) -> grpc.aio.Server:
    base = parts.base
    listen, limits = base.settings.listen, base.settings.limits
    native = name == "grpc" and listen.native
    # Callers with certificates take the full way, because a certificate has to be checked beside the secret.
    certificates = listen.forwarded is not None or listen.client_ca_file is not None
    guard = Guard(
        table,
        parts.gate,
        deadline=limits.call_deadline,
        native=native,
        certificate=parts.forwarded if native and listen.forwarded is not None else of_connection,
        capacity=base.capacity,
        refusals=external_authorization.REFUSALS,
        fast=_fast(parts) if name == "grpc" and not certificates else {},
    )
    return server.build(
        guard,
        Address.parse(base.job.listen[name]),
        register,
        base.health,
        limits=server.Limits(
            connections=_refused_beyond(limits.grpc_connections),
            message=limits.message_bytes,
            metadata=limits.metadata_bytes,
            streams=limits.streams_per_connection,
            waiting=limits.calls_waiting,
            connection_age=limits.connection_age,
            connection_grace=limits.connection_grace,
            keepalive=limits.keepalive,
            keepalive_timeout=limits.keepalive_timeout,
            ping_interval=limits.ping_interval,
            handshake=limits.request_time,
        ),
        tls=tls,
        reflect=base.settings.reflection,
        native=native,
    )


def _http(
    parts: Parts,
    name: str,
    files: CertificateFiles | None,
    application: Starlette,
    fast: Mapping[tuple[str, str], FastRoute[Any]] = MappingProxyType({}),
) -> HttpServer:
    base = parts.base
    application.add_middleware(ClosingConnections, stopping=base.draining.is_set)
    table = base.settings.limits
    return HttpServer(
        application,
        Address.parse(base.job.listen[name]),
        files,
        limits=HttpLimits(
            connections=_within_files(table.http_connections, HTTP_SHARE),
            connections_per_peer=table.http_connections_per_peer,
            requests=table.http_requests,
            request_time=table.request_time,
        ),
        always=ops.HEALTH if name == "ops" else frozenset(),
        urgent=frozenset({REVOKE_PATH}) if name == "http" else frozenset(),
        fast=FastRoutes(fast, base.draining.is_set, table.message_bytes),
        count=partial(base.metrics.http_limit, name),
    )


def _shares(parts: Parts) -> Shares:
    base = parts.base
    limits, total = base.settings.limits, _within_files(base.settings.limits.grpc_connections, GRPC_SHARE)
    listeners = {Address.parse(base.job.listen[name]).port: name for name in ("grpc", "admin")}
    return Shares(listeners, total, limits.grpc_connections_per_peer or total, base.metrics.grpc_closed)


def _refused_beyond(configured: int) -> int:
    """Return the number of connections beyond which the transport itself refuses more."""
    total = _within_files(configured, GRPC_SHARE)
    return total + spare(total) if Shares.possible() else total


def _within_files(configured: int, share: int) -> int:
    """Return the limit of a listener's connections: as configured, but no more than a share of the open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return configured if files == resource.RLIM_INFINITY else max(1, min(configured, files // share))


def _oauth(parts: Parts) -> tuple[list[Route], dict[str, object]]:
    """Return the OAuth endpoints and their part of the discovery documents, if they are enabled."""
    base, settings = parts.base, parts.base.settings
    if not settings.oauth.enabled:
        return [], {}
    endpoints = OAuthEndpoints(
        issuer=base.issuer,
        exchanges=parts.exchanges,
        replay=parts.exchange.replay,
        clock=base.clock,
        capacity=base.capacity,
        body_limit=settings.limits.message_bytes,
        deadline=settings.limits.call_deadline,
        client_certificates=settings.listen.http_client_ca_file is not None,
        drafts=settings.oauth.drafts,
    )
    return endpoints.routes(), endpoints.metadata()


def _signals(parts: Parts) -> Route:
    base, limits = parts.base, parts.base.settings.limits
    return SignalEndpoint(parts.signals, parts.gate, base.capacity, limits.token_bytes, limits.call_deadline).route()


def _gateway(parts: Parts) -> list[Route]:
    """Return the endpoints of gateways over HTTP, if they are enabled."""
    base, table = parts.base, parts.base.settings.gateway
    if not table.enabled:
        return []
    return GatewayAuth(
        checks=GatewayChecks(parts.exchanges, gateway_of(table)),
        capacity=base.capacity,
        deadline=base.settings.limits.call_deadline,
        named=routes_of(table),
        host_header=table.host_header,
    ).routes()


def _add_channelz(at: Any) -> None:
    from grpc_channelz.v1 import channelz, channelz_pb2_grpc  # few services switch it on

    channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.aio.ChannelzServicer(), at)

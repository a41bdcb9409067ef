"""The gRPC transport: limits, TLS, health; by grpcio, or with HTTP/2 in Rust (docs/adr/0009-transport.md)."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base import extras
from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.rpc.health_service import Health
from tokenmint.rpc.interceptors import Guard, Handler
from tokenmint.rpc.queue_server import QueueServer

SERVICES: Final = (
    "tokenmint.v1.TokenExchangeService",
    "tokenmint.v1.KeySetService",
    "tokenmint.v1.RevocationService",
    "tokenmint.v1.KeyAdminService",
    "tokenmint.v1.ProfileAdminService",
    "tokenmint.v1.ProviderAdminService",
    "tokenmint.v1.AuditAdminService",
    "tokenmint.v1.RevocationAdminService",
)

ENDED_STREAMS: Final = 1
"""The number of ended streams of a connection that may await their release, for each stream that may be open.

A larger number would let one connection fill the queue of waiting calls (``Limits.waiting``)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections."""

    connections: int = 10_000
    """The number of connections beyond which grpcio refuses more. `rpc/connections.py` enforces a smaller limit."""

    message: int = 64 * 1024
    """Bytes."""
    metadata: int = 8 * 1024
    """Bytes."""
    streams: int = 100
    """Concurrent calls."""
    waiting: int = 320
    """Calls of one method, over all connections, that have arrived and wait for Python. Only grpcio queues them."""
    connection_age: float = 3600.0
    """Seconds after which a client is asked to reconnect, which spreads clients over replicas."""
    connection_grace: float = 30.0
    """Seconds for the calls of such a connection to end."""
    keepalive: float = 60.0
    """Seconds without traffic after which the peer is pinged."""
    keepalive_timeout: float = 20.0
    """Seconds for the peer to answer such a ping."""
    ping_interval: float = 10.0
    """The least time between a client's pings in seconds."""
    handshake: float = 10.0
    """Seconds for a new connection to begin HTTP/2."""


class _Guarded:
    """Registers servicers' methods at the server, each behind the guard.

    It wraps at registration because an interceptor would wrap again for every call.
    """

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, _: Any) -> None:
        """Do nothing: generated code registers the same methods again by the next call."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        guarded = {name: self._guard.wrap(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        generic = grpc.method_handlers_generic_handler(service, guarded)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_registered_method_handlers(service, guarded)


def build(
    guard: Guard,
    address: Address,
    register: Sequence[Callable[[Any], None]],
    health: Health,
    *,
    limits: Limits,
    tls: CertificateFiles | None = None,
    reflect: bool = False,
    native: bool = False,
) -> grpc.aio.Server:
    """Return a server that listens on ``address`` once it is started.

    Args:
        native: whether to use HTTP/2 in Rust (the extra `native`), without TLS and without an age limit of connections.

    Raises:
        ConfigurationError: can't listen on the address, the certificates can't be used, or the extra is missing.
    """
    options = _options(limits, native=native)
    with _batch_scheduled_threads():
        server: Any = _native(options, tls, guard) if native else QueueServer(options, guard)
    guarded: Any = _Guarded(server, guard)
    for add in register:
        add(guarded)
    health_pb2_grpc.add_HealthServicer_to_server(health, guarded)
    if reflect:
        servicer = reflection.aio.ReflectionServicer((*SERVICES, reflection.SERVICE_NAME))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, guarded)  # type: ignore[no-untyped-call]  # untyped
    try:
        with _batch_scheduled_threads():
            if tls is None:
                bound = server.add_insecure_port(str(address))
            else:
                bound = server.add_secure_port(str(address), _credentials(tls))
    except RuntimeError:
        bound = 0
    if not bound:
        raise ConfigurationError(
            f"listen: can't listen on {address}: stop the process that listens there or choose another address"
        )
    built: grpc.aio.Server = server  # or has the methods of one
    return built


def _options(limits: Limits, *, native: bool) -> list[tuple[str, Any]]:
    """Return the channel arguments of a server: those of both transports, and grpcio's own."""
    options: list[tuple[str, Any]] = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_metadata_size", limits.metadata),
        ("grpc.absolute_max_metadata_size", limits.metadata),
        ("grpc.max_concurrent_streams", limits.streams),
        # A header that can't be parsed stays in the connection's table of headers (RFC 7541 section 2.3.2) and makes
        # the same header of other calls fail. Calls behind one proxy share a connection, so there is no table.
        ("grpc.http2.hpack_table_size.decoder", 0),
        # A client that pings too often gets GOAWAY; idle connections are checked, and all have a largest age.
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.ping_interval * 1000)),
        ("grpc.keepalive_time_ms", int(limits.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(limits.keepalive_timeout * 1000)),
        ("grpc.http2.ping_timeout_ms", int(limits.keepalive_timeout * 1000)),  # the effective limit for a ping's answer
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if native:
        return options
    return [
        *options,
        ("grpc.max_connection_age_ms", int(limits.connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", int(limits.connection_grace * 1000)),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake * 1000)),
        # Until a client acknowledges the settings, the limits in them do not bind it.
        ("grpc.http2.settings_timeout", int(limits.handshake * 1000)),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        # Beyond this number, ended streams that are not released yet count as concurrent. Well-behaved callers stay
        # below; floods of resets (CVE-2023-44487) do not: docs/adr/0014-ended-streams.md
        ("grpc.http2.max_deallocating_streams", ENDED_STREAMS * limits.streams),
        # The core ends further calls with CANCELLED. A refusal in Python costs half of a served call, and a call that
        # waits longer than its caller is served in vain.
        ("grpc.server.max_pending_requests", limits.waiting),
        ("grpc.server.max_pending_requests_hard_limit", limits.waiting),
    ]


def _native(options: Sequence[tuple[str, Any]], tls: CertificateFiles | None, guard: Guard) -> grpc.aio.Server:
    if tls is not None:
        raise ConfigurationError("listen.transport: native has no TLS: use grpcio, or let Envoy or a mesh add it")
    try:
        from tokenmint.rpc import native
    except ImportError:
        raise ConfigurationError(f"listen.transport: {extras.missing('native')}") from None
    return native.server(options, guard)


@contextlib.contextmanager
def _batch_scheduled_threads() -> Iterator[None]:
    """Start threads with SCHED_BATCH (sched(7)), if the system has it, so that they do not interrupt the event loop.

    Otherwise on a busy core every incoming call and every outgoing response interrupts the event loop. With
    SCHED_BATCH several are read and sent together, which saves an eighth of a call's cost on native and a twentieth on
    grpcio, more under overload. An idle core is not delayed. gRPC's core starts its threads with the first server, and
    each of them starts others, which inherit this.
    """
    batch, usual = getattr(os, "SCHED_BATCH", None), getattr(os, "SCHED_OTHER", None)
    if batch is None or usual is None or os.sched_getscheduler(0) != usual:  # another policy was chosen on purpose
        yield
        return
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, batch, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, usual, os.sched_param(0))


def _credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files. Each handshake asks for new ones, in a thread of the library's that may
    not wait for a disk. So it gets the content that a look in the background read last.
    """
    given = -1

    def configuration() -> grpc.ServerCertificateConfiguration:
        nonlocal given
        given = files.files.generation
        pem = files.pem
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_authorities)

    def renewed() -> grpc.ServerCertificateConfiguration:
        # None, which the stubs lack, keeps the current ones.
        return configuration() if given != files.files.generation else None  # type: ignore[return-value]

    mutual = files.pem.client_authorities is not None
    return grpc.dynamic_ssl_server_credentials(configuration(), renewed, mutual)

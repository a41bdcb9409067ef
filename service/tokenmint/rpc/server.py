"""The gRPC transport: limits, TLS, health; grpcio, or one whose HTTP/2 is done in Rust (docs/adr/0009-transport.md)."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.rpc.interceptors import Guard, Handler

SERVICES: Final = (
    "tokenmint.v1.TokenExchangeService",
    "tokenmint.v1.KeySetService",
    "tokenmint.v1.KeyAdminService",
    "tokenmint.v1.ProfileAdminService",
    "tokenmint.v1.ProviderAdminService",
)

ENDED_STREAMS: Final = 1
"""How many streams of a connection may have ended and not be freed yet, for each that it may have at a time.

With more, one connection could fill the queue of calls that wait (``Limits.waiting``)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections."""

    connections: int = 10_000
    """Of the listener. grpcio alone counts them."""

    message: int = 64 * 1024
    """Bytes."""
    metadata: int = 8 * 1024
    """Bytes."""
    streams: int = 100
    """Concurrent calls."""
    waiting: int = 320
    """Calls of one method, of all connections, that have arrived and wait to be handed to Python. grpcio alone has them
    wait."""
    connection_age: float = 3600.0
    """Seconds after which a client is asked to connect again, which spreads clients over replicas."""
    connection_grace: float = 30.0
    """Seconds that its calls get to end then."""
    keepalive: float = 60.0
    """Seconds without traffic after which the other side is asked whether it is there."""
    keepalive_timeout: float = 20.0
    """Seconds that it has to answer."""
    ping_interval: float = 10.0
    """Seconds that have to lie between a client's pings."""
    handshake: float = 10.0
    """Seconds that a new connection has until it speaks HTTP/2."""


class _Guarded:
    """What servicers are registered at: hands their methods on to the server, each with the guard before it.

    A wrapper at registration and no interceptor, which would have to wrap anew for every call.
    """

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, _: Any) -> None:
        """Do nothing: generated code names the same methods in what follows."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        guarded = {name: self._guard.wrap(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        generic = grpc.method_handlers_generic_handler(service, guarded)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_registered_method_handlers(service, guarded)


def build(
    guard: Guard,
    address: Address,
    register: Sequence[Callable[[Any], None]],
    health: health_aio.HealthServicer,
    *,
    limits: Limits,
    tls: CertificateFiles | None = None,
    reflect: bool = False,
    native: bool = False,
) -> grpc.aio.Server:
    """Return a server that listens on ``address`` once it is started.

    Args:
        native: whether HTTP/2 is done in Rust (the extra `native`): without TLS, without an age limit of connections.

    Raises:
        ConfigurationError: the address can't be listened on, the certificates can't be used, or the extra is missing.
    """
    options = _options(limits, native=native)
    if native:
        server = _native(options, tls, guard)
    else:
        server = grpc.aio.server(options=options)
    guarded: Any = _Guarded(server, guard)
    for add in register:
        add(guarded)
    health_pb2_grpc.add_HealthServicer_to_server(health, guarded)
    if reflect:
        servicer = reflection.aio.ReflectionServicer((*SERVICES, reflection.SERVICE_NAME))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, guarded)  # type: ignore[no-untyped-call]  # untyped there
    try:
        if native:
            with _threads_that_wait_for_their_turn():
                bound = server.add_insecure_port(str(address))
        elif tls is None:
            bound = server.add_insecure_port(str(address))
        else:
            bound = server.add_secure_port(str(address), _credentials(tls))
    except RuntimeError:
        bound = 0
    if not bound:
        raise ConfigurationError(f"listen: can't listen on {address}: stop what listens there or choose another")
    return server


def _options(limits: Limits, *, native: bool) -> list[tuple[str, Any]]:
    """Return the channel arguments of a server: those that both transports know, and grpcio's own."""
    options: list[tuple[str, Any]] = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_metadata_size", limits.metadata),
        ("grpc.absolute_max_metadata_size", limits.metadata),
        ("grpc.max_concurrent_streams", limits.streams),
        # Metadata of one call that can't be parsed stays in the connection's table of headers (RFC 7541 section 2.3.2),
        # and makes the same header of other calls fail. Calls behind one proxy share a connection: there is no table.
        ("grpc.http2.hpack_table_size.decoder", 0),
        # A client that pings too often is told to go away; idle connections are checked, and none lives for ever.
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.ping_interval * 1000)),
        ("grpc.keepalive_time_ms", int(limits.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(limits.keepalive_timeout * 1000)),
        ("grpc.http2.ping_timeout_ms", int(limits.keepalive_timeout * 1000)),  # what a ping's answer really has
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if native:
        return options
    return [
        *options,
        ("grpc.max_connection_age_ms", int(limits.connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", int(limits.connection_grace * 1000)),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake * 1000)),
        # Until a client acknowledges the settings, none of the limits that are told there holds for what it sends.
        ("grpc.http2.settings_timeout", int(limits.handshake * 1000)),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        # Beyond this many, streams that have ended and are not freed yet count as concurrent. Callers within the
        # limit never get there; calls that are reset at once (CVE-2023-44487) do: docs/adr/0014-ended-streams.md
        ("grpc.http2.max_deallocating_streams", ENDED_STREAMS * limits.streams),
        # One more ends as CANCELLED, in the core: to reach Python and be refused there costs half of what it costs
        # to be answered, and whoever waits for longer than callers do is answered for nobody.
        ("grpc.server.max_pending_requests", limits.waiting),
        ("grpc.server.max_pending_requests_hard_limit", limits.waiting),
    ]


def _native(options: Sequence[tuple[str, Any]], tls: CertificateFiles | None, guard: Guard) -> grpc.aio.Server:
    if tls is not None:
        raise ConfigurationError("listen.transport: native has no TLS: use grpcio, or let Envoy or a mesh add it")
    try:
        from tokenmint.rpc import native
    except ImportError:
        raise ConfigurationError(
            "listen.transport: native needs the extra of that name: pip install 'tokenmint[native]'"
        ) from None
    return native.server(options, guard)


@contextlib.contextmanager
def _threads_that_wait_for_their_turn() -> Iterator[None]:
    """Threads that begin meanwhile interrupt none that works: SCHED_BATCH (sched(7)), where the system has it.

    On a busy core every call that comes in, and every answer that goes out, interrupts the event loop else. So they are
    read and sent several at a time, which saves an eighth of what a call costs, and an idle core is not kept waiting.
    """
    batch, usual = getattr(os, "SCHED_BATCH", None), getattr(os, "SCHED_OTHER", None)
    if batch is None or usual is None or os.sched_getscheduler(0) != usual:  # whoever chose another one knows why
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
    """Return credentials that follow the files: each handshake asks whether there are new ones."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        pem = files.pem
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_authorities)

    def renewed() -> grpc.ServerCertificateConfiguration:
        # None, which the stubs do not know, stands for what is in use.
        return configuration() if files.changed() else None  # type: ignore[return-value]

    mutual = files.pem.client_authorities is not None
    return grpc.dynamic_ssl_server_credentials(configuration(), renewed, mutual)

"""uvicorn inside the service's event loop, without its signal handling and with a listener of this package."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base.addresses import Address
from tokenmint.base.background import Background, Unit
from tokenmint.base.capacity import UNFINISHED
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tasks import end
from tokenmint.web.boundary import Boundary
from tokenmint.web.connections import Connections, Place
from tokenmint.web.fast_requests import FastRequests, FastRoutes
from tokenmint.web.listener import Listener
from tokenmint.web.protocol import Protocol

BACKLOG = 512
DATE_INTERVAL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits of one listener."""

    connections: int = 1000
    connections_per_peer: int = 250
    requests: int = 200
    """Requests in progress at a time."""
    request_time: float = 10.0
    """Seconds for a TLS handshake, for a request to be sent, and for an answer to be read."""


class HttpServer:
    """Serves one application on one address.

    Args:
        always: paths that are always answered, for health checks.
        urgent: paths whose requests have places of their own.
        fast: the routes of the fast way.
        count: called with the reason when a limit closes or refuses something, for the metrics.

    Raises:
        ConfigurationError: can't listen on the address.
    """

    def __init__(
        self,
        application: Starlette,
        address: Address,
        tls: CertificateFiles | None = None,
        *,
        limits: HttpLimits | None = None,
        always: frozenset[str] = frozenset(),
        urgent: frozenset[str] = frozenset(),
        fast: FastRoutes | None = None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tls = tls
        limits = limits or HttpLimits()
        self._request_time = limits.request_time
        boundary = Boundary(application, requests=limits.requests, always=always, urgent=urgent, count=count)
        self._fast = FastRequests(fast, boundary.places) if fast is not None else None
        self._config = uvicorn.Config(
            boundary,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="error",  # its warnings concern clients' input, and each would cost a line
            access_log=False,
            server_header=False,
            timeout_keep_alive=15,
            h11_max_incomplete_event_size=16 * 1024,
            timeout_graceful_shutdown=5,
        )
        self._config.load()
        self._connections = Connections(limits.connections, limits.connections_per_peer, count)
        self._count = count
        self._socket = _listen(address)
        self._state = ServerState()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def files(self) -> list[RenewedFiles[Any]]:
        """The files of its TLS. A change takes effect in handshakes after the background has looked at the files."""
        return [self._tls.files] if self._tls is not None else []

    def start(self, background: Background, name: str) -> None:
        """Start serving; the socket listens already. ``name`` is the name of the background task."""
        self._task = background.start(name, self._serve)

    async def stop(self) -> None:
        """Finish the requests in progress, then close."""
        self._stopping = True
        self._socket.close()  # otherwise clients would connect and wait
        if self._server is not None and self._serving is not None:
            self._server.exit()
            await asyncio.wait({self._serving})
        if self._task is not None:
            await end([self._task])

    async def _serve(self, unit: Unit) -> None:
        listener = Listener(
            self._socket.dup(),  # a listener closes its socket
            self._connections,
            self._protocol,
            self._context,
            patience=self._request_time,
            count=self._count,
        )
        self._server = server = _Server(self._config, listener, self._connections, self._state, unit.works)
        self._serving = asyncio.get_running_loop().create_task(server.serve(sockets=[]))
        try:
            await asyncio.wait({self._serving})
            if self._stopping:
                await asyncio.get_running_loop().create_future()  # waits for the cancellation: this end was requested
            self._serving.result()
        finally:
            self._serving.cancel()
            listener.close()

    def _context(self) -> ssl.SSLContext | None:
        return self._tls.context if self._tls is not None else None

    def _protocol(self, place: Place) -> Protocol:
        return Protocol(
            config=self._config,
            server_state=self._state,
            app_state={},
            place=place,
            connections=self._connections,
            request_time=self._request_time,
            fast=self._fast,
        )


class _Server(uvicorn.Server):
    """uvicorn's server without polling: events report the request to exit and the end of all connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: Listener,
        connections: Connections,
        state: ServerState,
        started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self.server_state = state
        self._listener = listener
        self._connections = connections
        self._on_started = started
        self._exiting = asyncio.Event()

    def exit(self) -> None:
        """Stop accepting, finish the requests in progress, and end."""
        self.should_exit = True
        self._exiting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service itself decides when to stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # like the base class
        self._listener.start()
        self.started = True
        self._on_started()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # renews the Date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_INTERVAL):
                    await self._exiting.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # like the base class
        self._listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UNFINISHED):
                        await self._connections.emptied()
                while self._connections.make_room():
                    pass  # of connections that are left, nobody waits for an answer on these
                await self._connections.emptied()
                while self.server_state.tasks:
                    await asyncio.wait(self.server_state.tasks)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self._listener.wait_closed()


def _listen(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"listen: can't listen on {address} ({error.strerror})") from None
    listener.setblocking(False)
    return listener

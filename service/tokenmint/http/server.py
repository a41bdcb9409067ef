"""uvicorn inside the service's own event loop, without its signal handling."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tokenmint.addresses import Address
from tokenmint.background import Background, Unit
from tokenmint.certificates import CertificateFiles
from tokenmint.errors import ConfigurationError
from tokenmint.tasks import end

BACKLOG = 512
PEER_CERTIFICATE = "peer_certificate"


class HttpServer:
    """Serves one application on one address. A client has ``request_time`` seconds to send a request."""

    def __init__(
        self,
        application: Starlette,
        address: Address,
        tls: CertificateFiles | None = None,
        *,
        request_time: float = 10.0,
    ) -> None:
        self._tls = tls
        config = uvicorn.Config(
            _Unambiguous(application),
            http=partial(_Protocol, request_time=request_time),  # type: ignore[arg-type]  # it makes what is meant
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=15,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=16 * 1024,
            timeout_graceful_shutdown=5,
        )
        config.load()
        config.ssl = _following(tls) if tls is not None else None
        self._config = config
        self._socket = _listen(address)
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def renew(self) -> None:
        """Use certificates and authorities of clients that were renewed, for the handshakes that come from now on."""
        if self._tls is not None:
            self._tls.changed()

    def start(self, background: Background, name: str) -> None:
        """Begin to serve; the socket listens already. ``name`` is that of the background task."""
        self._task = background.start(name, self._serve)

    async def stop(self) -> None:
        """Answer what was asked, then close."""
        self._stopping = True
        if self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving})
        if self._task is not None:
            await end([self._task])
        self._socket.close()

    async def _serve(self, unit: Unit) -> None:
        self._server = server = _Server(self._config, unit.works)
        listener = self._socket.dup()  # uvicorn closes its own
        self._serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.wait({self._serving})
            if self._stopping:
                await asyncio.get_running_loop().create_future()  # until it is cancelled: this end was asked for
            self._serving.result()
        finally:
            self._serving.cancel()
            server.close()
            listener.close()


class _Unambiguous:
    """Refuses a request with a length beside chunks, and closes the connection: a proxy in front may have taken another
    end of it for the right one, and what follows would be somebody's smuggled request (RFC 9112 section 6.1)."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope.get("headers", ())}
        if {b"content-length", b"transfer-encoding"} <= names:
            refusal = PlainTextResponse("two lengths of one body\n", 400, {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        await self._application(scope, receive, send)


class _Protocol(H11Protocol):
    """uvicorn's protocol, with two additions.

    The certificate that a client proved is handed on (DER, `state.peer_certificate`), and requests that are sent slowly
    have an end: uvicorn's own timer begins anew with every byte.
    """

    def __init__(self, *args: Any, request_time: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_time = request_time
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class
        encrypted: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        proved = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        self.app_state = {**self.app_state, PEER_CERTIFICATE: proved}
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._request_time, transport.abort)

    def handle_events(self) -> None:
        if self._timer is None:  # the first bytes of a further request
            self._timer = self.loop.call_later(self._request_time, self.transport.abort)
        super().handle_events()
        if self.conn.their_state is not h11.IDLE and self.conn.their_state is not h11.SEND_BODY:
            self._stop()  # the request is here

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._begun = begun
        self.servers = []  # uvicorn's own only from its start on

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    def close(self) -> None:
        """Accept nothing more; also where uvicorn failed, and did not close them itself."""
        for one in self.servers:
            one.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service itself decides when to stop


def _following(files: CertificateFiles) -> ssl.SSLContext:
    """Return a context that hands each handshake on to the files' current one: asyncio keeps the one it began with."""

    def hand_on(connection: ssl.SSLSocket | ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = files.context

    files.context.sni_callback = hand_on  # also where the client names no server
    return files.context


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

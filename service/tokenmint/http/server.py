"""uvicorn inside the service's own event loop, without its signal handling."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from tokenmint.addresses import Address
from tokenmint.certificates import CertificateFiles
from tokenmint.errors import ConfigurationError

BACKLOG = 512


class HttpServer:
    """Serves one application on one address."""

    def __init__(self, application: Starlette, address: Address, tls: CertificateFiles | None = None) -> None:
        self._tls = tls
        config = uvicorn.Config(
            application,
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
        config.ssl = tls.context() if tls is not None else None
        self._context = config.ssl
        self._socket = _listen(address)
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """Use a certificate that was renewed, for the handshakes that come from now on."""
        if self._tls is not None and self._context is not None and self._tls.changed():
            self._tls.load_into(self._context)

    def start(self) -> None:
        """Begin to serve; the socket listens already."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """Answer what was asked, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service itself decides when to stop


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

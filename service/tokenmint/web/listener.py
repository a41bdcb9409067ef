"""Accepts connections: each takes a place before it costs anything, and its TLS handshake has a time limit.

The event loop's own servers count no connection before its handshake ends, and allow a minute for it. When file
descriptors run out, they log each attempt (asyncio) or close waiting connections (libuv).
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from tokenmint.base.addresses import peer_of
from tokenmint.web.connections import Connections, Place

log = structlog.get_logger(__name__)

AT_A_TIME: Final = 8
"""Connections accepted in one turn of the event loop. Fewer than `SPARE`, so that the first bytes of a new one are
read before still newer ones can displace it."""
PAUSE: Final = 0.2  # seconds without accepting while the system has no room for a connection
SILENCE: Final = 60.0  # seconds between two log lines about a shortage
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts the connections of one listening socket.

    Args:
        listening: a bound, non-blocking socket that listens. It is closed with the listener.
        connections: gives each connection a place.
        protocol: makes the protocol of a connection.
        context: returns the TLS context of the next connection; None for plain text.
        patience: seconds for a handshake, and for the orderly end of a TLS connection.
        count: called with the reason when no connection can be accepted, for the metrics.
    """

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        protocol: Callable[[Place], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext | None],
        *,
        patience: float,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._listening = listening
        self._connections = connections
        self._protocol = protocol
        self._context = context
        self._patience = patience
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._reserve: int | None = None
        """A spare file descriptor: released to accept one more connection when the system has none left."""
        self._logged_at: float | None = None

    def start(self) -> None:
        """Start accepting."""
        self._loop = asyncio.get_running_loop()
        self._reserve = os.open(os.devnull, os.O_RDONLY)
        self._resume(self._loop)

    def close(self) -> None:
        """Stop accepting, and end handshakes. A second call has no effect."""
        if self._listening.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._opening:
            task.cancel()
        self._release()

    async def wait_closed(self) -> None:
        """Wait until no handshake is in progress."""
        if self._opening:
            await asyncio.wait(set(self._opening))

    def _resume(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pause = None
        loop.add_reader(self._listening, self._accept, loop)

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(AT_A_TIME):
            try:
                connection, address = self._listening.accept()
            except OSError as error:  # also for a connection that ended before it was accepted (accept(2))
                if error.errno in _NO_ROOM and self._awaited():
                    self._on_shortage(loop, error)
                return
            self._hold_reserve()
            self._take(loop, connection, address[0])

    def _awaited(self) -> bool:
        """Return whether a connection waits: without a file descriptor, accept(2) fails also if there is none."""
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        return bool(poll.poll(0))

    def _on_shortage(self, loop: asyncio.AbstractEventLoop, error: OSError) -> None:
        """Make room and retry later: the socket stays readable, so without a pause this would spin."""
        if self._logged_at is None or loop.time() - self._logged_at >= SILENCE:
            self._logged_at = loop.time()
            log.error(
                "no room for another connection: raise the limit of open files",
                error=errno.errorcode.get(error.errno or 0, "?"),
            )
        self._count("no_file_descriptors")
        had_reserve = self._release()
        self._connections.make_room()
        loop.remove_reader(self._listening)
        self._pause = loop.call_later(0 if had_reserve else PAUSE, self._resume, loop)

    def _release(self) -> bool:
        if self._reserve is None:
            return False
        os.close(self._reserve)
        self._reserve = None
        return True

    def _hold_reserve(self) -> None:
        if self._reserve is None:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _take(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str) -> None:
        place = self._connections.admit(peer_of(address))
        if place is None:
            connection.close()
            return
        task = loop.create_task(self._open(connection, place))
        place.close = task.cancel
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, connection, place))

    def _opened(self, connection: socket.socket, place: Place, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        if task.cancelled():  # maybe before its first step, which runs no part of it
            place.leave()
            connection.close()

    async def _open(self, connection: socket.socket, place: Place) -> None:
        context = self._context()
        patience = self._patience if context is not None else None
        protocol = self._protocol(place)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=patience,
                ssl_shutdown_timeout=patience,
            )
        except BaseException as error:  # includes cancellation, to make room or to stop
            place.leave()
            connection.close()
            # uvloop may have made the connection and read a request. Then it ends the connection without telling the
            # protocol.
            protocol.connection_lost(None)
            if not isinstance(error, OSError):  # includes errors of TLS and handshakes out of time
                raise

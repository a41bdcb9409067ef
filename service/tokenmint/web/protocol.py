"""HTTP/1.1 on one connection: uvicorn's protocol, with an end to everything that a client can leave unfinished."""

import asyncio
import ssl
import sys
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tokenmint.web.connections import Connections, Phase, Place
from tokenmint.web.heads import Head

PEER_CERTIFICATE: Final = "peer_certificate"
PLACE: Final = "place"
MAX_CHUNK_LINES: Final = 2000
"""Line ends in a body that comes in chunks, of which each has two: a chunk costs the parser as much as hundreds of
bytes do, and what has come is parsed in one turn of the event loop."""
SLICE: Final = 4096
"""Bytes that the parser gets at a time: it looks for a limit only where a header is not complete yet."""


class Protocol(H11Protocol):
    """uvicorn's protocol, with additions.

    The certificate that a client proved (DER) and the connection's place are handed on, in the request's state. The
    place's phase is kept. A request has to be sent, and an answer to be read, within ``request_time`` seconds:
    uvicorn's own timer begins anew with every byte, and it waits for a reader for ever.
    """

    def __init__(self, *args: Any, place: Place, connections: Connections, request_time: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place = place
        self._connections = connections
        self._request_time = request_time
        self._timer: asyncio.TimerHandle | None = None
        self._backlog = bytearray()
        self._head = Head()
        self._body_left = 0
        """Bytes of the body of the request that is being received."""
        self._chunk_lines: int | None = None
        """Line ends of it so far, where it comes in chunks."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class
        if self._place.phase is None:  # closed to make room, in the moment in which its handshake ended
            transport.abort()
            return
        self._place.close = transport.abort
        encrypted: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        proved = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        self.app_state = {**self.app_state, PEER_CERTIFICATE: proved, PLACE: self._place}
        super().connection_made(transport)
        self._begin_timer()

    def data_received(self, data: bytes) -> None:
        if self._place.phase is not None:
            self._backlog += data
            self._parse()

    def _parse(self) -> None:
        """Hand on what came, up to the end of a request: the next one's head is looked at when its turn has come."""
        while self._backlog and not self.transport.is_closing():
            theirs = self.conn.their_state
            if theirs is not h11.IDLE and theirs is not h11.SEND_BODY:
                self.flow.pause_reading()  # until the answer is complete
                return
            part = bytes(self._backlog[:SLICE])
            length = self._head.take(part) if theirs is h11.IDLE else min(self._body_left, len(part))
            if theirs is h11.SEND_BODY and self._chunk_lines is not None:
                self._chunk_lines += part.count(b"\n")
            if length < 0 or (self._chunk_lines or 0) > MAX_CHUNK_LINES:
                self._refuse()
                return
            del self._backlog[:length]
            super().data_received(part[:length])
            if theirs is not h11.IDLE:
                self._body_left -= length
            elif self.conn.their_state is h11.SEND_BODY:
                self._begin_body()

    def _refuse(self) -> None:
        """End the connection, with 400 where no answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.send_400_response("Ambiguous HTTP request received.")
        else:
            self.transport.abort()
        if self.cycle is not None:
            self.cycle.disconnected = True  # so that nothing more is sent for it
        self._note_phase()

    def _begin_body(self) -> None:
        """Note where the body ends. Only the parser knows it of one in chunks: so nothing may follow such a request."""
        named = dict(self.headers)
        if b"transfer-encoding" in named:
            self._body_left = sys.maxsize
            self._chunk_lines = 0
            self.cycle.keep_alive = False
        else:
            self._chunk_lines = None
            self._body_left = int(named[b"content-length"])

    def handle_events(self) -> None:
        super().handle_events()
        self._note_phase()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._parse()
        self._note_phase()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._note_phase()

    def shutdown(self) -> None:
        super().shutdown()
        self._note_phase()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_timer()
        self._leave_unfinished()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_timer()
        self._note_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._place.leave()
        if self.transport is not None:
            super().connection_lost(exc)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: an upgrade may be ignored (RFC 9110 section 7.8), and any client can ask for one."""

    def _note_phase(self) -> None:
        if self.flow.write_paused:
            return  # what is unread decides
        theirs = self.conn.their_state
        if self.transport.is_closing() or theirs is h11.SEND_BODY:
            self._leave_unfinished()  # a closed connection waits for its last bytes to be read
        elif theirs is not h11.IDLE:
            self._stop_timer()  # the request is here
            self._connections.move(self._place, Phase.BUSY)
        elif self._backlog or self.conn.trailing_data[0]:
            self._leave_unfinished()
        else:
            self._connections.move(self._place, Phase.IDLE)

    def _leave_unfinished(self) -> None:
        self._connections.move(self._place, Phase.UNFINISHED)
        if self._timer is None:
            self._begin_timer()

    def _begin_timer(self) -> None:
        self._timer = self.loop.call_later(self._request_time, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

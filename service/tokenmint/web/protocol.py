"""HTTP/1.1 on one connection: uvicorn's protocol, with time limits for everything that a client can leave open."""

import asyncio
import ssl
import sys
from typing import Any, Final, NamedTuple, cast

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from tokenmint.web.connections import Connections, Phase, Place
from tokenmint.web.fast_requests import Arrival, DatedAnswer, FastRequests, Later
from tokenmint.web.heads import Head

PEER_CERTIFICATE: Final = "peer_certificate"
PLACE: Final = "place"
MAX_CHUNK_LINES: Final = 2000
"""Line ends in a chunked body; each chunk has two. A chunk costs the parser as much as hundreds of bytes, and
everything that has arrived is parsed in one turn of the event loop."""
SLICE: Final = 4096
"""Bytes passed to the parser at a time: it checks its size limit only while a header is incomplete."""
BODY_SLICE: Final = 65536
"""The same of a body whose length is known, which has no headers: a body that nobody waits for may be endless."""


class _Held(NamedTuple):
    """A request with a known head, whose body has not arrived completely."""

    arrival: Arrival
    data: bytearray


class Protocol(H11Protocol):
    """uvicorn's protocol, with additions.

    The request's state holds the verified client certificate (DER) and the connection's place. The protocol keeps the
    phase of the place up to date. A client has ``request_time`` seconds to send a request, and to read a response:
    uvicorn restarts its own timer with every byte, and waits for a reader without limit.
    """

    def __init__(
        self,
        *args: Any,
        place: Place,
        connections: Connections,
        request_time: float,
        fast: FastRequests | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._fast = fast
        self._held: _Held | None = None
        self._waiting: asyncio.Task[None] | None = None
        """Waits for the answer to a request that takes the fast way."""
        self._is_last = False
        """Whether the connection ends after the answer of the fast way."""
        self._place = place
        self._connections = connections
        self._request_time = request_time
        self._timer: asyncio.TimerHandle | None = None
        self._backlog = bytearray()
        self._head = Head()
        self._body_left = 0
        """Bytes left of the body that is being received."""
        self._chunk_lines: int | None = None
        """Line ends of that body so far, if it is chunked."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # like the base class
        if self._place.phase is None:  # closed to make room just as its handshake ended
            transport.abort()
            return
        self._place.close = transport.abort
        encrypted: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        verified = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        self.app_state = {**self.app_state, PEER_CERTIFICATE: verified, PLACE: self._place}
        if verified is not None or self._place.crowded:
            self._fast = None  # a certificate says more than the head; a connection beyond a limit is refused
        super().connection_made(transport)
        self._begin_timer()

    def data_received(self, data: bytes) -> None:
        if self._place.phase is None:
            return
        if self._held is not None:
            self._held.data.extend(data)
            if len(self._held.data) >= self._held.arrival.end:
                self._end_held()
        elif self._waiting is not None:
            self._backlog += data
            self.flow.pause_reading()  # until the answer is complete
        elif self._place.phase is not Phase.IDLE or not self._recognised(data):
            self._backlog += data
            self._parse()

    def _recognised(self, data: bytes) -> bool:
        """Answer a request that repeats a known head, or hold it until it is complete. The connection has no other
        request.

        Returns False, without any effect, for data that the parser has to read.
        """
        if self._fast is None or self.transport.is_closing() or (arrival := self._fast.find(data)) is None:
            return False
        if arrival.end <= len(data):
            return self._answered(arrival, data)
        self._held = _Held(arrival, bytearray(data))
        self._unset_keepalive_if_required()
        self._leave_unfinished()
        return True

    def _end_held(self) -> None:
        """Answer the held request, or pass it to the parser."""
        held, self._held = self._held, None
        if held is not None and not self._answered(held.arrival, bytes(held.data)):
            self._backlog += held.data
            self._parse()

    def _answered(self, arrival: Arrival, data: bytes) -> bool:
        """Answer a request now or later, unless data follows it. Returns whether it takes the fast way."""
        if self._fast is None or arrival.end != len(data):
            return False
        address = self.client[0] if self.client is not None else ""
        answer = self._fast.answer(arrival.head, data[arrival.begin :], address, arrival.traceparent)
        if answer is None:
            return False
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._connections.move(self._place, Phase.BUSY)
        if isinstance(answer, tuple):
            self._respond(self._fast, answer)
        else:
            self._waiting = self.loop.create_task(self._wait(self._fast, answer, data))
            self.tasks.add(self._waiting)
            self._waiting.add_done_callback(self.tasks.discard)
        return True

    async def _wait(self, fast: FastRequests, later: Later, data: bytes) -> None:
        """Wait for the answer to the request ``data``; without an answer, pass the request to the parser."""
        answer = await later()
        self._waiting = None
        if self.transport.is_closing():
            return
        if answer is not None:
            self._respond(fast, answer)
        else:
            self._backlog[:0] = data
        if answer is None or not self._is_last:
            self.flow.resume_reading()
            self._parse()
        if self._is_last:
            super().shutdown()

    def _respond(self, fast: FastRequests, answer: DatedAnswer) -> None:
        self._connections.move(self._place, Phase.IDLE)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self.server_state.total_requests += 1
        self.transport.write(fast.dated(answer, self.server_state.default_headers))
        if fast.stopping():
            self.transport.close()
            self._note_phase()

    def _parse(self) -> None:
        """Parse up to the end of one request. The next head is parsed when its turn comes."""
        while self._backlog and not self.transport.is_closing():
            theirs = self.conn.their_state
            if theirs is not h11.IDLE and theirs is not h11.SEND_BODY:
                self.flow.pause_reading()  # until the answer is complete
                return
            in_body = theirs is h11.SEND_BODY and self._chunk_lines is None
            part = bytes(self._backlog[: BODY_SLICE if in_body else SLICE])
            whole = theirs is h11.IDLE and self._head.is_new
            length = self._head.take(part) if theirs is h11.IDLE else min(self._body_left, len(part))
            if theirs is h11.SEND_BODY and self._chunk_lines is not None:
                self._chunk_lines += part.count(b"\n")
            if length < 0 or (self._chunk_lines or 0) > MAX_CHUNK_LINES:
                self._refuse()
                return
            del self._backlog[:length]
            before = self.scope
            super().data_received(part[:length])
            if whole and self._fast is not None and self.scope is not before:
                self._fast.learn(part[:length], cast(Scope, self.scope))
            if theirs is not h11.IDLE:
                self._body_left -= length
            elif self.conn.their_state is h11.SEND_BODY:
                self._begin_body()

    def _refuse(self) -> None:
        """End the connection, with 400 if no response has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.send_400_response("Ambiguous HTTP request received.")
        else:
            self.transport.abort()
        if self.cycle is not None:
            self.cycle.disconnected = True  # so that no more of its response is sent
        self._note_phase()

    def _begin_body(self) -> None:
        """Record the end of the body. Only the parser knows the end of a chunked one, so no request may follow it."""
        fields = dict(self.headers)
        if b"transfer-encoding" in fields:
            self._body_left = sys.maxsize
            self._chunk_lines = 0
            self.cycle.keep_alive = False
        else:
            self._chunk_lines = None
            self._body_left = int(fields[b"content-length"])

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
        self._end_held()  # the parser's requests may still arrive as a whole
        if self._waiting is not None:
            self._is_last = True
            return
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
        if self._waiting is not None:
            self._waiting.cancel()
        if self.transport is not None:
            super().connection_lost(exc)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: any client can request an upgrade, and a server may ignore it (RFC 9110 section 7.8)."""

    def _note_phase(self) -> None:
        if self.flow.write_paused:
            return  # the unread response decides the phase
        theirs = self.conn.their_state
        if self.transport.is_closing() or theirs is h11.SEND_BODY:
            self._leave_unfinished()  # a closed connection waits until its last bytes are read
        elif theirs is not h11.IDLE:
            self._stop_timer()  # the request is complete
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

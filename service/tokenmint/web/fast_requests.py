"""Requests that repeat an earlier head: answered without parser, tasks and application.

Clients send the same head again and again. The full way (`web/protocol.py`, uvicorn, h11) parses it once. If it was a
plain request, the SHA-256 of its bytes is remembered with the route that answers it. The same bytes have the same
meaning, so nothing is parsed here. A head that two servers could read differently is refused by the full way, and never
remembered. Only the number of Content-Length, and the ids of a trace, may differ.

A route recognises answers with success only. It returns None for any other request, which then takes the full way.
"""

import hashlib
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES

from tokenmint.admission.gate import log_internal
from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.tasks import ENDING
from tokenmint.web.places import Places

LONGEST: Final = 2048  # bytes of a head that is remembered
ENTRIES: Final = 1024  # heads
SIZE: Final = 4 * 1024 * 1024  # bytes of all
LARGEST: Final = 8 * 1024  # bytes of one
HEAD: Final = 512  # bytes of one beyond its fields
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([1-9][0-9]{0,6})(?=\r\n)")
_TRACE: Final = re.compile(rb"\r\n[Tt]race[Pp]arent: (00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?=\r\n)")
_STATE: Final = re.compile(rb"\r\n[Tt]race[Ss]tate: ([\x21-\x7e]{1,512})(?=\r\n)")
"""Fields of W3C Trace Context in the forms that are cut out of a head."""
_OF_TRACES: Final = frozenset({b"traceparent", b"tracestate"})
_PLAIN: Final = _OF_TRACES | frozenset(
    {
        b"host", b"user-agent", b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"cache-control",
        b"pragma", b"if-none-match", b"authorization", b"content-type", b"content-length", b"connection",
    }
)  # fmt: skip
"""Fields of heads that are remembered: each is ignored by the full way, or handled by the routes."""

Learned = TypeVar("Learned")
"""The meaning of a head for its route."""
Field = tuple[bytes, bytes]
DatedAnswer = tuple[bytes, bytes]
"""The bytes of a response before its Date field, and after it."""


Later = Callable[[], Coroutine[Any, Any, DatedAnswer | None]]
"""Waits, and then returns a response, or None without any effect."""


class FastRoute(Protocol[Learned]):
    """Answers the requests of one method and path."""

    def learn(self, fields: Headers, *, has_body: bool) -> Learned | None:
        """Return the meaning of a head's fields for :meth:`answer`; None if only the full way answers such requests.

        The result must hold no secret.
        """
        ...

    def answer(self, learned: Learned, body: bytes, address: str, traceparent: str = "") -> DatedAnswer | Later | None:
        """Return the response to a request from ``address``, or None without any effect."""
        ...


@dataclass(frozen=True, slots=True)
class FastRoutes:
    """The routes of one listener."""

    routes: Mapping[tuple[str, str], FastRoute[Any]]
    """By method and path."""
    stopping: Callable[[], bool]
    """Whether responses have to close their connections."""
    body_limit: int = 0
    """Bytes of a body at most."""


class KnownHead(NamedTuple):
    """A head that the full way has accepted."""

    route: FastRoute[Any]
    learned: object


class Arrival(NamedTuple):
    """A request that begins with a known head."""

    head: KnownHead
    begin: int
    """The position of the first byte of its body."""
    end: int
    """The position after its body, parts of which may not have arrived yet."""
    traceparent: str = ""


class FastRequests:
    """Remembers heads, and answers requests that repeat them.

    Args:
        routes: the routes.
        places: the requests that may be answered at a time.
    """

    def __init__(self, routes: FastRoutes, places: Places) -> None:
        self._routes = routes.routes
        self.stopping = routes.stopping
        """Returns whether responses have to close their connections."""
        self._body_limit = routes.body_limit
        self._places = places
        self._heads: Remembered[bytes, KnownHead] = Remembered(entries=ENTRIES, size=SIZE, largest=LARGEST)

        self._fields: list[Field] = []
        self._lines = b""
        """The fields of every response, as lines."""

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, data: bytes) -> Arrival | None:
        """Return the request at the start of ``data``, if its head is known."""
        begin = data.find(b"\r\n\r\n", 0, LONGEST) + 4
        if begin < 4:
            return None
        key, size, traceparent = _cut(data, begin)
        head = self._heads.find(hashlib.sha256(key).digest())
        if head is None or size > self._body_limit:
            return None
        return Arrival(head, begin, begin + size, traceparent)

    def learn(self, raw: bytes, scope: Scope) -> None:
        """Remember the head ``raw``. The parser has read it, without other data, and made ``scope`` of it."""
        route = self._routes.get((scope["method"], scope["path"]))
        if route is None or len(raw) > LONGEST or scope["http_version"] != "1.1" or scope["query_string"]:
            return
        fields: list[Field] = scope["headers"]
        names = {name for name, _ in fields}
        # Each field may occur once, because a second one might count too. `Connection: keep-alive` has no effect.
        if len(names) < len(fields) or not names <= _PLAIN or raw.lower().count(b"content-length") > 1:
            return
        if dict(fields).get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return
        key, size, _ = _cut(raw, len(raw))
        if (b"content-length" in names) is not bool(size):
            return
        if names & _OF_TRACES and not _without_trace(raw, len(raw))[2]:
            return  # it would be remembered with its ids, which do not come again
        learned = route.learn(Headers(raw=fields), has_body=bool(size))
        if learned is not None:
            self._heads.remember(hashlib.sha256(key).digest(), KnownHead(route, learned), HEAD + 2 * len(raw))

    def answer(self, head: KnownHead, body: bytes, address: str, traceparent: str = "") -> DatedAnswer | Later | None:
        """Return the route's response to a complete request; None if it takes the full way."""
        if self.stopping() or not self._places.free:
            return None
        try:
            answer = head.route.answer(head.learned, body, address, traceparent)
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # the full way answers, and its errors count
            log_internal("HTTP", error)
            return None
        return answer if answer is None or isinstance(answer, tuple) else partial(self._waited, answer)

    async def _waited(self, later: Later) -> DatedAnswer | None:
        """Wait for a response; the request has a place meanwhile."""
        taken = self._places.take()
        try:
            return await later() if taken else None
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # as in answer
            log_internal("HTTP", error)
            return None
        finally:
            self._places.free += taken

    def dated(self, answer: DatedAnswer, fields: list[Field]) -> bytes:
        """Return the whole response with ``fields``, those of every response; their list changes each second."""
        if fields is not self._fields:
            self._fields, self._lines = fields, _lines(fields)
        close = b"connection: close\r\n" if self.stopping() else b""
        return answer[0] + self._lines + close + answer[1]


def _cut(head: bytes, end: int) -> tuple[bytes, int, str]:
    """Return a head without the number of its Content-Length and the ids of its trace, that number, and `traceparent`.

    The number is 0 if the head has no such field; `traceparent` is "" if the head has none of the usual form.
    """
    traceparent = ""
    if head.find(b"race", 0, end) >= 0:
        head, end, traceparent = _without_trace(head, end)
    length = _LENGTH.search(head, 0, end)
    if length is None:
        return head[:end], 0, traceparent
    return head[: length.start(1)] + head[length.end(1) : end], int(length[1]), traceparent


def _without_trace(head: bytes, end: int) -> tuple[bytes, int, str]:
    """Return a head without the ids of its trace, its length, and its `traceparent`, if it has one of the usual form.

    `tracestate` goes with it: a call on the fast way does not become a span, and has no use for it.
    """
    parent = _TRACE.search(head, 0, end)
    if parent is None:
        return head, end, ""
    head = head[: parent.start(1)] + head[parent.end(1) : end]
    state = _STATE.search(head)
    if state is not None:
        head = head[: state.start(1)] + head[state.end(1) :]
    return head, len(head), parent[1].decode()


def _lines(fields: Iterable[Field]) -> bytes:
    """Return fields as the lines of a head."""
    return b"".join(b"%s: %s\r\n" % field for field in fields)


def dated_answer(response: Response) -> DatedAnswer:
    """Return the bytes that the full way sends for ``response``, without the Date field."""
    status = b"HTTP/1.1 %d %s\r\n" % (response.status_code, STATUS_PHRASES[response.status_code])
    return status, _lines(response.raw_headers) + b"\r\n" + bytes(response.body)

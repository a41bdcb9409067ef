"""ExchangeToken and BatchExchangeTokens over the fast way: bytes in, bytes out, without a message, a context or a
coroutine.

The token is cut out of the request (protobuf's wire format). A client repeats the other bytes in each request, so they
are the key of the plan. Most parts of the answer are in the plan.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from tokenmint.admission.gate import log_internal
from tokenmint.admission.named_credentials import CLIENT_ASSERTION, CLIENT_ID, CLIENT_SECRET, WORKLOAD_TOKEN
from tokenmint.base.errors import TokenmintError
from tokenmint.base.tasks import ENDING
from tokenmint.base.trace_context import TraceContext, context_in
from tokenmint.fast.exchange import FastExchange, Fetched, Unfinished
from tokenmint.fast.minting import Minted
from tokenmint.fast.plans import Plan, Target
from tokenmint.model.policy import Client, ExchangeRequest
from tokenmint.rpc import convert
from tokenmint.rpc.wire import field, varint
from tokenmint.tracing.tracer import Tracer
from tokenmint.v1 import token_exchange_service_pb2 as pb

METHOD: Final = "/tokenmint.v1.TokenExchangeService/ExchangeToken"
BATCH_METHOD: Final = "/tokenmint.v1.TokenExchangeService/BatchExchangeTokens"
_TOKEN: Final = pb.ExchangeTokenRequest.SUBJECT_TOKEN_FIELD_NUMBER << 3 | 2
"""The first byte of a request of either method, if the token comes first."""
_PROBE: Final = "p"
_ELSEWHERE: Final = frozenset({CLIENT_ASSERTION, WORKLOAD_TOKEN, "content-type"})
"""Metadata that only the full way interprets."""
_THREE: Final = 3  # bytes of a length that are read: 2 MiB, more than any request has

Metadata = Iterable[tuple[str, str | bytes]]
_Request = TypeVar("_Request", pb.ExchangeTokenRequest, pb.BatchExchangeTokensRequest)


class _Answer:
    """The parts of an answer that the tokens of a target share: all of them, or those of one second and key."""

    __slots__ = ("after", "before", "expires_at", "key_id", "scopes")

    def __init__(self, target: Target) -> None:
        grant = target.grant
        self.before = field(2, grant.token_type.encode()) + field(3, b"Bearer")
        self.scopes = b"".join(field(5, scope.encode()) for scope in grant.scopes)
        self.expires_at, self.key_id = 0, ""
        self.after = b""

    def bytes(self, minted: Minted, principal: bytes) -> bytes:
        """Return the bytes of an ExchangeTokenResponse after its token (``convert.minted_token``, ``Codec.encode``).

        ``principal``: its field of the principal, which the answers of a batch share.
        """
        if self.expires_at != minted.expires_at or self.key_id != minted.key_id:
            self.expires_at, self.key_id = minted.expires_at, minted.key_id
            expires = field(4, b"\x08" + varint(minted.expires_at))
            self.after = self.before + expires + self.scopes + field(6, minted.key_id.encode())
        return self.after + field(7, minted.token_id) + principal


def _result(token: int, rest: int) -> bytes:
    """Return the bytes of a batch's result before its token, by the lengths of the token and of the rest."""
    begin = b"\x0a" + varint(token)
    size = len(begin) + token + rest
    length = varint(size)
    return b"\x0a" + varint(1 + len(length) + size) + b"\x0a" + length + begin


def _answer_of(target: Target) -> _Answer:
    """Return the parts that the answers with tokens of a target share."""
    shared = target.answer
    if not isinstance(shared, _Answer):
        target.answer = shared = _Answer(target)
    return shared


def _principal(minted: Minted) -> bytes:
    return field(8, minted.principal.encode())


class Request(NamedTuple):
    """A request in two parts."""

    token: bytes
    """The subject token."""
    rest: bytes
    """The bytes that a client repeats in each request: they name the plan."""
    parent: TraceContext | None = None
    """The place in a trace that the request itself names."""
    own: object = None
    """A part that only the answer of the method needs."""


class Pending(NamedTuple):
    """A call that waits."""

    fast: FastExchange
    """The configuration under which it began."""
    unfinished: Unfinished
    started: float
    """The time at which it began, by :func:`time.perf_counter`."""
    parent: TraceContext | None
    """The caller's place in a trace."""
    own: object
    """As in :class:`Request`."""


class Method(ABC):
    """Answers the calls of one method that the fast way recognises.

    Args:
        in_force: returns the fast way of the configuration in force.
        limit: bytes of a request at most.
        tracer: decides which calls leave the fast way, because they become spans; None: none.
    """

    name: str
    batch: bool

    def __init__(self, in_force: Callable[[], FastExchange], limit: int, tracer: Tracer | None = None) -> None:
        self._in_force = in_force
        self._limit = limit
        self._tracer = tracer
        self._unwritten: FastExchange | None = None

    def answer(self, message: bytes, metadata: Metadata) -> bytes | Pending | None:
        """Return the answer to a call, or None without any effect; the call then takes the full way.

        ``Pending``: the call waits for the results of :meth:`fetch`; then :meth:`finish` continues it. :meth:`write`
        has to be called before an answer is sent.
        """
        started = time.perf_counter()
        try:
            fast = self._in_force()
            client = _client(fast, metadata) if len(message) <= self._limit else None
            if client is None or (request := self.cut(message)) is None:
                return None
            parent = context_in(metadata) or request.parent
            if self._tracer is not None and self._tracer.keeps_from_fast_way(self.name, parent):
                return None
            plan = fast.plans(self.name, self.read, batch=self.batch).of(client, request.rest)
            if plan is None or (minted := fast.exchange(plan, request.token)) is None:
                return None
            if not isinstance(minted, list):
                return Pending(fast, minted, started, parent, request.own)
            return self._answered(fast, plan, minted, (started, parent, request.own))
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # the full way answers, and its errors count
            log_internal(self.name, error)
            return None

    async def fetch(self, pending: Sequence[Pending]) -> list[Fetched]:
        """Return the results for which calls of one configuration wait, for :meth:`finish`."""
        try:
            return await pending[0].fast.fetch([one.unfinished for one in pending])
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # as in answer
            log_internal(self.name, error)
            return [None] * len(pending)

    def finish(self, pending: Pending, fetched: Fetched) -> bytes | Pending | None:
        """Continue a call that waited. Returns as :meth:`answer`."""
        try:
            minted = pending.fast.finish(pending.unfinished, fetched)
            if minted is None:
                return None
            if not isinstance(minted, list):
                return pending._replace(unfinished=minted)
            call = pending.started, pending.parent, pending.own
            return self._answered(pending.fast, pending.unfinished.plan, minted, call)
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # as in answer
            log_internal(self.name, error)
            return None

    def _answered(
        self, fast: FastExchange, plan: Plan, minted: list[Minted], call: tuple[float, TraceContext | None, object]
    ) -> bytes:
        started, parent, own = call
        if self._unwritten is not fast:
            self.write()
            self._unwritten = fast
        answer = self.message(fast, minted, own)
        fast.ended(self.name, plan, time.perf_counter() - started, parent=parent)
        return answer

    def cut(self, message: bytes) -> Request | None:
        """Return the parts of a request; None if the full way has to read it."""
        return _cut(message)

    @abstractmethod
    def read(self, rest: bytes) -> Sequence[ExchangeRequest]:
        """Read a request without its token, as :data:`~tokenmint.fast.plans.Read`."""

    @abstractmethod
    def message(self, fast: FastExchange, minted: list[Minted], own: object) -> bytes:
        """Return the bytes of an answer; ``own`` as in :class:`Request`."""

    def write(self) -> None:
        """Record the answers since the last call. Never raises."""
        if self._unwritten is not None:
            self._unwritten.write()


class FastExchangeToken(Method):
    """The fast way of ExchangeToken."""

    name, batch = METHOD, False

    def read(self, rest: bytes) -> Sequence[ExchangeRequest]:
        """Read a request without its token (``Codec.decode``, ``convert.exchange_request``)."""
        message = _read(pb.ExchangeTokenRequest, rest)
        try:
            return () if message is None else (convert.exchange_request(message),)
        except TokenmintError:
            return ()

    def message(self, fast: FastExchange, minted: list[Minted], own: object) -> bytes:  # noqa: ARG002
        """Return the bytes of an ExchangeTokenResponse."""
        [one] = minted
        rest = _answer_of(one.target).bytes(one, _principal(one))
        return b"".join((b"\x0a", varint(len(one.token)), one.token, rest))


class FastBatchExchangeTokens(Method):
    """The fast way of BatchExchangeTokens."""

    name, batch = BATCH_METHOD, True

    def read(self, rest: bytes) -> Sequence[ExchangeRequest]:
        """Read a request without its token (``Codec.decode``, ``convert.batch_requests``)."""
        message = _read(pb.BatchExchangeTokensRequest, rest)
        try:
            return () if message is None else convert.batch_requests(message)
        except TokenmintError:
            return ()

    def message(self, fast: FastExchange, minted: list[Minted], own: object) -> bytes:  # noqa: ARG002
        """Return the bytes of a BatchExchangeTokensResponse: of each token's result."""
        parts: list[bytes] = []
        principal = _principal(minted[0])  # of one subject token
        known, before = (0, 0), b""
        for one in minted:
            rest = _answer_of(one.target).bytes(one, principal)
            lengths = len(one.token), len(rest)
            if lengths != known:  # a batch's tokens often have one length
                known, before = lengths, _result(*lengths)
            parts += before, one.token, rest
        return b"".join(parts)


def _client(fast: FastExchange, metadata: Metadata) -> Client | None:
    """Authenticate the client (``credentials_of``, ``ClientAuthenticator.client``) by one id and one secret."""
    identifier = secret = None
    for key, value in metadata:
        if key == CLIENT_SECRET:
            if secret is not None or not isinstance(value, str):
                return None
            secret = value
        elif key == CLIENT_ID:
            if identifier is not None or not isinstance(value, str):
                return None
            identifier = value
        elif key in _ELSEWHERE:
            return None
    return fast.client(identifier, secret) if identifier is not None and secret is not None else None


def _cut(request: bytes) -> Request | None:
    """Return the subject token at the start of a request, and the other bytes; None for another form."""
    if request[:1] != bytes((_TOKEN,)):
        return None
    size = 0
    for place, byte in enumerate(request[1 : 1 + _THREE]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            begin = 2 + place
            end = begin + size
            return Request(request[begin:end], request[end:]) if size and end <= len(request) else None
    return None


def _read(kind: type[_Request], rest: bytes) -> _Request | None:
    """Parse a request without its token, with another one in its place; None if it is not plain.

    The rest must not contain another token, not even an empty one: in protobuf the last one counts.
    """
    try:
        alone = kind.FromString(rest)
        message = kind.FromString(field(1, _PROBE.encode()) + rest)
    except DecodeError:
        return None
    if alone.subject_token or message.subject_token != _PROBE:
        return None
    if message.nonce or message.request_id or message.actor_token or message.dpop_jkt:
        return None
    return message

"""The outermost layer of every call: proves the caller, bounds the time, and lets no exception text out.

grpcio sends the text of an uncaught exception to the client, so everything is caught here.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from tokenmint.callers import Callers, Operator
from tokenmint.errors import CallerUnauthenticated, MethodDenied, TokenmintError
from tokenmint.policy.types import Client
from tokenmint.rpc.access import Access, Clients, Operators
from tokenmint.rpc.status import INTERNAL_MESSAGE, abort, code_of
from tokenmint.secret import Secret
from tokenmint.telemetry import Metrics

log = structlog.get_logger(__name__)

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of the metadata key
LONG_CALL: Final = 600.0  # seconds for calls with a stream of requests

_client: ContextVar[Client] = ContextVar("client")
_operator: ContextVar[Operator] = ContextVar("operator")

Context = grpc.aio.ServicerContext[Any, Any]


def current_client() -> Client:
    """Return the client whose call this is."""
    return _client.get()


def current_operator() -> Operator:
    """Return the operator whose call this is."""
    return _operator.get()


class Guard(grpc.aio.ServerInterceptor):
    """Stands before every method of one listener.

    Args:
        access: who may call what.
        callers: returns everybody who is known now (a reload changes it).
        metrics: what is counted.
        deadline: seconds that a unary call may take, whatever the client allows.
    """

    def __init__(
        self, access: Mapping[str, Access], callers: Callable[[], Callers], metrics: Metrics, *, deadline: float
    ) -> None:
        self._access = access
        self._callers = callers
        self._metrics = metrics
        self._deadline = deadline

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # answered with UNIMPLEMENTED
        method = str(handler_call_details.method)
        access = self._access.get(method)
        metadata = handler_call_details.invocation_metadata
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }

        def admit() -> None:
            self._admit(method, access, metadata)

        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            wrap = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return wrap(self._streaming(method, admit, behaviour), **codecs)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(method, admit, handler.stream_unary, LONG_CALL), **codecs
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, admit, handler.unary_unary, self._deadline), **codecs
        )

    def _admit(self, method: str, access: Access | None, metadata: Any) -> None:
        """Prove the caller and put it where the method finds it.

        Raises:
            CallerUnauthenticated, MethodDenied
        """
        if access is None:
            raise MethodDenied(detail=f"{method} is not in the access table")
        if not isinstance(access, Clients | Operators):
            return
        identifier, secret = _credentials(metadata)
        if isinstance(access, Clients):
            _client.set(self._callers().client(identifier, secret))
            return
        operator = self._callers().operator(identifier, secret)
        if access.role not in operator.roles:
            raise MethodDenied(f"the operator {operator.operator_id!r} lacks the role {access.role.value!r}")
        _operator.set(operator)

    def _unary(
        self, method: str, admit: Callable[[], None], behaviour: Callable[..., Awaitable[Any]], limit: float
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            try:
                admit()
                async with asyncio.timeout(limit):
                    response = await behaviour(request, context)
            except Exception as error:  # noqa: BLE001  # nothing may pass this line
                await self._failed(method, started, context, error)
            self._metrics.call(method, grpc.StatusCode.OK.name, "", time.perf_counter() - started)
            return response

        return call

    def _streaming(
        self, method: str, admit: Callable[[], None], behaviour: Callable[..., Any]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            started = time.perf_counter()
            try:
                admit()
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    await answers  # the standard health service writes its answers itself
                else:
                    async for response in answers:
                        yield response
            except Exception as error:  # noqa: BLE001  # as above
                await self._failed(method, started, context, error)
            self._metrics.call(method, grpc.StatusCode.OK.name, "", time.perf_counter() - started)

        return call

    async def _failed(self, method: str, started: float, context: Context, error: Exception) -> None:
        seconds = time.perf_counter() - started
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError) and not isinstance(error, TokenmintError):
            self._metrics.call(method, grpc.StatusCode.DEADLINE_EXCEEDED.name, "DEADLINE", seconds)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took longer than the service allows")
        code = code_of(error)
        reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
        self._metrics.call(method, code.name, reason, seconds)
        if code is grpc.StatusCode.INTERNAL:
            _log_internal(method, error)
        elif isinstance(error, TokenmintError):
            log.info("refused", method=method, code=code.name, reason=reason, detail=error.detail or error.message)
        await abort(context, error)


def _credentials(metadata: Any) -> tuple[str | None, Secret | None]:
    """Return the id and the secret, each sent once. Raises ``CallerUnauthenticated`` where one is sent twice."""
    found: dict[str, str] = {}
    for key, value in metadata or ():
        if key in (CLIENT_ID, CLIENT_SECRET):
            if key in found:
                raise CallerUnauthenticated(detail="a credential was sent twice")
            found[key] = value if isinstance(value, str) else value.decode("ascii", "replace")
    secret = found.get(CLIENT_SECRET)
    return found.get(CLIENT_ID), Secret(secret) if secret is not None else None


def _log_internal(method: str, error: Exception) -> None:
    """Log where it went wrong. The exception's own text may hold what the caller sent, so it stays out."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}")
        trace = trace.tb_next
    detail = error.detail or error.message if isinstance(error, TokenmintError) else INTERNAL_MESSAGE
    log.error("internal error", method=method, error=type(error).__name__, detail=detail, where=places[-6:])

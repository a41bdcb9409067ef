"""The outermost layer of every call: proves the caller, bounds the time, and lets no exception text out.

grpcio sends the text of an uncaught exception to the client, so everything is caught here.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from tokenmint.audit import AuditTrail
from tokenmint.callers import ClientProof, Operator, Role
from tokenmint.errors import CallerUnauthenticated, MethodDenied, TokenmintError
from tokenmint.policy.types import Client
from tokenmint.rpc.access import Access, Clients, Operators
from tokenmint.rpc.credentials import presented
from tokenmint.rpc.status import INTERNAL_MESSAGE, abort, code_of
from tokenmint.telemetry import Metrics

log = structlog.get_logger(__name__)

LONG_CALL: Final = 600.0  # seconds for calls with a stream of requests

_client: ContextVar[Client] = ContextVar("client")
_operator: ContextVar[Operator] = ContextVar("operator")
_facts: ContextVar[dict[str, object]] = ContextVar("facts")
NAMING: Final = {
    "key_id": "key_id",
    "principal": "principal",
    "algorithm": "algorithm",
    "provider": "provider",
    "client_id": "client_id",
    "force": "force",
    "with_prepared": "with_prepared",
    "reason": "why",
}
"""Fields of operators' requests that say what an action is about, and what an event calls them."""

Context = grpc.aio.ServicerContext[Any, Any]


def current_client() -> Client:
    """Return the client whose call this is."""
    return _client.get()


def current_operator() -> Operator:
    """Return the operator whose call this is."""
    return _operator.get()


def tell_audit(**facts: object) -> None:
    """Add to what the audit event of this call will say."""
    _facts.get().update(facts)


class Guard(grpc.aio.ServerInterceptor):
    """Stands before every method of one listener.

    Args:
        access: who may call what.
        proof: returns what proves callers now (a reload changes it).
        metrics: what is counted.
        audit: what is recorded.
        deadline: seconds that a unary call may take, whatever the client allows.
    """

    def __init__(
        self,
        access: Mapping[str, Access],
        proof: Callable[[], ClientProof],
        metrics: Metrics,
        audit: AuditTrail,
        *,
        deadline: float,
    ) -> None:
        self._access = access
        self._proof = proof
        self._metrics = metrics
        self._audit = audit
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

        call = _Call(method, access, metadata)
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            wrap = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return wrap(self._streaming(call, behaviour), **codecs)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._unary(call, handler.stream_unary, LONG_CALL), **codecs)
        return grpc.unary_unary_rpc_method_handler(self._unary(call, handler.unary_unary, self._deadline), **codecs)

    async def _admit(self, call: "_Call", request: Any, auth_context: Mapping[str, Any]) -> None:
        """Prove the caller and put it where the method finds it; record an operator's change before it is made.

        Raises:
            CallerUnauthenticated, MethodDenied
            StoreUnavailable: the change can't be recorded, so it is not made.
        """
        _facts.set({})
        if call.access is None:
            raise MethodDenied(detail=f"{call.method} is not in the access table")
        if not isinstance(call.access, Clients | Operators):
            return
        brought = presented(call.metadata, auth_context)
        tell_audit(caller=(brought.identifier or "")[:128])
        if isinstance(call.access, Clients):
            client = await self._proof().client(brought)
            tell_audit(caller=client.client_id)
            _client.set(client)
            return
        operator = self._proof().callers.operator(brought)
        tell_audit(caller=operator.operator_id)
        if call.access.role not in operator.roles:
            raise MethodDenied(f"the operator {operator.operator_id!r} lacks the role {call.access.role.value!r}")
        _operator.set(operator)
        if call.access.role is not Role.VIEWER:
            tell_audit(**_about(request))
            await self._audit.record({"kind": "admin", "method": call.method, "outcome": "begun"} | _facts.get())

    def _unary(
        self, call: "_Call", behaviour: Callable[..., Awaitable[Any]], limit: float
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def answer(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            try:
                await self._admit(call, request, context.auth_context())
                async with asyncio.timeout(limit):
                    response = await behaviour(request, context)
            except asyncio.CancelledError:  # the caller gave up, or its deadline passed
                self._ended(call, started, grpc.StatusCode.CANCELLED, "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001  # nothing may pass this line
                await self._failed(call, started, context, error)
            self._ended(call, started, grpc.StatusCode.OK, "")
            return response

        return answer

    def _streaming(self, call: "_Call", behaviour: Callable[..., Any]) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
            started = time.perf_counter()
            try:
                await self._admit(call, request, context.auth_context())
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    await answers  # the standard health service writes its answers itself
                else:
                    async for response in answers:
                        yield response
            except asyncio.CancelledError:  # as above
                self._ended(call, started, grpc.StatusCode.CANCELLED, "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001  # as above
                await self._failed(call, started, context, error)
            self._ended(call, started, grpc.StatusCode.OK, "")

        return answer

    def _ended(self, call: "_Call", started: float, code: grpc.StatusCode, reason: str, detail: str = "") -> None:
        """Count and record a call. Never raises: what comes after this is the answer."""
        try:
            self._count(call, started, code, reason, detail)
        except Exception as error:  # noqa: BLE001  # as said
            _log_internal(call.method, error)

    def _count(self, call: "_Call", started: float, code: grpc.StatusCode, reason: str, detail: str = "") -> None:
        self._metrics.call(call.method, code.name, reason, time.perf_counter() - started)
        if isinstance(call.access, Clients):
            kind = "exchange"
        elif isinstance(call.access, Operators) and (reason or call.access.role is not Role.VIEWER):
            kind = "admin"
        else:
            return
        outcome = "refused" if reason else "done"
        event = {"kind": kind, "method": call.method, "outcome": outcome, "reason": reason, "detail": detail}
        # Who was not proved gets a line in the log, and no place in the stream: it could push out everybody else's.
        proved = reason != CallerUnauthenticated.reason
        self._audit.note(event | _facts.get(), keep=proved)

    async def _failed(self, call: "_Call", started: float, context: Context, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError) and not isinstance(error, TokenmintError):
            self._ended(call, started, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took longer than the service allows")
        code = code_of(error)
        reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
        detail = ""
        if code is grpc.StatusCode.INTERNAL:
            _log_internal(call.method, error)
        elif isinstance(error, TokenmintError):
            detail = error.detail or error.message
        self._ended(call, started, code, reason, detail)
        await abort(context, error)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that has come in."""

    method: str
    access: Access | None
    metadata: Any


def _about(request: Any) -> dict[str, object]:
    """Return what an operator's request is about; a stream of requests is about too much to say."""
    fields = request.DESCRIPTOR.fields_by_name if hasattr(request, "DESCRIPTOR") else {}
    facts: dict[str, object] = {
        name: getattr(request, field) for field, name in NAMING.items() if field in fields and getattr(request, field)
    }
    if "profile" in fields:
        facts["principal"] = request.profile.principal[:128]
    return facts


def _log_internal(method: str, error: Exception) -> None:
    """Log where it went wrong. The exception's own text may hold what the caller sent, so it stays out."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}")
        trace = trace.tb_next
    detail = error.detail or error.message if isinstance(error, TokenmintError) else INTERNAL_MESSAGE
    log.error("internal error", method=method, error=type(error).__name__, detail=detail, where=places[-6:])

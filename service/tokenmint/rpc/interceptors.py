"""The outermost layer of every call: proves the caller, bounds the time, and lets no exception text out.

grpcio sends the text of an uncaught exception to the client, so everything is caught here.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from tokenmint.admission import Admission, log_internal, tell_audit
from tokenmint.callers import Operator, Role
from tokenmint.errors import MethodDenied, TokenmintError
from tokenmint.policy.types import Client, Confirmation
from tokenmint.rpc.access import Access, Clients, Operators
from tokenmint.rpc.credentials import CertificateOf, of_connection, presented
from tokenmint.rpc.status import abort, code_of
from tokenmint.tasks import TimeLimit

LONG_CALL: Final = 600.0  # seconds for calls with a stream of requests

_client: ContextVar[Client] = ContextVar("client")
_possession: ContextVar[Confirmation] = ContextVar("possession")
_operator: ContextVar[Operator] = ContextVar("operator")
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
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def current_client() -> Client:
    """Return the client whose call this is."""
    return _client.get()


def current_possession() -> Confirmation:
    """Return the keys that the caller of this call has proved to hold: that of its certificate."""
    return _possession.get()


def current_operator() -> Operator:
    """Return the operator whose call this is."""
    return _operator.get()


class Guard:
    """Stands before every method of one listener.

    Args:
        access: who may call what.
        admission: what lets callers in, and records how their calls ended.
        deadline: seconds that a unary call may take, whatever the client allows.
        pushback: whether the transport lets an answer name the delay that gRPC's own retries obey.
        certificate: returns what is known of a caller's certificate.
    """

    def __init__(
        self, access: Mapping[str, Access], admission: Admission, *, deadline: float, pushback: bool = True,
        certificate: CertificateOf = of_connection,
    ) -> None:  # fmt: skip
        self._access = access
        self._admission = admission
        self._deadline = deadline
        self._pushback = pushback
        self._certificate = certificate

    def wrap(self, method: str, handler: "Handler") -> "Handler":
        """Return ``handler`` with this guard before it. Done once for each method, when it is registered."""
        access = self._access.get(method)
        codecs: dict[str, Any] = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            wrap = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return wrap(self._streaming(method, access, behaviour), **codecs)
        if handler.request_streaming:
            answer = self._unary(method, access, handler.stream_unary, LONG_CALL)
            return grpc.stream_unary_rpc_method_handler(answer, **codecs)
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, access, handler.unary_unary, self._deadline), **codecs
        )

    async def _admit(self, call: "_Call", request: Any, auth_context: Mapping[str, Any]) -> None:
        """Prove the caller and put it where the method finds it; record an operator's change before it is made.

        Raises:
            CallerUnauthenticated, MethodDenied
            AuditUnavailable: an exchange has to be recorded and can't be.
            StoreUnavailable: the change can't be recorded, so it is not made.
        """
        if call.access is None:
            raise MethodDenied(detail=f"{call.method} is not in the access table")
        if not isinstance(call.access, Clients | Operators):
            return
        brought = presented(call.metadata, self._certificate(call.metadata, auth_context))
        if isinstance(call.access, Clients):
            if call.access.exchanges:
                self._admission.check_recordable()
            _client.set(await self._admission.client(brought))
            _possession.set(Confirmation(x5t_s256=brought.certificate_sha256))
            return
        operator = self._admission.operator(brought)
        if call.access.role not in operator.roles:
            raise MethodDenied(f"the operator {operator.operator_id!r} lacks the role {call.access.role.value!r}")
        _operator.set(operator)
        if call.access.role is not Role.VIEWER:
            tell_audit(**_about(request))
            await self._admission.record_change(call.method, confirm=not call.access.urgent)

    def _unary(
        self, method: str, access: Access | None, behaviour: Any, limit: float
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def answer(request: Any, context: Context) -> Any:
            started = self._admission.begin()
            call = _Call(method, access, context.invocation_metadata())
            try:
                await self._admit(call, request, context.auth_context())
                with TimeLimit(limit):
                    response = await behaviour(request, context)
            except asyncio.CancelledError:  # the caller gave up, or its deadline passed
                self._ended(call, started, grpc.StatusCode.CANCELLED, "CANCELLED")
                raise
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # nothing may pass this line
                await self._failed(call, started, context, error)
            self._ended(call, started, grpc.StatusCode.OK, "")
            return response

        return answer

    def _streaming(
        self, method: str, access: Access | None, behaviour: Any
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
            started = self._admission.begin()
            call = _Call(method, access, context.invocation_metadata())
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
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # as above
                await self._failed(call, started, context, error)
            self._ended(call, started, grpc.StatusCode.OK, "")

        return answer

    def _ended(self, call: "_Call", started: float, code: grpc.StatusCode, reason: str, detail: str = "") -> None:
        kind = ""
        if isinstance(call.access, Clients):
            kind = "exchange"
        elif isinstance(call.access, Operators) and (reason or call.access.role is not Role.VIEWER):
            kind = "admin"
        self._admission.ended(call.method, kind, started, code.name, reason, detail)

    async def _failed(self, call: "_Call", started: float, context: Context, error: BaseException) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError) and not isinstance(error, TokenmintError):
            self._ended(call, started, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took longer than the service allows")
        code = code_of(error)
        reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
        detail = ""
        if code is grpc.StatusCode.INTERNAL:
            log_internal(call.method, error)
        elif isinstance(error, TokenmintError):
            detail = error.detail or error.message
        self._ended(call, started, code, reason, detail)
        await abort(context, error, pushback=self._pushback)


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

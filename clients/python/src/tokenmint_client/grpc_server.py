"""Server interceptors: a call is served only with a good token, for threads and for asyncio."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import grpc
import grpc.aio

from tokenmint_client.bearer import NO_TOKEN, bearer_token, enter, missing_scopes
from tokenmint_client.errors import KeySetUnavailable, VerificationError
from tokenmint_client.refusals import UNAVAILABLE
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier, Verifier

Refusal = tuple[grpc.StatusCode, str]


class TokenInterceptor(grpc.ServerInterceptor):
    """Verifies the token of each call; :func:`tokenmint_client.current_token` returns it to the method.

    Args:
        verifier: accepts tokens.
        scopes: what each call needs.
        public: full names of methods that need no token, e.g. ``/grpc.health.v1.Health/Check``.
    """

    def __init__(self, verifier: Verifier, *, scopes: Sequence[str] = (), public: Sequence[str] = ()) -> None:
        self._verifier = verifier
        self._scopes = tuple(scopes)
        self._public = frozenset(public)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "grpc.RpcMethodHandler[Any, Any] | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler: Any = continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._public:
            return handler
        sent = _bearer(handler_call_details)

        def admit(context: Any) -> None:
            if sent is None:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, NO_TOKEN)
            else:
                try:
                    token = self._verifier.verify(sent)
                except VerificationError as error:
                    context.abort(*_refusal(error))
                else:
                    _check_scopes(context, token)

        def _check_scopes(context: Any, token: VerifiedToken) -> None:
            missing = missing_scopes(token, self._scopes)
            if missing:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"missing scopes: {' '.join(missing)}")
            enter(token)

        behaviour = _behaviour(handler)

        def answer(request: Any, context: Any) -> Any:
            admit(context)
            return behaviour(request, context)

        def stream(request: Any, context: Any) -> Iterator[Any]:
            admit(context)
            yield from behaviour(request, context)

        return _wrapped(handler, stream if handler.response_streaming else answer)


class AsyncTokenInterceptor(grpc.aio.ServerInterceptor):
    """As :class:`TokenInterceptor`, for `grpc.aio.server`.

    Args:
        verifier: accepts tokens.
        scopes: what each call needs.
        public: full names of methods that need no token, e.g. ``/grpc.health.v1.Health/Check``.
    """

    def __init__(self, verifier: AsyncVerifier, *, scopes: Sequence[str] = (), public: Sequence[str] = ()) -> None:
        self._verifier = verifier
        self._scopes = tuple(scopes)
        self._public = frozenset(public)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._public:
            return handler
        sent = _bearer(handler_call_details)

        async def admit(context: Any) -> None:
            if sent is None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, NO_TOKEN)
                return
            try:
                token = await self._verifier.verify(sent)
            except VerificationError as error:
                await context.abort(*_refusal(error))
                return
            missing = missing_scopes(token, self._scopes)
            if missing:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"missing scopes: {' '.join(missing)}")
            enter(token)

        behaviour = _behaviour(handler)

        async def answer(request: Any, context: Any) -> Any:
            await admit(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await admit(context)
            answers = behaviour(request, context)
            if hasattr(answers, "__aiter__"):
                async for one in answers:
                    yield one
            else:
                await answers  # it writes its answers itself

        return _wrapped(handler, stream if handler.response_streaming else answer)


def _bearer(details: grpc.HandlerCallDetails) -> str | None:
    values = [value for key, value in details.invocation_metadata or () if key == "authorization"]
    return bearer_token(value if isinstance(value, str) else value.decode("ascii", "replace") for value in values)


def _refusal(error: VerificationError) -> Refusal:
    if isinstance(
        error, KeySetUnavailable
    ):  # its message has the key set's address, which is not the caller's business
        return grpc.StatusCode.UNAVAILABLE, UNAVAILABLE
    return grpc.StatusCode.UNAUTHENTICATED, str(error)


def _behaviour(handler: Any) -> Callable[..., Any]:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    found: Callable[..., Any] = next(kind for kind in kinds if kind is not None)
    return found


def _wrapped(handler: Any, behaviour: Callable[..., Any]) -> Any:
    kind = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    make: Callable[..., Any] = kind
    return make(behaviour, handler.request_deserializer, handler.response_serializer)

"""The application's own gRPC calls carry the right token: call credentials, and interceptors where there is no TLS."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio

from tokenmint_client.dpop_key import bearer
from tokenmint_client.source import AsyncTokenSource, TokenSource
from tokenmint_client.subject import SubjectToken, current


def call_credentials(
    source: TokenSource, subject_token: SubjectToken, audience: str, *, scopes: Sequence[str] = ()
) -> grpc.CallCredentials:
    """Return call credentials, for a TLS channel (`grpc.composite_channel_credentials`) or a single call.

    They work for asyncio channels too: gRPC asks for them in a thread of its own.
    """

    class Plugin(grpc.AuthMetadataPlugin):
        def __call__(self, _: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
            try:
                value = bearer(source.get(current(subject_token), audience, scopes=scopes), audience)
            except Exception as error:  # noqa: BLE001  # it ends this call and not gRPC's thread
                callback((), error)
            else:
                callback((("authorization", value),), None)

    return grpc.metadata_call_credentials(Plugin())


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


def _with_token(details: Any, authorization: str) -> Any:
    metadata = [*(details.metadata or ()), ("authorization", authorization)]
    return _Details(
        details.method,
        details.timeout,
        metadata,
        details.credentials,
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )


class TokenInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to each call of a channel (`grpc.intercept_channel`). Over TLS, prefer call credentials.

    Args:
        source: where tokens come from.
        subject_token: on whose behalf.
        audience: the called service's audience.
        scopes: default: all that the audience grants this client.

    A call raises ``TokenmintError`` where no token can be had, and ``ValueError`` where it is no bearer token: gRPC has
    no proofs of a key.
    """

    def __init__(
        self, source: TokenSource, subject_token: SubjectToken, audience: str, *, scopes: Sequence[str] = ()
    ) -> None:
        self._authorization: Callable[[], str] = lambda: bearer(
            source.get(current(subject_token), audience, scopes=scopes), audience
        )

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(_with_token(client_call_details, self._authorization()), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(_with_token(client_call_details, self._authorization()), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(_with_token(client_call_details, self._authorization()), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(_with_token(client_call_details, self._authorization()), request_iterator)


class _Async:
    def __init__(
        self, source: AsyncTokenSource, subject_token: SubjectToken, audience: str, scopes: Sequence[str]
    ) -> None:
        self._source = source
        self._subject_token = subject_token
        self._audience = audience
        self._scopes = scopes

    async def _continue(self, continuation: Any, details: grpc.aio.ClientCallDetails, request: Any) -> Any:
        token = await self._source.get(current(self._subject_token), self._audience, scopes=self._scopes)
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.add("authorization", bearer(token, self._audience))
        new = grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )
        return await continuation(new, request)


class _UnaryUnary(_Async, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._continue(continuation, client_call_details, request)


class _UnaryStream(_Async, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._continue(continuation, client_call_details, request)


class _StreamUnary(_Async, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._continue(continuation, client_call_details, request_iterator)


class _StreamStream(_Async, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._continue(continuation, client_call_details, request_iterator)


def async_interceptors(
    source: AsyncTokenSource, subject_token: SubjectToken, audience: str, *, scopes: Sequence[str] = ()
) -> list[grpc.aio.ClientInterceptor]:
    """Return what adds the token to each call of an asyncio channel: its ``interceptors``."""
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(source, subject_token, audience, scopes) for kind in kinds]

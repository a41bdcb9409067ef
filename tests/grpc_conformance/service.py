"""The conformance suite's service (connectrpc.conformance.v1), behind our guard and our transports.

Its messages are made from the suite's own descriptors at run time: nothing of the suite is kept here.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import status_pb2

SERVICE: Final = "connectrpc.conformance.v1.ConformanceService"
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
Context = grpc.aio.ServicerContext[Any, Any]


class Messages:
    """The suite's messages. ``descriptors`` is what protoc made of its protos, imports included."""

    def __init__(self, descriptors: Path) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        """Return a message's class, e.g. `UnaryRequest` or `ConformancePayload.RequestInfo`."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"connectrpc.conformance.v1.{name}"))


class ConformanceService:
    """Does what each request says, and tells what it saw of it."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._info = getattr(messages, "ConformancePayload.RequestInfo")

    def register(self, server: Any) -> None:
        """Serve it; the method `Unimplemented` is not served, as the suite wants."""
        m = self._messages

        def codec(request: str, response: str) -> dict[str, Any]:
            return {
                "request_deserializer": getattr(m, request).FromString,
                "response_serializer": getattr(m, response).SerializeToString,
            }

        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, **codec("UnaryRequest", "UnaryResponse")),
            "ServerStream": grpc.unary_stream_rpc_method_handler(
                self.server_stream, **codec("ServerStreamRequest", "ServerStreamResponse")
            ),
            "ClientStream": grpc.stream_unary_rpc_method_handler(
                self.client_stream, **codec("ClientStreamRequest", "ClientStreamResponse")
            ),
            "BidiStream": grpc.stream_stream_rpc_method_handler(
                self.bidi_stream, **codec("BidiStreamRequest", "BidiStreamResponse")
            ),
        }
        server.add_registered_method_handlers(SERVICE, handlers)

    async def unary(self, request: Any, context: Context) -> Any:
        return self._messages.UnaryResponse(payload=await self._one(request, [request], context))

    async def client_stream(self, requests: AsyncIterator[Any], context: Context) -> Any:
        every = [request async for request in requests]
        first = every[0] if every else self._messages.ClientStreamRequest()
        return self._messages.ClientStreamResponse(payload=await self._one(first, every, context))

    async def server_stream(self, request: Any, context: Context) -> AsyncIterator[Any]:
        async for payload in self._several(request.response_definition, [request], context):
            yield self._messages.ServerStreamResponse(payload=payload)

    async def bidi_stream(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        response, first = self._messages.BidiStreamResponse, await anext(requests, None)
        if first is None or not first.full_duplex:
            every = [] if first is None else [first, *[request async for request in requests]]
            definition = first.response_definition if first is not None else self._messages.StreamResponseDefinition()
            async for payload in self._several(definition, every, context):
                yield response(payload=payload)
            return
        definition = first.response_definition
        await _begin(definition, context)
        sent = 0
        request: Any = first
        while request is not None and sent < len(definition.response_data):
            info = self._seen([request], context if not sent else None)
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield response(payload=self._payload(definition.response_data[sent], info))
            sent += 1
            request = await anext(requests, None)
        for data in definition.response_data[sent:]:
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield response(payload=self._payload(data, None))
            sent += 1
        if definition.HasField("error"):
            await self._end(definition.error, None if sent else self._seen([first], context), context)

    async def _one(self, request: Any, every: list[Any], context: Context) -> Any:
        definition, seen = request.response_definition, self._seen(every, context)
        await _begin(definition, context)
        await asyncio.sleep(definition.response_delay_ms / 1000)
        if definition.HasField("error"):
            await self._end(definition.error, seen, context)
        return self._payload(definition.response_data, seen)

    async def _several(self, definition: Any, every: list[Any], context: Context) -> AsyncIterator[Any]:
        seen = self._seen(every, context)
        await _begin(definition, context)
        for number, data in enumerate(definition.response_data):
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield self._payload(data, None if number else seen)
        if definition.HasField("error"):
            await self._end(definition.error, None if definition.response_data else seen, context)

    def _payload(self, data: bytes, seen: Any) -> Any:
        return self._messages.ConformancePayload(data=data, request_info=seen)

    def _seen(self, requests: list[Any], context: Context | None) -> Any:
        """Return what the suite wants to hear of a request; without a context only its messages."""
        seen = self._info()
        for request in requests:
            name = f"type.googleapis.com/{request.DESCRIPTOR.full_name}"
            seen.requests.add(type_url=name, value=request.SerializeToString())
        if context is not None:
            headers: dict[str, list[str]] = {}
            for key, value in context.invocation_metadata() or ():
                text = value if isinstance(value, str) else base64.b64encode(value).decode().rstrip("=")
                headers.setdefault(str(key), []).append(text)
            for key, values in headers.items():
                seen.request_headers.add(name=key, value=values)
            remaining = context.time_remaining()
            if remaining is not None and remaining < 1e9:  # type: ignore[redundant-expr]  # None without a deadline
                seen.timeout_ms = round(remaining * 1000)
        return seen

    async def _end(self, error: Any, seen: Any, context: Context) -> None:
        status = status_pb2.Status(code=error.code, message=error.message)
        for detail in error.details:
            status.details.add(type_url=detail.type_url, value=detail.value)
        if seen is not None:
            name = f"type.googleapis.com/{seen.DESCRIPTOR.full_name}"
            status.details.add(type_url=name, value=seen.SerializeToString())
        trailing = (*context.trailing_metadata(), ("grpc-status-details-bin", status.SerializeToString()))
        await context.abort(CODES[error.code], error.message, trailing_metadata=trailing)


async def _begin(definition: Any, context: Context) -> None:
    """Send the headers, and set the trailers, that a request asks for."""
    context.set_trailing_metadata(_metadata(definition.response_trailers))
    await context.send_initial_metadata(_metadata(definition.response_headers))


def _metadata(headers: Any) -> tuple[tuple[str, str | bytes], ...]:
    def value_of(name: str, value: str) -> str | bytes:
        return base64.b64decode(value + "=" * (-len(value) % 4)) if name.endswith("-bin") else value

    return tuple((header.name.lower(), value_of(header.name, value)) for header in headers for value in header.value)

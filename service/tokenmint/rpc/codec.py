"""The codec of one method, applied by the guard, so that the guard answers what it can't decode or encode.

At the transport handlers are registered with bytes as their messages. grpcio and pygrpc-native would answer a message
that can't be decoded with the exception's type, and log its traceback.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from tokenmint.base.errors import MalformedMessage


class Codec:
    """Decodes requests and encodes responses of one method.

    Args:
        handler: what generated code registers for the method. Where it names no codec, messages are bytes.
    """

    __slots__ = ("_deserialize", "decode", "encode")

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self._deserialize: Callable[[bytes], Any] = handler.request_deserializer or _as_it_is
        self.decode: Callable[[Any], Any] = self._decode_each if handler.request_streaming else self._decode
        """Return the message of bytes, or, of a stream of requests, those of each. Raises ``MalformedMessage``."""
        self.encode: Callable[[Any], bytes] = handler.response_serializer or _as_it_is
        """Return a response's bytes. Raises what the serialiser raises, which is a fault of ours."""

    def _decode(self, raw: bytes) -> Any:
        try:
            return self._deserialize(raw)
        except Exception:  # noqa: BLE001  # DecodeError today; its text and that of others may show what was sent
            raise MalformedMessage from None

    async def _decode_each(self, raw_messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raw_messages:
            yield self._decode(raw)

    def writer(self, context: "grpc.aio.ServicerContext[Any, Any]") -> "_EncodingContext":
        """Return ``context`` for a method that writes its responses itself."""
        return _EncodingContext(context, self.encode)


class _EncodingContext:
    """A context whose ``write`` takes messages; the rest is the transport's."""

    def __init__(self, context: "grpc.aio.ServicerContext[Any, Any]", encode: Callable[[Any], bytes]) -> None:
        self._context = context
        self._encode = encode

    async def write(self, message: Any) -> None:
        await self._context.write(self._encode(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _as_it_is(message: Any) -> Any:
    return message

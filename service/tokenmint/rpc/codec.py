"""The codec of one method. The guard applies it, so that the guard answers decoding and encoding errors.

Handlers are registered with the transport as if messages were bytes. Otherwise grpcio and pygrpc-native would answer an
undecodable message with the exception's type, and log its traceback.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from tokenmint.base.errors import MalformedMessage


class Codec:
    """Decodes requests and encodes responses of one method.

    Args:
        handler: the handler that generated code registers. Without codecs, messages are bytes.
    """

    __slots__ = ("_deserialize", "decode", "encode")

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self._deserialize: Callable[[bytes], Any] = handler.request_deserializer or _unchanged
        self.decode: Callable[[Any], Any] = self._decode_each if handler.request_streaming else self._decode
        """Decode a message or, for a stream of requests, each of its messages. Raises ``MalformedMessage``."""
        self.encode: Callable[[Any], bytes] = handler.response_serializer or _unchanged
        """Encode a response. Raises the serialiser's error, which is a fault of this service."""

    def _decode(self, raw: bytes) -> Any:
        try:
            return self._deserialize(raw)
        except Exception:  # noqa: BLE001  # DecodeError today; an error's text may show the message
            raise MalformedMessage from None

    async def _decode_each(self, raw_messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raw_messages:
            yield self._decode(raw)


def _unchanged(message: Any) -> Any:
    return message

"""While the process stops, responses close their connection, so that HTTP clients connect to another replica."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ClosingConnections:
    """Adds `Connection: close` (RFC 9112 section 9.6) to each response while ``stopping`` returns True."""

    def __init__(self, application: ASGIApp, stopping: Callable[[], bool]) -> None:
        self._application = application
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._stopping():
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._application(scope, receive, closing)

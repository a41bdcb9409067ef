"""Writes that the server confirms: on the same connection, with WAITAOF or WAIT behind them."""

import asyncio
from typing import Any

from redis.exceptions import InvalidResponse, MovedError

from tokenmint.base.errors import OutcomeUnknown, StoreUnavailable
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.server import Server


class ConfirmedWrites:
    """Sends writes, and waits until they are confirmed as durable, as far as the server can confirm.

    Args:
        server: the server.
        options: how it is reached.
    """

    def __init__(self, server: Server, options: StoreOptions) -> None:
        self._server = server
        self._options = options
        self.confirms_log = False
        """Whether the server confirms that a change is in its append-only file."""

    async def send(self, full_key: str, *writes: tuple[str | bytes, ...], durable: bool = True) -> list[Any]:
        """Send ``writes``, all of them on the node of ``full_key``; return their answers. ``durable``: confirmed.

        One confirmation covers all earlier writes to the same server too, of any connection.

        Raises:
            StoreUnavailable: nothing was changed.
            OutcomeUnknown: it may or may not have been changed, or is not yet durable.
        """
        commands = list(writes)
        milliseconds = str(round(self._options.write_timeout * 800))
        if not durable:
            pass
        elif self.confirms_log:
            commands.append(("WAITAOF", "1", str(self._options.min_replicas), milliseconds))
        elif self._options.min_replicas:
            commands.append(("WAIT", str(self._options.min_replicas), milliseconds))
        try:
            replies = await self._server.roundtrip(full_key, commands, follow=self._server.clustered)
        except MovedError:
            await self._learn_node(full_key)
            try:
                replies = await self._server.roundtrip(full_key, commands)
            except MovedError:  # the cluster is moving the slot
                raise StoreUnavailable(detail=f"{self._server.url.describe()}: MovedError") from None
        if len(replies) > len(writes):
            self._check(replies[-1])
        return replies[: len(writes)]

    async def _learn_node(self, full_key: str) -> None:
        """Let the driver follow the redirection of a slot, by a command that takes a key of any type."""
        with self._server.translated(writes=False):
            async with asyncio.timeout(self._options.read_timeout):
                await self._server.client.type(full_key)

    def _check(self, reply: Any) -> None:
        least = self._options.min_replicas
        with self._server.translated(writes=True, counted=False):
            logged, replicas = map(int, reply if isinstance(reply, list) else (1, reply))
        if logged < 1 or replicas < least:
            self._server.errors[OutcomeUnknown.reason] += 1
            raise OutcomeUnknown(detail=f"confirmed by {logged} local log(s) and {replicas} of {least} replica(s)")


def each_made(reply: Any, count: int) -> list[bool]:
    """Return which of ``count`` changes were made, as SWAP_MANY answers. Raises ``InvalidResponse``."""
    if not isinstance(reply, list) or len(reply) != count or any(one not in (0, 1) for one in reply):
        raise InvalidResponse("not an answer about each change")
    return [one == 1 for one in reply]

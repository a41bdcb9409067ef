"""A link from one region to another, which can be cut: a TCP proxy in this process."""

import asyncio

from tests.chaos.proxy import Proxy, reset


class Link(Proxy):
    """Forwards what connects to :attr:`port` to a server on loopback, while it is not cut."""

    def __init__(self, server: int = 0) -> None:
        super().__init__(server)
        self.is_cut = False

    def lead_to(self, server: int) -> None:
        """Forward new connections to this port from now on."""
        self._server = server

    def cut(self) -> None:
        """Reset every connection, and each new one."""
        self.is_cut = True
        for pair in list(self._pairs):
            self._pairs.discard(pair)
            pair.reset()

    def mend(self) -> None:
        """Forward connections again."""
        self.is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            reset(writer)
            return
        await super()._serve(reader, writer)

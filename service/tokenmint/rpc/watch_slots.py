"""The limits of watch streams: in all, for each peer, and in time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tokenmint.base.addresses import peer_of
from tokenmint.base.errors import RateLimited

UNREAD: Final = 10.0
"""Seconds after the end of its time in which a stream may still end by itself. One whose client reads nothing can't."""


class WatchSlots:
    """Counts the open streams of one kind.

    Args:
        total: the largest number of streams.
        per_peer: the largest number from one peer: an IPv4 address, or the /64 of an IPv6 address.
        instead: what a watcher without a stream does, for the refusal.
    """

    def __init__(self, total: int, per_peer: int, instead: str) -> None:
        self._total = total
        self._per_peer = per_peer
        self._instead = instead
        self._watching: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """The number of open streams."""
        return self._watching.total()

    @contextlib.contextmanager
    def slot(self, address: str, longest: float) -> Iterator[None]:
        """Hold a place for a stream of the peer at ``address``, as gRPC names it. Raises ``RateLimited``.

        ``longest``: the seconds of the stream. The running task, which serves it, is cancelled some time later.
        """
        peer = network_of(address)
        if self._watching.total() >= self._total or self._watching[peer] >= self._per_peer:
            raise RateLimited(f"too many streams: {self._instead}", retry_after=30.0)
        self._watching[peer] += 1
        task = asyncio.current_task()
        late = asyncio.get_running_loop().call_later(longest + UNREAD, task.cancel) if task is not None else None
        try:
            yield
        finally:
            if late is not None:
                late.cancel()
            self._watching[peer] -= 1
            if not self._watching[peer]:
                del self._watching[peer]


def host_of(peer: str) -> str:
    """Return the peer without its port, e.g. `ipv4:127.0.0.1`."""
    return peer.rpartition(":")[0] or peer


def network_of(peer: str) -> str:
    """Return the peer whose streams count together: an IPv4 address, or the /64 of an IPv6 address."""
    host = host_of(peer).partition(":")[2]
    return peer_of(host.removeprefix("%5B").removesuffix("%5D").strip("[]")) if host else peer

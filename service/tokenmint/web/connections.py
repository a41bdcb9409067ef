"""Limits on connections, per listener and per peer, and the order in which connections are closed to make room.

A connection without a request in progress makes room for a new one: first the oldest idle one, then the oldest with an
unfinished request. So a flood of such connections only displaces the sender's own, and no request in progress.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

SPARE: Final = 32
"""Connections beyond a limit that may still ask for health, or get 503, if no other can make room."""


class Phase(Enum):
    """The activity of a connection, in the order in which connections make room."""

    IDLE = "idle"
    """A TLS handshake, or no byte of a request so far."""
    UNFINISHED = "unfinished"
    """A request has partly arrived, or a response is not read."""
    BUSY = "busy"
    """A complete request is being answered; the connection is never closed to make room."""


class Place:
    """The place of one connection."""

    __slots__ = ("_leave", "close", "crowded", "peer", "phase")

    def __init__(self, peer: str, *, crowded: bool, leave: "Callable[[Place], None]") -> None:
        self.peer = peer
        self.crowded = crowded
        """Whether it is beyond a limit: it may ask for health only, and gets 503 otherwise."""
        self.phase: Phase | None = None
        """None once the connection has left."""
        self.close: Callable[[], object] = lambda: None
        """Ends the connection at once."""
        self._leave = leave

    def leave(self) -> None:
        """Give the place back; a second call has no effect."""
        self._leave(self)


class _Group:
    """The connections of one peer, or all. The first of each queue has been in its phase for the longest time."""

    __slots__ = ("queues", "size")

    def __init__(self) -> None:
        self.size = 0
        self.queues: dict[Phase, dict[Place, None]] = {Phase.IDLE: {}, Phase.UNFINISHED: {}}

    def move(self, place: Place, phase: Phase | None) -> None:
        if place.phase in self.queues:
            del self.queues[place.phase][place]
        if phase in self.queues:
            self.queues[phase][place] = None
        self.size += (phase is not None) - (place.phase is not None)

    def first(self, *, crowded: bool) -> Place | None:
        """Return the next connection to close: among those beyond a limit, or among the rest."""
        return next((place for queue in self.queues.values() for place in queue if place.crowded is crowded), None)


class Connections:
    """The connections of one listener.

    Args:
        total: the largest number of connections.
        each_peer: the largest number for one peer, which is an IPv4 address or the /64 of an IPv6 address.
        count: called with the reason when a connection is closed or refused, for the metrics.
    """

    def __init__(self, total: int, each_peer: int, count: Callable[[str], None] = lambda _: None) -> None:
        self._total = total
        self._each_peer = each_peer
        self._count = count
        self._all = _Group()
        self._peers: dict[str, _Group] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return self._all.size

    def admit(self, peer: str) -> Place | None:
        """Return a place for a new connection, closing another if needed; None if there is no room."""
        of_peer = self._peers.get(peer) or _Group()
        crowded = False
        for group, limit in ((of_peer, self._each_peer), (self._all, self._total)):
            if group.size < limit or self._close(group.first(crowded=False)):
                continue
            if group.size >= limit + SPARE and not self._close(group.first(crowded=True)):
                self._count("connection_refused")
                return None
            crowded = True
        self._peers[peer] = of_peer
        place = Place(peer, crowded=crowded, leave=lambda place: self.move(place, None))
        of_peer.move(place, Phase.IDLE)
        self._all.move(place, Phase.IDLE)
        place.phase = Phase.IDLE
        self._empty.clear()
        return place

    async def emptied(self) -> None:
        """Wait until there is no connection."""
        await self._empty.wait()

    def move(self, place: Place, phase: Phase | None) -> None:
        """Record the new phase of a connection."""
        if place.phase is None or place.phase is phase:
            return
        of_peer = self._peers[place.peer]
        of_peer.move(place, phase)
        self._all.move(place, phase)
        place.phase = phase
        if not of_peer.size:
            del self._peers[place.peer]
        if not self._all.size:
            self._empty.set()

    def make_room(self) -> bool:
        """Close one connection without a request in progress. Returns whether there was one."""
        return self._close(self._all.first(crowded=False)) or self._close(self._all.first(crowded=True))

    def _close(self, place: Place | None) -> bool:
        if place is None or place.phase is None:
            return False
        self._count("idle_closed" if place.phase is Phase.IDLE else "unfinished_closed")
        self.move(place, None)
        place.close()
        return True

"""Shares of a gRPC listener's connections, so that no peer keeps the others out.

Neither transport tells Python about its connections. So the process looks through its own open files for the
connections of its listeners, and ends the newest ones of each peer beyond its share. It looks ten times a second, but
only while at least as many files are open as a peer, or a listener, may have connections.

grpcio's core refuses connections by their total number, and ignores the peer. So its limit has to be higher than the
limit here, by :func:`spare`. Otherwise new connections of other peers would be refused before the process sees them.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from tokenmint.base.addresses import peer_of
from tokenmint.base.background import Unit
from tokenmint.rpc.own_sockets import OPEN_FILES, Slot, open_files

log = structlog.get_logger(__name__)

PAUSE: Final = 0.1  # seconds between two looks
LEAST_PAUSE: Final = 0.01  # ... while connections are ended, at least
REST: Final = 20.0
"""A look is followed by a pause of this many times as long, so that it takes a twentieth of a core at most."""
SILENCE: Final = 60.0  # seconds between two log lines about a listener


def spare(total: int) -> int:
    """Return the number of connections beyond ``total`` that a transport has to accept, for a look to find them."""
    return total // 8 + 1


def beyond(peers: Sequence[str], total: int, each_peer: int) -> list[int]:
    """Return the places of the connections to end.

    Args:
        peers: the peer of each connection, the oldest connection first.
        total: the largest number of connections. Beyond it, the peers with the most give up theirs until it is kept.
        each_peer: the largest number of one peer.
    """
    share = min(each_peer, max(1, _level(Counter(peers).values(), total)))
    kept: Counter[str] = Counter()
    all_kept = 0
    ended = []
    for place, peer in enumerate(peers):
        if kept[peer] >= share or all_kept >= total:
            ended.append(place)
        else:
            kept[peer] += 1
            all_kept += 1
    return ended


def _level(sizes: Iterable[int], total: int) -> int:
    """Return the largest number that each may keep so that all together keep no more than ``total``."""
    left, ascending = total, sorted(sizes)
    for done, size in enumerate(ascending):
        share = left // (len(ascending) - done)
        if size > share:
            return share
        left -= size
    return total


@dataclass(slots=True)
class _File:
    """An open file of the process."""

    identity: tuple[int, int]
    """Device and inode, because another file may get the same number later."""
    listener: str = ""
    """The listener whose connection it is; empty for other files, and for a connection that was ended."""
    peer: str = ""


class Shares:
    """Keeps the connections of the process's gRPC listeners within their limits.

    Args:
        listeners: the names of the listeners by port.
        total: the largest number of connections of each.
        each_peer: the largest number of one peer, which is an IPv4 address or the /64 of an IPv6 address.
        count: called with the listener's name and a number of ended connections, for the metrics.
    """

    def __init__(
        self, listeners: Mapping[int, str], total: int, each_peer: int, count: Callable[[str, int], None]
    ) -> None:
        self._listeners = dict(listeners)
        self._total = total
        self._each_peer = min(total, each_peer)
        self._count = count
        self._files: dict[int, _File] = {}
        """The open files as of the last look, in the order in which they were first seen."""
        self._logged_at: dict[str, float] = {}

    @staticmethod
    def possible() -> bool:
        """Return whether this system shows a process its open files."""
        return OPEN_FILES.is_dir()

    async def follow(self, unit: Unit) -> None:
        """Look without end."""
        pause = PAUSE
        with contextlib.closing(Slot()) as slot:
            while True:
                await asyncio.sleep(pause)  # the network's time, not the service's clock
                pause = await self._round(slot)
                unit.works()

    async def _round(self, slot: Slot) -> float:
        """Look once, and return the seconds until the next look."""
        began = time.monotonic()
        ended = 0
        if len(open_files()) > self._each_peer:
            ended = await asyncio.to_thread(self.look, slot)
        else:
            self._files.clear()
        rest = REST * (time.monotonic() - began)
        return max(LEAST_PAUSE if ended else PAUSE, rest)

    def look(self, slot: Slot) -> int:
        """End the connections beyond the limits, and return their number.

        Raises:
            OSError: the open files can't be listed.
        """
        self._see(set(open_files()), slot)
        return sum(self._keep(name, slot) for name in self._listeners.values())

    def _see(self, numbers: set[int], slot: Slot) -> None:
        """Bring the files up to date. New ones follow the others, in the order of their numbers."""
        seen = {
            number: known
            for number, known in self._files.items()
            if number in numbers and _identity(number) == known.identity
        }
        for number in sorted(numbers - seen.keys()):
            identity = _identity(number)
            if identity is not None:
                seen[number] = self._examine(number, identity, slot)
        self._files = seen

    def _examine(self, number: int, identity: tuple[int, int], slot: Slot) -> _File:
        with contextlib.suppress(OSError), slot.tcp_socket(number) as found:  # closed meanwhile, or not connected
            listener = self._listeners.get(found.getsockname()[1]) if found is not None else None
            if found is not None and listener is not None:
                return _File(identity, listener, peer_of(found.getpeername()[0]))
        return _File(identity)

    def _keep(self, listener: str, slot: Slot) -> int:
        """Keep one listener within its limits, and return the number of ended connections."""
        files = [(number, file) for number, file in self._files.items() if file.listener == listener]
        peers = [file.peer for _, file in files]
        places = beyond(peers, self._total, self._each_peer)
        for place in places:
            _end(*files[place], slot)
        if places:
            self._count(listener, len(places))
            self._report(listener, Counter(peers[place] for place in places).most_common(1)[0][0], len(peers))
        return len(places)

    def _report(self, listener: str, peer: str, connections: int) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(listener, float("-inf")) < SILENCE:
            return
        self._logged_at[listener] = now
        log.warning(
            "closed connections beyond limits.grpc_connections or limits.grpc_connections_per_peer",
            listener=listener,
            peer=peer,
            connections=connections,
        )


def _end(number: int, file: _File, slot: Slot) -> None:
    file.listener = ""
    with contextlib.suppress(OSError), slot.tcp_socket(number) as found:  # closed meanwhile
        if found is not None and _identity(found.fileno()) == file.identity:
            found.shutdown(socket.SHUT_RDWR)


def _identity(number: int) -> tuple[int, int] | None:
    """Return the device and inode of an open file; None for one that was closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino

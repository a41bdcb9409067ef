"""Ending the connections of a gRPC listener so that no call on them ends with anything but UNAVAILABLE.

grpcio answers what reaches a server after its stop began with CANCELLED (`Server::CallData::KillZombie` in its core),
and no client may take that for "not begun, so try again". So once every call in hand was answered, and right before
the stop, this process accepts no more connections, and says on each that it sends no more (FIN). The answers before it
arrive, and a call that is under way fails as UNAVAILABLE, as on every connection that ends. Without /proc the stop
alone ends them.
"""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenmint.base.addresses import Address

_OPEN: Final = Path("/proc/self/fd")


def hang_up(address: Address) -> int:
    """Listen at ``address`` no more, and send FIN on each connection that was accepted there. Returns how many.

    In this order: a client that was hung up connects again at once, and where the listener took it, its first call
    would meet the stop. Where listening ends, the system resets what nobody has accepted yet.
    """
    _each_socket(address.port, lambda one: one.shutdown(socket.SHUT_RD) if _listens(one) else None)
    # Refused of a socket that is not connected, as the one that has listened.
    return _each_socket(address.port, lambda one: one.shutdown(socket.SHUT_WR))


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _each_socket(port: int, end: Callable[[socket.socket], None]) -> int:
    """Call ``end`` with each TCP socket of this process that is bound to ``port``; return how often it succeeded."""
    try:
        numbers = [int(entry.name) for entry in _OPEN.iterdir()]
    except OSError:
        return 0
    return sum(_end(number, port, end) for number in numbers)


def _end(number: int, port: int, end: Callable[[socket.socket], None]) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return False
        with socket.socket(fileno=os.dup(number)) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
                return False
            if one.getsockname()[1] != port:
                return False
            end(one)
    except OSError:  # closed meanwhile
        return False
    return True

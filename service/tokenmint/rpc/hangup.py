"""Ends the connections of a gRPC listener so that every unfinished call fails with UNAVAILABLE.

If a call reaches a server after its stop began, grpcio answers CANCELLED (`Server::CallData::KillZombie` in its core),
and no client may retry that as "not started". So right before the stop, once every call in hand was answered, this
process stops accepting connections and sends FIN on each open one. Earlier responses still arrive, and a call on its
way fails with UNAVAILABLE, as on every connection that ends. Without /proc only the stop itself ends the connections.
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
    """Stop listening at ``address``, and send FIN on each connection accepted there. Returns their number.

    The order matters: a client reconnects at once, and if the listener accepted it, its first call would meet the stop.
    When listening ends, the system resets connections that were not accepted yet.
    """
    _each_socket(address.port, lambda one: one.shutdown(socket.SHUT_RD) if _listens(one) else None)
    # Fails for a socket that is not connected, such as the former listener.
    return _each_socket(address.port, lambda one: one.shutdown(socket.SHUT_WR))


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _each_socket(port: int, end: Callable[[socket.socket], None]) -> int:
    """Call ``end`` with each TCP socket of this process that is bound to ``port``; return the number of successes."""
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

"""Ending the connections of a gRPC listener so that no call on them ends with anything but UNAVAILABLE.

grpcio answers what reaches a server after its stop began with CANCELLED (`Server::CallData::KillZombie` in its core),
and no client may take that for "not begun, so try again". So once every call in hand was answered, and right before
the stop, this process says on each connection that it sends no more (FIN). The answers before it arrive, and a call
that is under way fails as UNAVAILABLE, as on every connection that ends. Without /proc the stop alone ends them.
"""

import os
import socket
import stat
from pathlib import Path
from typing import Final

from tokenmint.base.addresses import Address

_OPEN: Final = Path("/proc/self/fd")


def hang_up(address: Address) -> int:
    """Send FIN on each connection that was accepted at ``address``. Returns how many there were."""
    try:
        numbers = [int(entry.name) for entry in _OPEN.iterdir()]
    except OSError:
        return 0
    return sum(_finish(number, address.port) for number in numbers)


def _finish(number: int, port: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return False
        with socket.socket(fileno=os.dup(number)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
                return False
            if connection.getsockname()[1] != port:
                return False
            connection.shutdown(socket.SHUT_WR)  # refused of a socket that is not connected, as the listening one
    except OSError:  # closed meanwhile
        return False
    return True

"""Ends the connections of a gRPC listener so that every unfinished call fails with UNAVAILABLE.

If a call reaches a server after its stop began, grpcio answers CANCELLED (`Server::CallData::KillZombie` in its core),
and no client may retry that as "not started". So right before the stop, once every call in hand was answered, this
process stops accepting connections and sends FIN on each open one. Earlier responses still arrive, and a call on its
way fails with UNAVAILABLE, as on every connection that ends. Without /proc only the stop itself ends the connections.
"""

import contextlib
import socket
from collections.abc import Callable

from tokenmint.base.addresses import Address
from tokenmint.rpc.own_sockets import Slot, open_files


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
        numbers, slot = open_files(), Slot()
    except OSError:
        return 0
    with contextlib.closing(slot):
        return sum(_end(slot, number, port, end) for number in numbers)


def _end(slot: Slot, number: int, port: int, end: Callable[[socket.socket], None]) -> bool:
    try:
        with slot.tcp_socket(number) as found:
            if found is None or found.getsockname()[1] != port:
                return False
            end(found)
    except OSError:  # closed meanwhile
        return False
    return True

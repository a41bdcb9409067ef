"""Ports: which are free for good, and whether a process listens on one, as Linux tells.

Workers share a port, so that connecting does not tell which of them take connections.
"""

import os
import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 10240
_LISTEN: Final = "0A"
"""TCP_LISTEN in the fourth column of /proc/net/tcp (proc_pid_net(5))."""


def lasting_port() -> int:
    """Return a free port of loopback that no outgoing connection takes while what listens there is restarted."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(_LOWEST, lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(pid: int, place: str) -> bool:
    """Whether ``pid`` listens on ``place``, e.g. "127.0.0.1:9000"."""
    return bool(_sockets_of(pid) & _listening(int(place.rpartition(":")[2])))


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for columns in map(str.split, lines):
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found


def _sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            found.add(_target(entry.path))
    except OSError:
        return set()
    return found


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""

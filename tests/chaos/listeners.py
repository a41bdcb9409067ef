"""Whether a process listens on a port, as Linux tells.

Workers share a port, so that connecting does not tell which of them take connections.
"""

import os
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""TCP_LISTEN in the fourth column of /proc/net/tcp (proc_pid_net(5))."""


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

"""Ports of loopback that stay a test's own, also while its server is down.

The system gives the ports of its ephemeral range to every socket that asks for none, and to every outgoing connection.
So a server that restarts at such a port may find it taken. The ports here are below that range, and locked by file.
"""

import errno
import fcntl
import itertools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

FIRST: Final = 10_240
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOCKS: Final = Path(tempfile.gettempdir()) / f"tokenmint-ports-{os.getuid()}"
_held: Final[list[int]] = []
"""Descriptors of the locks. The process keeps them until it ends, because no test knows the last user of its port."""


def own_port() -> int:
    """Return a port that nobody listens on, and that no other process with this function gets meanwhile.

    Raises:
        OSError: all of them are taken.
    """
    last = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    begin = random.SystemRandom().randrange(FIRST, last)
    for port in itertools.chain(range(begin, last), range(FIRST, begin)):
        if _locked(port):
            return port
    raise OSError(errno.EADDRINUSE, f"all ports from {FIRST} to {last - 1} are taken")


def _locked(port: int) -> bool:
    lock = os.open(_LOCKS / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        os.close(lock)
        return False
    _held.append(lock)
    return True

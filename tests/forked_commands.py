"""The command `tokenmint` for the shells of tests: a small program of this name, which has a fork do its work.

The program hands its arguments, directory, environment and standard streams over a socket to the test process, which
starts the fork (`tests/forked.py`), and ends with the fork's status.
"""

import atexit
import json
import shutil
import socket
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Final

from tests.forked import Fork
from tests.process import START_LIMIT

_PROGRAM: Final = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as test:
    test.connect({place!r})
    socket.send_fds(test, [b"."], [0, 1, 2])
    test.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    test.shutdown(socket.SHUT_WR)
    status = int(test.makefile().read())
sys.exit(status)
"""


@cache
def folder() -> Path:
    """Return the folder with the program, for the begin of PATH; its forks can be started from now on."""
    made = Path(tempfile.mkdtemp(prefix="tokenmint-command-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    place = str(made / "socket")
    program = made / "tokenmint"
    program.write_text(_PROGRAM.format(python=sys.executable, place=place))
    program.chmod(0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(16)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    return made


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_run, args=(connection,), daemon=True).start()


def _run(connection: socket.socket) -> None:
    with connection:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        try:
            with connection.makefile("rb") as sent:
                arguments, directory, environ = json.loads(sent.read())
            stdin, stdout, stderr = streams
            fork = Fork(tuple(arguments), Path(directory), environ, (stdin, stdout, stderr))
        finally:
            for stream in streams:
                socket.close(stream)
        status = fork.wait(START_LIMIT)
        connection.sendall(str(status if status >= 0 else 128 - status).encode())

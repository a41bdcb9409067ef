"""The server that connectconformance starts: it passes on what is asked for, and tells where the real one listens.

The suite waits a few seconds for a server's start, which is less than Python's imports take on a busy machine: servers
are started in the runner, and this imports nothing that takes time. `python -I stub.py SOCKET`
"""

import signal
import socket
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
with socket.socket(socket.AF_UNIX) as runner:
    runner.connect(sys.argv[1])
    asked = sys.stdin.buffer.read(4)
    runner.sendall(asked + sys.stdin.buffer.read(int.from_bytes(asked, "big")))
    with runner.makefile("rb") as answers:
        told = answers.read(4)
        told += answers.read(int.from_bytes(told, "big"))
    sys.stdout.buffer.write(told)
    sys.stdout.buffer.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})

"""tokenmint: exchanges identity providers' tokens for short-lived tokens signed with keys of its own."""

import os

# gRPC's core writes its own log to standard error from C, where no queue is before it: on a pipe that nobody reads it
# would stop the thread that writes, and callers decide how much it writes. Errors reach Python as exceptions anyway.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

"""tokenmint: exchanges identity providers' tokens for short-lived tokens signed with its own keys."""

import os

# gRPC's core writes its log to standard error from C, without a queue: a full pipe without a reader would stop the
# writing thread, and callers decide how much it writes. Errors reach Python as exceptions anyway.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

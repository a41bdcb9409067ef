"""tokenmint: exchanges identity providers' tokens for short-lived tokens signed with its own keys."""

import os

# gRPC's core writes its log to standard error from C, without a queue: a full pipe without a reader would stop the
# writing thread, and callers decide how much it writes. Errors reach Python as exceptions anyway.
os.environ["GRPC_VERBOSITY"] = os.environ.get("GRPC_VERBOSITY") or "NONE"  # gRPC would take an empty value for INFO

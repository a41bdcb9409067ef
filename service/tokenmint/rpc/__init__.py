"""gRPC: transports, the guard before every method, one file for each service."""

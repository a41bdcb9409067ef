"""gRPC: transports, the guard before every method, and one file for each service."""

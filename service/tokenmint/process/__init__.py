"""Processes: wiring, worker, supervisor, and the secrets of a first start."""

from tokenmint.base import log_library  # noqa: F401  # before a module of the room imports structlog itself

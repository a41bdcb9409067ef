"""The sidecar of gateways: it keeps answers of a tokenmint elsewhere; imports web/ and the layers below."""

from tokenmint.base import log_library  # noqa: F401  # before a module of the room imports structlog itself

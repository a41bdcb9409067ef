"""The HTTP client, without the package for HTTP/2 that it would load (:mod:`tokenmint.base.plain_imports`)."""

from tokenmint.base.plain_imports import hidden

with hidden("h2"):
    import httpcore2

__all__ = ["httpcore2"]

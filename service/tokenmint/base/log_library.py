"""structlog, without the package for tracebacks that it would load (:mod:`tokenmint.base.plain_imports`).

The rooms with which a process begins import this module first, so that no other import of structlog comes before it.
"""

from tokenmint.base.plain_imports import hidden

with hidden("rich"):
    import structlog

__all__ = ["structlog"]

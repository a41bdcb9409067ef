"""The guarantee of a confirmed write, in words for operators."""

from typing import Final

from tokenmint.base.errors import ConfigurationError

SLOW: Final = "everysec"
NEVER: Final = "no"


def durability(appendfsync: str, replicas: int, *, confirms_log: bool) -> str:
    """Return the guarantee of a confirmed write.

    Args:
        appendfsync: the server's setting; "" if it is not known.
        replicas: the number of replicas that confirm.
        confirms_log: whether the server confirms that a write is in its append-only file.
    """
    also = f" and by {replicas} replica(s)" if replicas else ""
    if not confirms_log:
        return f"held in memory{also}; the server does not confirm that it is on disk"
    return (
        "confirmed as synced to the append-only file" + also + (" (appendfsync everysec)" if _slow(appendfsync) else "")
    )


def weakness(appendfsync: str, replicas: int, *, confirms_log: bool) -> str:
    """Return in which way writes are less durable or slower than they could be, as of :func:`durability`; or ""."""
    if not confirms_log:
        return durability(appendfsync, replicas, confirms_log=False)
    if _slow(appendfsync):
        return "appendfsync is everysec: each change waits about 0.1 s until it is confirmed; with always, some 5 ms"
    return ""


def check(appendfsync: str) -> None:
    """Raise ``ConfigurationError`` for a server that never confirms a write."""
    if appendfsync == NEVER:
        raise ConfigurationError(
            "redis.url: the server's appendfsync is 'no', so it never confirms that a change is on its disk: "
            "set it to always or everysec"
        )


def _slow(appendfsync: str) -> bool:
    return appendfsync == SLOW

"""Reading the audit trail in the store, for operators: a page of events, and the position of the next one."""

from typing import Final

from tokenmint.storage import streams
from tokenmint.storage.redis import Store

MOST_EVENTS: Final = 1000
USUAL_EVENTS: Final = 100
LEAST_BYTES: Final = 1024
MOST_BYTES: Final = 1 << 20
USUAL_BYTES: Final = 256 * 1024


async def audit_page(
    store: Store,
    stream: str,
    *,
    position: str = "",
    start: float | None = None,
    most_events: int = USUAL_EVENTS,
    most_bytes: int = USUAL_BYTES,
) -> streams.Page:
    """Return events of ``stream`` (``audit.EXCHANGES`` or ``audit.ADMIN``), oldest first, each as its JSON.

    They come after ``position``; or from the time ``start`` (Unix seconds) on; or they are the newest ones.

    Raises:
        StoreUnavailable: the store can't be read.
        CorruptRecord: the key of the stream holds something else.
    """
    limits = {"most_entries": most_events, "most_bytes": most_bytes}
    if position:
        return await streams.after(store, stream, position, **limits)
    if start is not None:
        return await streams.since(store, stream, streams.at(start), **limits)
    return await streams.newest(store, stream, **limits)

"""Reading the audit trail in the store, for operators: a page of events, and the position of the next one."""

from collections.abc import Sequence
from typing import Final

from tokenmint.storage import merging
from tokenmint.storage.redis import Store
from tokenmint.storage.streams import Page

MOST_EVENTS: Final = 1000
USUAL_EVENTS: Final = 100
LEAST_BYTES: Final = 1024
MOST_BYTES: Final = 1 << 20
USUAL_BYTES: Final = 256 * 1024


async def audit_page(
    store: Store,
    keys: Sequence[str],
    *,
    position: str = "",
    start: float | None = None,
    most_events: int = USUAL_EVENTS,
    most_bytes: int = USUAL_BYTES,
) -> Page:
    """Return events of a stream, ``audit.EXCHANGE_SHARDS`` or the one of ``audit.ADMIN``, each as its JSON.

    Each shard's are oldest first. They come after ``position``; or from the time ``start`` (Unix seconds) on; or they
    are the newest ones.

    Raises:
        StoreUnavailable: the store can't be read, or one of the shards.
        CorruptRecord: a key of the stream holds something else.
    """
    limits = {"most_entries": most_events, "most_bytes": most_bytes}
    if position:
        return await merging.after(store, keys, position, **limits)
    if start is not None:
        return await merging.since(store, keys, (max(0, int(start * 1000)), 0), **limits)
    return await merging.newest(store, keys, **limits)

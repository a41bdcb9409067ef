"""Copies everything under the prefix of one store into another one, in pages, so that memory stays bounded.

Values are read and written one by one, not as dumps: a server reads no dump of a newer version or of the other engine.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tokenmint.base.errors import CorruptRecord
from tokenmint.base.foreign_text import clipped
from tokenmint.storage.confirmed import ConfirmedWrites
from tokenmint.storage.redis import NODES_AT_ONCE, Store

KEYS_AT_ONCE: Final = 200
"""Keys that are looked for and copied together; the values of so many are in memory at a time."""
EVENTS_AT_ONCE: Final = 500
"""Entries of a stream that are copied together."""
EVERY_KEY: Final = "*"
_Write: TypeAlias = tuple[str | bytes, ...]


@dataclass(slots=True)
class Copied:
    """The numbers of values and of events that were copied so far."""

    values: int = 0
    events: int = 0


async def is_empty(store: Store) -> bool:
    """Return whether no key has the store's prefix. Raises ``StoreUnavailable``."""
    cursor = ""
    while True:
        cursor, keys = await store.scan(EVERY_KEY, cursor, KEYS_AT_ONCE)
        if keys:
            return False
        if not cursor:
            return True


async def remove_all(store: Store) -> None:
    """Remove every key with the store's prefix. Raises ``StoreUnavailable``, ``OutcomeUnknown``."""
    cursor = ""
    while True:
        cursor, keys = await store.scan(EVERY_KEY, cursor, KEYS_AT_ONCE)
        await _write(store, [("DEL", store.prefix + key) for key in keys])
        if not cursor:
            return


async def copy(source: Store, target: Store, *, without: Collection[str], progress: Callable[[int], None]) -> Copied:
    """Copy every key of ``source`` but those in ``without`` to ``target``, with the rest of its life.

    The caller writes one more value, confirmed: with a single server that confirms everything before it too. Nothing
    may write to ``source`` meanwhile.

    Raises:
        CorruptRecord: a key holds neither a text nor a stream, so tokenmint did not write it.
        StoreUnavailable, OutcomeUnknown: one of the stores does not answer; a part may have been copied.
    """
    copied, cursor = Copied(), ""
    while True:
        cursor, keys = await source.scan(EVERY_KEY, cursor, KEYS_AT_ONCE)
        await _copy_page(source, target, [key for key in keys if key not in without], copied)
        progress(copied.values)
        if not cursor:
            return copied


async def _copy_page(source: Store, target: Store, keys: Sequence[str], copied: Copied) -> None:
    if not keys:
        return
    kinds = await _ask(source, [(name, source.prefix + key) for key in keys for name in ("type", "pttl")])
    texts: list[tuple[str, int]] = []
    for key, kind, life in zip(keys, kinds[::2], kinds[1::2], strict=True):
        if kind == b"string":
            texts.append((key, life))
        elif kind == b"stream":
            await _copy_stream(source, target, key, copied)
        elif kind != b"none":  # it has expired
            raise CorruptRecord(
                detail=f"{clipped(source.prefix + key)}: a {clipped(kind.decode())}, which tokenmint does not write"
            )
    values = await _ask(source, [("get", source.prefix + key) for key, _ in texts])
    writes: list[_Write] = []
    for (key, life), value in zip(texts, values, strict=True):
        if value is not None and life != -2:  # PTTL's answer for a key that has expired
            writes.append(("SET", target.prefix + key, value, *(("PX", str(max(1, life))) if life >= 0 else ())))
    await _write(target, writes)
    copied.values += len(writes)


async def _copy_stream(source: Store, target: Store, key: str, copied: Copied) -> None:
    client, last = source.server.client, "-"
    while True:
        with source.server.translated(writes=False):
            async with asyncio.timeout(source.options.read_timeout):
                entries: list[Any] = await client.xrange(source.prefix + key, min=last, count=EVENTS_AT_ONCE)
        if not entries:
            return
        writes: list[_Write] = [
            ("XADD", target.prefix + key, entry, *(part for field in fields.items() for part in field))
            for entry, fields in entries
        ]
        await _write(target, writes, one_key=True)
        copied.events += len(writes)
        last = "(" + entries[-1][0].decode()


async def _ask(store: Store, commands: Sequence[tuple[str, str]]) -> list[Any]:
    """Return the answers to commands that read one key each."""
    if not commands:
        return []
    with store.server.translated(writes=False):
        async with asyncio.timeout(store.options.read_timeout):
            pipeline = store.server.client.pipeline(transaction=False)
            for name, key in commands:
                getattr(pipeline, name)(key)
            answers: list[Any] = await pipeline.execute()
            return answers


async def _write(store: Store, writes: Sequence[_Write], *, one_key: bool = False) -> None:
    """Make writes of one key each. In a Cluster each is confirmed, because no later write covers all nodes."""
    if not writes:
        return
    confirmed = ConfirmedWrites(store.server, store.options)
    confirmed.confirms_log = store.confirms_log
    if one_key or not store.server.clustered:
        await confirmed.send(str(writes[0][1]), *writes, durable=store.server.clustered)
        return
    for start in range(0, len(writes), NODES_AT_ONCE):
        some = writes[start : start + NODES_AT_ONCE]
        await asyncio.gather(*(confirmed.send(str(write[1]), write) for write in some))

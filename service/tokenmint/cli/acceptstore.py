"""What `tokenmint keys accept-store` does, on this machine and without the service."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenmint.config import load, locate
from tokenmint.errors import ConfigurationError
from tokenmint.keys.mark import HighWaterMark
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing
from tokenmint.settings import Settings
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store


@dataclass(frozen=True, slots=True)
class Comparison:
    """The store beside the mark."""

    mark: Path
    missing: list[str]
    """What was served here before and the store does not know, in words."""


def accept(config: Path | None, environ: Mapping[str, str], *, write: bool) -> Comparison:
    """Compare the store with this machine's mark; with ``write`` make the store's ring the mark.

    Raises:
        ConfigurationError: the configuration has problems.
        StoreUnavailable, CorruptRecord: the store can't be read.
    """
    settings = load(locate(config, environ), environ)
    ring = _stored(settings)
    mark = HighWaterMark(settings.high_water_mark_file)
    try:
        known = mark.read()
        missing = known.missing(ring) if known is not None else []
    except ConfigurationError as error:  # a broken mark is replaced as an old store is accepted
        missing = list(error.problems)
    if write and missing:
        if ring is None:
            mark.path.unlink(missing_ok=True)  # the next start makes a first ring
        else:
            mark.replace(ring)
    return Comparison(mark.path, missing)


def _stored(settings: Settings) -> KeyRing | None:
    async def read(url: str) -> KeyRing | None:
        store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
        try:
            return (await RingStore(store).read())[1]
        finally:
            await store.close()

    if settings.redis_url:
        return asyncio.run(read(settings.redis_url))
    server = EmbeddedServer(settings.data_dir)
    try:
        return asyncio.run(read(server.start()))
    finally:
        server.stop()

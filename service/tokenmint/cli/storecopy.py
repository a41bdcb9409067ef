"""The command `tokenmint store copy`. The ring is copied last: a target without one is not served."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tokenmint.admission.audit import AuditTrail
from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.logs import configure
from tokenmint.cli.acceptstore import local_user
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings
from tokenmint.keys.store import KEY, LEASE, REPLICAS, RingStore
from tokenmint.storage import copying
from tokenmint.storage.copying import Copied
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

UNFINISHED: Final = "unfinished-copy"
"""The key that marks a target until it has the ring."""
LEFT_OUT: Final = frozenset({KEY, REPLICAS, LEASE, UNFINISHED})
"""Keys that the page-wise copy leaves out: the ring comes last, and replicas announce themselves anew."""
_STORE_SETTINGS: Final = "TOKENMINT_REDIS__"
_POLL: Final = 0.2  # seconds between looks at the live replicas


def copy(config: Path | None, to: Path, environ: Mapping[str, str], progress: Callable[[int], None]) -> Copied:
    """Copy the store of one configuration into the empty one of another, which is then served in its place.

    The environment's settings of the store belong to ``config`` alone.

    Raises:
        ConfigurationError: a configuration has problems; replicas still use the source; the target is in use.
        StoreUnavailable, CorruptRecord: a store can't be read.
        OutcomeUnknown: the target did not confirm the copy: begin again.
    """
    settings = load(locate(config, environ), environ)
    wanted = load(to, {name: value for name, value in environ.items() if not name.startswith(_STORE_SETTINGS)})
    configure("warning", "auto")  # the audit event goes to the stream; the command prints its result
    if not wanted.redis_url:
        raise ConfigurationError(f"{to}: redis.url: is required: the store to copy to")
    if wanted.redis_prefix != settings.redis_prefix:
        raise ConfigurationError(f"{to}: redis.prefix: has to be {settings.redis_prefix!r}, as in the store to copy")
    if settings.redis_url:
        return asyncio.run(_copy(settings, settings.redis_url, wanted, progress))
    server = EmbeddedServer(settings.data_dir)
    if server.running_url() is not None:
        raise ConfigurationError(f"data_dir: {settings.data_dir} is in use: stop the service, then copy its store")
    try:
        return asyncio.run(_copy(settings, server.start(), wanted, progress))
    finally:
        server.stop()


async def _copy(settings: Settings, url: str, wanted: Settings, progress: Callable[[int], None]) -> Copied:
    async with _opened(settings, url) as source, _opened(wanted, wanted.redis_url or "") as target:
        ring = RingStore(source)
        raw, _ = await ring.read()
        if raw is None:
            raise ConfigurationError(f"redis.url: {source.url.describe()} holds no key ring: there is nothing to copy")
        if settings.redis_url:
            await _until_unused(ring, settings.schedule.replica_lag)
        await _prepare(target)
        beat = await ring.last_beat()
        copied = await copying.copy(source, target, without=LEFT_OUT, progress=progress)
        if (await ring.read())[0] != raw or await ring.last_beat() != beat:
            raise ConfigurationError(
                "redis.url: the store changed while it was copied: stop every replica, or its writes, and begin again"
            )
        event: dict[str, object] = {"kind": "admin", "method": "store copy", "outcome": "begun"}
        event |= {"caller": local_user(), "source": source.url.describe(), "target": target.url.describe()}
        await AuditTrail(target, SystemClock()).record(event)
        if not await target.swap(KEY, None, raw):  # as it is: a newer version may have written it
            raise ConfigurationError("redis.url: another program wrote to the store to copy to: begin again")
        await target.swap_many([(UNFINISHED, b"1", None)])
        return copied


@asynccontextmanager
async def _opened(settings: Settings, url: str) -> AsyncIterator[Store]:
    store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
    try:
        yield store
    finally:
        await store.close()


async def _until_unused(ring: RingStore, lag: float) -> None:
    """Wait until no replica counts as live: for R after the last one was stopped."""
    deadline = time.monotonic() + 2 * lag
    while live := await ring.replicas():
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"redis.url: {len(live)} replicas use the store: stop them, or its writes "
                "(docs/runbooks/moving-the-store.md), then copy it"
            )
        await asyncio.sleep(_POLL)


async def _prepare(target: Store) -> None:
    """Refuse a store that is in use; empty one that an unfinished copy left."""
    where = target.url.describe()
    if await target.get(KEY) is not None:
        raise ConfigurationError(f"redis.url: {where} holds a key ring already: nothing is copied into a store in use")
    if await target.get(UNFINISHED) is not None:
        await copying.remove_all(target)
    elif not await copying.is_empty(target):
        raise ConfigurationError(f"redis.url: {where} has other keys under {target.prefix!r}: empty it, or use another")
    await target.swap(UNFINISHED, None, b"1")

"""The command `tokenmint keys accept-store`. It works through the store, so that running replicas notice it."""

import asyncio
import getpass
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tokenmint.admission.audit import AuditTrail
from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import ConfigurationError, Conflict
from tokenmint.base.logs import configure
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings
from tokenmint.keys import ring_merge
from tokenmint.keys.high_water_mark import HighWaterMark, Mark
from tokenmint.keys.losses import ATTEMPTS, BEAT_JUMP
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

NOTICED = "replicas noticed that it lost changes: later profiles, revocations and uses of single-use tokens are gone"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The store compared with the mark."""

    mark: Path
    missing: list[str]
    """Served state that the store lacks, in words."""
    revoked: list[str]
    """Keys that the mark lists as revoked and the store does not; they are restored as revoked."""


def accept(config: Path | None, environ: Mapping[str, str], *, write: bool) -> Comparison:
    """Compare the store with this machine's mark and with the losses that replicas noticed; accept it if ``write``.

    Raises:
        ConfigurationError: the configuration has problems, or the private store is in use and can't be reached.
        StoreUnavailable, CorruptRecord: the store can't be read.
        OutcomeUnknown: the store did not confirm the change.
    """
    settings = load(locate(config, environ), environ)
    configure("warning", "auto")  # the audit event goes to the stream; the command prints its result
    if settings.redis_url:
        return asyncio.run(_accept(settings, settings.redis_url, write=write))
    server = EmbeddedServer(settings.data_dir)
    running = server.running_url()
    if running is not None:
        return asyncio.run(_accept(settings, running, write=write))
    try:
        return asyncio.run(_accept(settings, server.start(), write=write))
    finally:
        server.stop()


async def _accept(settings: Settings, url: str, *, write: bool) -> Comparison:
    store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
    try:
        comparison, seen = await _compare(RingStore(store), HighWaterMark(settings.high_water_mark_file))
        if write and comparison.missing:
            event: dict[str, object] = {"kind": "admin", "method": "keys accept-store", "outcome": "begun"}
            event |= {"caller": local_user(), "missing": comparison.missing, "revoked": comparison.revoked}
            await AuditTrail(store, SystemClock()).record(event)
            await _write(RingStore(store), HighWaterMark(comparison.mark), seen)
        return comparison
    finally:
        await store.close()


def local_user() -> str:
    try:
        return f"local user {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"local user {os.getuid()}"


async def _compare(store: RingStore, mark: HighWaterMark) -> tuple[Comparison, Mark | None]:
    ring, seen = (await store.read())[1], None
    try:
        seen = mark.read()
        missing = seen.missing(ring, await store.last_beat()) if seen is not None else []
    except ConfigurationError as error:  # a broken mark is replaced when the store is accepted
        missing = list(error.problems)
    if ring is not None and ring.went_back:
        missing.append(NOTICED)
    revoked = _revoked(ring, seen)
    return Comparison(mark.path, missing, sorted(revoked)), seen


def _revoked(ring: KeyRing | None, seen: Mark | None) -> frozenset[str]:
    if ring is None or seen is None or seen.ring_id != ring.ring_id:
        return frozenset()
    return seen.revoked - Mark.of(ring).revoked


async def _write(store: RingStore, mark: HighWaterMark, seen: Mark | None) -> None:
    """Accept the store's current content, and make it the mark."""
    for _ in range(ATTEMPTS):
        raw, ring = await store.read()
        if ring is None:
            mark.path.unlink(missing_ok=True)  # the next start makes a first ring
            return
        same = seen if seen is not None and seen.ring_id == ring.ring_id else None
        changed = ring_merge.accepted(ring_merge.disown(ring, _revoked(ring, same), time.time()))
        # Past every served generation: otherwise the marks of other machines would find the loss again.
        generation = max(ring.generation, same.generation if same is not None else 0) + 1
        changed = replace(changed, generation=generation)
        if await store.swap(raw, changed):
            behind = same.beat - await store.last_beat() if same is not None else 0
            mark.replace(changed, await store.beat(max(0, behind) + BEAT_JUMP))
            return
    raise Conflict()

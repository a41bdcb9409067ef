"""What `tokenmint keys accept-store` does: through the store, so that replicas that run hear of it."""

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
from tokenmint.keys import ring as rings
from tokenmint.keys.high_water_mark import HighWaterMark, Mark
from tokenmint.keys.losses import ATTEMPTS, BEAT_JUMP
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

NOTICED = (
    "replicas noticed that it lost changes: profiles, revocations and uses of single-use tokens since then are gone"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The store beside the mark."""

    mark: Path
    missing: list[str]
    """What was served before and the store does not know, in words."""
    revoked: list[str]
    """Keys that were revoked, as the mark says, and are not in the store: they are put back as revoked."""


def accept(config: Path | None, environ: Mapping[str, str], *, write: bool) -> Comparison:
    """Compare the store with this machine's mark and with what replicas noticed; with ``write`` accept the store.

    Raises:
        ConfigurationError: the configuration has problems, or the private store is in use and can't be reached.
        StoreUnavailable, CorruptRecord: the store can't be read.
        OutcomeUnknown: the store did not confirm the change.
    """
    settings = load(locate(config, environ), environ)
    configure("warning", "auto")  # the audit event goes to the stream; the command says what it did
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
        found, known = await _compare(RingStore(store), HighWaterMark(settings.high_water_mark_file))
        if write and found.missing:
            event: dict[str, object] = {"kind": "admin", "method": "keys accept-store", "outcome": "begun"}
            event |= {"caller": _user(), "missing": found.missing, "revoked": found.revoked}
            await AuditTrail(store, SystemClock()).record(event)
            await _write(RingStore(store), HighWaterMark(found.mark), known)
        return found
    finally:
        await store.close()


def _user() -> str:
    try:
        return f"local user {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"local user {os.getuid()}"


async def _compare(store: RingStore, mark: HighWaterMark) -> tuple[Comparison, Mark | None]:
    ring, known = (await store.read())[1], None
    try:
        known = mark.read()
        missing = known.missing(ring, await store.last_beat()) if known is not None else []
    except ConfigurationError as error:  # a broken mark is replaced as an old store is accepted
        missing = list(error.problems)
    if ring is not None and ring.went_back:
        missing.append(NOTICED)
    revoked = _revoked(ring, known)
    return Comparison(mark.path, missing, sorted(revoked)), known


def _revoked(ring: KeyRing | None, known: Mark | None) -> frozenset[str]:
    if ring is None or known is None or known.ring_id != ring.ring_id:
        return frozenset()
    return known.revoked - Mark.of(ring).revoked


async def _write(store: RingStore, mark: HighWaterMark, known: Mark | None) -> None:
    """Accept what is left in the store, and make it the mark."""
    for _ in range(ATTEMPTS):
        raw, ring = await store.read()
        if ring is None:
            mark.path.unlink(missing_ok=True)  # the next start makes a first ring
            return
        same = known if known is not None and known.ring_id == ring.ring_id else None
        changed = rings.accepted(rings.disown(ring, _revoked(ring, same), time.time()))
        # Past every generation that was served: or the marks of other machines would find the loss once more.
        generation = max(ring.generation, same.generation if same is not None else 0) + 1
        changed = replace(changed, generation=generation)
        if await store.swap(raw, changed):
            behind = same.beat - await store.last_beat() if same is not None else 0
            mark.replace(changed, await store.beat(max(0, behind) + BEAT_JUMP))
            return
    raise Conflict()

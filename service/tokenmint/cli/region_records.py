"""The commands about regions that work through the store, so that running replicas notice them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tokenmint.admission.audit import AuditTrail
from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import ConfigurationError, NotFound
from tokenmint.base.logs import configure
from tokenmint.cli.acceptstore import local_user
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings
from tokenmint.regions import given_up, records
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.identity import RegionRefused
from tokenmint.regions.records import Record
from tokenmint.regions.store import RegionStore
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed:
    """Another region, as the store knows it."""

    name: str
    record: Record | None
    given_up: GivenUp | None


def listed(config: Path | None, environ: Mapping[str, str]) -> list[Listed]:
    """Return the other regions. Raises as :func:`give_up`."""

    async def work(settings: Settings, store: Store) -> list[Listed]:
        kept = RegionStore(store)
        gone = await kept.given_up()
        return [Listed(name, await kept.record(name), gone.get(name)) for name in settings.regions.others]

    return _through_the_store(config, environ, work)


def give_up(config: Path | None, environ: Mapping[str, str], statement: str, *, write: bool) -> str:
    """Prove a statement of the authority; with ``write`` give up its region. Returns the region.

    Raises:
        ConfigurationError: the configuration has problems, or the statement is not accepted.
        StoreUnavailable, CorruptRecord, OutcomeUnknown, Conflict
    """

    async def work(settings: Settings, store: Store) -> str:
        options = settings.regions
        if options.authority is None or settings.issuer is None:
            raise ConfigurationError("regions.authority_file: is required to prove a statement")
        try:
            region = given_up.region_of(statement, options.authority.value.keys, settings.issuer)
        except RegionRefused as error:
            raise ConfigurationError(f"the statement is not accepted: {error}") from None
        if region not in options.others and region != options.name:
            raise NotFound("region", region)
        if write:
            await _record(store, "regions give-up", region)
            await RegionStore(store).give_up({region: GivenUp(statement, time.time())})
        return region

    return _through_the_store(config, environ, work)


def accept(config: Path | None, environ: Mapping[str, str], region: str, *, write: bool) -> Record:
    """Accept any key ring and generation of a region from now on. Returns what was known of it.

    Raises:
        NotFound: nothing is known of it.
        As :func:`give_up`.
    """

    async def work(settings: Settings, store: Store) -> Record:
        kept = RegionStore(store)
        known = await kept.record(region) if region in settings.regions.others else None
        if known is None:
            raise NotFound("region", region)
        if write:
            await _record(store, "regions accept", region)
            await kept.change(region, lambda record: records.forgiven(record or known))
        return known

    return _through_the_store(config, environ, work)


async def _record(store: Store, method: str, region: str) -> None:
    """Record the change in the audit stream, before it is made."""
    event: dict[str, object] = {"kind": "admin", "method": method, "outcome": "begun"}
    await AuditTrail(store, SystemClock()).record(event | {"caller": local_user(), "region": region})


def _through_the_store(
    config: Path | None, environ: Mapping[str, str], work: Callable[[Settings, Store], Awaitable[T]]
) -> T:
    settings = load(locate(config, environ), environ)
    configure("warning", "auto")  # the audit event goes to the stream; the command prints its result

    async def run(url: str) -> T:
        store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
        try:
            return await work(settings, store)
        finally:
            await store.close()

    if settings.redis_url:
        return asyncio.run(run(settings.redis_url))
    server = EmbeddedServer(settings.data_dir)
    running = server.running_url()
    if running is not None:
        return asyncio.run(run(running))
    try:
        return asyncio.run(run(server.start()))
    finally:
        server.stop()

"""The life cycle of a service: start, readiness, retirement, stop. One :class:`App` for each worker process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from tokenmint.base.addresses import Address
from tokenmint.base.clock import Clock
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.renewed_files import FileWatch, RenewedFiles
from tokenmint.config.settings import Settings
from tokenmint.process import listeners
from tokenmint.process.foundation import foundation
from tokenmint.process.listeners import Listeners
from tokenmint.process.reload import Reloads
from tokenmint.process.state import PROCESS_INTERVAL, watch_state
from tokenmint.process.supervisor import Job
from tokenmint.process.wiring import Parts, assemble
from tokenmint.rpc import server
from tokenmint.rpc.hangup import hang_up
from tokenmint.rpc.health_service import NOT_SERVING, SERVING
from tokenmint.verification.key_source import KeySource

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 0.5  # seconds for a gRPC server to send its last responses
READINESS_INTERVAL: Final = 1.0  # seconds between checks of readiness
PREFETCH_LIMIT: Final = 5.0  # seconds that a start waits for providers' keys; loading continues after it


@dataclass(frozen=True, slots=True)
class _Started:
    """The parts of a service that has started."""

    parts: Parts
    listeners: Listeners
    reloads: Reloads


class App:
    """The whole service in one event loop.

    Args:
        settings: the configuration.
        job: the addresses, and further decisions of the supervisor.
        clock: the source of time.
        entropy: the source of randomness; ``entropy(n)`` returns ``n`` bytes.
        store_time: the store's clock, Unix seconds. Default: that of the server that holds the key ring.
        log_writer: the writer of the log; None if another process writes it and its state is unknown.
        on_open: called before the first listener takes connections, so that a supervisor watches from then on.
    """

    def __init__(
        self,
        settings: Settings,
        job: Job,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        store_time: Callable[[], Awaitable[float]] | None = None,
        log_writer: LineWriter | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        self.base = foundation(
            settings, job, clock=clock, entropy=entropy, store_time=store_time, log_writer=log_writer
        )
        self.listen: dict[str, str] = dict(job.listen)
        self._record: _Started | None = None
        self._on_open = on_open
        self._closing = contextlib.AsyncExitStack()
        self._stopped = False
        self._given_up = 0
        """Calls in hand that did not end within `limits.drain`."""

    @property
    def _started(self) -> _Started:
        if self._record is None:
            raise RuntimeError("the service has not started")
        return self._record

    @property
    def parts(self) -> Parts:
        """The parts of the service, once it has started."""
        return self._started.parts

    @property
    def listeners(self) -> Listeners:
        """The servers of the service, once it has started."""
        return self._started.listeners

    @property
    def reloads(self) -> Reloads:
        """The object that applies new configurations, once the service has started."""
        return self._started.reloads

    @property
    def facts(self) -> dict[str, object]:
        """The fields of each event of the life cycle: the version, and the addresses of the listeners."""
        return {"version": self.base.version, "listen": self.listen}

    async def start(self) -> None:
        """Start all parts; on failure, stop those that had started.

        Raises:
            ConfigurationError: a part can't be used as configured.
            StoreUnavailable: the store can't be reached.
        """
        log.info("starting", **self.facts)
        try:
            self._record = await self._start()
        except BaseException:
            await self.stop()
            raise
        log.info("ready", **self.facts)

    async def _start(self) -> _Started:
        base = self.base
        parts = await assemble(base, self._closing)
        self._closing.push_async_callback(_end_background, parts)
        if parts.regions is not None:
            await parts.regions.refresh()  # no key set is served without the others' keys
            parts.regions.follow(base)
        following = parts.revoking.following
        for part in (parts.signing_keys, parts.signing.rotator, parts.near, parts.signing.jwks_clients, following):
            part.follow(base.background)
        with contextlib.suppress(
            StoreUnavailable, CorruptRecord
        ):  # looked at again twice a second; not ready meanwhile
            await following.refresh()
        if parts.status is not None:
            parts.status.follow(base.background)
        await _prefetch(parts)
        reloads = Reloads(parts)
        reloads.follow_keys()
        if self._on_open is not None:
            self._on_open()
        servers = listeners.build(parts)
        await self._serve(servers)
        watch_state(parts, servers.certificates(), watching=servers.revocations.watching)
        base.state_metrics.process()
        parts.audit.follow(base.background)
        parts.limiter.follow(base.background)
        parts.tracing.follow(base)
        base.background.every(
            "readiness", READINESS_INTERVAL, partial(_watch_readiness, parts, servers), longest=READINESS_INTERVAL
        )
        base.readiness.tell("files", partial(_problems_of_files, parts, servers))
        base.background.every("files", READINESS_INTERVAL, partial(_look_at_files, FileWatch(), parts, servers))
        base.background.every("process metrics", PROCESS_INTERVAL, partial(_watch_process, parts))
        return _Started(parts, servers, reloads)

    async def _serve(self, servers: Listeners) -> None:
        background = self.base.background
        for name, http in (("ops", servers.ops), ("http", servers.public), ("console", servers.console)):
            if http is not None:
                http.start(background, f"listener {name}")
                self._closing.push_async_callback(http.stop)
        self.base.readiness.require("http", lambda: background.failing().get("listener http", ""))
        for grpc_server in (servers.admin, servers.data):
            await grpc_server.start()
            self._closing.push_async_callback(grpc_server.stop, LAST_WORDS)
        if servers.shares.possible():
            background.start("grpc connections", servers.shares.follow)
        self._closing.push_async_callback(self._drain, servers)

    async def reload(self, settings: Settings) -> None:
        """Apply a new configuration. Raises as ``Reloads.take_over``."""
        await self.reloads.take_over(settings)

    async def retire(self, hurry: asyncio.Event) -> None:
        """Report not ready, and keep serving until load balancers have noticed, or until ``hurry`` is set.

        With the private store there is no pause, because there is no other replica for callers.
        """
        base = self.base
        base.draining.set()
        alone = base.job.development or base.job.redis_url is not None
        pause = 0.0 if alone else base.settings.limits.lame_duck
        log.info("stopping", **self.facts, lame_duck=pause, calls_in_flight=base.capacity.in_flight)
        base.health.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await hurry.wait()

    async def stop(self) -> None:
        """Start no more calls, finish those in hand, close."""
        self.base.draining.set()
        self.base.health.retire()
        await self._closing.aclose()
        capacity, logged = self.base.capacity, self._stopped
        self._stopped = True
        if capacity.stopping and not logged:
            counts = {"answered": capacity.answered, "refused": capacity.refused, "given_up": self._given_up}
            log.info("stopped", **self.facts, **counts)

    async def _drain(self, servers: Listeners) -> None:
        """Finish the calls in hand within `limits.drain`, and end their connections."""
        capacity, settings = self.base.capacity, self.base.settings
        capacity.stopping = True
        servers.watches.close()
        servers.revocations.close()
        if not await capacity.idle(settings.limits.drain):
            self._given_up = capacity.in_flight
        for name in ("admin", "grpc"):
            if name != "grpc" or not settings.listen.native:  # native ends its connections itself
                hang_up(Address.parse(self.listen[name]))


async def _prefetch(parts: Parts) -> None:
    try:
        async with asyncio.timeout(PREFETCH_LIMIT):
            await parts.exchange.verifier.key_sets.prefetch()
    except TimeoutError:
        log.warning("the keys of some providers are not loaded yet; loading continues")


async def _watch_readiness(parts: Parts, servers: Listeners) -> None:
    ready = not parts.base.readiness.problems()
    for service in ("", *server.SERVICES):
        parts.base.health.set(service, SERVING if ready else NOT_SERVING)
    watch_state(parts, servers.certificates(), watching=servers.revocations.watching)


async def _watch_process(parts: Parts) -> None:
    parts.base.state_metrics.process()


def _files(parts: Parts, servers: Listeners) -> list[RenewedFiles[Any]]:
    """Return the files that are looked at in the background."""
    sources = _sources(parts)
    keys = [source.file for source in sources if source.file is not None]
    started_with = parts.base.settings.proxy  # AWS's SDK keeps it when a reload brings another
    return [
        *(started_with.files() if started_with is not None else ()),
        *(one.files for one in servers.tls.values()),
        *parts.rules.files,
        *parts.store.server.files,
        *parts.tracing.files,
        *parts.verifiers.fetch.files.of(sources),
        *(parts.regions.files() if parts.regions is not None else []),
        *keys,
    ]


def _sources(parts: Parts) -> list[KeySource]:
    rules = parts.rules
    return [*rules.exchange.verifier.key_sets.sources(), *rules.authenticator.assertions.key_sets.sources()]


async def _look_at_files(watch: FileWatch, parts: Parts, servers: Listeners) -> None:
    parts.verifiers.fetch.files.keep(_sources(parts))
    await watch.look(_files(parts, servers))


def _problems_of_files(parts: Parts, servers: Listeners) -> str:
    return "; ".join(dict.fromkeys(files.problem for files in _files(parts, servers) if files.problem))


async def _end_background(parts: Parts) -> None:
    await parts.base.background.close()
    await parts.rules.exchange.verifier.key_sets.close()
    await parts.rules.authenticator.assertions.key_sets.close()

"""The parts of a service that need no store: its configuration, clock and entropy, and its watchdogs."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import metadata

from tokenmint.base.background import Background
from tokenmint.base.capacity import Capacity
from tokenmint.base.clock import Clock
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.readiness import Readiness
from tokenmint.base.state_metrics import StateMetrics
from tokenmint.base.telemetry import Metrics
from tokenmint.config.settings import Settings, issuer_of
from tokenmint.process.supervisor import Job
from tokenmint.rpc.health_service import Health

Entropy = Callable[[int], bytes]
"""``entropy(n)`` returns ``n`` random bytes."""
StoreTime = Callable[[], Awaitable[float]]
"""Returns the store's clock, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts of a service that need no store."""

    settings: Settings
    job: Job
    clock: Clock
    entropy: Entropy
    store_time: StoreTime | None
    """The source of the store's time; None: the server that holds the key ring."""
    log_writer: LineWriter | None
    """The writer of the log; None if another process writes it and its state is unknown."""
    issuer: str
    """The `iss` of tokens."""
    version: str
    """The version of the service."""
    metrics: Metrics
    state_metrics: StateMetrics
    background: Background
    capacity: Capacity
    readiness: Readiness
    health: Health
    draining: asyncio.Event
    """Set when the stop begins; the service is then not ready."""


def foundation(
    settings: Settings,
    job: Job,
    *,
    clock: Clock,
    entropy: Entropy,
    store_time: StoreTime | None = None,
    log_writer: LineWriter | None = None,
) -> Foundation:
    """Return the parts that exist before the store is reached."""
    metrics, readiness, draining, version = Metrics(), Readiness(), asyncio.Event(), metadata.version("tokenmint")
    # The value differs between replicas, and is not a secret.
    jitter = random.Random(entropy(8)).random  # noqa: S311
    background = Background(clock, jitter, metrics)
    readiness.tell("background tasks", background.describe)
    readiness.require("service", lambda: "stopping" if draining.is_set() else "")
    if log_writer is not None:
        readiness.tell("log", lambda: log_writer.problem)
    if job.replaces is not None:
        metrics.worker_replaced(job.replaces)
    return Foundation(
        settings=settings,
        job=job,
        clock=clock,
        entropy=entropy,
        store_time=store_time,
        log_writer=log_writer,
        issuer=issuer_of(settings.issuer, job.listen["http"]),
        version=version,
        metrics=metrics,
        state_metrics=StateMetrics(metrics.registry, version),
        background=background,
        capacity=Capacity(settings.limits.calls_in_flight, metrics.not_begun),
        readiness=readiness,
        health=Health(settings.limits.watch_streams),
        draining=draining,
    )

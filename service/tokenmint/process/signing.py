"""The wiring of the signing keys: settings become the parts that keep them."""

import os
from dataclasses import dataclass
from functools import partial

import structlog

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.store import RingStore
from tokenmint.process import bootstrap
from tokenmint.process.foundation import Foundation
from tokenmint.process.regions import directory_of
from tokenmint.regions.directory import Regions
from tokenmint.storage.redis import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Signing:
    """The parts that keep the signing keys."""

    signing_keys: SigningKeys
    rotator: Rotator
    clocks: ClockCheck
    mark: HighWaterMark
    jwks_clients: JwksFetchLog
    sealer: Sealer
    regions: Regions | None
    """The other regions, whose keys are published too; None: there are none."""


async def signing_of(base: Foundation, store: Store) -> Signing:
    """Return the signing keys, after making the first ones if needed."""
    settings = base.settings
    sealer, sources = bootstrap.key_parts(settings, base.entropy)
    replica = base.entropy(16).hex()
    log.info("the key ring is followed", replica=replica, process=os.getpid())
    ring = RingStore(store)
    clocks = ClockCheck(base.store_time or ring.clock, base.clock, settings.schedule.skew)
    mark = HighWaterMark(settings.high_water_mark_file)
    signing_keys = SigningKeys(ring, sources, settings.schedule, mark, clocks=clocks, clock=base.clock, replica=replica)
    base.readiness.require("signing keys", partial(_problem, signing_keys, settings.algorithms))
    base.readiness.require("clock", clocks.problem)
    base.readiness.require("store", lambda: signing_keys.loss() or signing_keys.beat_problem())
    base.readiness.tell("high-water mark", mark.problem)
    base.readiness.tell("key set", signing_keys.publication.detail)
    regions = directory_of(base, store, signing_keys)
    rotator = Rotator(
        signing_keys, sources, settings.signer, sealer, settings.algorithms, clock=base.clock,
        region=settings.regions.name, may_begin=regions.may_begin if regions is not None else lambda: True,
    )  # fmt: skip
    await rotator.start()
    fetches = JwksFetchLog(store, signing_keys, base.clock)
    return Signing(signing_keys, rotator, clocks, mark, fetches, sealer, regions)


def require_serving(signing: Signing) -> None:
    """Raise if no token may be judged now: clock or store can't be trusted, or this region was given up."""
    signing.signing_keys.require_serving()
    if signing.regions is not None:
        signing.regions.require_serving()


def _problem(signing_keys: SigningKeys, algorithms: tuple[str, ...]) -> str:
    try:
        for algorithm in algorithms:
            begun = any(map(signing_keys.in_use, algorithms))
            # The other regions have to hear a new one before its first key signs.
            if signing_keys.in_use(algorithm) or not (begun or signing_keys.schedule.region_lag):
                signing_keys.signer(algorithm)
    except DependencyUnavailable as error:
        return error.detail or error.message
    return ""

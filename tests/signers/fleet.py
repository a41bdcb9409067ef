"""A keychain and a rotator on keys that lie elsewhere, with time in the test's hands."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import jwt
import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import SignerUnavailable
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.types import KeySource
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.store import LEASE, REPLICAS, RingStore
from tokenmint.keys.types import KeyState
from tokenmint.storage.redis import Store

SCHEDULE = Schedule(replica_lag=10.0, max_age=30.0, verifier_cache=60.0, max_lifetime=50.0, skew=4.0,
                    rotation_interval=200.0)  # fmt: skip


def lane_is_missing(what: str) -> Never:
    """Skip with a remark, or fail where every lane has to run."""
    if os.environ.get("TOKENMINT_REQUIRE_LANES"):
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True)
class Fleet:
    """The parts that replicas are made of."""

    store: Store
    clock: FakeClock
    sealer: Sealer
    sources: Mapping[str, KeySource]
    algorithms: tuple[str, ...]

    async def start(self, signer: str) -> tuple[SigningKeys, Rotator]:
        """Start a replica that makes new keys with ``signer``; those before it have ended, and are not waited for."""
        for name in (LEASE, REPLICAS):
            await self.store.server.client.delete(self.store.prefix + name)
        mark = HighWaterMark(Path(tempfile.mkdtemp()) / "mark.json")
        number = os.urandom(8).hex()
        clocks = ClockCheck(self.clock.store_time, self.clock, SCHEDULE.skew)
        ring = RingStore(self.store)
        signing_keys = SigningKeys(ring, self.sources, SCHEDULE, mark, clocks=clocks, clock=self.clock, replica=number)
        rotator = Rotator(signing_keys, self.sources, signer, self.sealer, self.algorithms, clock=self.clock)
        await rotator.start()
        return signing_keys, rotator

    async def pass_time(self, seconds: float, signing_keys: SigningKeys, rotator: Rotator) -> None:
        """Let time pass, and do what is due."""
        self.clock.advance(seconds)
        await signing_keys.refresh()
        await rotator.tick()

    async def check_signatures(self, signing_keys: SigningKeys) -> None:
        """Assert that a token of the key that signs now verifies with the key set that is published now."""
        for algorithm in self.algorithms:
            signer = signing_keys.signer(algorithm)
            public = next(key for key in signing_keys.published().keys if key["kid"] == signer.key_id)
            signature = await signer.sign(b"message")
            assert jwt.get_algorithm_by_name(algorithm).verify(b"message", jwt.PyJWK(public).key, signature)

    async def lives_on(self, signer: str) -> None:
        """First start, rotation by the schedule, revocation, a second replica; private halves are destroyed."""
        signing_keys, rotator = await self.start(signer)
        await self.check_signatures(signing_keys)
        first = {name: signing_keys.signer(name).key_id for name in self.algorithms}
        assert {key.signer for key in signing_keys.ring.keys} == {signer}
        assert all(key.sealed is None and key.key_ref for key in signing_keys.ring.keys)
        signing_keys, rotator = await self.start(signer)
        assert {name: signing_keys.signer(name).key_id for name in self.algorithms} == first
        await self.pass_time(SCHEDULE.rotation_interval + 1, signing_keys, rotator)
        await self.check_signatures(signing_keys)
        handles = {}
        for name, key_id in first.items():
            old = signing_keys.ring.find(key_id)
            assert old is not None
            assert old.state is KeyState.RETIRING
            assert signing_keys.signer(name).key_id != key_id
            handles[key_id] = old.key_ref
        assert all(handles.values()), "another replica may still sign with it for R"
        await self.pass_time(SCHEDULE.replica_lag + 1, signing_keys, rotator)
        for key_id in first.values():
            old = signing_keys.ring.find(key_id)
            assert old is not None
            assert old.key_ref is None
        for name in self.algorithms:
            active = signing_keys.ring.only(name, KeyState.ACTIVE)
            assert active is not None
            opened = await self.sources[signer].open(active)
            await rotator.revoke(active.key_id, "drill")
            assert signing_keys.signer(name).key_id != active.key_id
            await rotator.tick()
            with pytest.raises(SignerUnavailable):
                await opened.sign(b"a revoked key is gone from its signer")
        await self.check_signatures(signing_keys)

    async def moves_to(self, signer: str) -> None:
        """New keys are made there, and old ones go on until they are retired: nobody notices."""
        signing_keys, _ = await self.start("local")
        local = {name: signing_keys.signer(name).key_id for name in self.algorithms}
        signing_keys, rotator = await self.start(signer)
        assert {name: signing_keys.signer(name).key_id for name in self.algorithms} == local
        # The prepared key is a local one too: it has its turn first.
        for _ in range(2):
            published = {key["kid"] for key in signing_keys.published().keys}
            await self.pass_time(SCHEDULE.rotation_interval + 1, signing_keys, rotator)
            await self.check_signatures(signing_keys)
            assert {signing_keys.signer(name).key_id for name in self.algorithms} <= published, "published for P before"
        for name in self.algorithms:
            active, prepared = (signing_keys.ring.only(name, state) for state in (KeyState.ACTIVE, KeyState.PREPARED))
            assert active is not None
            assert prepared is not None
            assert (active.signer, prepared.signer) == (signer, signer)
        await self.pass_time(SCHEDULE.retention() + 1, signing_keys, rotator)
        assert not set(local.values()) & {key["kid"] for key in signing_keys.published().keys}

"""The shards of the stream of exchanges on a Cluster and behind sentinels."""

import json
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from tests.conftest import PATIENT
from tests.fakes import FakeClock
from tests.ports import own_port
from tests.unit.admission.test_audit_shards import ROOM, every_number, note, numbers_in, trail_of
from tests.unit.storage.test_topologies import LOG, cluster, engine

from tokenmint.admission import audit, audit_pages
from tokenmint.admission.audit import EXCHANGE_SHARDS, AuditTrail
from tokenmint.base.errors import StoreUnavailable
from tokenmint.storage import merging, shards, streams
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow


@pytest.mark.processes
async def test_cluster(tmp_path: Path, clock: FakeClock) -> None:
    """Batches go to all primaries; those of a primary that has ended go to the others."""
    with cluster(tmp_path) as ports:
        nodes = [redis.Redis(port=port) for port in ports]
        for node in nodes:  # otherwise the whole Cluster refuses everything once it has noticed
            node.config_set("cluster-require-full-coverage", "no")
        store = await Store.open(f"redis+cluster://127.0.0.1:{ports[0]}", prefix="t:", options=PATIENT)
        trail = trail_of(store, clock, 3, required=True)
        for number in range(9):
            note(trail, [number])
            await trail.flush()
        for node in nodes:
            [key] = node.keys("t:audit:{*")
            assert node.xlen(key) == 3
        whole = await every_number(store)
        assert sorted(whole) == list(range(9))
        for key in shards.in_use(audit.EXCHANGES, 3):
            held = await numbers_in(store, key)
            assert [number for number in whole if number in held] == held == sorted(held)
        page = await audit_pages.audit_page(store, EXCHANGE_SHARDS, most_events=4)
        assert [json.loads(value)["number"] for _, value in page.entries] == whole[5:]
        assert await numbers_after(store, whole[5]) == whole[6:]

        nodes[2].shutdown(nosave=True)
        for number in range(9, 21):
            note(trail, [number])
            await trail.flush()
            trail.check()
        assert "1 of 3 shards accept no events" in trail.problem
        held = [number for key in shards.in_use(audit.EXCHANGES, 3)[:2] for number in await numbers_in(store, key)]
        assert {number for number in held if number >= 9} == set(range(9, 21))
        with pytest.raises(StoreUnavailable):  # a page without its entries would look complete
            await every_number(store)
        await store.close()
        for node in nodes:
            node.close()


async def numbers_after(store: Store, number: int) -> list[int]:
    """Return the numbers of the events that come after that of a number."""
    page = await audit_pages.audit_page(store, EXCHANGE_SHARDS, position=streams.BEGINNING, **ROOM)
    [position] = [position for position, value in page.entries if json.loads(value)["number"] == number]
    page = await audit_pages.audit_page(store, EXCHANGE_SHARDS, position=position, **ROOM)
    return [json.loads(value)["number"] for _, value in page.entries]


@pytest.mark.processes
async def test_a_primary_of_a_cluster_that_hangs_keeps_no_batch_from_the_others(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The first one, of which the driver asks more than of others."""
    with cluster(tmp_path) as ports:
        first = redis.Redis(port=ports[0])
        process = first.info("server")["process_id"]
        first.close()
        options = replace(PATIENT, read_timeout=2.0, write_timeout=2.0)
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        store = await Store.open(f"redis+cluster://{hosts}", prefix="t:", options=options)
        trail = trail_of(store, clock, 3, required=True)
        keys = shards.in_use(audit.EXCHANGES, 3)
        note(trail, [0])
        await trail.flush()
        assert await numbers_in(store, keys[0]) == [0]
        os.kill(process, signal.SIGSTOP)
        try:
            trail._exchanges._turn = 0
            for number in range(1, 7):
                note(trail, [number])
                await flushed(trail)
            trail.check()
            assert "1 of 3 shards accept no events" in trail.problem
        finally:
            os.kill(process, signal.SIGCONT)
        held = await numbers_in(store, keys[1]) + await numbers_in(store, keys[2])
        assert set(held) == set(range(1, 7))
        await store.close()


async def flushed(trail: AuditTrail) -> None:
    """Flush until all waiting events are in a shard: a busy machine may be late with an answer."""
    for _ in range(20):
        try:
            await trail.flush()
        except StoreUnavailable:
            continue
        return
    raise AssertionError(trail.problem)


@pytest.mark.processes
async def test_sentinel(tmp_path: Path, clock: FakeClock) -> None:
    primary, sentinel = own_port(), own_port()
    async with AsyncExitStack() as stack:
        stack.enter_context(engine(tmp_path / "primary", *LOG, port=primary))
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor primary 127.0.0.1 {primary} 1\n")
        stack.enter_context(engine(tmp_path / "sentinel", str(config), "--sentinel", port=sentinel))
        store = await Store.open(f"redis+sentinel://127.0.0.1:{sentinel}/primary", prefix="t:", options=PATIENT)
        stack.push_async_callback(store.close)
        trail = trail_of(store, clock, 3)
        for number in range(6):
            note(trail, [number])
            await trail.flush()
        await trail._tidy()
        whole = await every_number(store)
        assert sorted(whole) == list(range(6))
        assert len(await merging.present(store, EXCHANGE_SHARDS)) == 3
        assert await numbers_after(store, whole[1]) == whole[2:]

"""One store copied into another: every value and event, the rest of each life, and nothing of what is left out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import PATIENT
from tests.unit.storage.test_topologies import cluster
from tests.wire import Engine

from tokenmint.admission.audit import EXCHANGE_SHARDS as SHARDS
from tokenmint.base.errors import CorruptRecord
from tokenmint.storage import copying, merging
from tokenmint.storage.copying import EVENTS_AT_ONCE, KEYS_AT_ONCE
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

LOG = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = await Store.open(url, prefix="t:", options=PATIENT)
    yield store
    await store.close()


@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_values_and_events_arrive_with_the_rest_of_their_lives(tmp_path: Path, kind: str) -> None:
    many, events = KEYS_AT_ONCE + 7, EVENTS_AT_ONCE + 3
    with Engine(tmp_path / "one", *LOG) as one, Engine(tmp_path / "two", *LOG) as two, cluster(tmp_path) as ports:
        for number in range(many):
            one.client.set(f"t:{number}", f"value {number}")
        one.client.set("t:short", b"\x00\xff", px=600_000)
        one.client.set("t:left out", "x")
        one.client.set("of another program", "x")
        pipeline = one.client.pipeline(transaction=False)
        for number in range(events):
            pipeline.xadd("t:audit", {"event": f"e{number}", "sum": str(number)})
        for key in SHARDS[1:]:
            pipeline.xadd(f"t:{key}", {"event": key})
        pipeline.execute()
        url = f"redis://127.0.0.1:{two.port}" if kind == "server" else f"redis+cluster://127.0.0.1:{ports[0]}"
        told: list[int] = []
        async with opened(f"redis://127.0.0.1:{one.port}") as source, opened(url) as target:
            assert await copying.is_empty(target)
            copied = await copying.copy(source, target, without={"left out"}, progress=told.append)
            assert (copied.values, copied.events) == (many + 1, events + len(SHARDS) - 1)
            assert told[-1] == copied.values
            assert not await copying.is_empty(target)
            for number in range(many):
                assert await target.get(str(number)) == f"value {number}".encode()
            assert await target.get("short") == b"\x00\xff"
            assert 500_000 < await target.server.client.pttl("t:short") <= 600_000
            assert await target.server.client.pttl("t:0") == -1
            assert await target.get("left out") is None
            assert await target.server.client.get("of another program") is None
            assert await target.server.client.xrange("t:audit") == one.client.xrange("t:audit")
            newest = await merging.newest(source, SHARDS, most_entries=100, most_bytes=1 << 20)
            assert len(newest.entries) == 100
            assert await merging.newest(target, SHARDS, most_entries=100, most_bytes=1 << 20) == newest
            await copying.remove_all(target)
            assert await copying.is_empty(target)


async def test_a_key_of_another_program_is_named_and_not_left_out(tmp_path: Path) -> None:
    with Engine(tmp_path / "one", *LOG) as one, Engine(tmp_path / "two", *LOG) as two:
        one.client.rpush("t:list", "x")
        async with opened(f"redis://127.0.0.1:{one.port}") as source, opened(f"redis://127.0.0.1:{two.port}") as target:
            with pytest.raises(CorruptRecord) as refused:
                await copying.copy(source, target, without=(), progress=lambda _: None)
    assert "t:list: a list" in refused.value.detail

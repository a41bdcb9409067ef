"""Rate limits: in the store, by its clock, and by each process where the store is away."""

import asyncio
from dataclasses import replace

import pytest
from tests.fakes import FakeClock
from tests.polling import until

from tokenmint.admission.rate_limit import LOT_LIFE, STORE_AWAY, Lot, Rate, RateLimiter, RateLimits
from tokenmint.base.background import Background, Unit
from tokenmint.base.errors import RateLimited, StoreUnavailable
from tokenmint.base.telemetry import Metrics
from tokenmint.model.policy import Client
from tokenmint.storage.redis import Store

SLOW = Rate(0.001, 5)  # so slow that nothing comes back during a test
WEB = Client("web")


def patient(store: Store, limits: RateLimits, clock: FakeClock) -> RateLimiter:
    return RateLimiter(store, limits, clock, Unit("rate limits", clock, Metrics()), patience=20.0)


async def allowed(limiter: RateLimiter, client: Client = WEB, *, calls: int = 20, cost: int = 1) -> int:
    count = 0
    for _ in range(calls):
        try:
            await limiter.take(client, cost)
            count += 1
        except RateLimited:
            continue
    return count


async def test_a_burst_and_no_more(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=SLOW), clock)
    assert await allowed(limiter) == 5
    assert await allowed(limiter, Client("other")) == 5  # a bucket for each client
    with pytest.raises(RateLimited) as refused:
        await limiter.take(WEB)
    assert 900 < refused.value.retry_after <= 1000


async def test_replicas_count_in_the_same_bucket_at_the_same_time(store: Store, clock: FakeClock) -> None:
    replicas = [patient(store, RateLimits(together=SLOW), clock) for _ in range(4)]
    counts = await asyncio.gather(*(allowed(limiter, Client(str(n)), calls=5) for n, limiter in enumerate(replicas)))
    assert sum(counts) == 5


async def test_what_comes_back_comes_back_by_the_stores_clock(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=Rate(200.0, 1)), clock)
    async with asyncio.timeout(20):
        while await allowed(limiter, calls=1) + await allowed(limiter, calls=1) != 1:
            pass  # one at once ...
        while not await allowed(limiter, calls=1):
            pass  # ... and another a moment later


async def test_a_batch_counts_its_targets(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=SLOW), clock)
    assert await allowed(limiter, cost=2) == 2
    with pytest.raises(RateLimited, match="allows at once"):
        await limiter.take(WEB, 6)


async def test_a_client_may_have_a_limit_of_its_own_and_none_is_none(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=SLOW), clock)
    assert await allowed(limiter, Client("big", rate=(0.001, 9))) == 9
    assert await allowed(patient(store, RateLimits(), clock), calls=50) == 50


async def test_without_the_store_each_process_counts_for_itself(
    store: Store, clock: FakeClock, background: Background
) -> None:
    broken = Store(replace(store.url, socket_path="/nonexistent"), store.prefix, store.options)
    limiter = RateLimiter(broken, RateLimits(each=Rate(1.0, 5)), clock, background.unit("rate limits"))
    assert await allowed(limiter) == 5
    assert set(background.failing()) == {"rate limits"}
    clock.advance(2)
    assert await allowed(limiter) == 2
    await broken.close()


async def test_a_store_that_counts_again_is_noticed_without_a_call(
    store: Store, clock: FakeClock, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RateLimiter(store, RateLimits(each=SLOW), clock, background.unit("rate limits"), patience=20.0)
    limiter.follow(background)

    async def take(*_: object, **__: object) -> tuple[int, float]:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(store, "take", take)
        await limiter.take(WEB)
    assert set(background.failing()) == {"rate limits"}

    async def works() -> bool:
        clock.advance(STORE_AWAY)
        return not background.failing()

    await until(works)


async def test_a_busy_process_takes_many_calls_from_the_bucket_at_once(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = store.take

    async def take(key: str, *, rate: float, burst: int, least: int, most: int) -> tuple[int, float]:
        asked.append(most)
        return await real(key, rate=rate, burst=burst, least=least, most=most)

    monkeypatch.setattr(store, "take", take)
    limiter = patient(store, RateLimits(each=Rate(1_000_000.0, 1_000_000)), clock)
    for _ in range(2000):
        clock.advance(0.0005)  # 2,000 calls in a second
        await limiter.take(WEB)
    await limiter.close()
    assert len(asked) < 100
    assert max(asked) <= 2500 * LOT_LIFE  # what is spent while a lot lives


async def test_a_lot_that_is_half_spent_is_renewed_before_a_call_lacks_it(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=Rate(1_000_000.0, 2000)), clock)
    buckets, missed = limiter.buckets_of(WEB), 0
    for _ in range(2000):
        now = clock.monotonic()
        lots = limiter.at_hand(buckets, now)
        if lots is None:
            missed += 1
            await limiter.take(WEB)
        else:
            limiter.spend(lots, now)
        await asyncio.gather(*limiter._fills)
        clock.advance(0.00001)
    await limiter.close()
    assert missed <= 8  # while the demand was not known


async def test_lots_of_several_replicas_never_exceed_the_limit(store: Store, clock: FakeClock) -> None:
    limits = RateLimits(each=Rate(0.001, 200))
    replicas = [patient(store, limits, clock) for _ in range(3)]
    granted = 0
    for number in range(400):
        clock.advance(0.001)
        granted += await allowed(replicas[number % 3], calls=1)
    for replica in replicas:
        await replica.close()
    assert 170 <= granted <= 200  # a little early, where replicas have not spent what they took; never late


async def test_what_a_quiet_process_took_ahead_is_let_go(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=Rate(0.001, 200)), clock)
    for _ in range(60):
        clock.advance(0.001)
        await limiter.take(WEB)
    await limiter.close()
    (lot,) = limiter._lots.values()
    assert lot.left
    clock.advance(10)
    await limiter.take(WEB)
    assert lot.left == 0


async def test_who_waits_for_the_same_lot_goes_on_at_the_same_time(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gate, real = list[int](), asyncio.Event(), store.take

    async def take(key: str, *, rate: float, burst: int, least: int, most: int) -> tuple[int, float]:
        asked.append(most)
        await gate.wait()
        return await real(key, rate=rate, burst=burst, least=least, most=most)

    monkeypatch.setattr(store, "take", take)
    limiter = patient(store, RateLimits(each=Rate(1_000_000.0, 1_000_000)), clock)
    for _ in range(300):
        limiter._lots.setdefault("rate:client:web", Lot("", Rate(1_000_000.0, 1_000_000), clock.monotonic())).demand(
            1, clock.monotonic()
        )
    waiting = [asyncio.ensure_future(limiter.take(WEB)) for _ in range(200)]
    await asyncio.sleep(0)
    gate.set()
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(task.done() for task in waiting)  # not one in each pass of the loop
    assert len(done) >= 1
    assert len(asked) == 1
    await limiter.close()


async def test_who_is_refused_more_does_not_refuse_less_for_others(store: Store, clock: FakeClock) -> None:
    limiter = patient(store, RateLimits(each=SLOW), clock)
    await limiter.take(WEB, 2)  # of five
    large, small = asyncio.ensure_future(limiter.take(WEB, 4)), asyncio.ensure_future(limiter.take(WEB, 3))
    with pytest.raises(RateLimited):
        await large
    await small


async def test_who_gives_up_takes_the_lot_from_nobody_and_a_stop_leaves_nobody_waiting(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = asyncio.Event(), store.take

    async def take(key: str, *, rate: float, burst: int, least: int, most: int) -> tuple[int, float]:
        await gate.wait()
        return await real(key, rate=rate, burst=burst, least=least, most=most)

    monkeypatch.setattr(store, "take", take)
    limiter = patient(store, RateLimits(each=Rate(1_000_000.0, 1_000_000)), clock)
    first, second, third = (asyncio.ensure_future(limiter.take(WEB)) for _ in range(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
    gate.set()
    await third
    assert [task.cancelled() for task in (first, second)] == [True, True]
    gate.clear()
    waiting = [asyncio.ensure_future(limiter.take(Client("other"))) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await limiter.close()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )


@pytest.mark.parametrize("value", [b"inf", b"99999999999999", b"nan", b"junk", b"-inf"])
async def test_a_value_that_nobody_wrote_refuses_nobody_for_ever(store: Store, clock: FakeClock, value: bytes) -> None:
    await store.swap("rate:all", None, value, durable=False)
    limiter, waits = patient(store, RateLimits(together=Rate(1_000.0, 1)), clock), list[float]()
    async with asyncio.timeout(20):
        while True:
            try:
                await limiter.take(WEB)
                break
            except RateLimited as refused:
                waits.append(refused.retry_after)
                clock.advance(1.0)
    assert all(0 < wait <= 1.0 for wait in waits)
    await limiter.close()

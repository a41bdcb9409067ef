"""The schedule of `make chaos`, and the way it is counted."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.faults.schedule import Faults, kinds_of
from tests.chaos.judge import Verdict, WrongToken
from tests.chaos.ledger import Effect, End, Fault, Ledger
from tests.chaos.quiet import Quiet
from tests.chaos.stores import TOPOLOGIES
from tests.chaos.tally import AFTER, tallies
from tests.unit.chaos.ledgers import E, T, failed, signed
from tests.unit.chaos.waiting import until


async def test_nobody_changes_anything_while_the_store_is_made_to_forget() -> None:
    quiet, order = Quiet(), list[str]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def change(name: str) -> None:
        async with quiet.changing():
            order.append(f"{name} begins")
            begun.set()
            await go_on.wait()
            order.append(f"{name} ends")

    async def forget() -> None:
        async with quiet.held():
            order.append("forgotten")

    first = asyncio.create_task(change("first"))
    await begun.wait()
    forgetting = asyncio.create_task(forget())
    await asyncio.sleep(0)
    second = asyncio.create_task(change("second"))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, forgetting, second)
    assert order == ["first begins", "first ends", "forgotten", "second begins", "second ends"]


@pytest.mark.parametrize("topology", list(TOPOLOGIES))
async def test_every_kind_has_its_turn_and_a_seed_repeats_their_order(tmp_path: Path, topology: str) -> None:
    kinds = kinds_of(TOPOLOGIES[topology](tmp_path, Random(0)), clocks=True)
    assert len({kind.name for kind in kinds}) == len(kinds)

    async def order(seed: int) -> list[str]:
        done: list[str] = []

        def doing(name: str) -> Kind:
            async def do(_: Scene) -> None:
                done.append(name)

            return Kind(name, do)

        made = [doing(kind.name) for kind in kinds]
        faults = Faults(_scene(seed), made, pause=(0.0, 0.0))
        stop = asyncio.Event()
        running = asyncio.create_task(faults.run(stop))
        await until(lambda: faults.rounds >= 1)
        stop.set()
        await running
        return done[: len(kinds)]

    once, again = await order(7), await order(7)
    assert once == again
    assert sorted(once) == sorted(kind.name for kind in kinds)


def _scene(seed: int) -> Scene:
    scene = object.__new__(Scene)  # of which the order of faults needs the dice alone
    scene.random = Random(seed)
    return scene


def test_each_kind_of_fault_is_counted_with_what_came_of_it() -> None:
    seen = Ledger()
    seen.faults = [
        Fault("worker killed", T, T + 2, 0, Effect.KILLED, lifted=T + 0.1),
        Fault("store paused", T + 10, T + 12, lifted=T + 11),
    ]
    seen.minted = [signed("k", T - E), signed("k", T + 1), signed("k", T + 2 + AFTER + E), signed("k", T + 11)]
    seen.failures = [failed(T + 0.5, replica=0), failed(T + 0.5, replica=1), failed(T + 10, reason="STORE_UNAVAILABLE")]
    seen.ends = [End(0, "worker 1", 1, T + 1), End(1, "worker 2", 1, T + 1)]
    counted = tallies(seen, Verdict(wrong=[WrongToken(0, T + 1), WrongToken(2, T + 11)]))
    killed, paused = counted["worker killed"], counted["store paused"]
    assert (killed.times, killed.answered, dict(killed.refused)) == (1, 1, {"UNAVAILABLE": 1})
    assert (killed.ended, killed.wrong) == (1, 1)
    assert killed.recovery == pytest.approx(1 + E - 0.1)
    assert (paused.answered, dict(paused.refused), paused.ended, paused.wrong) == (1, {"STORE_UNAVAILABLE": 1}, 0, 1)
    assert paused.recovery == float("inf")  # replica 1 gave no token again


def test_a_fault_that_nobody_noticed_needs_no_recovery() -> None:
    seen = Ledger(faults=[Fault("log not read", T, T + 5, 0, Effect.LOG)], minted=[signed("k", T + 1)])
    assert tallies(seen, Verdict())["log not read"].recovery == 0.0

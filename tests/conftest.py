"""Real parts for every test: a private Valkey for each test process, and a prefix of its own for each test."""

import gc
import itertools
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog
from structlog.processors import KeyValueRenderer, add_log_level, format_exc_info
from tests.depth import mark_properties, set_up_hypothesis
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, serving
from tests.parallel import pytest_addoption, pytest_runtestloop
from tests.rig import Rig, Serve
from tests.tls import authority

from tokenmint.base.background import Background
from tokenmint.base.telemetry import Metrics
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store

__all__ = ["pytest_addoption", "pytest_runtestloop"]  # hooks of `tests/parallel.py`
PATIENT = StoreOptions(read_timeout=10.0, write_timeout=20.0)
"""A busy machine is not what these tests are about."""
_prefixes = itertools.count()
_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)
gc.disable()  # until all tests are collected: a quarter of that time went into looking at a million objects
set_up_hypothesis()
# The usual renderer aligns and colours each line, which takes longer than many an answer that it tells of.
structlog.configure(processors=[add_log_level, format_exc_info, KeyValueRenderer(key_order=["level", "event"])])
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts its background jobs so: programs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what `make fast` leaves out as a whole: web frameworks take longer to import than all the rest."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return True if _SLOW.search(collection_path.read_text()) else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `make test-deep` play more examples of each property."""
    mark_properties(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exclude modules and collected tests from garbage collection: each full one would look at a million objects.

    It looks for young cycles more seldom too. It did so for a twentieth of the time that the tests compute.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    if session.config.option.processes > 1 and "tests.forked" in sys.modules:
        sys.modules["tests.forked"].share_server()


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One authority in the place of the machine's hundred and fifty, for this process and those that it starts.

    OpenSSL reads them all for each TLS context, which takes 20 ms of computing in each start of a service. Tests reach
    no server that a public authority knows.
    """
    file = tmp_path_factory.mktemp("authorities") / "ca.crt"
    file.write_bytes(authority().pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey that only this test process uses."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix that no other test has."""
    return f"t{os.getpid()}-{next(_prefixes)}:"


@pytest.fixture
async def store(redis_url: str, redis_prefix: str) -> AsyncIterator[Store]:
    """An open store that holds nothing yet."""
    opened = await Store.open(redis_url, prefix=redis_prefix, options=PATIENT)
    yield opened
    await opened.close()


@pytest.fixture
def rsa(request: pytest.FixtureRequest) -> bool:
    """Whether the service of this test signs with RS256 too, for `running`."""
    return request.node.get_closest_marker("rsa") is not None


@pytest.fixture(scope="module", params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport that serves exchanges in turn, for `running`: what holds of one holds of the other."""
    if request.param == "native":
        pytest.importorskip("pygrpc_native", reason="the extra `native` is not installed")
    name: str = request.param
    return name


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A provider of this test alone, over real HTTP."""
    with serving(Issuer()) as running_issuer:
        yield running_issuer


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    """The service as `tests/rig.py` configures it; a module that needs another one has its own `rig`."""
    async with serve() as service:
        yield service


@pytest.fixture
def serve(
    tmp_path: Path, redis_url: str, redis_prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy, rsa: bool
) -> Serve:
    """Runs the service, with what the test adds to its configuration."""
    return Serve(tmp_path, redis_url, redis_prefix, issuer, clock, entropy, rsa)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Callable[[], Serve]]:
    """Makes runners of services that tests of a module share, each with a prefix, a clock and a provider of its own."""
    with ExitStack() as providers:

        def make() -> Serve:
            prefix = f"t{os.getpid()}-{next(_prefixes)}:"
            issuer = providers.enter_context(serving(Issuer()))
            return Serve(
                tmp_path_factory.mktemp("module"), redis_url, prefix, issuer, FakeClock(), FakeEntropy(), rsa=False
            )

        yield make


@pytest.fixture
async def background(clock: FakeClock) -> AsyncIterator[Background]:
    """Background tasks, which end with the test."""
    made = Background(clock, lambda: 0.5, Metrics())
    yield made
    await made.close()


@pytest.fixture
def entropy() -> FakeEntropy:
    """The same random bytes in every run."""
    return FakeEntropy()


@pytest.fixture
def vectors() -> Path:
    """The folder of test vectors from outside; without it the test says so and is skipped."""
    folder = os.environ.get("TOKENMINT_VECTORS")
    if not folder:
        pytest.skip("TOKENMINT_VECTORS is not set: it names a folder with C2SP/wycheproof's testvectors_v1")
    return Path(folder)

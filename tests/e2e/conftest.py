"""Fixtures of the tests of the whole service."""

import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
import structlog
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve


@pytest.fixture(scope="session", autouse=True)
def quick_tls(one_authority: None) -> None:
    """No TLS context reads the machine's authorities."""


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, by us and by libraries."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(text), cache_logger_on_first_use=False)
    yield text
    structlog.configure(**before)
    logging.getLogger().removeHandler(handler)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(start: Start, serve_module: Callable[[], Serve]) -> AsyncIterator[Rig]:
    """The service of all tests of a module, as the module's fixture `start` starts it."""
    async with start(serve_module()) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def later(shared: Rig) -> Rig:
    """That service, a second after the test before: no token or proof is the same as one of another test."""
    await shared.set_time(shared.clock.now() + 1)
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def alone(start: Start, serve: Serve) -> AsyncIterator[Rig]:
    """A service of one test alone."""
    async with start(serve) as service:
        yield service


@pytest.fixture
def shared_rig(request: pytest.FixtureRequest, start: Start) -> Rig:
    """The service that the tests of a module share; one of its own for a test that is marked `alone`.

    It asks for ``start`` so that the parameters of that are the test's. The module runs in one event loop:
    `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
    """
    service: Rig = request.getfixturevalue("alone" if request.node.get_closest_marker("alone") else "later")
    return service

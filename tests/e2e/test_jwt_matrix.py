"""Every kind of JWT at every place that takes one: a kind is accepted at its own places, and at no other.

RFC 8725 sections 2.8 and 3.11: one kind of JWT must not pass for another. `make test-sts` prints the table.
"""

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from tests.jwts import kinds
from tests.jwts.matrix import PLACES, TABLE_FILE, table
from tests.jwts.world import World, world
from tests.rig import Serve

import tokenmint
from tokenmint.admission import access
from tokenmint.formats.table import shipped

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHOUT = frozenset(
    {
        "/tokenmint.v1.RevocationService/WatchRevocations",  # has the credentials that ExchangeToken has, and no more
        "/api/explain",  # takes what ExplainExchange takes, by the same code
    }
)
"""Methods of clients, and methods that take a token, without a place of their own."""


def _typs() -> set[str]:
    """Return every media type of a JWT that the service's code names."""
    sources = "".join(file.read_text() for file in Path(tokenmint.__path__[0]).rglob("*.py"))
    return set(re.findall(r'"(?:application/)?([a-z0-9-]+\+jwt)"', sources))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(serve_module: Callable[[], Serve]) -> AsyncIterator[World]:
    async with world(serve_module()) as made:
        yield made


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, dict[str, bool]]]:
    """Each place that was tried, with the kinds, and whether it accepted them.

    At the end the table is written to the file that the environment names, if it names one.
    """
    tried: dict[str, dict[str, bool]] = {}
    yield tried
    if name := os.environ.get(TABLE_FILE):
        Path(name).write_text(table(tried))


@pytest.mark.parametrize("name", PLACES)
async def test_rfc_8725_section_3_11_nothing_is_accepted_off_the_diagonal(
    live: World, found: dict[str, dict[str, bool]], name: str
) -> None:
    await live.let_pass(1)  # no token or proof is the same as one of another place
    tokens = await kinds.of_all(live)
    place = PLACES[name]
    assert place.expected <= tokens.keys()
    accepted = await place.accepted(live, tokens)
    found[name] = {kind: kind in accepted for kind in tokens}
    assert accepted == place.expected


async def test_every_method_that_takes_a_token_is_a_place() -> None:
    """A method that is added to an access table needs its place here."""
    clients = {
        path
        for rows in (access.DATA, access.OAUTH, access.GATEWAY, access.SIGNALS)
        for path, row in rows.items()
        if row.caller is access.CLIENT or rows is access.SIGNALS
    }
    explained = {path for rows in (access.ADMIN, access.CONSOLE) for path in rows if "xplain" in path}
    tried = {place.method for place in PLACES.values()}
    assert clients | explained <= tried | WITHOUT
    assert not tried & WITHOUT


async def test_every_format_and_every_typ_is_a_kind(live: World) -> None:
    """A format that is added needs its kind here, and so does a `typ` that the service writes or reads."""
    tokens = await kinds.of_all(live)
    assert kinds.OF_FORMATS.keys() == shipped().keys()
    assert {kind for minted in kinds.OF_FORMATS.values() for kind in minted} <= tokens.keys()
    headers = [jwt.get_unverified_header(token) for token in tokens.values()]
    assert _typs() <= {header.get("typ") for header in headers}
    assert len({*tokens.values()}) == len(tokens)

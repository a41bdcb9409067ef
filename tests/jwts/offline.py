"""The places outside of the service that take its JWTs: verifiers of the Python client, and other regions."""

from collections.abc import Callable
from typing import Any

from tests.http_servers import Handler, running
from tests.jwts.places import Accepts
from tests.jwts.world import DOMAIN, HERE, NEXT, THERE, World
from tests.regions import AUTHORITY, ISSUER

from tokenmint.model.copies import Part
from tokenmint.regions import document, given_up, profile_document
from tokenmint.regions.identity import RegionRefused
from tokenmint_client import AsyncVerifier, VerificationError
from tokenmint_client.status_lists import StatusLists
from tokenmint_client.txn_token import AsyncTxnTokenVerifier


async def _accepts(verifying: AsyncVerifier | AsyncTxnTokenVerifier, token: str) -> bool:
    try:
        await verifying.verify(token)
    except VerificationError:
        return False
    finally:
        await verifying.close()
    return True


def _options(world: World) -> dict[str, Any]:
    return {"jwks_url": world.rig.url("http", "/.well-known/jwks.json"), "clock": world.now}


async def verifier(world: World, token: str) -> bool:
    """A service that verifies access tokens."""
    return await _accepts(AsyncVerifier(ISSUER, NEXT, **_options(world)), token)


async def transaction(world: World, token: str) -> bool:
    """A service of a trust domain, which takes transaction tokens."""
    return await _accepts(AsyncTxnTokenVerifier(ISSUER, DOMAIN, **_options(world)), token)


async def status_list(world: World, token: str) -> bool:
    """The status list of a token, as its verifier fetches it."""

    class Publishing(Handler):
        def do_GET(self) -> None:
            self.give(200, token.encode())

    with running(Publishing) as port:
        lists = StatusLists(url=f"http://127.0.0.1:{port}")
        verifying = AsyncVerifier(ISSUER, NEXT, revocations=lists, **_options(world))
        return await _accepts(verifying, await world.minted(NEXT))


def region(path: str, **query: str) -> Accepts:
    """A region's signed request to another one."""

    async def place(world: World, token: str) -> bool:
        return (await world.ask_region(HERE, path, token, **query)).status_code == 200

    return place


def read(by: Callable[[World, str], object]) -> Accepts:
    """A text that a region reads."""

    async def place(world: World, token: str) -> bool:
        try:
            by(world, token)
        except RegionRefused:
            return False
        return True

    return place


def read_document(world: World, token: str) -> object:
    """Read the answer to a request for another region's document."""
    return document.read(token.encode(), world.pinned(), issuer=ISSUER, region=THERE, to=HERE)


def read_profiles(world: World, token: str) -> object:
    """Read the answer to a request for another region's profiles."""
    pinned = world.pinned()
    return profile_document.read(token.encode(), pinned, issuer=ISSUER, region=THERE, to=HERE, part=Part.ALL)


def read_statement(world: World, token: str) -> object:
    """Read the statement that a region was given up."""
    return given_up.region_of(token, world.pinned(AUTHORITY), ISSUER)

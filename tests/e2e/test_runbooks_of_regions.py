"""Every command of the runbook about regions is executed."""

import asyncio
from pathlib import Path

import pytest
from tests.conftest import PATIENT
from tests.issuer import Issuer
from tests.regions import AUTHORITY, make_identity, table, write_files
from tests.runbooks import Runbook, until

from tokenmint.keys.types import RegionKey
from tokenmint.regions.document import Document, RevocationPage
from tokenmint.regions.records import accepted
from tokenmint.regions.store import RegionStore
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

NOW = 1_800_000_000.0
KEY = RegionKey("eu.key", "ES256", {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})


def keep_keys_of_eu(directory: Path) -> None:
    """Write into the private store what the region `eu` said last."""
    url = EmbeddedServer(directory / ".tokenmint").running_url()
    assert url is not None
    told = Document("eu", "ring", 7, NOW, 3600.0, (KEY,), {}, (), RevocationPage(0, (), "0-0", more=False))

    async def work() -> None:
        store = await Store.open(url, options=PATIENT)
        await RegionStore(store).change("eu", lambda record: accepted(record, told, now=NOW, skew=60.0, memory=60.0))
        await store.close()

    asyncio.run(work())


def test_giving_up_a_region(tmp_path: Path, issuer: Issuer) -> None:
    made = {name: make_identity(name) for name in ("us", "eu", AUTHORITY)}
    pems = {name: pem for name, (pem, _) in made.items()}
    write_files(tmp_path, pems, {name: one for name, (_, one) in made.items()}, "us")
    (tmp_path / "authority.pem").write_bytes(pems[AUTHORITY])
    with Runbook("giving-up-a-region", tmp_path, issuer, table("us", {"eu": 9})) as book:
        service = book.serve()
        keep_keys_of_eu(tmp_path)
        keys = f"curl -s http://{service.listen['http']}/.well-known/jwks.json"
        until(lambda: "eu.key" in book.run(keys))
        assert "eu.statement" in book.step()
        assert "given up: eu" in book.step()
        told = book.step()
        assert "given up" in told
        assert "us." in told
        assert "eu.key" not in told
        assert "the next document of eu is accepted" in book.step()

"""`tokenmint regions`: keys, a statement, giving up a region, and accepting one that went back, beside a store."""

import asyncio
import json
import re
import stat
from pathlib import Path

import pytest
from tests.conftest import PATIENT
from tests.forked import run_forked as run
from tests.json_documents import described, differences
from tests.process import configure, write_kek
from tests.regions import ISSUER, OTHER, TABLE

from tokenmint.keys.types import RegionKey
from tokenmint.regions.document import Document, RevocationPage
from tokenmint.regions.records import Record, accepted
from tokenmint.regions.store import RegionStore
from tokenmint.storage.redis import Store

NOW = 1_800_000_000.0


@pytest.fixture
def directory(tmp_path: Path, redis_url: str, redis_prefix: str) -> Path:
    """A folder with the configuration of the region `us`, whose keys the commands made."""
    for name in ("us", "eu", "authority"):
        done = run("regions", "new-key", name, "-o", "json", directory=tmp_path)
        assert differences(described()["regions new-key"], json.loads(done.stdout)) == [], done.stderr
    write_kek(tmp_path)
    regions = TABLE.format(name="us", cut="2m") + OTHER.format(name="eu", port=9)
    redis = f'\n[redis]\nurl = "{redis_url}"\nprefix = "{redis_prefix}"\n\n[keys]\nencryption_key_file = "kek"\n'
    config = configure(tmp_path, extra=redis + regions)
    config.write_text(config.read_text().replace("http://127.0.0.1:9", ISSUER, 1))
    return tmp_path


def told(generation: int) -> Document:
    """Return a document of `eu`."""
    page = RevocationPage(0, (), "0-0", more=False)
    key = RegionKey("eu.key", "ES256", {"kty": "EC"})
    return Document("eu", "its-ring", generation, NOW, 3600.0, (key,), {}, (), page)


def in_store(redis_url: str, prefix: str, generation: int | None = None) -> tuple[Record | None, set[str]]:
    """Return the record of `eu`, and the regions that were given up; write a record with a generation before."""

    async def work() -> tuple[Record | None, set[str]]:
        store = await Store.open(redis_url, prefix=prefix, options=PATIENT)
        try:
            kept = RegionStore(store)
            if generation is not None:
                await kept.change(
                    "eu", lambda record: accepted(record, told(generation), now=NOW, skew=60.0, memory=60.0)
                )
            return await kept.record("eu"), set(await kept.given_up())
        finally:
            await store.close()

    return asyncio.run(work())


def test_the_private_key_is_its_owners_and_is_not_overwritten(tmp_path: Path) -> None:
    assert run("regions", "new-key", "eu", directory=tmp_path).returncode == 0
    private = (tmp_path / "eu.pem").read_bytes()
    assert stat.S_IMODE((tmp_path / "eu.pem").stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in (tmp_path / "eu.jwks.json").read_text()
    assert "d" not in json.loads((tmp_path / "eu.jwks.json").read_text())["keys"][0]
    again = run("regions", "new-key", "eu", directory=tmp_path)
    assert (again.returncode, "is not overwritten" in again.stderr) == (2, True)
    assert (tmp_path / "eu.pem").read_bytes() == private


def test_a_region_is_given_up_by_a_statement_of_the_authority(
    directory: Path, redis_url: str, redis_prefix: str
) -> None:
    words = ("regions", "statement", "eu", "--issuer", ISSUER)
    done = run(*words, "--authority-key", "authority.pem", "--to", "good", "-o", "json", directory=directory)
    assert differences(described()["regions statement"], json.loads(done.stdout)) == [], done.stderr
    assert run(*words, "--authority-key", "us.pem", "--to", "forged", directory=directory).returncode == 0
    forged = run("regions", "give-up", "forged", "--yes", directory=directory)
    assert (forged.returncode, "is not accepted" in forged.stderr) == (2, True)
    only_proved = run("regions", "give-up", "good", directory=directory)
    assert (only_proved.returncode, "Nothing was changed" in only_proved.stdout) == (1, True)
    assert in_store(redis_url, redis_prefix)[1] == set()
    for _ in range(2):  # a repetition changes nothing
        done = run("regions", "give-up", "good", "--yes", "--output", "json", directory=directory)
        assert json.loads(done.stdout) == {"region": "eu", "given_up": True}, done.stderr
        assert differences(described()["regions give-up"], json.loads(done.stdout)) == []
    assert in_store(redis_url, redis_prefix)[1] == {"eu"}
    listed = run("regions", "list", directory=directory)
    assert "given up" in listed.stdout
    in_store(redis_url, redis_prefix, 7)
    assert re.search(r"Z \(\d+ \w+ ago\)", run("regions", "list", directory=directory).stdout), "a time, not an age"


def test_an_operator_accepts_an_older_state(directory: Path, redis_url: str, redis_prefix: str) -> None:
    unknown = run("regions", "accept", "eu", "--yes", directory=directory)
    assert unknown.returncode == 5
    in_store(redis_url, redis_prefix, 7)
    [one] = json.loads(run("regions", "list", "--output", "json", directory=directory).stdout)
    assert differences(described()["regions list"], one) == []
    assert (one["name"], one["generation"], one["keys"]) == ("eu", 7, ["eu.key"])
    assert run("regions", "accept", "eu", directory=directory).returncode == 1
    done = run("regions", "accept", "eu", "--yes", "-o", "json", directory=directory)
    assert differences(described()["regions accept"], json.loads(done.stdout)) == [], done.stderr
    record, _ = in_store(redis_url, redis_prefix, 3)
    assert record is not None
    assert (record.generation, record.resets) == (3, 1)

"""`tokenmint store copy` refuses a copy that would leave two stores in use, or one with half of the values."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from tests.forked import ForkedService, run_forked
from tests.json_documents import described, differences
from tests.pages import PORTS
from tests.process import configure, environment, write_kek
from tests.runbooks import AT_ONCE, LOG, store_at
from tests.wire import Engine

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.storecopy import UNFINISHED, copy

pytestmark = pytest.mark.processes

KEYS = '[keys]\nencryption_key_file = "kek"\nreplica_lag = "1s"\n'


@dataclass
class Pair:
    """A store with a ring, which no service uses, and an empty one."""

    directory: Path
    old: Engine
    new: Engine

    def refusal(self, *, to: str = "new.toml", config: str = "tokenmint.toml", status: int = 2) -> str:
        done = run_forked("store", "copy", "--config", config, "--to", to, directory=self.directory)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    write_kek(tmp_path)
    with Engine(tmp_path / "old", *LOG) as old, Engine(tmp_path / "new", *LOG) as new:
        configure(tmp_path, extra=KEYS + store_at(new)).rename(tmp_path / "new.toml")
        configure(tmp_path, extra=KEYS + store_at(old))
        ForkedService(tmp_path, **AT_ONCE).stop()
        yield Pair(tmp_path, old, new)


def test_a_store_that_is_in_use_or_of_another_program_is_no_target(pair: Pair) -> None:
    assert "holds a key ring already" in pair.refusal(to="tokenmint.toml")
    pair.new.client.set("tm:foreign", "x")
    assert "has other keys under 'tm:'" in pair.refusal()
    assert pair.new.client.keys("*") == [b"tm:foreign"]


def test_a_target_needs_a_url_and_the_same_prefix(pair: Pair) -> None:
    configure(pair.directory, extra=KEYS).rename(pair.directory / "none.toml")
    configure(pair.directory, extra=KEYS + store_at(pair.new) + 'prefix = "other:"\n').rename(
        pair.directory / "prefix.toml"
    )
    configure(pair.directory, extra=KEYS + store_at(pair.old))
    assert "redis.url: is required" in pair.refusal(to="none.toml")
    assert "redis.prefix: has to be 'tm:'" in pair.refusal(to="prefix.toml")
    assert pair.new.client.keys("*") == []


def test_the_environments_store_is_not_the_target(pair: Pair) -> None:
    url = f"redis://127.0.0.1:{pair.old.port}"
    words = ("store", "copy", "--to", "new.toml", "-o", "json")
    done = run_forked(*words, directory=pair.directory, TOKENMINT_REDIS__URL=url)
    assert done.returncode == 0, done.stderr
    assert differences(described()["store copy"], json.loads(done.stdout)) == []
    assert pair.new.client.get("tm:ring") == pair.old.client.get("tm:ring")
    assert pair.new.client.get("tm:" + UNFINISHED) is None
    assert any(b'"store copy"' in fields[b"event"] for _, fields in pair.new.client.xrange("tm:audit:admin"))


def test_replicas_that_live_are_waited_for_and_then_named(pair: Pair) -> None:
    with ForkedService(pair.directory, **AT_ONCE):
        assert "1 replicas use the store" in pair.refusal()
    assert pair.new.client.keys("*") == []


def test_a_built_in_store_that_is_in_use_is_not_copied(pair: Pair) -> None:
    configure(pair.directory, extra=KEYS).rename(pair.directory / "own.toml")
    assert "holds no key ring" in pair.refusal(config="own.toml")
    (pair.directory / "data" / "high-water-mark.json").unlink()
    with ForkedService(pair.directory, "--config", "own.toml", **PORTS):
        assert "stop the service" in pair.refusal(config="own.toml")
    assert pair.new.client.keys("*") == []


def test_an_unfinished_copy_is_begun_again(pair: Pair) -> None:
    """A target without a ring is not served, and a change of the source meanwhile leaves it without one."""
    before = structlog.get_config()
    try:
        with pytest.raises(ConfigurationError, match="the store changed while it was copied"):
            copy(
                pair.directory / "tokenmint.toml", pair.directory / "new.toml", environment(),
                lambda _: pair.old.client.incr("tm:{tm:ring}-beat"),
            )  # fmt: skip
    finally:
        structlog.configure(**before)
    assert pair.new.client.get("tm:ring") is None
    assert pair.new.client.get("tm:" + UNFINISHED) is not None
    pair.new.client.set("tm:profile:gone", "of the first try")
    done = run_forked("store", "copy", "--to", "new.toml", directory=pair.directory)
    assert done.returncode == 0, done.stderr
    assert pair.new.client.get("tm:profile:gone") is None
    assert pair.new.client.get("tm:ring") == pair.old.client.get("tm:ring")
    assert pair.new.client.get("tm:{tm:ring}-beat") == pair.old.client.get("tm:{tm:ring}-beat")

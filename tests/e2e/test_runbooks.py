"""Every command of the runbooks, and of docs/keys.md, is executed against a service."""

import json
import re
import time
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests import plain_http
from tests.forked import ForkedService, ForkedWithLog
from tests.pages import PORTS, ROOT, shell, texts
from tests.polling import PAUSE
from tests.process import Service

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load

pytestmark = pytest.mark.processes

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
OFFLINE = {"old-store.md", "broken-log.md"}
"""Runbooks without commands for a service that is well."""
FOLLOWED = {
    "test_runbooks_of_the_store.py": {
        "backup", "moving-the-store", "region-failover", "disk-full", "password-rotation",
    },
    "test_runbooks_of_callers.py": {
        "decommissioning", "leaked-client-secret", "mass-revocation", "issuer-change", "upgrade",
    },
    "test_runbooks_of_regions.py": {"giving-up-a-region"},
}  # fmt: skip
"""Runbooks that are followed through a whole situation, by the tests that do so."""
ELSEWHERE = OFFLINE | {f"{page}.md" for pages in FOLLOWED.values() for page in pages}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = ForkedService(tmp_path, **PORTS)
    try:
        yield running
    finally:
        running.stop()


def active_key(directory: Path, target: str) -> str:
    listed = shell(directory, "tokenmint keys list -o json", TOKENMINT_TARGET=target)
    keys = json.loads(listed.stdout)
    return next(str(key["key_id"]) for key in keys if key["state"] == "STATE_ACTIVE")


@pytest.mark.parametrize(
    "page",
    [page for page in [*RUNBOOKS, ROOT / "docs" / "keys.md"] if page.name not in ELSEWHERE],
    ids=lambda page: page.stem,
)
def test_a_runbooks_commands_do_what_they_are_shown_for(page: Path, tmp_path: Path, service: Service) -> None:
    target = service.listen["admin"]
    before = active_key(tmp_path, target)
    ran = 0
    for line in [line for block in texts(page, "sh") for line in block.splitlines()]:
        done = shell(tmp_path, line, TOKENMINT_TARGET=target, KEY_ID=before)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran
    after = active_key(tmp_path, target)
    changes = any(word in page.read_text() for word in ("keys rotate", "keys revoke"))
    assert (after != before) == changes
    if "--svg" in page.read_text():
        assert "</svg>" in (tmp_path / "keys.svg").read_text()


def test_the_runbook_for_an_old_store(tmp_path: Path) -> None:
    service = ForkedService(tmp_path, **PORTS)
    service.stop()
    (mark,) = tmp_path.rglob("high-water-mark.json")
    value = json.loads(mark.read_text())
    mark.write_text(json.dumps(value | {"generation": value["generation"] + 5, "revoked": ["gone"]}))
    look, accept = [
        line for block in texts(ROOT / "docs" / "runbooks" / "old-store.md", "sh") for line in block.split("\n") if line
    ]
    told = shell(tmp_path, look)
    assert "were revoked, and it lacks that: gone" in told.stdout
    assert json.loads(mark.read_text())["revoked"] == ["gone"]
    done = shell(tmp_path, accept)
    assert done.returncode == 0, done.stderr
    assert "revoked again: key gone" in done.stdout
    written = json.loads(mark.read_text())
    assert written["generation"] > value["generation"] + 5
    assert written["revoked"] == ["gone"]
    again = ForkedService(tmp_path, **PORTS)
    assert "nothing to accept" in shell(tmp_path, accept).stdout  # the private store of a service that runs is reached
    again.stop()
    assert "nothing to accept" in shell(tmp_path, accept).stdout


def test_the_runbook_for_a_lost_encryption_key(tmp_path: Path) -> None:
    page = ROOT / "docs" / "runbooks" / "lost-encryption-key.md"
    service = ForkedService(tmp_path, **PORTS)
    before = active_key(tmp_path, service.listen["admin"])
    put = shell(
        tmp_path,
        """echo '{"principal": "ada"}' | tokenmint profiles put -""",
        TOKENMINT_TARGET=service.listen["admin"],
    )
    assert put.returncode == 0, put.stderr
    service.stop()
    (tmp_path / "new.kek").write_text("A" * 43 + "=")
    (tmp_path / "new.kek").chmod(0o600)
    ports = {**PORTS, "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE": "new.kek"}
    refused = shell(tmp_path, "tokenmint serve", **ports)
    assert refused.returncode == 2
    assert f"docs/runbooks/{page.name}" in refused.stderr
    (script,) = texts(page, "python")
    assert shell(tmp_path, f"python - <<'END'\n{script}END").stdout == "1\n"
    (mark,) = tmp_path.rglob("high-water-mark.json")
    mark.unlink()
    again = ForkedService(tmp_path, **ports)
    try:
        assert active_key(tmp_path, again.listen["admin"]) != before
        kept = shell(tmp_path, "tokenmint profiles get ada", TOKENMINT_TARGET=again.listen["admin"])
        assert kept.returncode == 0, kept.stderr
    finally:
        again.stop()


def test_the_runbook_for_a_broken_log(tmp_path: Path) -> None:
    (shown,) = texts(ROOT / "docs" / "runbooks" / "broken-log.md", "json")
    expected = json.loads(shown)
    with open("/dev/full", "wb") as full, ForkedWithLog(tmp_path, full.fileno(), **PORTS) as running:  # noqa: PTH123  # a device
        url = f"http://{running.listen['ops']}"
        ends = time.monotonic() + 30
        while not (told := plain_http.get(f"{url}/readyz").json())["details"]:
            assert time.monotonic() < ends
            time.sleep(PAUSE)
        assert told["details"]["log"] == expected["details"].pop("log").partition(";")[0]
        assert told | {"details": {}} == expected
        metrics = plain_http.get(f"{url}/metrics").text
        page = (ROOT / "docs" / "runbooks" / "broken-log.md").read_text()
        for name in ("tokenmint_log_broken", "tokenmint_log_dropped_total", "tokenmint_audit_dropped_total"):
            assert name in metrics
            assert name in page


def test_the_configuration_that_is_shown_is_accepted(tmp_path: Path) -> None:
    (text,) = texts(ROOT / "docs" / "runbooks" / "moving-to-kms.md", "toml")
    assert tomllib.loads(text)["keys"]["signer"] == "aws-kms"
    (tmp_path / "kek").write_text("A" * 43 + "=")
    config = tmp_path / "tokenmint.toml"
    config.write_text(text)
    if find_spec("boto3") is not None:
        assert load(config, {}).signer == "aws-kms"
        return
    with pytest.raises(ConfigurationError) as error:  # the extra alone is missing
        load(config, {})
    assert [line.partition(":")[2] for line in error.value.problems] == [
        " aws-kms needs the package boto3: install tokenmint[aws-kms] (line 5)"
    ]


@pytest.mark.parametrize("module", FOLLOWED)
def test_every_runbook_that_is_followed_elsewhere_is_followed_there(module: str) -> None:
    text = Path(__file__).with_name(module).read_text()
    assert set(re.findall(r'(?:Runbook\(|book_on\(engine, )"([a-z-]+)"', text)) == FOLLOWED[module]
    assert all((ROOT / "docs" / "runbooks" / f"{page}.md").exists() for page in FOLLOWED[module])


def test_every_runbook_is_named() -> None:
    text = (ROOT / "docs" / "keys.md").read_text()
    assert all(f"runbooks/{page.name}" in text for page in RUNBOOKS)

"""Every document of `--output json` has the fields that docs/cli.md describes, and no others."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer, serving
from tests.json_documents import described, differences, event_fields
from tests.process import configure
from tests.unit.cli.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.processes]

AUDIENCE: Final = "https://orders.example"
OF_REQUESTS: Final = {"algorithm", "force", "key_id", "principal", "provider", "why"}
"""The fields of operators' events that come from the requests of these commands."""
ELSEWHERE: Final = {
    "keys accept-store": "tests/e2e/test_store_went_back.py",
    "keys watch": "tests/unit/cli/test_following.py",
    "regions accept": "tests/e2e/test_region_commands.py",
    "regions give-up": "tests/e2e/test_region_commands.py",
    "regions list": "tests/e2e/test_region_commands.py",
    "regions new-key": "tests/e2e/test_region_commands.py",
    "regions statement": "tests/e2e/test_region_commands.py",
    "signals delete": "tests/e2e/test_signals_poll.py",
    "signals verify": "tests/e2e/test_signals_poll.py",
    "store copy": "tests/e2e/test_store_copy.py",
}
"""The commands whose documents are compared where they have a store, another region or a transmitter."""
OF_OTHERS: Final = frozenset({"audit tail", "signals create", "signals status", "token verify"})
"""The commands whose document is an audit event, a transmitter's answer or the claims of a token."""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("documents")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url)
        with ForkedService(directory) as service:
            yield Terminal(service, issuer, directory)


class Documents:
    """Runs commands, and keeps how their documents differ from the page."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._cells = described()
        self.compared: set[str] = set()
        self.found: list[str] = []

    def __call__(self, command: str, *arguments: str, status: int = 0, stdin: str = "", who: str = "root") -> Any:
        """Run a command, compare each document that it printed, and return the last one."""
        ended, out, err = self._terminal(*command.split(), *arguments, "-o", "json", stdin=stdin, who=who)
        assert ended == status, (command, out, err)
        documents, decoder = [], json.JSONDecoder()
        while out:
            document, end = decoder.raw_decode(out)
            documents.append(document)
            out = out[end:].lstrip()
        assert documents, command
        for document in documents:
            self.found += [f"{command}: {one}" for one in differences(self._cells[command], document)]
        self.compared.add(command)
        return documents[-1]


def test_every_document_is_as_the_page_describes_it(terminal: Terminal, tmp_path: Path) -> None:
    run = Documents(terminal)
    config = str(terminal.directory / "tokenmint.toml")
    run("config check", "--config", config)
    (tmp_path / "bad.toml").write_text("[clients.web]\nsecretz = []\n")
    run("config check", "--config", str(tmp_path / "bad.toml"), status=2)
    run("init", "--config", str(tmp_path / "one.toml"))
    (tmp_path / "other").mkdir()
    run("init", "--config", str(tmp_path / "other" / "two.toml"), "--secret-files")
    run("clients new-secret")
    run("clients new-secret", "--secret-file", str(tmp_path / "made.secret"))
    _tokens(run, terminal.issuer)
    _profiles(run, tmp_path)
    _keys(run)
    run("providers list")
    run("providers get", "idp")
    run("providers refresh", "idp")
    run("providers test", "idp", "--config", config)
    run("providers add", terminal.issuer.url, "--allow-private")
    run("top", "--once", "--window", "1d")
    for kind, of_the_request in (("exchange", set()), ("admin", OF_REQUESTS)):
        status, out, err = terminal("audit", "tail", "--no-follow", "--kind", kind, "-o", "json")
        assert status == 0, err
        fields = {name for line in out.splitlines() for name in json.loads(line)}
        run.found += sorted(f"an event of the kind {kind}: {name}" for name in fields - event_fields() - of_the_request)
    for kind, name in (("client", "web"), ("audience", AUDIENCE), ("provider", "idp"), ("principal", "ada")):
        run(f"revoke {kind}", name, "--reason", "a test", "--yes")
    run.found += [f"serve: {one}" for one in differences(described()["serve"], terminal.service.ready)]
    assert run.found == [], "\n".join(run.found)
    assert run.compared | {"serve"} | ELSEWHERE.keys() | OF_OTHERS == described().keys()


def _profiles(run: Documents, directory: Path) -> None:
    ada = json.dumps({"principal": "ada", "identities": [{"provider": "idp", "subject": "1842"}], "roles": ["clerk"]})
    run("profiles create", "-", stdin='{"principal": "bob"}')
    run("profiles put", "-", stdin=ada)
    run("profiles get", "ada")
    run("profiles link", "ada", "idp", "7")
    run("profiles unlink", "ada", "idp", "7")
    run("profiles disable", "ada")
    run("profiles enable", "ada")
    run("profiles list")
    run("profiles diff", "-", stdin='{"principal": "ada"}\n{"principal": "eve"}\n', status=1)
    taken = json.dumps({"principal": "zoe", "identities": [{"provider": "idp", "subject": "1842"}]})
    run("profiles import", "-", stdin='{"principal": "eve"}\n' + taken, status=1)
    run("profiles export", str(directory / "profiles.jsonl"))
    run("profiles revoke-tokens", "eve")
    run("profiles delete", "bob")
    run("profiles erase", "eve", "--yes")


def _tokens(run: Documents, issuer: Issuer) -> None:
    subject = issuer.token(time.time(), sub="another")
    token = run("token exchange", "--audience", AUDIENCE, stdin=subject, who="web")["token"]
    run("token explain", "--client", "web", "--audience", AUDIENCE, stdin=subject)
    run("token explain", "--client", "web", "--audience", "https://none.example", stdin=subject, status=1)
    run("token inspect", stdin=token)
    run("token introspect", stdin=token, who="web")
    run("token revoke", stdin=token, who="web")
    run("token introspect", stdin=token, who="web")


def _keys(run: Documents) -> None:
    run("keys prepare")
    run("keys rotate", "--force")
    ids = [key["key_id"] for key in run("keys list") if key["state"] == "STATE_PREPARED"]
    run("keys list", "--verifiers")
    run("keys get", ids[0])
    run("keys activate", ids[0], "--force")
    run("keys reseal")
    run("keys revoke", ids[0], "--reason", "a test", "--yes")


def test_what_is_compared_elsewhere_is_compared_there() -> None:
    root = Path(__file__).resolve().parents[3]
    assert {
        command for command, file in ELSEWHERE.items() if f'described()["{command}"]' not in (root / file).read_text()
    } == set()


@pytest.mark.parametrize(
    ("cell", "document", "found"),
    [
        ("`a`, `b`; later `c`", {"a": 1}, ["is missing: b"]),
        ("`a`, `b`; later `c`", {"a": 1, "b": 2, "c": 3, "d": 4}, ["is not described: d"]),
        ("a list of `a` (`b`, `c`)", [{"a": [{"b": 1}]}, {"a": 0, "e": 1}], ["is not described: e"]),
        ("`Profile`", {"principal": "ada"}, ["is missing: disabled"]),
        ("`header` and `claims`", {"header": {"kid": ""}, "claims": {"x": 1}}, []),
    ],
)
def test_a_difference_is_found(cell: str, document: Any, found: list[str]) -> None:
    assert set(found) <= set(differences(cell, document))
    assert bool(found) == bool(differences(cell, document))

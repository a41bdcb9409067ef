"""`tokenmint revoke` against a real service."""

import json
from collections.abc import Iterator

import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer, serving
from tests.process import configure
from tests.unit.cli.terminal import Terminal

pytestmark = pytest.mark.slow

NEXT = """
[audiences."https://next.example"]
clients = ["web"]
reexchange_from = ["https://orders.example"]
"""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("cli")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url, NEXT)
        with ForkedService(directory) as service:
            yield Terminal(service, issuer, directory)


@pytest.mark.parametrize(
    ("words", "audiences"),
    [
        (("client", "web"), []),
        (("client", "gone", "--removed"), []),
        (("audience", "https://orders.example"), ["https://orders.example"]),
        (("audience", "https://gone.example", "--removed"), ["https://gone.example"]),
        (("audience", "https://orders.example", "--with-derived"), ["https://next.example", "https://orders.example"]),
        (("provider", "idp"), ["https://next.example", "https://orders.example"]),
        (("principal", "nobody"), []),
    ],
)
def test_everything_up_to_now_is_refused(terminal: Terminal, words: tuple[str, ...], audiences: list[str]) -> None:
    status, out, err = terminal("revoke", *words, "--reason", "a test", "--yes", "-o", "json")
    assert status == 0, err
    told = json.loads(out)
    assert told["audiences"] == audiences
    assert told["tokens_valid_after_time"].endswith("Z")
    status, out, err = terminal("revoke", *words, "--reason", "a test", "--yes")
    assert status == 0, err
    assert "are refused" in out
    assert [line.split()[-1] for line in out.splitlines()[1:]] == audiences


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("client", "web", "--reason", "x"), 2, "--yes"),
        (("client", "web", "--yes"), 2, "--reason"),
        (("client", "gone", "--reason", "x", "--yes"), 5, "gone"),
        (("audience", "https://gone.example", "--reason", "x", "--yes"), 5, "https://gone.example"),
        (("provider", "gone", "--reason", "x", "--yes"), 5, "gone"),
        (("principal", "a b", "--reason", "x", "--yes"), 5, "a b"),
        (("client", "web", "--reason", "", "--yes"), 2, "reason"),
    ],
)
def test_mistakes(terminal: Terminal, words: tuple[str, ...], status: int, told: str) -> None:
    found, _, err = terminal("revoke", *words)
    assert (found, told in err) == (status, True), err


def test_a_principal_without_a_profile_may_be_a_typing_error(terminal: Terminal) -> None:
    for output in ("text", "json"):
        status, _, err = terminal("revoke", "principal", "adda", "--reason", "x", "--yes", "-o", output)
        assert (status, "warning: adda has no profile" in err) == (0, True)
    assert terminal("profiles", "put", "-", stdin='{"principal": "ada"}')[0] == 0
    status, _, err = terminal("revoke", "principal", "ada", "--reason", "x", "--yes")
    assert (status, err) == (0, "")

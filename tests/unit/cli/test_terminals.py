"""A real service on a real terminal of 80 columns, in a pipe that is closed, and with Ctrl-C."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.forked import Fork, ForkedService
from tests.issuer import Issuer, serving
from tests.process import CLIENT, OPERATOR, START_LIMIT, configure, environment
from tests.unit.cli.screen import Screen
from tests.unit.cli.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.processes]

COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7])m")
PERSON = {
    "principal": "b3f0e3c2-8c50-4a9e-9f50-2f0a1f6f6a2e",
    "identities": [
        {"provider": "idp", "subject": "auth0|6405f1e2a7b3c4d5e6f70812"},
        {"provider": "idp", "subject": "1842"},
    ],
    "roles": ["accounts-payable-clerk", "accounts-payable-approver", "auditor"],
}


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("terminals")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url)
        with ForkedService(directory) as service:
            made = Terminal(service, issuer, directory)
            assert made("profiles", "put", "-", stdin=json.dumps(PERSON))[0] == 0
            yield made


def environ(terminal: Terminal, **more: str) -> dict[str, str]:
    given = {"TOKENMINT_CLIENT_ID": "root", "TOKENMINT_CLIENT_SECRET": OPERATOR.reveal()}
    return {"TOKENMINT_TARGET": terminal.service.listen["admin"], **given, **more}


def screen(terminal: Terminal, *words: str, **more: str) -> Screen:
    return Screen(*words, directory=terminal.directory, environ=environ(terminal, **more))


def words_of(terminal: Terminal) -> dict[str, tuple[str, ...]]:
    token = terminal.directory / "token"
    token.write_text(terminal.issuer.token(time.time(), sub="1842"))
    config = str(terminal.directory / "tokenmint.toml")
    explain = (
        "token",
        "explain",
        "--client",
        "web",
        "--audience",
        "https://orders.example",
        "--token-file",
        str(token),
    )
    return {
        "keys": ("keys", "list", "--verifiers"),
        "profiles": ("profiles", "list"),
        "providers": ("providers", "list"),
        "explanation": (*explain, "--token-file", str(token)),
        "refused explanation": (*explain[:4], "--audience", "https://none.example", "--token-file", str(token)),
        "configuration": ("config", "check", "--config", config),
        "one provider": ("providers", "get", "idp", "-o", "text"),
        "one profile": ("profiles", "get", PERSON["principal"], "-o", "text"),  # type: ignore[dict-item]  # a text
    }


@pytest.mark.parametrize(
    "kind",
    [
        "keys", "profiles", "providers", "explanation", "refused explanation", "configuration", "one provider",
        "one profile",
    ],
)  # fmt: skip
def test_what_is_listed_fits_eighty_columns_with_colours_unless_they_are_not_wanted(
    terminal: Terminal, kind: str
) -> None:
    words = words_of(terminal)[kind]
    shown = screen(terminal, *words)
    assert shown.end() == (1 if kind == "refused explanation" else 0), shown.text
    assert max(map(cell_len, shown.text.splitlines())) <= 80, shown.text
    if kind in ("keys", "profiles", "explanation"):
        assert COLOURS.search(shown.raw)
        grey = screen(terminal, *words, NO_COLOR="1")
        assert grey.end() == 0
        assert not COLOURS.search(grey.raw)


def test_ids_are_whole_on_a_terminal(terminal: Terminal) -> None:
    keys = json.loads(terminal("keys", "list", "-o", "json")[1])
    shown = screen(terminal, "keys", "list")
    shown.end()
    assert all(key["key_id"] in shown.text for key in keys)
    shown = screen(terminal, "profiles", "list")
    shown.end()
    assert f"{PERSON['principal']}  enabled" in shown.text
    assert "idp/auth0|6405f1e2a7b3c4d5e6f70812" in shown.text


@pytest.mark.parametrize("kind", ["keys", "explanation"])
def test_a_reader_that_is_gone_causes_no_traceback(terminal: Terminal, kind: str) -> None:
    for more in ((), ("-o", "json")):
        reading, writing = os.pipe()
        os.close(reading)
        with (terminal.directory / "told").open("w+") as told:
            process = Fork(
                (*words_of(terminal)[kind], *more), terminal.directory, environment(**environ(terminal)),
                (0, writing, told.fileno()),
            )  # fmt: skip
            os.close(writing)
            status = process.wait(START_LIMIT)
            told.seek(0)
            assert (status, told.read()) == (1, "")


def test_ctrl_c_ends_a_call_that_waits_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = {"TOKENMINT_CLIENT_ID": "web", "TOKENMINT_CLIENT_SECRET": CLIENT.reveal()}
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        waiting = Screen("keys", "list", "--target", target, "--timeout", "10m", directory=tmp_path, environ=given)
        silent.settimeout(START_LIMIT)
        peer, _ = silent.accept()
        with peer:
            waiting.process.send_signal(signal.SIGINT)
            assert waiting.end() == 130
    assert "Traceback" not in waiting.text
    assert waiting.text.count("\n") <= 2


def test_a_question_is_answered_by_nobody_in_a_pipe(terminal: Terminal) -> None:
    key = json.loads(terminal("keys", "list", "-o", "json")[1])[0]["key_id"]
    for words in (("keys", "revoke", key[:12], "--reason", "x"), ("profiles", "erase", "ada")):
        status, _, err = terminal(*words)
        assert (status, "--yes" in err) == (2, True)

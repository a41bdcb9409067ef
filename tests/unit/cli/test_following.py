"""Commands that follow a real service, on a terminal and in a pipe, until Ctrl-C or until the reader leaves."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer, serving
from tests.json_documents import described, differences
from tests.process import OPERATOR, START_LIMIT, configure, environment
from tests.unit.cli.screen import Screen
from tests.unit.cli.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.processes]

FAST = ("--every", "50ms")
MOST_REFUSALS = 20
"""Fewer than a client's budget of recorded refusals: further ones are only counted."""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("following")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url)
        with ForkedService(directory) as service:
            yield Terminal(service, issuer, directory)


def environ(terminal: Terminal) -> dict[str, str]:
    return {
        "TOKENMINT_TARGET": terminal.service.listen["admin"],
        "TOKENMINT_CLIENT_ID": "root",
        "TOKENMINT_CLIENT_SECRET": OPERATOR.reveal(),
    }


def exchange(terminal: Terminal, audience: str = "https://orders.example", **claims: Any) -> None:
    token = terminal.issuer.token(time.time(), **claims)
    terminal("token", "exchange", "--audience", audience, stdin=token, who="web")


def wait_for_events(terminal: Terminal, number: int, *filters: str) -> list[dict[str, Any]]:
    """The events, as soon as so many are in the stream: exchanges are recorded a moment later."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        status, out, err = terminal("audit", "tail", "--no-follow", "-o", "json", *filters)
        assert status == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        if len(events) >= number:
            return events
    raise AssertionError(f"the events did not come: {events}")


def test_the_newest_events_by_filter(terminal: Terminal) -> None:
    exchange(terminal, sub="filtered")
    exchange(terminal, audience="https://filtered.example")
    [refused] = wait_for_events(terminal, 1, "--outcome", "refused", "--reason", "AUDIENCE_DENIED", "--client", "web")[
        -1:
    ]
    assert (refused["audience"], refused["kind"]) == ("https://filtered.example", "exchange")
    minted = wait_for_events(terminal, 1, "--provider", "idp", "--outcome", "done", "--since", "1h")[-1]
    assert minted["principal"]
    assert wait_for_events(terminal, 1, "--principal", minted["principal"])[-1] == minted
    terminal("keys", "prepare")
    admin = wait_for_events(terminal, 2, "--kind", "admin", "-n", "2")
    assert [one["outcome"] for one in admin] == ["begun", "done"]
    assert terminal("audit", "tail", "--no-follow", "--client", "nobody")[:2] == (0, "")
    status, out, _ = terminal("audit", "tail", "--no-follow", "-n", "1", "--kind", "admin")
    assert (status, "PrepareSigningKey" in out, out.count("\n")) == (0, True, 1)


def test_a_terminal_shows_new_events_until_ctrl_c(terminal: Terminal) -> None:
    screen = Screen(
        "audit", "tail", "-n", "0", *FAST, "--client", "web", directory=terminal.directory, environ=environ(terminal)
    )
    screen.wait_for("waiting for events")
    for _ in range(MOST_REFUSALS):  # the first ones may come before it looks for the first time
        exchange(terminal, audience="https://first.example")
        if screen.sees("https://first.example", 1.0):
            break
    exchange(terminal, audience="https://second.example")
    screen.wait_for("https://second.example")
    assert "\x1b[31m" in screen.raw  # the colour of a refusal
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text


def test_a_terminal_shows_the_changes_of_the_ring(terminal: Terminal) -> None:
    screen = Screen("keys", "watch", *FAST, directory=terminal.directory, environ=environ(terminal))
    screen.wait_for("serve it")
    keys = json.loads(terminal("keys", "rotate", "--force", "-o", "json")[1])
    screen.wait_for(f"{keys['active_key']['key_id']}  prepared  ->  active")
    screen.wait_for(f"{keys['prepared_key']['key_id']}  prepared")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text


def test_a_terminal_shows_the_rates(terminal: Terminal) -> None:
    exchange(terminal, audience="https://rates.example")
    wait_for_events(terminal, 1, "--reason", "AUDIENCE_DENIED")
    status, out, err = terminal("top", "--once", "--window", "1d")
    assert status == 0, err
    assert "AUDIENCE_DENIED" in out
    document = json.loads(terminal("top", "--once", "--window", "1d", "-o", "json")[1])
    assert document["clients"][0]["client"] == "web"
    screen = Screen("top", *FAST, "--window", "1d", directory=terminal.directory, environ=environ(terminal))
    screen.wait_for("AUDIENCE_DENIED")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text


@pytest.mark.parametrize("words", [("audit", "tail", "-o", "json"), ("keys", "watch"), ("top", "-o", "json")])
def test_a_reader_that_leaves_ends_the_command_without_a_traceback(terminal: Terminal, words: tuple[str, ...]) -> None:
    exchange(terminal)
    wait_for_events(terminal, 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenmint", *words, *FAST], env=environment(**environ(terminal)),
        cwd=terminal.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        terminal("keys", "rotate", "--force")  # something to print
    assert (process.wait(START_LIMIT), process.stderr.read()) == (1, "")
    process.stderr.close()


@pytest.mark.parametrize("words", [("audit", "tail"), ("keys", "watch", "-o", "json")])
def test_a_reader_that_leaves_is_noticed_while_there_is_nothing_to_print(
    terminal: Terminal, words: tuple[str, ...]
) -> None:
    """`tokenmint audit tail | head -1` ends, also where nothing happens any more."""
    exchange(terminal)
    wait_for_events(terminal, 1)
    shell = f"{sys.executable} -m tokenmint {' '.join(words)} --every 1h | head -1"
    outcome = subprocess.run(
        ["sh", "-c", shell], env=environment(**environ(terminal)), cwd=terminal.directory, capture_output=True,
        text=True, timeout=START_LIMIT, check=False,
    )  # fmt: skip
    assert (outcome.returncode, outcome.stdout.count("\n"), outcome.stderr) == (0, 1, "")
    if "json" in words:
        assert differences(described()["keys watch"], json.loads(outcome.stdout)) == []


def test_a_service_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    configure(tmp_path)
    config = tmp_path / "tokenmint.toml"
    with ForkedService(tmp_path) as service:
        listen = service.listen["admin"]
    config.write_text(config.read_text().replace('admin = "127.0.0.1:0"', f'admin = "{listen}"'))
    with ForkedService(tmp_path):
        given = {"TOKENMINT_CLIENT_ID": "root", "TOKENMINT_CLIENT_SECRET": OPERATOR.reveal()}
        screen = Screen("keys", "watch", *FAST, "--target", listen, directory=tmp_path, environ=given)
        screen.wait_for("serve it")
    screen.wait_for("goes on as soon as it answers")
    with ForkedService(tmp_path):
        screen.wait_for("the service answers again")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130


def test_a_caller_that_may_not_look_is_told_at_once(terminal: Terminal) -> None:
    commands: tuple[tuple[str, ...], ...] = (("audit", "tail"), ("keys", "watch"), ("top",))
    for words in commands:
        status, out, err = terminal(*words, TOKENMINT_CLIENT_ID="nobody")
        assert (status, out, "is not accepted" in err) == (4, "", True), words
    wrong: tuple[tuple[str, ...], ...] = (
        ("audit", "tail", "--every", "1ms"),
        ("top", "--window", "0"),
        ("audit", "tail", "--since", "x"),
    )
    for words in wrong:
        assert terminal(*words)[0] == 2, words

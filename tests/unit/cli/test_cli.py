"""The command line against a real service: tables, JSON, exit codes, and mistakes without tracebacks."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.forked import ForkedService
from tests.issuer import Issuer, segment, serving
from tests.process import OPERATOR, configure
from tests.unit.cli.terminal import Terminal
from typer.testing import CliRunner

from tokenmint.cli import COMMANDS, app
from tokenmint.model.secret import Secret

pytestmark = pytest.mark.slow

NEXT = """
[audiences."https://next.example"]
clients = ["web"]
providers = ["idp"]
reexchange_from = ["https://orders.example"]
on_missing_profile = "create"
resources = ["https://next.example/tools"]
"""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("cli")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url, NEXT)
        with ForkedService(directory) as service:
            yield Terminal(service, issuer, directory)


def test_keys(terminal: Terminal) -> None:
    status, out, err = terminal("keys", "list")
    assert status == 0, err
    assert "active" in out
    assert "prepared" in out
    keys = json.loads(terminal("keys", "list", "-o", "json")[1])
    prepared = next(key for key in keys if key["state"] == "STATE_PREPARED")
    assert json.loads(terminal("keys", "get", prepared["key_id"])[1])["public_jwk"]["crv"] == "P-256"
    assert prepared["key_id"] in terminal("keys", "prepare")[1]
    status, _, err = terminal("keys", "activate", prepared["key_id"])
    assert status == 1
    assert "has not been published for long enough" in err
    status, out, err = terminal("keys", "activate", prepared["key_id"], "--force")
    assert (status, "active" in out) == (0, True)
    assert "may not know the key" in err
    assert terminal("keys", "prepare")[0] == 0
    status, _, err = terminal("keys", "revoke", prepared["key_id"], "--reason", "drill")
    assert (status, "--yes" in err) == (2, True)
    status, out, err = terminal("keys", "revoke", prepared["key_id"], "--reason", "drill", "--yes")
    assert status == 0
    assert "revoked" in out
    assert "may accept the revoked key's tokens" in err
    status, out, _ = terminal("keys", "rotate", "--force", "-o", "json")
    assert json.loads(out)["active_key"]["state"] == "STATE_ACTIVE"


def test_providers(terminal: Terminal) -> None:
    assert "idp" in terminal("providers", "list")[1]
    assert json.loads(terminal("providers", "list", "-o", "json")[1])[0]["key_ids"] == ["k1"]
    assert json.loads(terminal("providers", "get", "idp")[1])["issuer"] == terminal.issuer.url
    assert terminal("providers", "refresh", "idp")[0] == 0
    assert terminal("providers", "get", "none")[0] == 5


def test_a_token_from_exchange_to_verification(terminal: Terminal, tmp_path: Path) -> None:
    subject_token = terminal.issuer.token(time.time(), sub="cli")
    arguments = ("token", "exchange", "--audience", "https://orders.example", "--lifetime", "60")
    status, out, err = terminal(*arguments, stdin=subject_token, who="web")
    assert status == 0, err
    answer = json.loads(out)
    file = tmp_path / "token"
    file.write_text(subject_token)
    status, raw, _ = terminal(*arguments, "--token-file", str(file), "--raw", who="web")
    assert raw.count(".") == 2
    status, out, err = terminal("token", "inspect", stdin=raw)
    assert (status, "NOT VERIFIED" in err) == (0, True)
    assert answer["subject"] in out
    assert "exp: 20" in out
    assert json.loads(terminal("token", "inspect", "-o", "json", stdin=raw)[1])["verified"] is False
    url = f"http://{terminal.service.listen['http']}/.well-known/jwks.json"
    verify = ("token", "verify", "--jwks-url", url, "--issuer", "http://127.0.0.1:9", "--audience")
    status, out, err = terminal(*verify, "https://orders.example", stdin=raw)
    assert (status, json.loads(out)["sub"]) == (0, answer["subject"]), err
    status, out, err = terminal(*verify, "https://orders.example", "-o", "text", stdin=raw)
    assert (status, answer["subject"] in out, "(in 60 s)" in out or "(in 5" in out) == (0, True, True), out
    status, _, err = terminal(*verify, "https://other.example", stdin=raw)
    assert status == 1
    assert "the token's aud is 'https://orders.example', required is 'https://other.example'" in err
    status, _, err = terminal(*verify[:-2], "http://127.0.0.1:8", "--audience", "https://orders.example", stdin=raw)
    assert (status, "the token's iss is 'http://127.0.0.1:9', required is 'http://127.0.0.1:8'" in err) == (1, True)
    status, _, err = terminal("token", "verify", "--issuer", "", "--audience", "x", stdin=raw)
    assert (status, "expected a URL with https://" in err) == (2, True)
    other_issuer = f"http://{terminal.service.listen['http']}"
    status, _, err = terminal("token", "verify", "--issuer", other_issuer, "--audience", "x", stdin=raw)
    assert (status, "another issuer" in err) == (1, True)
    status, _, err = terminal("token", "verify", "--issuer", "http://127.0.0.1:9", "--audience", "x", stdin=raw)
    assert (status, "can't be fetched" in err) == (3, True)


def test_what_is_no_http_at_all_is_quoted_in_part_and_steers_no_terminal() -> None:
    token = ".".join((segment({"alg": "ES256", "kid": "k"}), segment({"iss": "x"}), "AAAA"))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def garble() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"\x1b[31m\x00" + b"\xff" * 50_000 + b"\r\n\r\n")

        thread = threading.Thread(target=garble, daemon=True)
        thread.start()
        issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
        told = CliRunner().invoke(app, ["token", "verify", "--issuer", issuer, "--audience", "x"], input=token)
        thread.join(20)
    assert (told.exit_code, "can't be fetched" in told.stderr) == (3, True), told.stderr
    assert len(told.stderr) < 1024
    assert told.stderr.strip().isprintable()


def test_an_explanation(terminal: Terminal) -> None:
    explain = ("token", "explain", "--client", "web", "--audience", "https://orders.example")
    status, out, err = terminal(*explain, stdin=terminal.issuer.token(time.time()))
    assert (status, "assertion.signature" in out, "failed" in out) == (0, True, False), err
    active = next(
        key for key in json.loads(terminal("keys", "list", "-o", "json")[1]) if key["state"] == "STATE_ACTIVE"
    )
    assert all(text in out for text in ("would be minted", "10m", active["key_id"], '"aud": "https://orders.example"'))
    told = json.loads(
        terminal(*explain, "--lifetime", "1m30s", "-o", "json", stdin=terminal.issuer.token(time.time()))[1]
    )
    planned = told["planned_token"]
    assert (planned["key_id"], planned["lifetime"], planned["format"]) == (active["key_id"], "90s", "jwt")
    assert planned["claims"]["exp"] - planned["claims"]["iat"] == 90
    assert planned["claims"]["client_id"] == "web"
    assert "jti" not in planned["claims"]
    old = terminal.issuer.token(time.time() - 1000)
    status, out, _ = terminal(*explain, stdin=old)
    assert (status, "EXPIRED" in out) == (1, True)
    assert all(text in out for text in ("providers.idp.skew", "not written: the default decides", "the way out"))
    told = json.loads(terminal(*explain, "-o", "json", stdin=old)[1])
    steps = told["steps"]
    table, skew = told["deciding_keys"]
    assert (table["key"], table["line"], skew["key"]) == ("providers.idp", "[providers.idp]", "providers.idp.skew")
    assert table["where"].startswith("line ")
    assert told["planned_token"] is None
    assert "would be minted" not in out
    assert (steps[-1]["name"], steps[-1]["outcome"]) == ("assertion.times", "OUTCOME_FAILED")
    assert terminal("token", "explain", "--client", "x", "--audience", "y", stdin=old)[0] == 5


def test_several_audiences_are_one_call_and_each_says_how_it_ended(terminal: Terminal) -> None:
    subject_token = terminal.issuer.token(time.time(), sub="several")
    good, other = "https://orders.example", "https://next.example"
    both = ("token", "exchange", "--audience", good, "--audience", other)
    status, out, err = terminal(*both, stdin=subject_token, who="web")
    assert status == 0, err
    assert [json.loads(terminal("token", "inspect", "-o", "json", stdin=one["token"])[1])["claims"]["aud"]
            for one in json.loads(out)] == [good, other]  # fmt: skip
    assert terminal(*both, "--raw", stdin=subject_token, who="web")[1].count("\n") == 2
    status, out, err = terminal(*both[:4], "--audience", "unknown", stdin=subject_token, who="web")
    assert (status, len(json.loads(out))) == (1, 1)
    assert err == "tokenmint: unknown: the caller may not have tokens for this audience (AUDIENCE_DENIED)\n"


def test_rfc8707_a_resource_names_the_audience_too_or_instead_of_it(terminal: Terminal) -> None:
    subject_token = terminal.issuer.token(time.time(), sub="resource")
    exchange = ("token", "exchange", "--resource", "https://NEXT.example/tools")
    status, out, err = terminal(*exchange, "--raw", stdin=subject_token, who="web")
    assert status == 0, err
    assert (
        json.loads(terminal("token", "inspect", "-o", "json", stdin=out)[1])["claims"]["aud"] == "https://next.example"
    )
    assert terminal(*exchange, "--audience", "https://next.example", stdin=subject_token, who="web")[0] == 0
    status, _, err = terminal(*exchange, "--audience", "https://orders.example", stdin=subject_token, who="web")
    assert (status, "AUDIENCE_DENIED" in err) == (4, True)
    explain = ("token", "explain", "--client", "web", "--resource", "https://next.example/tools")
    status, out, err = terminal(*explain, stdin=subject_token)
    assert (status, "https://next.example" in out) == (0, True), err


def test_a_token_of_ours_is_exchanged_asked_about_and_revoked(terminal: Terminal, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    subject_token = terminal.issuer.token(time.time(), sub="chain")
    arguments = ("token", "exchange", "--audience", "https://orders.example", "--raw")
    first.write_text(terminal(*arguments, stdin=subject_token, who="web")[1])
    child = ("token", "exchange", "--kind", "access_token", "--audience", "https://next.example", "--raw")
    status, out, err = terminal(*child, "--token-file", str(first), who="web")
    assert status == 0, err
    second.write_text(out)
    ask = ("token", "introspect", "--token-file", str(second))
    told = json.loads(terminal(*ask, who="web")[1])
    assert (told["active"], told["aud"], type(told["exp"])) == (True, "https://next.example", int)
    assert "https://next.example" in terminal(*ask, "-o", "text", who="web")[1]
    status, out, err = terminal("token", "revoke", "--token-file", str(first), who="web")
    assert (status, "follow neither revocations nor status lists" in out) == (0, True), err
    assert json.loads(terminal("token", "revoke", "--token-file", str(first), "-o", "json", who="web")[1]) == {
        "accepted": True
    }
    status, out, _ = terminal("token", "revoke", stdin="none of ours", who="web")
    assert (status, out.startswith("accepted: the token is revoked if")) == (0, True)
    assert terminal(*ask, who="web")[:2] == (0, '{\n  "active": false\n}\n')
    status, _, err = terminal(*child, "--token-file", str(first), who="web")
    assert (status, "(REVOKED)" in err) == (4, True)


def test_actor_nonce_and_key_are_sent_and_one_standard_input_is_one_token(terminal: Terminal, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(terminal.issuer.token(time.time(), nonce="n1"))
    arguments = ("token", "exchange", "--audience", "https://orders.example", "--token-file", str(token))
    status, _, err = terminal(*arguments, "--actor-token-file", str(token), who="web")
    assert (status, "ACTOR_DENIED" in err) == (4, True)
    status, _, err = terminal(*arguments, "--nonce", "n2", who="web")
    assert (status, "WRONG_NONCE" in err) == (4, True)
    status, out, err = terminal(*arguments, "--nonce", "n1", "--dpop-jkt", "A" * 43, who="web")
    assert (status, json.loads(out)["token_type"]) == (0, "DPoP"), err
    twice = ("token", "exchange", "--audience", "https://orders.example", "--actor-token-file", "-")
    status, _, err = terminal(*twice, stdin="x", who="web")
    assert (status, "not both" in err) == (2, True)


def test_a_handle_is_no_jwt_to_look_into(terminal: Terminal) -> None:
    status, _, err = terminal("token", "inspect", stdin="tmr_abc")
    assert (status, "`tokenmint token introspect` shows them" in err) == (2, True)


def test_refusals_have_exit_codes_and_reasons(terminal: Terminal) -> None:
    exchange = ("token", "exchange", "--audience", "https://orders.example")
    status, _, err = terminal(*exchange, stdin="not.a.token", who="web")
    assert (status, "MALFORMED" in err) == (4, True)
    status, _, err = terminal(*exchange, "--scope", "a b", stdin="x", who="web")
    assert (status, "scopes[0]: expected a scope-token" in err) == (2, True)
    status, _, err = terminal(*exchange, stdin=" ", who="web")
    assert (status, "holds no token" in err) == (2, True)
    status, _, err = terminal(*exchange, "--token-file", "/none", who="web")
    assert (status, "can't be read" in err) == (2, True)
    status, _, err = terminal("token", "inspect", stdin="x")
    assert (status, "not a JWT" in err) == (2, True)
    status, _, err = terminal("keys", "list", TOKENMINT_CLIENT_ID="nobody")
    assert (status, "CALLER_UNAUTHENTICATED" in err, "the id 'nobody' was sent to" in err) == (4, True, True)
    status, _, err = terminal("keys", "list", TOKENMINT_TARGET="127.0.0.1:1")
    assert (status, "is it running" in err) == (3, True)
    status, _, err = terminal("keys", "list", TOKENMINT_TARGET="192.0.2.1:1")
    assert (status, "would cross the network unencrypted" in err) == (2, True)
    status, _, err = terminal("keys", "list", TOKENMINT_SECRET_FILE="/none")
    assert (status, "/none: can't be read" in err) == (2, True)
    status, _, err = terminal("keys", "list", TOKENMINT_CLIENT_ID="", TOKENMINT_SECRET_FILE="")
    assert (status, "an operator needs credentials" in err) == (2, True)
    assert all(name in err for name in ("TOKENMINT_CLIENT_ID", "TOKENMINT_SECRET_FILE"))
    status, _, err = terminal("profiles", "put", "-", stdin="{")
    assert (status, "is not JSON" in err) == (2, True)
    assert terminal("none")[0] == 2


def test_credentials_by_file_and_environment(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"id": "root", "secret": OPERATOR.reveal()}))
    none = {"TOKENMINT_CLIENT_ID": "", "TOKENMINT_SECRET_FILE": ""}
    assert terminal("keys", "list", "--credentials", str(file), **none)[0] == 0
    environ = {"TOKENMINT_CLIENT_ID": "root", "TOKENMINT_SECRET_FILE": "", "TOKENMINT_CLIENT_SECRET": OPERATOR.reveal()}
    assert terminal("keys", "list", **environ)[0] == 0
    file.write_text("{}")
    status, _, err = terminal("keys", "list", "--credentials", str(file), **none)
    assert (status, "expected JSON" in err) == (2, True)


def test_a_new_secret_is_shown_with_the_line_for_the_configuration(terminal: Terminal) -> None:
    made = json.loads(terminal("clients", "new-secret", "-o", "json")[1])
    assert made["secret"].startswith("tms_")
    assert made["hash"] == f"sha256:{Secret(made['secret']).fingerprint()}"
    assert 'secrets = ["sha256:' in terminal("clients", "new-secret")[1]


def test_a_new_secret_goes_to_a_file_and_nowhere_else(terminal: Terminal, tmp_path: Path) -> None:
    for output in ("text", "json"):
        file = tmp_path / output
        status, out, err = terminal("clients", "new-secret", "--secret-file", str(file), "-o", output)
        assert status == 0, err
        secret = Secret(file.read_text().strip())
        assert file.stat().st_mode & 0o077 == 0
        assert f"sha256:{secret.fingerprint()}" in out
        assert secret.reveal() not in out
    status, _, err = terminal("clients", "new-secret", "--secret-file", str(file))
    assert (status, "is not overwritten" in err) == (2, True)


def test_init_puts_secrets_into_files_where_asked(terminal: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "tokenmint.toml"
    asked = ("init", "--config", str(config), "--client", "shop", "--secret-files")
    status, out, err = terminal(*asked)
    assert status == 0, err
    for name in ("shop", "admin"):
        file = tmp_path / f"{name}.secret"
        assert file.stat().st_mode & 0o077 == 0
        secret = Secret(file.read_text().strip())
        assert secret.fingerprint() in config.read_text()
        assert secret.reveal() not in out
    config.unlink()
    (tmp_path / "tokenmint.kek").unlink()
    status, _, err = terminal(*asked)
    assert (status, "shop.secret: exists and is not overwritten" in err, config.exists()) == (2, True, False)
    status, _, err = terminal(*asked, "--operator", "shop")
    assert (status, "choose different names" in err, config.exists()) == (2, True, False)


def test_init_tells_scripts_of_the_files_and_the_secrets(terminal: Terminal, tmp_path: Path) -> None:
    for more in ((), ("--secret-files",)):
        folder = tmp_path / f"of{len(more)}"
        folder.mkdir()
        config = folder / "tokenmint.toml"
        status, out, err = terminal("init", "--config", str(config), "-o", "json", *more)
        assert (status, err) == (0, "")
        made = json.loads(out)
        assert (made["file"], Path(made["encryption_key_file"]).exists()) == (str(config), True)
        for kind, name in (("client", "web"), ("operator", "admin")):
            secret = made[kind].get("secret") or Path(made[kind]["secret_file"]).read_text().strip()
            assert (made[kind]["id"], Secret(secret).fingerprint() in config.read_text()) == (name, True)
            assert ("secret" in made[kind]) is not bool(more)


def test_config_check(terminal: Terminal, tmp_path: Path) -> None:
    config = str(terminal.directory / "tokenmint.toml")
    assert "no problems" in terminal("config", "check", "--config", config)[1]
    assert json.loads(terminal("config", "check", "--config", config, "-o", "json")[1])["clients"] == ["web"]
    assert "https://orders.example, idp" in terminal("config", "check", "--config", config)[1]
    (tmp_path / "bad.toml").write_text("a = 1\nb = 2\n")
    status, _, err = terminal("config", "check", "--config", str(tmp_path / "bad.toml"))
    assert (status, err.count("there is no such key")) == (2, 2)


@pytest.mark.parametrize(
    "arguments",
    [(), ("serve",), ("init",), ("demo",), ("config", "check"), ("keys",), ("keys", "rotate"), ("profiles", "put"),
     ("providers", "list"), ("clients", "new-secret"), ("token", "exchange"), ("token", "verify")],
)  # fmt: skip
def test_help_teaches(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_what_nobody_signed_is_shown_as_such(terminal: Terminal) -> None:
    forged = f"{segment({'alg': 'none'})}.{segment({'sub': 'x'})}."
    assert "NOT VERIFIED" in terminal("token", "inspect", stdin=forged)[2]


def commands_with_arguments() -> dict[str, Any]:
    """Every command that takes an argument that is no option, by its words."""
    found = {}
    top = typer.main.get_command(app)
    for name in COMMANDS:
        group: Any = top.get_command(typer.Context(top), name)  # type: ignore[attr-defined]  # a group
        commands = getattr(group, "commands", {"": group})
        for word, command in commands.items():
            arguments = [one for one in command.params if one.param_type_name == "argument"]
            if any("|" not in str(one.display_type_rich(typer.Context(command))) for one in arguments):  # no choice
                found[f"{name} {word}".strip()] = command
    return found


@pytest.mark.parametrize("words", commands_with_arguments())
@pytest.mark.parametrize("value", ["-RwZ_q-8", "-okay", "-hello", "-1", "-"])
def test_rfc_7638_an_argument_may_begin_with_a_dash(words: str, value: str) -> None:
    command = commands_with_arguments()[words]
    names = [one.name for one in command.params if one.param_type_name == "argument"]
    needed = [one.opts[0] for one in command.params if one.required and one.name not in names]
    options = [word for option in needed for word in (option, value)]
    context = command.make_context(words, [*options, *[value] * len(names)], help_option_names=["-h", "--help"])
    assert [str(context.params[name]) for name in names] == [value] * len(names)


def test_an_option_that_does_not_exist_is_told_beside_such_an_argument(terminal: Terminal) -> None:
    status, _, err = terminal("keys", "revoke", "-RwZ_q-8", "--raeson", "x")
    assert status == 2
    assert "--raeson" in err


def test_a_key_whose_id_begins_with_a_dash_is_named_to_the_service(terminal: Terminal) -> None:
    status, _, err = terminal("keys", "revoke", "-RwZ_q-8", "--reason", "-lost-", "--yes")
    assert (status, "-RwZ_q-8" in err or "not found" in err.lower()) == (5, True), err

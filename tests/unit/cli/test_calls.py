"""The command line against services made for one test: pages, refusals, TLS, credentials, hostile text."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from tests.issuer import Issuer, segment, serving
from tests.ports import own_port
from tests.tls import certificate
from tests.unit.cli.serving import Served, as_nobody, as_root, call, refusal, served

from tokenmint.cli import COMMANDS

pytestmark = pytest.mark.slow


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_nobody(monkeypatch, tmp_path)


def test_every_page_is_listed_and_nothing_is_cut_where_there_is_no_terminal(service: Served) -> None:
    status, out, err = call("keys", "list", **as_root(service))
    assert status == 0, err
    assert all(f"{page}-" + "k" * 120 in out for page in range(3))
    assert "\x1b" not in out
    assert "\\u001b[31m" in out
    status, out, _ = call("keys", "list", "-o", "json", **as_root(service))
    assert [key["key_id"][0] for key in json.loads(out)] == ["0", "1", "2"]
    assert json.loads(out)[0]["revoke_reason"] == "\x9b"
    assert "\x9b" not in out
    assert json.loads(out)[0]["state"] == "STATE_UNSPECIFIED"  # keys of the JSON do not depend on the values


def test_who_has_not_fetched_the_prepared_key_is_shown(service: Served) -> None:
    status, out, err = call("keys", "list", **as_root(service))
    assert (status, err) == (0, "")
    assert "late\\u001b/1" in out
    assert "10.0.0.8" not in out
    assert "known verifiers: 2; without a prepared key: 1" in out
    status, out, _ = call("keys", "list", "--verifiers", **as_root(service))
    assert all(text in out for text in ("replica-a", "10.0.0.7", "10.0.0.8", "jose/6"))
    status, out, _ = call("keys", "list", "--verifiers", "-o", "json", **as_root(service))
    document = json.loads(out)
    assert len(document["signing_keys"]) == 3
    assert document["status"]["verifiers"][0]["missing_key_ids"] == ["k2"]


def test_reseal_and_timeline(service: Served, tmp_path: Path) -> None:
    status, out, _ = call("keys", "reseal", **as_root(service))
    assert status == 0
    assert "sealed under it already" in out
    assert "0123456789abcdef" in out
    status, out, _ = call("keys", "timeline", **as_root(service))
    assert (status, out.startswith("<svg ")) == (0, True)
    status, out, _ = call("keys", "timeline", "--svg", str(tmp_path / "keys.svg"), **as_root(service))
    assert "3 keys" in out
    assert "</svg>" in (tmp_path / "keys.svg").read_text()


def test_a_call_to_the_other_listener_is_answered_with_what_to_look_at(service: Served) -> None:
    info = error_details_pb2.ErrorInfo(reason="METHOD_DENIED", domain="tokenmint.dev")
    service.keys.refusal = refusal(code_pb2.PERMISSION_DENIED, "the caller may not call this method", info)
    status, _, err = call("keys", "list", **as_root(service))
    assert status == 4
    assert "the caller may not call this method (METHOD_DENIED)" in err
    assert all(option in err for option in ("--target", "--client-id", "roles"))


def test_a_call_that_overload_ended_is_worth_another_try(service: Served) -> None:
    service.keys.cancels = True
    status, _, err = call("keys", "list", **as_root(service))
    assert status == 3
    assert "has no place for another waiting call" in err


def test_a_message_that_is_too_long_is_not_worth_another_try(service: Served) -> None:
    status, _, err = call("keys", "list", **as_root(service, TOKENMINT_CLIENT_ID="r" * 200_000))
    assert (status, "RESOURCE_EXHAUSTED" in err) == (1, True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(code_pb2.INVALID_ARGUMENT, 2), (code_pb2.UNAVAILABLE, 3), (code_pb2.DEADLINE_EXCEEDED, 3),
     (code_pb2.RESOURCE_EXHAUSTED, 3),
     (code_pb2.UNAUTHENTICATED, 4), (code_pb2.PERMISSION_DENIED, 4), (code_pb2.NOT_FOUND, 5),
     (code_pb2.FAILED_PRECONDITION, 1), (code_pb2.ABORTED, 1), (code_pb2.INTERNAL, 1)],
)  # fmt: skip
def test_a_refusal_is_told_with_its_details(service: Served, code: int, expected: int) -> None:
    service.keys.refusal = refusal(
        code,
        "no\x1b[2J",
        error_details_pb2.ErrorInfo(reason="WHY", metadata={"allowed_time": "2030"}),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="a", description="first"),
                error_details_pb2.BadRequest.FieldViolation(field="b", description="second"),
            ]
        ),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3)),
    )
    status, out, err = call("keys", "list", **as_root(service))
    assert (status, out) == (expected, "")
    for text in ("a: first", "b: second", "try again in 3 s", "allowed_time: 2030"):
        assert text in err
    assert "\x1b" not in err
    assert "WHY" in err or code == code_pb2.INVALID_ARGUMENT


def test_the_wrong_listener_and_none_are_told_apart(service: Served) -> None:
    status, _, err = call("providers", "list", **as_root(service))
    assert (status, "this listener lacks the method" in err) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        target = {"TOKENMINT_TARGET": f"127.0.0.1:{port}"}
        status, _, err = call("keys", "list", "--timeout", "0.3", **(as_root(service) | target))
        assert (status, "no answer in time" in err) == (3, True)
    # A port of its own: gRPC would tell its last error at the one before, for some seconds.
    target = {"TOKENMINT_TARGET": f"127.0.0.1:{own_port()}"}
    status, _, err = call("keys", "list", **(as_root(service) | target))
    assert (status, "refused" in err.lower()) == (3, True)


def test_what_is_meant_for_this_machine_goes_through_no_proxy(service: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        environ = as_root(service, http_proxy=f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert call("keys", "list", **environ)[0] == 0
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_token_does_not_cross_the_network_in_the_clear_even_without_a_secret() -> None:
    exchange = ("token", "exchange", "--audience", "x", "--target")
    status, _, err = call(*exchange, "192.0.2.1:1", stdin="t")
    assert (status, "unencrypted" in err) == (2, True)
    for target in ("localhost", "foo bar:1", "", ":1", "http://localhost:1"):
        status, _, err = call(*exchange, target or " ", stdin="t")
        assert (status, "expected host:port" in err) == (2, True), target


@pytest.mark.parametrize(("name", "value"), [("CLIENT_ID", "ü"), ("CLIENT_ID", "a\nb"), ("CLIENT_SECRET", "geheimß")])
def test_what_metadata_cannot_carry_is_refused_before_the_call(service: Served, name: str, value: str) -> None:
    status, _, err = call("keys", "list", **as_root(service, **{f"TOKENMINT_{name}": value}))
    assert (status, "can't be sent" in err, value in err, service.keys.callers) == (2, True, False, [])


def test_which_credentials_win(service: Served, tmp_path: Path) -> None:
    named, secret = tmp_path / "named.json", tmp_path / "secret"
    named.write_text(json.dumps({"id": "named", "secret": "of-named"}))
    secret.write_text("of-file\n")

    def sent(*arguments: str, **environ: str) -> tuple[Any, Any]:
        status, _, err = call("keys", "list", *arguments, "--target", service.target, **environ)
        assert status == 0, err
        caller = service.keys.callers[-1]
        return caller["tokenmint-client-id"], caller["tokenmint-client-secret"]

    other = {"TOKENMINT_CLIENT_ID": "env", "TOKENMINT_CLIENT_SECRET": "of-env"}
    assert sent(**other) == ("env", "of-env")
    assert sent("--credentials", str(named), **other) == ("named", "of-named")
    assert sent("--credentials", str(named), TOKENMINT_SECRET_FILE=str(secret)) == ("named", "of-named")
    assert sent("--credentials", str(named), "--client-id", "typed") == ("typed", "of-named")
    assert sent("--secret-file", str(secret), **other, TOKENMINT_CREDENTIALS=str(named)) == ("env", "of-file")
    (tmp_path / ".tokenmint").mkdir()
    (tmp_path / ".tokenmint/operator.json").write_text('{"id": "operator", "secret": "made"}')
    assert sent() == ("operator", "made")
    assert sent(TOKENMINT_CLIENT_ID="web") == ("operator", "made")
    both = ("--credentials", str(named), "--secret-file", str(secret))
    status, _, err = call("keys", "list", *both)
    assert (status, "give one of them" in err) == (2, True)
    status, _, err = call("token", "exchange", "--audience", "x", "--client-id", "web", stdin="t")
    assert (status, "add a secret" in err) == (2, True)


def test_mutual_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    pair = [(key.read_bytes(), cert.read_bytes())]
    files = ("--ca-file", str(cert), "--cert-file", str(cert), "--key-file", str(key))
    with served(grpc.ssl_server_credentials(pair, cert.read_bytes(), require_client_auth=True)) as service:
        status, _, err = call("keys", "list", *files, **as_root(service))
        assert status == 0, err
        assert call("keys", "list", *files[:2], **as_root(service))[0] == 3
        status, _, err = call("keys", "list", "--tls", **as_root(service))
        assert (status, "--ca-file" in err) == (2, True), err


def test_tls_files_that_are_none(service: Served, tmp_path: Path) -> None:
    cert, key = (str(path) for path in certificate(tmp_path))
    (tmp_path / "bad").write_text("not PEM")
    for files, expected in (
        (("--ca-file", "none"), "none: can't be read"),
        (("--ca-file", "bad"), "bad: holds no certificates"),
        (("--cert-file", cert), "belong together"),
        (("--cert-file", cert, "--key-file", "bad"), "unencrypted private key"),
        (("--cert-file", "bad", "--key-file", key), "unencrypted private key"),
    ):
        status, _, err = call("keys", "list", *files, **as_root(service))
        assert (status, expected in err) == (2, True), err


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"\xff\xfe", "is not JSON"), (b"3", "expected one profile"), (b"[1]", "expected one profile"),
     (b"[" * 100_000, "is not JSON"), (b'{"claims": [1]}', "claims"), (b'{"principal": 1}', "principal")],
)  # fmt: skip
def test_what_is_no_profile_is_told_in_one_line(service: Served, content: bytes, expected: str) -> None:
    for verb in ("create", "put", "import"):
        status, _, err = call("profiles", verb, "-", stdin=content, **as_root(service))
        assert (status, expected in err) == (2, True), (verb, err)
    assert service.profiles.principals == []


def test_profiles_are_created_once(service: Served, tmp_path: Path) -> None:
    status, out, _ = call("profiles", "create", "-", stdin='{"principal": "ada"}', **as_root(service))
    assert (status, json.loads(out)["principal"], json.loads(out)["disabled"]) == (0, "ada", False)
    status, _, err = call("profiles", "create", "-", stdin='{"principal": "there"}', **as_root(service))
    assert (status, "it exists already" in err) == (1, True)
    status, out, _ = call("profiles", "get", "ada", "-o", "text", **as_root(service))
    assert (status, "clerk" in out, "create time" in out) == (0, True, False)
    status, out, _ = call("profiles", "delete", "ada", "-o", "json", **as_root(service))
    assert (status, json.loads(out)) == (0, {"principal": "ada", "deleted": True})
    for name in ("none.json", str(tmp_path)):
        status, _, err = call("profiles", "create", name, **as_root(service))
        assert (status, "can't be read" in err) == (2, True)


def test_a_token_of_a_stranger_is_shown_safely() -> None:
    def inspect(**claims: Any) -> tuple[int, str, str]:
        return call("token", "inspect", stdin=f"{segment({'alg': 'none'})}.{segment(claims)}.")

    status, out, err = inspect(sub="\x1b[31m\x9b\u202e", half="\ud800", exp=1e30, iat=True, nbf=float("1e5"))
    assert (status, "NOT VERIFIED" in err) == (0, True)
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)
    assert "outside the calendar" in out
    assert "iat: 20" not in out
    assert "exp: 2001-09-09 01:46:40Z" in inspect(exp=10**9)[1]
    assert "EXPIRED" in inspect(exp=10**9)[1]
    assert "expires" in inspect(exp=time.time() + 600)[1]
    assert call("token", "inspect", stdin=f"{segment({'alg': 'none'})}.{segment([1])}.")[0] == 2


def test_verification_needs_the_issuer_to_compare() -> None:
    status, _, err = call("token", "verify", "--audience", "x", stdin="t")
    assert (status, "--issuer" in err) == (2, True)


def test_verification() -> None:
    with serving(Issuer()) as issuer:
        token, jwks = issuer.token(time.time(), aud="me"), f"{issuer.url}/jwks.json"

        def verify(*arguments: str, stdin: str = token) -> tuple[int, str, str]:
            return call("token", "verify", "--audience", "me", *arguments, stdin=stdin)

        status, out, err = verify("--issuer", issuer.url)
        assert (status, json.loads(out)["iss"], err) == (0, issuer.url, ""), err
        assert verify("--issuer", issuer.url, "--jwks-url", jwks)[0] == 0
        status, _, err = verify("--jwks-url", jwks, "--issuer", "https://other.example")
        assert (status, "refused" in err) == (1, True)
        header, payload, signature = token.split(".")
        forged = f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        assert verify("--issuer", issuer.url, stdin=forged)[0] == 1
        none = f"{segment({'alg': 'none', 'kid': issuer.key_id})}.{payload}."
        assert verify("--issuer", issuer.url, stdin=none)[0] == 1
        hmac = jwt.encode({"sub": "x", "aud": "me"}, b"k" * 32, "HS256", headers={"kid": issuer.key_id})
        assert verify("--issuer", issuer.url, stdin=hmac)[0] == 1
        issuer.documents["/jwks.json"] = b"no JSON"
        status, _, err = verify("--issuer", issuer.url, "--jwks-url", jwks)
        assert (status, "is not a key set" in err) == (3, True)
        issuer.documents["/.well-known/openid-configuration"] = b"[]"
        status, _, err = verify("--issuer", issuer.url)
        assert (status, "is not a discovery document" in err) == (3, True)
    status, _, err = verify("--issuer", "no url")
    assert (status, "expected a URL" in err) == (2, True)
    for options in (("--issuer", "http://[::1"), ("--issuer", "x", "--jwks-url", "http://127.0.0.1:1/")):
        status, _, err = verify(*options)
        assert (status, "can't be fetched" in err) == (3, True), err
    status, _, err = verify("--issuer", "x", "--jwks-url", "file:///etc/hostname")
    assert (status, "refused" in err) == (1, True)


def test_config_check_tells_scripts_of_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("a = 1\nb = 2\n")
    status, out, err = call("config", "check", "--config", "bad.toml", "-o", "json")
    assert (status, len(json.loads(out)["problems"]), err) == (2, 2, "")


def test_the_list_of_commands_is_that_of_the_modules() -> None:
    out = call("--help", COLUMNS="200")[1]
    for name, (_, summary) in COMMANDS.items():
        assert summary in out
        assert call(name, "--help")[0] == 0
    for arguments in (("-h",), ("keys", "-h"), ("profiles", "import", "-h")):
        assert (call(*arguments)[0], "Usage:" in call(*arguments)[1]) == (0, True)
    status, version, _ = call("--version")
    assert (status, version) == (0, f"tokenmint {metadata.version('tokenmint')}\n")
    assert "--install-completion" not in call("keys", "--help")[1]
    assert "Exit codes" in out


SERVICE = ("redis", "prometheus_client", "tokenmint.config.load", "tokenmint.exchange", "tokenmint.admission.callers")


@pytest.mark.parametrize(
    ("program", "not_loaded"),
    [
        ("from tokenmint.cli import app, run\nrun(lambda: app(['--help']))", ("grpc", "pydantic", *SERVICE)),
        ("from tokenmint.cli import clients, init, keys, profiles, providers, token", ("pydantic", *SERVICE)),
    ],
    ids=["help", "commands"],
)
def test_neither_help_nor_a_command_that_calls_a_service_loads_it(program: str, not_loaded: tuple[str, ...]) -> None:
    program = f"import sys\n{program}\nprint([name for name in {not_loaded} if name in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert outcome.stdout.splitlines()[-1] == "[]"

"""Mistakes in the options of `tokenmint edge`: each message names the option, and the way out."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.tls import authority

from tokenmint.cli import app, edge, run
from tokenmint.edge.serving import Options

Given = dict[str, str | list[str] | None]
GOOD: Given = {"--upstream": "https://t.example", "--client-id": "gateway", "--secret-file": "secret"}
FOLLOWED: Given = {"--revocations": "t.example:7443", "--audience": "https://orders.example"}
MISTAKES: Mapping[str, tuple[Given, str]] = {
    "no upstream": ({"--upstream": None}, "Missing option '--upstream'"),
    "no client": ({"--client-id": None}, "Missing option '--client-id'"),
    "no secret": ({"--secret-file": None}, "Missing option '--secret-file'"),
    "upstream without scheme": ({"--upstream": "t.example"}, "--upstream: expected a URL that begins with https://"),
    "upstream without TLS": ({"--upstream": "http://t.example"}, "--upstream: secrets would cross the network"),
    "upstream with a path": ({"--upstream": "https://t.example/auth"}, "--upstream: has a path or a query: leave it"),
    "upstream with a query": ({"--upstream": "https://t.example?"}, "--upstream: has a path or a query: leave it out"),
    "upstream with a password": ({"--upstream": "https://u:p@t.example"}, "--upstream: a URL with a user or a passw"),
    "client without a name": ({"--client-id": ""}, "--client-id: expected the name of a table in tokenmint's [clie"),
    "client beyond ASCII": ({"--client-id": "é"}, "--client-id: expected the name of a table in tokenmint's [clien"),
    "secret that is missing": ({"--secret-file": "none"}, "--secret-file: can't be read (No such file or directory)"),
    "secret that is a directory": ({"--secret-file": "."}, "--secret-file: can't be read (it is a directory)"),
    "secret of other bytes": ({"--secret-file": "bytes"}, "--secret-file: expected one line with the secret of the"),
    "secret that is empty": ({"--secret-file": "empty"}, "--secret-file: expected one line with the secret of the c"),
    "secret of two lines": ({"--secret-file": "lines"}, "--secret-file: expected one line with the secret of the cl"),
    "listen beyond loopback": ({"--listen": "0.0.0.0:8081"}, "--listen: the sidecar authenticates nobody: choose a"),
    "listen without host": ({"--listen": "8081"}, '--listen: expected "host:port"'),
    "authorities that are missing": ({"--ca-file": "none"}, "--ca-file: can't be read (No such file or directory)"),
    "authorities that are none": ({"--ca-file": "secret"}, "--ca-file: expected certificates in PEM"),
    "a header that is none": ({"--header": "a b"}, "--header: expected names of headers, each once, as in tokenmint"),
    "a header twice": ({"--header": ["x-a", "X-A"]}, "--header: expected names of headers, each once, as in tokenmi"),
    "another host header": ({"--host-header": "host"}, "Invalid value for '--host-header'"),
    "audiences alone": ({"--audience": "a"}, "--revocations and --audience belong together: give both"),
    "revocations alone": ({"--revocations": "t:1"}, "--revocations and --audience belong together: give both"),
    "revocations without port": (FOLLOWED | {"--revocations": "t.example"}, "--revocations: expected host:port of to"),
    "revocations as a URL": (FOLLOWED | {"--revocations": "https://t:7443"}, "--revocations: expected host:port of to"),
    "revocations with a path": (FOLLOWED | {"--revocations": "t:7443/x"}, "--revocations: expected host:port of tok"),
    "revocations of a wrong port": (FOLLOWED | {"--revocations": "t:0"}, "--revocations: expected host:port of token"),
    "revocations without TLS": (
        FOLLOWED | {"--upstream": "http://127.0.0.1:1"}, "--revocations: secrets would cross the network unencrypted",
    ),
    "an audience twice": (FOLLOWED | {"--audience": ["a", "a"]}, "--audience: expected names of audiences, each onc"),
    "an audience without name": (FOLLOWED | {"--audience": ""}, "--audience: expected names of audiences, each once"),
    "too many audiences": (FOLLOWED | {"--audience": [f"a{n}" for n in range(65)]}, "--audience: at most 64: run a s"),
    "too long": ({"--keep": "301"}, "Invalid value for '--keep'"),
    "no number": ({"--keep": "long"}, "Invalid value for '--keep'"),
    "shorter while followed": (
        FOLLOWED | {"--keep": "10", "--keep-followed": "5"}, "--keep-followed: is shorter than --keep: raise it, or lo",
    ),
    "too soon": ({"--max-lag": "1"}, "Invalid value for '--max-lag'"),
    "another way when lagging": ({"--when-lagging": "never"}, "Invalid value for '--when-lagging'"),
}  # fmt: skip


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Return the options with which a sidecar would have started; the files lie in the current directory."""
    (tmp_path / "secret").write_text("tms_secret\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfetms_secret")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("tms_secret\ntms_secret\n")
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("TOKENMINT_"):
            monkeypatch.delenv(name)
    started: list[Options] = []

    async def serve(options: Options, _: object) -> None:
        started.append(options)

    monkeypatch.setattr(edge, "serve", serve)
    return started


def call(given: Given) -> int:
    words = ["edge"]
    for name, values in {**GOOD, **given}.items():
        for value in values if isinstance(values, list) else [values]:
            words += [name, value] if value is not None else []
    return run(lambda: app(words))


@pytest.mark.parametrize(("given", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_an_option_is_named_with_the_way_out(
    given: Given, told: str, served: list[Options], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(given) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "tms_secret" not in said
    assert served == []


@pytest.mark.parametrize(
    "given",
    [{}, FOLLOWED, {"--ca-file": "ca.pem"}, {"--upstream": "http://127.0.0.1:8080/"}, {"--header": ["X-A", "x-b"]}],
)
def test_good_options_start_the_sidecar(given: Given, served: list[Options]) -> None:
    assert call(given) == 0
    (options,) = served
    assert options.secret.reveal() == "tms_secret"

"""Code in the clients' READMEs. Their example is run by tests/clients, in an empty project for each language."""

import re
from typing import Any

import grpc
import httpx
import pytest
from tests.pages import ROOT, texts

from tokenmint_client import AsyncVerifier, Client, ClientSecret, TokenSource

LANGUAGES = ("go", "java", "node", "python")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_installed_is_what_the_example_installs(language: str) -> None:
    text = (ROOT / "clients" / language / "README.md").read_text()
    example = (ROOT / "tests" / "clients" / "drivers" / language / "example").read_text()
    scripts = set(re.findall(rf"tests/clients/drivers/{language}/\w+", text))
    assert f"tests/clients/drivers/{language}/build" in scripts
    assert all((ROOT / script).exists() for script in scripts)
    built = set(re.findall(rf"build/clients/{language}[\w/*.]*", text))
    assert built
    for place in built:
        assert place in example.replace('"$root"/', "").replace("$root/", ""), place


def test_the_pieces_of_the_python_readme_run() -> None:
    _, *pieces = texts(ROOT / "clients" / "python" / "README.md", "python")
    issuer, audience = "https://tokens.example", "https://orders.example"
    with Client("127.0.0.1:9", ClientSecret("web", "x"), plaintext=True) as client:
        names: dict[str, Any] = {
            "httpx": httpx, "grpc": grpc, "source": TokenSource(client), "id_token": "x.y.z", "issuer": issuer,
            "audience": audience, "AsyncVerifier": AsyncVerifier, "app": lambda *_: None,
        }  # fmt: skip
        for piece in pieces:
            exec(piece, names)  # noqa: S102  # that it runs is what is tested
    assert isinstance(names["credentials"], grpc.ChannelCredentials)
    assert type(names["app"]).__name__ == "TokenMiddleware"

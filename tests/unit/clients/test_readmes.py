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
def test_the_package_that_a_clone_builds_is_the_one_that_the_example_installs(language: str) -> None:
    text = (ROOT / "clients" / language / "README.md").read_text()
    scripts = ROOT / "tests" / "clients" / "drivers" / language
    assert f"`make clients LANGUAGES={language}`" in text
    (place,) = re.findall(r"`build/packages/([\w/*.-]+)`", text)
    installing = "".join(script.read_text() for script in scripts.iterdir() if script.is_file())
    assert "packages=${PACKAGES:-$root/build/packages}" in (scripts / "example").read_text()
    assert f"$packages/{place}" in installing.replace('"$packages"', "$packages")


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

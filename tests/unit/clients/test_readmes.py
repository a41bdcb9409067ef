"""Code in the clients' READMEs. Their example is run by tests/clients, in an empty project for each language."""

import re
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI, Request
from tests.pages import ROOT, texts

from tokenmint_client import AsyncVerifier, Client, ClientSecret, TokenSource, Verifier
from tokenmint_client.django import TokenMiddleware as DjangoMiddleware

DJANGO_DOCS = DjangoMiddleware.__doc__ or ""
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
            "audience": audience, "AsyncVerifier": AsyncVerifier, "Verifier": Verifier,
            "client": client, "app": lambda *_: None, "mcp_app": lambda *_: None, "FastAPI": FastAPI,
            "Request": Request,
        }  # fmt: skip
        for piece in pieces:
            exec(piece, names)  # noqa: S102  # that it runs is what is tested
    assert isinstance(names["credentials"], grpc.ChannelCredentials)
    assert [kind.cls.__name__ for kind in names["app"].user_middleware] == ["TokenMiddleware"]
    assert type(names["protected_mcp"]).__name__ == "McpTokenMiddleware"
    assert names["resource"].metadata_path == "/.well-known/oauth-protected-resource/api"
    assert names["MIDDLEWARE"] == [f"{DjangoMiddleware.__module__}.{DjangoMiddleware.__name__}"]
    assert {name for name in names if name.startswith("TOKENMINT_")} <= set(re.findall(r"TOKENMINT_\w+", DJANGO_DOCS))


def test_the_go_readme_protects_a_service_as_the_compiled_example_does() -> None:
    pieces = [text for text in texts(ROOT / "clients" / "go" / "README.md", "go") if ".Middleware(orders" in text]
    compiled = (ROOT / "clients" / "go" / "example_test.go").read_text()
    assert len(pieces) == 2
    assert [line for piece in pieces for line in piece.splitlines() if line.strip() not in compiled] == []


@pytest.mark.parametrize(
    ("call", "test"), [("addFilterBefore", "SpringTokenFilterTest"), ("SpringJwtDecoder(", "SpringJwtDecoderTest")]
)
def test_the_java_readme_protects_spring_as_the_compiled_test_does(call: str, test: str) -> None:
    (piece,) = [text for text in texts(ROOT / "clients" / "java" / "README.md", "java") if call in text]
    package = ROOT / "clients" / "java" / "src" / "test" / "java" / "dev" / "tokenmint" / "client"
    compiled = (package / f"{test}.java").read_text()
    expected = piece.replace('"orders.read"', "BearerCases.required()").replace("SCOPE_orders.read", "SCOPE_read")
    assert [line for line in expected.splitlines() if line.strip() not in compiled] == []


def test_the_node_readme_protects_express_as_the_executed_test_does() -> None:
    (piece,) = [text for text in texts(ROOT / "clients" / "node" / "README.md", "js") if "requireToken(new" in text]
    executed = (ROOT / "clients" / "node" / "test" / "express.test.mjs").read_text()
    call = re.search(r"app\.use\(requireToken\(new Verifier\(\{", piece)
    assert call is not None
    assert call[0] in executed

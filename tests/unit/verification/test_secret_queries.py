"""Secrets in the query of a key URL, such as `?code=…` of Azure Functions: no message, log line or state shows them."""

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes import FakeClock
from tests.unit.verification.fetched import answering, source

from tokenmint.base.errors import TokenmintError
from tokenmint.base.http_url import HttpUrl, shown
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.key_source import KeySource
from tokenmint.verification.keyset import KeySets

CANARY = "canary-of-a-secret"
QUERY = f"?p=policy&code={CANARY}"
SHOWN = "/jwks?p=***&code=***"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://i.example/k", "https://i.example/k"),
        ("https://i.example/k?", "https://i.example/k?"),
        ("https://i.example/k?a=1&b=2=3&c", "https://i.example/k?a=***&b=***&***"),
        ("https://i.example/k?secret#more", "https://i.example/k?***"),
        ("https://i.example/k#secret?secret", "https://i.example/k"),
        ("https://i.example/\u00e9\n?a=1", "https://i.example/\\xe9\\n?a=***"),
    ],
)
def test_a_url_is_shown_without_the_values_of_its_query(url: str, text: str) -> None:
    assert shown(url) == text


def test_a_parsed_url_is_shown_in_the_same_way_and_bounded() -> None:
    assert shown(HttpUrl.parse("https://i.example/k?a=1")) == "https://i.example/k?a=***"
    assert len(shown(HttpUrl.parse("https://i.example/" + "k" * 1000))) == 256


@pytest.mark.parametrize(
    ("settings", "url", "status", "words"),
    [
        ({}, "https://i.example/k", 404, "https://i.example/k answered 404"),
        ({}, "https://i.example/k", 401, "answered 401: bearer_token_file or header_files authenticate fetches"),
        ({"headers": (("X-Tenant", "7"),)}, "https://i.example/k", 403, "are not accepted"),
        ({"bearer_token_file": Path("token")}, "https://i.example/k", 401, "are not accepted"),
        (
            {"bearer_token_file": Path("token")},
            f"https://10.0.0.1:6443/k?code={CANARY}",
            401,
            "k?code=*** answered 401: token and headers go to the origin of https://i.example/d alone: set jwks_url",
        ),
    ],
)
def test_an_answer_that_asks_for_credentials_names_the_setting(
    settings: dict[str, Any], url: str, status: int, words: str
) -> None:
    message = KeySource("discovery", "https://i.example/d", **settings).failed_with(url, status)
    assert words in message
    assert CANARY not in message


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode()


@pytest.mark.parametrize(
    "answer",
    [
        head("404 Not Found", "Content-Length: 0"),
        head("302 Found", "Location: https://elsewhere.example/", "Content-Length: 0"),
        head("302 Found", f"Location: {QUERY}&again=1", "Content-Length: 0"),
        head("302 Found", "Content-Length: 0"),
        head("302 Found", "Location: https://u:p@x/", "Content-Length: 0"),
        head("200 OK", "Content-Length: 600000") + b" " * 600_000,
        head("200 OK", "Content-Encoding: br", "Content-Length: 0"),
        head("200 OK", *(f"X-{n}: {'x' * 900}" for n in range(20))),
        b"nonsense",
        b"",
    ],
    ids=[
        "404",
        "redirect",
        "loop",
        "no target",
        "bad target",
        "too large",
        "coding",
        "long head",
        "no HTTP",
        "nothing",
    ],
)
@pytest.mark.parametrize("kind", ["jwks", "discovery"])
async def test_no_failure_of_a_fetch_shows_them(answer: bytes, kind: str) -> None:
    url, asked = answering(answer)
    sets = KeySets({"idp": source(url + QUERY, kind=kind, timeout=20.0)}, fetch=HttpFetch(), clock=FakeClock())
    with structlog.testing.capture_logs() as logs, pytest.raises(TokenmintError) as failed:
        await sets.refresh("idp")
    assert CANARY.encode() in asked()[0]
    status = sets.status("idp")
    assert SHOWN in status.source
    assert SHOWN in failed.value.message
    assert CANARY not in f"{failed.value.message} {failed.value.detail} {logs} {status}"


@pytest.mark.parametrize(
    "document", [{"issuer": "other"}, {"issuer": ""}, {"issuer": "", "jwks_uri": "https://u:p@x/"}]
)
async def test_no_fault_of_a_discovery_document_shows_them(document: dict[str, str]) -> None:
    body = json.dumps(document).encode()
    url, _ = answering(head("200 OK", f"Content-Length: {len(body)}") + body)
    sets = KeySets({"idp": source(url + QUERY, kind="discovery", timeout=20.0)}, fetch=HttpFetch(), clock=FakeClock())
    with pytest.raises(TokenmintError, match=r"names|another issuer") as failed:
        await sets.refresh("idp")
    assert SHOWN in failed.value.message
    assert CANARY not in failed.value.message

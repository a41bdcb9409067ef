"""The console's parts: bounded documents, remedies as text, scripts that make no markup, refused logins."""

import re
from typing import Any

import orjson
import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import CallerUnauthenticated, RateLimited
from tokenmint.base.remedies import remedies, segments
from tokenmint.formats import jwt
from tokenmint.keys.jwks_clients import KnownVerifier, Sighting
from tokenmint.keys.schedule import DAY, Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.model.policy import ActorRules, Audience, Client
from tokenmint.web.console import documents, pages
from tokenmint.web.console.answers import MOST, json_answer
from tokenmint.web.console.logins import AT_ONCE, RefusedLogins
from tokenmint.web.console.shield import host_of

NOW = 1_800_000_000.0
SCRIPTS = sorted(file.name for file in pages.FOLDER.iterdir() if file.name.endswith(".js"))
MARKUP = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function(",
    "createContextualFragment", "setHTMLUnsafe", "srcdoc", "javascript:", "localStorage", "sessionStorage",
    "indexedDB", "document.cookie",
)  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_of_the_page_makes_markup_from_text(name: str) -> None:
    text = (pages.FOLDER / name).read_text()
    assert [word for word in MARKUP if word in text] == []
    assert re.findall(r"https?://(?!\S*\\)[\w.]+", text) == []  # nothing comes from elsewhere


def test_the_page_has_no_inline_script_style_or_foreign_address() -> None:
    text = (pages.FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?://", text) == []
    assert re.findall(r"url\(|@import|https?://", (pages.FOLDER / "console.css").read_text()) == []


def test_every_id_that_a_script_looks_for_is_in_the_page() -> None:
    page = (pages.FOLDER / "index.html").read_text()
    for name in SCRIPTS:
        for wanted in re.findall(r'byId\("([\w-]+)"\)', (pages.FOLDER / name).read_text()):
            assert f'id="{wanted}"' in page, (name, wanted)


def test_every_label_names_a_field_of_the_page() -> None:
    page = (pages.FOLDER / "index.html").read_text()
    fields = set(re.findall(r'<(?:input|select|textarea)[^>]* ?id="([\w-]+)"', page))
    assert set(re.findall(r'<label for="([\w-]+)"', page)) == fields


def wide(index: int) -> str:
    return f"https://{'x' * 300}-{index}.example"


def test_an_answer_is_bounded_whatever_the_configuration_has() -> None:
    names = frozenset(wide(index) for index in range(1000))
    scopes = frozenset(f"scope-{'x' * 60}-{index}" for index in range(200))
    clients = {f"client-{index:05}": Client(f"client-{index:05}") for index in range(2000)}
    rules = ActorRules(providers=names, audiences=names)
    audience: dict[str, Any] = {
        "clients": frozenset(clients), "providers": names, "reexchange_from": names, "scopes": scopes,
        "format": jwt.FORMAT.traits, "actors": rules, "condition": "x" * 10_000,
    }  # fmt: skip
    found = documents.access({wide(index): Audience(wide(index), **audience) for index in range(1000)}, clients)
    assert len(orjson.dumps(found)) <= MOST
    assert found["audiences_more"] + len(found["audiences"]) == 1000
    assert found["clients_more"] + len(found["clients"]) == 2000


def test_keys_and_verifiers_are_bounded_too() -> None:
    jwk = {"kty": "EC"}
    gone = [
        SigningKey(
            f"r{index}", "ES256", KeyState.REVOKED, jwk, NOW, NOW, revoke_time=NOW - index, delete_time=NOW - index
        )
        for index in range(500)
    ]
    prepared = SigningKey("p", "ES256", KeyState.PREPARED, jwk, NOW, NOW, publish_generation=5)
    ring = KeyRing("ring", 5, keys=(*gone, prepared))
    sighting = Sighting("2001:db8::" + "f" * 100, "x" * 100, 1, NOW)
    verifiers = [KnownVerifier(sighting, ("p",))] * 1000
    found = documents.keys(ring, Schedule(), dict.fromkeys(map(str, range(1000)), 4), verifiers, NOW)
    assert len(found["rows"]) == 1 + documents.MOST_KEYS_GONE
    assert [row["key_id"] for row in found["rows"]][:2] == ["p", "r0"]  # the newest ones
    assert found["gone"] == 500 - documents.MOST_KEYS_GONE
    assert (len(found["verifiers_behind"]), found["verifiers_behind_more"]) == (100, 900)
    assert len(found["replicas_behind"]) == documents.MOST_REPLICAS
    assert len(orjson.dumps(found)) <= MOST


def test_a_replica_that_publishes_the_next_key_is_not_behind() -> None:
    prepared = SigningKey("p", "ES256", KeyState.PREPARED, {}, NOW - DAY, NOW - DAY, publish_generation=5)
    found = documents.keys(KeyRing("ring", 7, keys=(prepared,)), Schedule(), {"a": 4, "b": 5, "c": 7}, [], NOW)
    assert found["replicas_behind"] == [{"replica": "a", "generation": 4}]


def test_an_answer_that_is_too_large_is_none() -> None:
    with pytest.raises(ValueError, match="too large"):
        json_answer({"x": "y" * MOST})


def test_remedies_are_text_code_and_emphasis_and_nothing_is_lost() -> None:
    assert segments("Use `a` or [b](c.md#d), **now**.") == [
        {"kind": "text", "text": "Use "}, {"kind": "code", "text": "a"}, {"kind": "text", "text": " or "},
        {"kind": "text", "text": "b"}, {"kind": "text", "text": ", "}, {"kind": "strong", "text": "now"},
        {"kind": "text", "text": "."},
    ]  # fmt: skip
    for one in remedies().values():
        shown = "".join(segment["text"] for segment in segments(one.text))
        assert not re.search(r"`|\*\*|\]\(", shown), one.reason


def test_refused_logins_are_answered_one_by_one_while_they_are_few() -> None:
    clock = FakeClock()
    logins = RefusedLogins(clock.monotonic)
    wrong = CallerUnauthenticated(detail="no credentials")
    answers = [logins.answer(wrong) for _ in range(AT_ONCE + 5)]
    assert answers[:AT_ONCE] == [wrong] * AT_ONCE
    assert [type(answer) for answer in answers[AT_ONCE:]] == [RateLimited] * 5
    clock.advance(1.0)
    assert [type(logins.answer(wrong)) for _ in range(2)] == [CallerUnauthenticated, RateLimited]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"), ("localhost:80", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"),
        ("a.example:", "a.example"), ("a.example:b", "a.example:b"), ("", ""),
    ],
)  # fmt: skip
def test_rfc_9110_section_7_2_the_name_in_a_host_field(host: str, name: str) -> None:
    assert host_of(host) == name

"""A bad answer is the failure of its provider alone: nothing ends, and callers learn whether a retry can help."""

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from tests.fakes import FakeClock
from tests.unit.verification.fetching import SOURCE, URL, FakeFetch, jwks, sets, settle

from tokenmint.base.background import Background
from tokenmint.base.errors import KeySetInvalid, KeySetUnavailable
from tokenmint.base.token_errors import UnknownKey
from tokenmint.verification import keyset
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, FetchResult, KeySource
from tokenmint.verification.keyset import KeySets


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged."""
    text = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(text),
        cache_logger_on_first_use=False,
    )
    yield text
    structlog.configure(**before)


def told(text: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in text.getvalue().splitlines()]


class Panic(BaseException):
    """As a library in Rust raises them: no Exception."""


FAULTS = [
    ValueError("Port could not be cast to integer value"),
    UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal not in range(128)"),
    RecursionError(),
    MemoryError(),
    KeyError("canary"),
    RuntimeError("canary"),
    ExceptionGroup("canary", [ValueError("canary")]),
    asyncio.CancelledError(),
    Panic("canary"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_whatever_a_fetch_raises_is_its_providers_failure_alone(
    clock: FakeClock, fault: Exception, logged: io.StringIO, background: Background
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of a task that failed with no Exception
    fetch = FakeFetch(jwks("a"))
    fetch.answers["https://bad.example/"] = fault
    sources = {"bad": KeySource("jwks", url="https://bad.example/"), "idp": SOURCE}
    keys = KeySets(sources, fetch=fetch, clock=clock)
    followers = keys.follow(background)
    await settle()
    assert await keys.find("idp", "a")
    for _ in range(8):
        clock.advance(keyset.RETRY_MOST)
        await settle()
    assert not any(follower.done() for follower in followers)
    assert len([url for url, _ in fetch.asked if "bad" in url]) == 9
    assert told(logged) == ["a provider's keys could not be fetched"]  # not for each attempt
    assert "canary" not in logged.getvalue() + keys.status("bad").last_error
    with pytest.raises(KeySetUnavailable):
        await keys.find("bad", "a")
    fetch.answers["https://bad.example/"] = FetchResult(200, {}, jwks("b"))
    clock.advance(keyset.RETRY_MOST)
    await settle()
    assert await keys.find("bad", "b")
    assert told(logged)[-1] == "a provider's keys can be fetched again"
    await keys.close()


async def test_a_failure_is_logged_when_it_begins_when_it_is_another_and_when_it_ends(
    clock: FakeClock, logged: io.StringIO
) -> None:
    fetch = FakeFetch(status=500)
    keys = sets(fetch, clock)
    for status in (500, 500, 503, 503, 500):
        fetch.serve(b"", status)
        with pytest.raises(KeySetUnavailable):
            await keys.refresh("idp")
    fetch.serve(jwks("a"))
    await keys.refresh("idp")
    await keys.refresh("idp")
    assert len(told(logged)) == 4


async def test_keys_that_are_not_used_are_told_once(clock: FakeClock, logged: io.StringIO) -> None:
    weak = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}
    document = json.dumps({"keys": json.loads(jwks("a"))["keys"] + [weak] * 99}).encode()
    fetch = FakeFetch(document)
    keys = sets(fetch, clock)
    for _ in range(3):
        await keys.refresh("idp")
    lines = logged.getvalue().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) < 1024


async def test_pauses_differ_by_chance_from_half_to_the_whole(clock: FakeClock, background: Background) -> None:
    drawn = iter([0.0, 1.0, 0.5, 0.25])
    fetch = FakeFetch(status=500)
    keys = sets(fetch, clock, chance=lambda: next(drawn))
    keys.follow(background)
    await settle()
    for pause in (1.0, 1.0, 3.0):  # of 1, 2 and 4 s
        asked = len(fetch.asked)
        clock.advance(pause - 0.01)
        await settle()
        assert len(fetch.asked) == asked
        clock.advance(0.02)
        await settle()
        assert len(fetch.asked) == asked + 1
    await keys.close()


BOMB = b'{"keys":' + b"[" * 250_000 + b"]" * 250_000 + b"}"
HUGE = b'{"keys":[{"kty":"RSA","n":"' + b"A" * 500_000 + b'","e":"AQAB","kid":"a"}]}'


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b"[" * 500_000,
        b'{"a":' * 80_000,
        b'"' + b'\\"' * 250_000,
        HUGE,
        HUGE.replace(b'"AQAB"', b'"' + b"A" * 8 + b'"'),
        b'{"keys":[{"kty":"RSA","n":' + b"9" * 400_000 + b',"e":3}]}',
        b'{"keys":' + b"9" * 400_000 + b"}",
        b'{"keys":[1e999]}',
        b'{"keys":[{"kty":"RSA","n":"AQAB","e":"Ag"}]}',
        b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"\\u0000"}]}',
        b'{"keys":[null,1,"x",[],{}]}',
        b'{"keys":{}}',
        b"\xff\xfe",
        b"",
    ],
    ids=lambda body: body[:24].decode("ascii", "replace"),
)
@pytest.mark.parametrize("kind", ["jwks", "x509", "discovery"])
async def test_a_hostile_document_is_a_malformed_one(clock: FakeClock, body: bytes, kind: Any) -> None:
    keys = sets(FakeFetch(body), clock, KeySource(kind, url=URL, issuer="https://idp.example"))
    with pytest.raises(KeySetInvalid):
        await keys.refresh("idp")
    assert len(keys.status("idp").last_error) <= 512


@pytest.mark.parametrize("name", ["a\x00", "a\n", "\u2028", "x" * 129, ""])
async def test_a_kid_that_no_token_can_have_makes_no_key(clock: FakeClock, name: str) -> None:
    keys = sets(FakeFetch(jwks(name, "b")), clock)
    assert (await keys.refresh("idp")).key_ids == ("b",)


# --- an unknown kid while the provider is away --------------------------------------------------------------------


async def test_a_new_kid_while_the_provider_is_away_is_worth_a_retry(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    fetch.serve(b"", status=503)
    with pytest.raises(KeySetUnavailable) as refused:
        await keys.find("idp", "new")
    assert refused.value.retry_after == keyset.RETRY_FIRST
    assert await keys.find("idp", "a")  # what is known goes on
    fetch.serve(jwks("a", "new"))
    clock.advance(refused.value.retry_after)
    assert await keys.find("idp", "new")  # with the first retry: the look that failed was none


async def test_after_a_long_outage_a_new_kid_is_found_within_30_s(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    fetch.serve(b"", status=503)
    for _ in range(20):
        with pytest.raises(KeySetUnavailable) as refused:
            await keys.find("idp", "new")
        assert refused.value.retry_after <= keyset.RETRY_WANTED
        clock.advance(refused.value.retry_after)
    fetch.serve(jwks("a", "new"))
    assert await keys.find("idp", "new")


async def test_a_flood_of_unknown_kids_while_the_provider_is_away_costs_a_bounded_number_of_fetches(
    clock: FakeClock,
) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    fetch.answer = FetchFailed("no route")
    before = len(fetch.asked)
    for number in range(6000):
        with pytest.raises(KeySetUnavailable):
            await keys.find("idp", f"flood-{number}")
        clock.advance(0.1)
    assert len(fetch.asked) - before <= 5 + 600 / keyset.RETRY_WANTED  # at 0, 1, 3, 7 and 15 s, then each 30 s
    assert await keys.find("idp", "a")


async def test_everybody_with_a_new_kid_waits_for_the_one_look(clock: FakeClock) -> None:
    """Also those who come while it is on its way, right after it began: none is told that the key is unknown."""
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    fetch.serve(jwks("a", "new"))
    fetch.gate = asyncio.Event()
    callers = [asyncio.ensure_future(keys.find("idp", "new")) for _ in range(50)]
    await settle()
    fetch.gate.set()
    assert [found[0].key_id for found in await asyncio.gather(*callers)] == ["new"] * 50
    assert len(fetch.asked) == 2


@pytest.mark.parametrize("known", [True, False])
async def test_a_malformed_key_set_is_not_worth_a_retry(clock: FakeClock, known: bool) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    if known:
        await keys.find("idp", "a")
    fetch.serve(b"<html>")
    for _ in range(3):
        with pytest.raises(KeySetInvalid) as refused:
            await keys.find("idp", "new")
        assert not hasattr(refused.value, "retry_after")
    fetch.serve(jwks("a", "new"))
    clock.advance(keyset.RETRY_WANTED)
    assert await keys.find("idp", "new")  # once it is mended


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (FetchResult(404, {}, b""), KeySetUnavailable),
        (FetchResult(429, {}, b""), KeySetUnavailable),
        (FetchResult(304, {}, b""), KeySetUnavailable),
        (AnswerUnusable("redirects to another host"), KeySetInvalid),
        (FetchResult(200, {}, b"{}"), KeySetInvalid),
        (ValueError(), KeySetUnavailable),
    ],
)
async def test_what_a_retry_can_help_with(clock: FakeClock, answer: FetchResult | Exception, error: type) -> None:
    fetch = FakeFetch()
    fetch.answer = answer
    with pytest.raises(error):
        await sets(fetch, clock).find("idp", "a")


async def test_without_looking_an_unknown_kid_is_unknown(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    with pytest.raises(UnknownKey):
        await keys.find("idp", "new", fetch=False)
    assert len(fetch.asked) == 1

"""The key sets on a virtual clock: when they are fetched, what is kept, and for how long it is trusted."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.depth import depth
from tests.fakes import FakeClock
from tests.issuer import Issuer, segment
from tests.unit.verification.fetching import SOURCE, URL, FakeFetch, jwks, sets, settle

from tokenmint.base.background import Background
from tokenmint.base.errors import KeySetInvalid, KeySetUnavailable
from tokenmint.base.token_errors import UnknownKey
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN
from tokenmint.verification import key_document, keyset
from tokenmint.verification.key_document import freshness
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.verifier import Verifier


async def test_keys_are_fetched_once_and_found_by_kid(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a", "b"))
    keys = sets(fetch, clock)
    found = await keys.find("idp", "a")
    assert [key.key_id for key in found] == ["a"]
    assert [key.key_id for key in await keys.find("idp", "b")] == ["b"]
    assert len(fetch.asked) == 1


async def test_a_hundred_callers_cause_one_fetch(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    fetch.gate = asyncio.Event()
    keys = sets(fetch, clock)
    callers = [asyncio.ensure_future(keys.find("idp", "a")) for _ in range(100)]
    await settle()
    callers[0].cancel()  # who gives up takes nobody else's answer away
    fetch.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert len(fetch.asked) == 1
    assert sum(isinstance(result, tuple) for result in results) == 99


async def test_callers_of_a_provider_that_hangs_are_bounded_and_the_rest_is_told_to_retry(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    fetch.gate = asyncio.Event()
    keys = KeySets({"idp": SOURCE, "other": SOURCE}, fetch=fetch, clock=clock, waiters=3)
    waiting = [asyncio.ensure_future(keys.find("idp", "a")) for _ in range(3)]
    await settle()
    for provider in ("idp", "other"):
        with pytest.raises(KeySetUnavailable) as refused:
            await keys.find(provider, "a")
        assert refused.value.retry_after == 1.0
        assert refused.value.detail == f"{provider}: 3 calls already wait for providers' keys"
    waiting.pop().cancel()
    await settle()
    waiting.append(asyncio.ensure_future(keys.find("other", "a")))
    await settle()
    fetch.gate.set()
    for found in await asyncio.gather(*waiting):
        assert [key.key_id for key in found] == ["a"]
    for _ in range(5):
        assert await keys.find("idp", "a")


async def test_a_provider_that_hangs_keeps_no_other_providers_new_keys_out(clock: FakeClock) -> None:
    """Its callers have every place of those that wait; a caller of another provider finds the key when it retries."""
    hangs, good = asyncio.Event(), FakeFetch(jwks("a"))

    async def fetch(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        if source.issuer == "hangs":
            await hangs.wait()
        return await good(source, url, etag=etag)

    sources = {"hangs": replace(SOURCE, issuer="hangs"), "good": SOURCE}
    keys = KeySets(sources, fetch=fetch, clock=clock, waiters=3)
    await keys.find("good", "a")
    waiting = [asyncio.ensure_future(keys.find("hangs", "a")) for _ in range(3)]
    await settle()
    good.serve(jwks("a", "new"))
    with pytest.raises(KeySetUnavailable):
        await keys.find("good", "new")
    await settle()
    assert await keys.find("good", "new")
    for number in range(50):
        with pytest.raises(UnknownKey):
            await keys.find("good", f"flood{number}")
        await settle()
    assert len(good.asked) == 2
    hangs.set()
    assert len(await asyncio.gather(*waiting)) == 3


async def test_unknown_kids_cause_a_fetch_every_30_s_at_most_and_evict_nothing(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    for number in range(50):
        with pytest.raises(UnknownKey):
            await keys.find("idp", f"flood{number}")
    assert len(fetch.asked) == 2
    fetch.serve(jwks("a", "new"))
    clock.advance(29.9)
    with pytest.raises(UnknownKey):
        await keys.find("idp", "new")
    assert len(fetch.asked) == 2
    clock.advance(0.1)
    assert await keys.find("idp", "new")
    assert len(fetch.asked) == 3
    assert await keys.find("idp", "a")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda fetch: fetch.serve(b"", status=500), KeySetUnavailable),
        (lambda fetch: fetch.serve(b"<html>"), KeySetInvalid),
        (lambda fetch: fetch.serve(b'{"keys":[]}'), KeySetInvalid),
        (lambda fetch: fetch.serve(b'{"keys":[{"kty":"oct","k":"AAAA"}]}'), KeySetInvalid),
        (lambda fetch: setattr(fetch, "answer", FetchFailed("no route")), KeySetUnavailable),
        (lambda fetch: setattr(fetch, "answer", TimeoutError()), KeySetUnavailable),
    ],
)
async def test_a_bad_answer_keeps_the_last_good_set_until_its_hard_age(
    clock: FakeClock, spoil: Callable[[FakeFetch], None], error: type[KeySetUnavailable | KeySetInvalid]
) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    spoil(fetch)
    with pytest.raises(error, match="last good ones are kept"):
        await keys.refresh("idp")
    assert keys.status("idp").last_error
    clock.advance(keyset.HARD_AGE - 1)
    assert await keys.find("idp", "a")
    assert keys.ready("idp")
    clock.advance(1)
    assert not keys.ready("idp")
    with pytest.raises(error):
        await keys.find("idp", "a")


async def test_a_slow_answer_has_one_deadline_in_all(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    fetch.gate = asyncio.Event()
    keys = sets(fetch, clock, KeySource("jwks", url=URL, timeout=0.05))
    async with asyncio.timeout(10):
        with pytest.raises(KeySetUnavailable, match=r"no answer within 0\.05 s"):
            await keys.refresh("idp")


async def test_a_key_that_the_provider_took_back_is_gone_with_the_next_fetch(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a", "b"))
    keys = sets(fetch, clock)
    await keys.find("idp", "a")
    fetch.serve(jwks("b2"))
    await keys.refresh("idp")
    with pytest.raises(UnknownKey):
        await keys.find("idp", "a")


async def test_sets_are_refreshed_before_they_expire_off_the_request_path(
    clock: FakeClock, background: Background
) -> None:
    fetch = FakeFetch()
    fetch.answer = FetchResult(200, {"cache-control": "max-age=1000", "etag": '"1"'}, jwks("a"))
    keys = sets(fetch, clock)
    keys.follow(background)
    await settle()
    assert len(fetch.asked) == 1
    clock.advance(899)
    await settle()
    assert len(fetch.asked) == 1
    fetch.answer = FetchResult(304, {"cache-control": "max-age=1000"}, b"")
    clock.advance(2)
    await settle()
    assert fetch.asked[-1] == (URL, '"1"')
    assert keys.status("idp").fetch_time == pytest.approx(clock.now())
    assert await keys.find("idp", "a")
    await keys.close()


async def test_failures_are_retried_with_growing_pauses(clock: FakeClock, background: Background) -> None:
    fetch = FakeFetch(status=500)
    keys = sets(fetch, clock)
    keys.follow(background)
    await settle()
    pauses = []
    for _ in range(12):
        asked, waited = len(fetch.asked), 0
        while len(fetch.asked) == asked:
            clock.advance(1)
            waited += 1
            await settle()
        pauses.append(waited)
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert pauses[-1] == keyset.RETRY_WANTED  # nobody is served meanwhile
    with pytest.raises(KeySetUnavailable):
        await keys.find("idp", "a")
    assert len(fetch.asked) == 13  # callers wait for the next attempt rather than cause one each
    assert background.failing() == {"keys of idp": f"{URL} answered 500"}
    fetch.serve(jwks("a"))
    await keys.refresh("idp")
    assert background.failing() == {}  # for each caller that asked
    await keys.close()


async def test_discovery_has_to_speak_for_the_issuer(clock: FakeClock) -> None:
    source = KeySource("discovery", url="https://idp.example/d", issuer="https://idp.example")
    for document, error in [
        ({"issuer": "https://idp.example/", "jwks_uri": URL}, "another issuer"),
        ({"issuer": "https://idp.example"}, "no jwks_uri"),
        ({"issuer": "https://idp.example", "jwks_uri": 5}, "no jwks_uri"),
        ([], "not a JSON object"),
        ({"issuer": 5, "jwks_uri": URL}, "another issuer"),
        ({"issuer": ["https://idp.example"], "jwks_uri": URL}, "another issuer"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://[::1"}, "brackets"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://idp.example:99999/"}, "port"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://u@idp.example/"}, "user"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://idp.example/\x00"}, "character"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://a..b/"}, "host"),
        ({"issuer": "https://idp.example", "jwks_uri": "https://idp.example/" + "x" * 400_000}, "longer"),
    ]:
        fetch = FakeFetch(jwks("a"))
        fetch.answers["https://idp.example/d"] = FetchResult(200, {}, json.dumps(document).encode())
        with pytest.raises(KeySetInvalid):
            await sets(fetch, clock, source).find("idp", "a")
        with pytest.raises(KeySetInvalid, match=error):
            await sets(fetch, clock, source).refresh("idp")
    fetch = FakeFetch(jwks("a"))
    document = {"issuer": "https://idp.example", "jwks_uri": URL}
    fetch.answers["https://idp.example/d"] = FetchResult(200, {}, json.dumps(document).encode())
    keys = sets(fetch, clock, source)
    assert await keys.find("idp", "a")
    assert [url for url, _ in fetch.asked] == ["https://idp.example/d", URL]
    fetch.answers["https://idp.example/d"] = FetchResult(404, {}, b"")
    with pytest.raises(KeySetUnavailable, match="answered 404"):
        await keys.refresh("idp")


async def test_pinned_sets_are_never_fetched(clock: FakeClock) -> None:
    fetch = FakeFetch()
    keys = sets(fetch, clock, KeySource("pinned", pinned=jwks("a")))
    assert await keys.find("idp", "a")
    with pytest.raises(UnknownKey):
        await keys.find("idp", "b")
    assert (await keys.refresh("idp")).source == "pinned"
    assert keys.ready("idp")
    assert not fetch.asked


async def test_a_reload_keeps_the_keys_of_what_did_not_change(clock: FakeClock) -> None:
    fetch = FakeFetch(jwks("a"))
    before = sets(fetch, clock)
    await before.prefetch()
    after = KeySets(
        {"idp": SOURCE, "new": KeySource("jwks", url="https://new.example")}, fetch=fetch, clock=clock, inherit=before
    )
    assert after.ready("idp")
    assert not after.ready("new")
    changed = KeySets({"idp": KeySource("jwks", url="https://x.example")}, fetch=fetch, clock=clock, inherit=before)
    assert not changed.ready("idp")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, key_document.DEFAULT_FRESH),
        ({"cache-control": "public, max-age=1800, must-revalidate"}, 1800),
        ({"cache-control": "Max-Age=1800", "age": "300"}, 1500),
        ({"cache-control": "max-age=1800", "age": "x"}, 1800),
        ({"cache-control": "s-maxage=5"}, key_document.DEFAULT_FRESH),
        ({"cache-control": "max-age=1"}, key_document.MIN_FRESH),
        ({"cache-control": "max-age=999999999"}, key_document.MAX_FRESH),
        ({"cache-control": "no-store, max-age=1800"}, key_document.MIN_FRESH),
        ({"cache-control": "no-cache"}, key_document.MIN_FRESH),
        ({"cache-control": "max-age=-5"}, key_document.DEFAULT_FRESH),
        ({"cache-control": "max-age=" + "9" * 4400}, key_document.MAX_FRESH),
        ({"cache-control": "max-age=\u0661"}, key_document.DEFAULT_FRESH),
        ({"cache-control": "max-age=1800", "age": "9" * 4400}, key_document.MIN_FRESH),
        ({"cache-control": "max-age=1800", "age": "\xb2"}, 1800),
        ({"cache-control": "max-age=1800", "age": "-1"}, 1800),
    ],
)
def test_rfc_9111_freshness_within_our_bounds(headers: dict[str, Any], seconds: float) -> None:
    assert freshness(headers) == seconds


@pytest.mark.slow
@pytest.mark.deep
async def test_a_flood_of_tokens_with_unknown_kids_costs_two_fetches_a_minute(clock: FakeClock) -> None:
    """And good tokens are served meanwhile, with the good keys still in place."""
    issuer = Issuer()
    fetch = FakeFetch(issuer.jwks())
    keys = sets(fetch, clock)
    table = {"issuer": issuer.url, "audiences": ["app"], "jwks": issuer.jwks().decode()}
    verifier = Verifier({"idp": provider_from_table("idp", table, own_issuer="")}, keys, own_issuer="")
    good = Secret(issuer.token(clock.now(), exp=int(clock.now()) + 600))
    await verifier.verify(good, ID_TOKEN, nonce=None, now=clock.now())
    first = len(fetch.asked)
    payload, signature = good.reveal().split(".")[1:]
    refused, flood = 0, depth(10_000, 100_000)
    for number in range(flood):
        token = Secret(f"{segment({'alg': 'RS256', 'kid': f'flood-{number}'})}.{payload}.{signature}")
        try:
            await verifier.verify(token, ID_TOKEN, nonce=None, now=clock.now())
        except UnknownKey:
            refused += 1
        clock.advance(60 / flood)
        if number % 1000 == 0:
            assert await verifier.verify(good, ID_TOKEN, nonce=None, now=clock.now())
    assert refused == flood
    assert len(fetch.asked) - first <= 2


async def test_a_provider_that_goes_away_while_its_keys_are_trusted_is_asked_less_and_less(
    clock: FakeClock, background: Background
) -> None:
    fetch = FakeFetch(jwks("a"))
    keys = sets(fetch, clock)
    await keys.refresh("idp")
    fetch.serve(b"", 500)
    keys.follow(background)
    clock.advance(3600)
    last, longest = clock.monotonic(), 0.0
    for _ in range(700):
        asked = len(fetch.asked)
        clock.advance(2)
        await settle()
        if len(fetch.asked) > asked:
            longest, last = max(longest, clock.monotonic() - last), clock.monotonic()
    assert longest >= keyset.RETRY_MOST
    await keys.close()


@pytest.mark.parametrize(
    ("hint", "fresh"), [(300, 300), (5, 60), (10**9, 6 * 3600), (0, 3600), (-5, 3600), ("9", 3600)]
)
async def test_a_spiffe_bundles_refresh_hint_is_obeyed_within_our_bounds(
    clock: FakeClock, hint: object, fresh: float
) -> None:
    bundle = {**json.loads(jwks("a")), "spiffe_refresh_hint": hint, "spiffe_sequence": 3}
    fetch = FakeFetch(json.dumps(bundle).encode())
    status = await sets(fetch, clock).refresh("idp")
    assert status.fresh_until is not None
    assert status.fresh_until - clock.now() == fresh

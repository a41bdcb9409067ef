"""Scenarios of Envoy's Check alone, in which both ways have to agree."""

import json
from collections.abc import Awaitable, Callable
from typing import cast

from tests.both_ways import BothWays
from tests.fakes import FakeClock
from tests.gateway_ways import COOKIE, FORWARDED, IAP, GatewayWays, metadata_of, passed, request_of
from tests.rig import AUDIENCE, LEGACY_AUDIENCE
from tests.unit.fast import calls, grants, revocations, scenarios, signing, tokens

from tokenmint.exchange.retention import RESERVE
from tokenmint.rpc.fast_exchange import Pending

Scenario = Callable[[BothWays], Awaitable[None]]
TRACE, OTHER, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
TYPE = "urn:ietf:params:oauth:token-type:"


def checked(headers: dict[str, str], host: str = "shop.example", extensions: dict[str, str] | None = None) -> bytes:
    """The bytes of a request at a gateway."""
    return request_of(headers, host, extensions).SerializeToString()


async def tokens_in_every_place(ways: BothWays) -> None:
    """The token is found in each place, and what the service behind must not see is removed."""
    token = ways.token()
    for headers, cookie, removed in (
        ({"authorization": f"Bearer {token}"}, None, [IAP, FORWARDED]),
        ({"Authorization": f"bearer {token}", "x-request-id": "7"}, None, [IAP, FORWARDED]),
        ({"authorization": f"  BEARER   {token}  ", "cookie": "a=1; b=2"}, None, [IAP, FORWARDED]),
        ({IAP: token}, None, [IAP, FORWARDED]),
        ({IAP.upper(): f"Bearer {token}"}, None, [IAP, FORWARDED]),
        ({FORWARDED: token, "cookie": f"{COOKIE}=x"}, None, [IAP, FORWARDED, "cookie"]),
        ({"cookie": f"{COOKIE}={token}"}, None, [IAP, FORWARDED, "cookie"]),
        ({"cookie": f"a=1; {COOKIE}={token};b=\u00e4"}, "a=1; b=\u00e4", [IAP, FORWARDED]),
        ({"authorization": f"Bearer {token}", "cookie": f"{COOKIE}=x; a=1; {COOKIE}=y"}, "a=1", [IAP, FORWARDED]),
    ):
        outcome = await ways.check(checked(headers), recognised=True)
        answer = passed(outcome.answer)
        upstream = {option.header.key: option.header.value for option in answer.allowed.headers}
        assert upstream.get("cookie") == cookie, headers
        assert list(answer.allowed.headers_to_remove) == removed
        assert outcome.spent["rate:client:web"] == 1


async def requests_without_a_token(ways: BothWays) -> None:
    """A request without a token, or without one that is certain, is not recognised."""
    token = ways.token()
    await ways.check(recognised=True)
    for headers in (
        {}, {"authorization": token}, {"authorization": f"Basic {token}"}, {"authorization": "Bearer "},
        {"authorization": f"DPoP {token}"}, {"authorization": f"Bearer {token},Bearer {token}"},
        {"authorization": f"Bearer {token} {token}"}, {"authorization": f"Bearer {token}", "Authorization": "x"},
        {"authorization": f"Bearer {token}", IAP: token}, {"authorization": "Basic x", "cookie": f"{COOKIE}={token}"},
        {IAP: token, FORWARDED: token}, {IAP: token, IAP.upper(): token}, {IAP: ""}, {IAP.replace("-", "_"): token},
        {"authorization": f"Bearer {token}", IAP.replace("-", "."): "x"}, {"x-amzn-oidc-data": token},
        {"cookie": f"{COOKIE}={token}; {COOKIE}=x"}, {"cookie": f"{COOKIE}="}, {"cookie": f"a=1,{COOKIE}={token}"},
        {"cookie": f"{COOKIE.lower()}={token}"}, {"authorization": "Bearer tmr_" + "A" * 43},
        {"authorization": f"Bearer \u00e4{token}"}, {"authorization": f"Bearer {token}\x00"},
    ):  # fmt: skip
        outcome = await ways.check(checked(headers), recognised=False)
        assert outcome.answer is None, headers


async def audiences_of_hosts(ways: BothWays) -> None:
    """The host names the audience, in its usual spelling, unless the route does."""
    headers = {"authorization": f"Bearer {ways.token()}"}
    for host, audience in (
        ("shop.example", AUDIENCE), ("shop.example:443", AUDIENCE), ("legacy.example", LEGACY_AUDIENCE),
        ("LEGACY.example:8443", LEGACY_AUDIENCE), ("192.0.2.7", LEGACY_AUDIENCE),
        ("[2001:db8::7]:443", LEGACY_AUDIENCE), ("[2001:DB8:0::7]", LEGACY_AUDIENCE), ("legacy.example.", ""), ("", ""),
        ("legacy.example/", ""), ("a b", ""), ("192.0.2.07", ""), ("user@legacy.example", ""), ("h" * 3000, ""),
        ("legacy.example:99999", ""), ("l\u00e9gacy.example", ""),
    ):  # fmt: skip
        for _ in range(2):
            outcome = await ways.check(checked(headers, host), recognised=bool(audience))
            named_here = [event["audience"] for event in outcome.events if event["outcome"] == "done"]
            assert named_here == ([audience] if audience else []), host
        named = await ways.check(checked(headers, host, {"audience": LEGACY_AUDIENCE}), recognised=True)
        assert [event["audience"] for event in named.events] == [LEGACY_AUDIENCE]


async def settings_of_routes(ways: BothWays) -> None:
    """A route names audience, scopes and kind of token; no header does."""
    token = ways.token()
    headers = {"authorization": f"Bearer {token}", "tokenmint.audience": LEGACY_AUDIENCE}
    for extensions, scope in (
        ({}, "read write"), ({"audience": ""}, "read write"), ({"scope": "read"}, "read"),
        ({"scope": " write  read write "}, "write read"), ({"subject_token_type": TYPE + "id_token"}, "read write"),
        ({"subject_token_type": TYPE + "jwt", "other": "x"}, "read write"), ({"scope": ""}, "read write"),
    ):  # fmt: skip
        outcome = await ways.check(checked(headers, extensions=extensions), recognised=True)
        assert set(metadata_of(outcome.answer)["scope"].split()) == set(scope.split()), extensions
    for extensions in (
        {"audience": "https://unknown.example"}, {"audience": "a" * 5000}, {"scope": "admin"}, {"scope": 're"ad'},
        {"scope": "read\u00e4"}, {"scope": " ".join(f"s{number}" for number in range(65))},
        {"subject_token_type": "urn:x"}, {"subject_token_type": TYPE + "access_token"},
        {"subject_token_type": TYPE + "id-jag"}, {"audience": "\x00"},
    ):  # fmt: skip
        for _ in range(2):
            outcome = await ways.check(checked(headers, extensions=extensions), recognised=False)
            assert outcome.answer is None, extensions
    for mine, theirs in (({"scope": "read"}, {}), ({}, {"scope": "read"})):  # two routes are two plans
        for extensions in (mine, theirs):
            outcome = await ways.check(checked(headers, extensions=extensions), recognised=True)
            assert (metadata_of(outcome.answer)["scope"] == "read") is ("scope" in extensions)


async def kinds_of_tokens(ways: BothWays) -> None:
    """The kind of a token is taken from its `typ`, and each kind has its plan."""
    before = ways.rig.config.read_text()
    access = [ways.token(), ways.rig.issuer.token(ways.rig.clock.now(), headers={"typ": "at+jwt"}, email="a")]
    named = ways.rig.issuer.token(ways.rig.clock.now(), headers={"typ": "application/AT+JWT"}, email="a")
    other = ways.rig.issuer.token(ways.rig.clock.now(), headers={"typ": "jwt+at"}, email="a")
    for kinds, taken in (
        (["id_token"], {access[0]}), (["access_token"], {access[1], named}),
        (["id_token", "access_token"], {*access, named}),
    ):  # fmt: skip
        try:
            setting = f'audiences = ["app"]\ntoken_types = {json.dumps(kinds)}'
            await ways.configure(before.replace('audiences = ["app"]', setting))
            for token in (*access, *access, named, other):
                outcome = await ways.check(checked({"authorization": f"Bearer {token}"}), recognised=token in taken)
                assert (outcome.answer is not None) is (token in taken), (kinds, token)
        finally:
            await ways.configure(before)
            await ways.warm()


async def traces_in_headers(ways: BothWays) -> None:
    """The request at the gateway names a trace, unless the gateway's own call does."""
    token, parent = ways.token(), f"00-{TRACE}-{SPAN}-00"
    own = ("traceparent", f"00-{OTHER}-{SPAN}-00")
    for headers, metadata, trace in (
        ({"traceparent": parent}, (), TRACE), ({"traceparent": parent, "tracestate": "a=1"}, (), TRACE),
        ({"traceparent": parent}, (own,), OTHER), ({}, (own,), OTHER), ({"traceparent": "x"}, (), None),
        ({"traceparent": parent}, (("traceparent", "x"),), TRACE), ({"traceparent": parent}, (own, own), TRACE),
        ({"TraceParent": parent}, (), None), ({"tracestate": "a=1"}, (), None),
    ):  # fmt: skip
        request = checked({"authorization": f"Bearer {token}"} | headers)
        outcome = await ways.check(request, (*ways.metadata(), *metadata), recognised=True)
        assert [event.get("trace_id") for event in outcome.events] == [trace], headers


async def messages_in_other_spellings(ways: BothWays) -> None:
    """Protobuf's spellings of one message are that message: the last of two counts."""
    token, legacy = ways.token(), {"audience": LEGACY_AUDIENCE}
    whole = checked({"authorization": f"Bearer {token}"})
    again, route = checked({"authorization": "Bearer x"}), checked({}, extensions=legacy)
    for request, audience in (
        (whole, AUDIENCE), (again + whole, AUDIENCE), (whole + route, LEGACY_AUDIENCE),
        (route + whole, LEGACY_AUDIENCE), (whole + b"\x7a\x03abc", AUDIENCE), (whole + checked({}, host=""), AUDIENCE),
    ):  # fmt: skip
        outcome = await ways.check(request, recognised=True)
        assert [event["audience"] for event in outcome.events] == [audience]
    for request in (
        b"", whole[:-1], whole[: len(whole) // 2], whole + again, whole + b"\x0a", b"\x0a\xff" + whole,
        whole.replace(b"shop.example", b"shop\xff\xfexampl"), checked({}) + b"\x0b", whole + whole[: len(whole) // 3],
        whole + b"\x7a\x80\x80\x08" + b"x" * 2**17,
    ):  # fmt: skip
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None or len(request) > 2**16


async def answers_that_are_kept(ways: BothWays) -> None:
    """An answer is kept within its audience's limit, and never as long as one of its tokens lives."""
    before, now = ways.rig.config.read_text(), int(ways.rig.clock.now())
    for setting, ends, kept in (
        ("", 300, 1), ('gateway_cache = "0s"', 300, 0), ('gateway_cache = "30s"', 300, 30),
        ('gateway_cache = "30s"', RESERVE + 20, 20), ('gateway_cache = "30s"', RESERVE, 0),
        ('gateway_cache = "30s"', 0, 0), ('gateway_cache = "30s"\nlifetime = "12s"', 300, 12 - RESERVE),
    ):  # fmt: skip
        try:
            await ways.configure(before.replace('max_lifetime = "1h"', f'max_lifetime = "1h"\n{setting}'))
            for exp in (now + ends, now + ends + 0.75):
                outcome = await ways.check(ways.request(ways.token(exp=exp)), recognised=True)
                metadata = metadata_of(outcome.answer)
                told = f"max-age={kept}" if kept else "no-store"
                assert (metadata["cache_seconds"], metadata["cache_control"]) == (kept, told), (setting, exp)
            shorter = await ways.check(ways.request(ways.token(exp=now + RESERVE)), recognised=True)
            assert metadata_of(shorter.answer)["cache_control"] == "no-store"
        finally:
            await ways.configure(before)
            await ways.warm()


async def answers_that_took_long(ways: BothWays) -> None:
    """An answer that waited is kept for less: its facts are as old as its beginning."""
    before, clock, check = ways.rig.config.read_text(), cast(FakeClock, ways.rig.clock), cast(GatewayWays, ways)
    try:
        await ways.configure(before.replace('max_lifetime = "1h"', 'max_lifetime = "1h"\ngateway_cache = "30s"'))
        request = checked({"authorization": f"Bearer {ways.token()}", "cookie": f"{COOKIE}=x; a=1"})
        await ways.check(request)
        ways.empty()
        ways.stock()
        pending = check.fast.answer(request, ways.metadata())
        assert isinstance(pending, Pending)
        fetched = await check.fast.fetch([pending])
        clock.set(clock.now() + 3.5)
        await ways.rig.parts.signing.clocks.look()
        raw = check.fast.finish(pending, fetched[0])
        check.fast.write()
        assert isinstance(raw, bytes)
        [answer] = ways.answers(raw)
        assert metadata_of(answer)["cache_seconds"] == 27
        assert [option.header.value for option in passed(answer).allowed.headers][1:] == ["a=1"]
    finally:
        await ways.configure(before)
        await ways.warm()


ALL: tuple[Scenario, ...] = (
    tokens_in_every_place, requests_without_a_token, audiences_of_hosts, settings_of_routes, kinds_of_tokens,
    traces_in_headers, messages_in_other_spellings, answers_that_are_kept, answers_that_took_long,
    signing.signatures_that_take_a_thread, tokens.tokens_that_are_refused, tokens.tokens_that_are_taken,
    tokens.a_signature_that_was_good_for_another_token, calls.callers_that_are_refused, calls.callers_with_a_trace,
    scenarios.calls_beyond_the_limits, scenarios.calls_that_wait, scenarios.times_when_nothing_is_served,
    scenarios.profiles_that_change, scenarios.a_near_cache_that_may_not_be_used, scenarios.the_providers_keys_change,
    signing.our_keys_change, scenarios.configurations_that_change, grants.tokens_that_are_in_a_status_list,
    scenarios.providers_that_an_audience_does_not_take, scenarios.tokens_that_are_too_old,
    scenarios.tokens_that_are_too_large, scenarios.times_that_pass, scenarios.identities_that_a_profile_does_not_list,
    scenarios.identities_that_were_unlinked, revocations.bulk_revocations,
)  # fmt: skip
"""Those of an exchange whose requests a gateway can make, and its own."""

"""The fast way over HTTP agrees with the full way: `/oauth2/token` and the public documents."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from tests.both_http_ways import FORM, Http, both_http_ways, post
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE

from tokenmint.model.tokens import ACCESS_TOKEN, JWT, TXN_TOKEN
from tokenmint.v1 import key_admin_service_pb2 as keys_pb


@pytest.fixture
async def http(
    tmp_path: Path, redis_url: str, redis_prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Http]:  # fmt: skip
    async with both_http_ways(tmp_path, redis_url, redis_prefix, issuer, clock, entropy, monkeypatch) as found:
        yield found


async def test_plain_exchanges_take_the_fast_way(http: Http) -> None:
    secret = http.ways.rig.secrets["web"].reveal()
    for changes in (
        {}, {"scope": "read"}, {"scope": "write read"}, {"audience": None, "resource": AUDIENCE},
        {"resource": AUDIENCE}, {"audience": None, "resource": "HTTPS://Orders.example:443/"},
        {"requested_token_type": JWT}, {"requested_token_type": ACCESS_TOKEN},
        {"unknown": "x"}, {"scope": ""}, {"client_id": "web"}, {"subject_token_type": JWT},
        {"audience": LEGACY_AUDIENCE},
    ):  # fmt: skip
        await http.check(http.form(**changes), recognised=True, accepted=True)
        posted = http.form(**changes, **({} if "client_id" in changes else {"client_id": "web"}), client_secret=secret)
        await http.check(posted, "Accept: */*", recognised=True, accepted=True)
    await http.check(http.form(), http.basic(), "User-Agent: test", "Connection: keep-alive", recognised=True)
    await http.check(http.form(), http.basic("web", http.ways.rig.secrets["old"].reveal()), recognised=True)
    await http.check(http.form(), http.basic(), "Content-Type: application/x-www-form-urlencoded; charset=UTF-8",
                     recognised=True)  # fmt: skip
    reordered = urlencode(sorted(http.parameters().items(), reverse=True)).encode()
    await http.check(reordered, recognised=True)
    await http.check(http.form(subject_token=http.ways.token(jti="a longer one")), recognised=True)


async def test_a_caller_with_a_trace_takes_the_fast_way_and_is_recorded_with_it(http: Http) -> None:
    for number, more in enumerate(((), ("tracestate: a=1",), ("tracestate: b=2",))):
        traceparent = f"traceparent: 00-{number + 1:032x}-{number + 1:016x}-01"  # sampled, where nothing is exported
        full = await http.check(http.form(), http.basic(), traceparent, *more, recognised=True, accepted=True)
        assert full.events[0]["trace_id"] == f"{number + 1:032x}"
        assert full.events[0]["span_id"] == f"{number + 1:016x}"


async def test_what_the_full_way_refuses_is_refused_by_both(http: Http) -> None:
    await http.check(recognised=True)
    secret, token = http.ways.rig.secrets["web"].reveal(), http.ways.token()
    plain = http.form()
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for name, body in {
        "a token that is none": http.form(subject_token="x"),
        "no token": http.form(subject_token=None),
        "an empty token": http.form(subject_token=""),
        "a forged token": http.form(subject_token=forged),
        "a stale token": http.form(subject_token=http.ways.token(exp=1)),
        "another audience's token": http.form(subject_token=http.ways.token(aud="other")),
        "a stranger": http.form(subject_token=http.ways.token(sub="stranger")),
        "another grant": http.form(grant_type="client_credentials"),
        "no grant": http.form(grant_type=None),
        "an unknown kind": http.form(subject_token_type="urn:x"),
        "no audience": http.form(audience=None),
        "an unknown audience": http.form(audience="https://unknown.example"),
        "two audiences": plain + b"&audience=https%3A%2F%2Fopen.example",
        "another audience's resource": http.form(resource=LEGACY_AUDIENCE),
        "a resource that is not there": http.form(resource="https://unknown.example"),
        "no type": http.form(subject_token_type=None),
        "a scope that is nobody's": http.form(scope="admin"),
        "a transaction's context": http.form(request_context="{}"),
        "a transaction's details": http.form(request_details='{"a":1}'),
        "a transaction token": http.form(subject_token_type=TXN_TOKEN),
        "an actor": http.form(actor_token=token, actor_token_type=JWT),
        "a token twice": plain + b"&subject_token=x",
        "a token twice, the second empty": plain + b"&subject_token=",
        "a token twice, in another spelling": plain + b"&subject%5Ftoken=" + token.encode(),
        "a probe twice, in another spelling": plain + b"&subject%5Ftoken=p",
        "a scope twice": plain + b"&scope=read&scope=write",
        "a secret beside the head's": plain + b"&client_secret=" + secret.encode(),
        "a secret beside the head's, in another spelling": plain + b"&%63lient_secret=" + secret.encode(),
        "another client than the head's": http.form(client_id="batch"),
        "another client than the head's, in another spelling": plain + b"&client%5Fid=batch",
        "an assertion beside the secret": http.form(client_assertion="x"),
        "a fragment in a resource": http.form(audience=None, resource=AUDIENCE + "#x"),
        "no form": b"subject_token=" + token.encode() + b"&" + b"x",
        "bytes that are no form": plain + b"&x=%zz%ff",
        "bytes beyond ASCII": plain + b"&x=\xff",
        "many parameters": plain + b"&a=b" * 64,
    }.items():  # fmt: skip
        answer = await http.check(body, recognised=False, accepted=False)
        assert 400 <= answer.status < 500, name


async def test_profiles_that_have_to_be_read_are_waited_for(http: Http) -> None:
    http.cold = True
    for changes in ({}, {"scope": "read"}, {"resource": AUDIENCE}):
        await http.check(http.form(**changes), recognised=True, accepted=True)
    for token in (http.ways.token(sub="stranger"), http.ways.token(exp=1)):
        await http.check(http.form(subject_token=token), recognised=False, accepted=False)
    await http.check(http.form(audience=LEGACY_AUDIENCE), recognised=True, accepted=True)
    assert http.ways.rig.base.capacity.in_flight == 0


async def test_what_only_the_full_way_does_takes_it(http: Http) -> None:
    for number in range(3):  # each token once
        form = http.form(audience=OPEN_AUDIENCE, subject_token=http.ways.token(jti=f"once {number}"))
        answer = await http.asked(post(form, http.basic()))
        assert (answer.status, answer.exchanged) == (200, 1)
    for lines in (("X-Forwarded-For: 192.0.2.1",), ("Accept: */*", "Accept: text/html"), ("Traceparent: 00",)):
        await http.check(http.form(), http.basic(), *lines, recognised=False, accepted=True)
    with_query = post(http.form(), http.basic()).replace(b"/oauth2/token ", b"/oauth2/token?a=b ")
    assert [(await http.asked(with_query)).status for _ in range(3)] == [400] * 3
    token = quote_plus(http.ways.token().replace(".", "%2E"), safe="%")
    body = http.form(subject_token=None) + b"&subject_token=" + token.encode()
    await http.check(body, recognised=False, accepted=True)


async def test_callers_that_the_full_way_does_not_prove_are_refused(http: Http) -> None:
    await http.check(recognised=True)
    await http.asked(post(http.form(), http.basic("batch")))  # makes its lot
    secret, other = (http.ways.rig.secrets[name].reveal() for name in ("web", "batch"))
    for lines in (
        (http.basic("web", "tms_wrong"),), (http.basic("web", other),), (http.basic("batch", secret),),
        (http.basic("nobody", secret),), (http.basic("batch"),), (http.basic("", secret),), (http.basic("web", ""),),
        ("Authorization: Bearer x",), ("Authorization: Basic ???",), (http.basic(), http.basic()),
        (http.basic(), "DPoP: x"),
    ):  # fmt: skip
        await http.check(http.form(), *lines, recognised=False, accepted=False)
    for changes in (
        {"client_id": "web"}, {"client_secret": secret}, {"client_id": "web", "client_secret": other},
        {"client_id": "batch", "client_secret": secret}, {"client_id": "web", "client_secret": "tms_wrong"},
        {"client_id": "web", "client_secret": secret, "client_assertion": "x"}, {},
    ):  # fmt: skip
        await http.check(http.form(**changes), "Accept: */*", recognised=False, accepted=False)
    for kind in ("text/plain", "application/x-www-form-urlencoded; charset=latin-1"):
        await http.check(http.form(), http.basic(), f"Content-Type: {kind}", recognised=False, accepted=False)
    await http.check(http.form(), http.basic(), FORM, FORM, recognised=False, accepted=False)


async def test_a_reload_ends_what_a_head_proved(http: Http) -> None:
    """Also where the same secret is taken back, and where a plan would differ."""
    rig, before = http.ways.rig, http.ways.rig.config.read_text()
    await http.check(recognised=True)
    secret = rig.secrets["web"].fingerprint()
    for old, new, accepted in (
        (f'"sha256:{secret}"', f'"sha256:{"0" * 64}"', False),
        ('clients = ["web"]', 'clients = ["batch"]', False),
        ('scopes = ["read", "write"]', 'scopes = ["read"]', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nlifetime = "5m"', True),
    ):
        assert old in before
        try:
            rig.config.write_text(before.replace(old, new))
            await rig.app.reload(rig.settings())
            await http.ways.warm() if accepted else None
            first = await http.asked(post(http.form(), http.basic()))
            assert (first.status == 200) is accepted
            await http.check(accepted=accepted)
        finally:
            rig.config.write_text(before)
            await rig.app.reload(rig.settings())
            await http.ways.warm()
    await http.check(recognised=True)


async def test_limits_hold_for_requests_that_are_known(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    await http.check(recognised=True)
    limiter, capacity = http.ways.rig.parts.limiter, http.ways.rig.base.capacity
    limiter.patience = 20.0  # a busy machine is not what this is about
    request = post(http.form(), http.basic())
    with monkeypatch.context() as patched:
        patched.setattr(http.ways, "stock", lambda: None)  # the lots stay as they are
        lot = limiter._lots["rate:client:web"]
        lot.left = 0
        asked: list[str] = []
        take = limiter._store.take

        async def noted(key: str, **bounds: Any) -> tuple[int, float]:
            asked.append(key)
            return await take(key, **bounds)

        patched.setattr(limiter._store, "take", noted)
        answer = await http.asked(request)
        assert (answer.status, answer.exchanged) == (200, 0)
        assert "rate:client:web" in asked  # it waited for the store

        async def refused(*_: object, **__: object) -> tuple[int, float]:
            return 0, 5.0

        patched.setattr(limiter._store, "take", refused)
        lot.left = 0
        for _ in range(2):
            assert (await http.asked(request)).status == 429
    lot.refused_until = float("-inf")
    for name, value in (("limit", 0), ("stopping", True)):
        with monkeypatch.context() as patched:
            patched.setattr(capacity, name, value)
            assert (await http.asked(request)).status == 503
    await http.check(recognised=True)


async def test_public_documents_are_the_same_by_both_ways(http: Http) -> None:
    for path in ("jwks.json", "openid-configuration", "oauth-authorization-server"):
        start = f"GET /.well-known/{path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {path}\r\n"
        first = await http.asked(f"{start}\r\n".encode())
        etag = first.head.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
        for condition, status in (
            (None, 200), (etag, 304), (f"W/{etag}", 304), ("*", 304), ('"other"', 200), (f'"other", {etag}', 304),
            (etag.strip('"'), 200), ("", 200), (" * ", 304),
        ):  # fmt: skip
            line = "" if condition is None else f"If-None-Match: {condition}\r\n"
            full = await http.asked(f"{start}{line}X-Way: full\r\n\r\n".encode())
            for _ in range(3):
                again = await http.asked(f"{start}{line}\r\n".encode())
                assert (again.head, again.body) == (full.head, full.body)
            assert full.status == status


async def test_fetches_of_the_key_set_are_noted_and_follow_its_changes(http: Http) -> None:
    rig = http.ways.rig
    request = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nUser-Agent: a verifier\r\n\r\n"
    for _ in range(2):
        before = await http.asked(request)
    seen = rig.parts.signing.jwks_clients._seen
    assert ("127.0.0.1", "a verifier") in seen
    seen.clear()
    assert (await http.asked(request)).body == before.body
    assert ("127.0.0.1", "a verifier") in seen
    await rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True), **rig.auth("root"))
    after = await http.asked(request)
    assert after.body == rig.parts.signing_keys.published().jwks_json != before.body
    assert after.head != before.head

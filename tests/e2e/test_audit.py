"""Records of exchanges, refusals and admin actions, the answers to an operator, and no secret in any of them."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from tests import plain_http
from tests.conftest import PATIENT
from tests.http2 import connected
from tests.polling import pause
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal
from tests.unconfirmed import confirm_nothing

from tokenmint.admission import audit
from tokenmint.base.errors import StoreUnavailable
from tokenmint.base.log_writer import CLOSED, LineWriter
from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.secret import Secret
from tokenmint.process.audit import log_takes_events
from tokenmint.storage.redis import Store
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub


@pytest.fixture
async def rig(serve: Serve, transport: str, logged: io.StringIO) -> AsyncIterator[Rig]:
    async with serve(transport=transport) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


async def events(rig: Rig) -> list[dict[str, Any]]:
    await rig.parts.audit.flush()
    store = rig.parts.store
    found = []
    for stream in (audit.EXCHANGES, audit.ADMIN):
        for entry, fields in await store.server.client.xrange(store.prefix + stream):
            found.append((*map(int, entry.split(b"-")), json.loads(fields[b"event"])))
    return [event for *_, event in sorted(found, key=lambda one: one[:2])]  # of both, in their order


def ask(rig: Rig, audience: str = AUDIENCE, **claims: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now(), **claims), audience=audience)


def ask_the_full_way(rig: Rig) -> pb.ExchangeTokenRequest:
    """A request that the fast way does not recognise."""
    return pb.ExchangeTokenRequest(
        subject_token=rig.issuer.token(rig.clock.now()), audience=AUDIENCE, request_id=str(uuid.uuid4())
    )


async def test_a_call_whose_caller_was_not_proved_has_no_place_in_the_audit_stream(
    rig: Rig, logged: io.StringIO
) -> None:
    """A call without a message, or of another content type. Anybody can make them, and flood the stream."""
    path = "/tokenmint.v1.TokenExchangeService/ExchangeToken"
    before = await events(rig)
    async with connected(rig.app.listen["grpc"]) as peer:
        await peer.answer(peer.call(path=path, body=None))
        await peer.answer(peer.call(path=path, content_type="text/plain"))
    await refusal(rig.exchange.ExchangeToken(ask(rig), metadata=(("tokenmint-client-id", "web"),), timeout=20))
    assert await events(rig) == before
    assert "CALLER_UNAUTHENTICATED" in logged.getvalue()
    await refusal(rig.exchange.ExchangeToken(ask(rig, sub="nobody"), **rig.auth("web")))
    assert [event["caller"] for event in (await events(rig))[len(before) :]] == ["web"]


async def test_an_exchange_and_its_refusals_are_recorded(rig: Rig, logged: io.StringIO) -> None:
    request = ask(rig)
    answer = await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    await refusal(rig.exchange.ExchangeToken(ask(rig, sub="nobody"), **rig.auth("web")))
    await refusal(rig.exchange.ExchangeToken(ask(rig, iss="https://x"), **rig.auth("web")))
    await refusal(rig.exchange.ExchangeToken(request, metadata=(("tokenmint-client-id", "eve"),), timeout=20))
    done, unknown, issuer = (event for event in await events(rig) if event["kind"] == "exchange")
    fingerprint = Secret(request.subject_token).fingerprint()
    assert done == {
        "time": rig.clock.now(), "kind": "exchange", "method": "/tokenmint.v1.TokenExchangeService/ExchangeToken",
        "outcome": "done", "caller": "web", "audience": AUDIENCE, "token_sha256": fingerprint, "provider": "idp",
        "principal": "ada", "minted": [{"jti": answer.token_id, "kid": answer.key_id}],
    }  # fmt: skip
    assert (unknown["outcome"], unknown["reason"], unknown["provider"]) == ("refused", "PRINCIPAL_UNKNOWN", "idp")
    expected = f"iss 'https://x', accepted ['{rig.issuer.url}']"
    assert (issuer["reason"], issuer["detail"]) == ("UNKNOWN_ISSUER", expected)
    assert "CALLER_UNAUTHENTICATED" in logged.getvalue()  # in the log alone: anybody could fill the stream with these


async def test_a_call_that_the_caller_gave_up_is_recorded_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(rig.parts.exchange.verifier, "verify", slow)
    request = ask_the_full_way(rig)
    call = rig.exchange.ExchangeToken(request, **rig.auth("web"))
    await asyncio.wait_for(begun.wait(), 20)
    call.cancel()
    async with asyncio.timeout(20):
        found: list[dict[str, Any]] = []
        while not found:
            found = [event for event in await events(rig) if event["kind"] == "exchange"]
            await pause()
    assert (found[0]["outcome"], found[0]["reason"], found[0]["caller"]) == ("refused", "CANCELLED", "web")
    assert found[0]["token_sha256"] == Secret(request.subject_token).fingerprint()
    async with plain_http.client() as http:
        assert 'code="CANCELLED"' in (await http.get(rig.url("ops", "/metrics"))).text


async def test_a_batch_says_what_was_minted_and_what_was_not(rig: Rig) -> None:
    targets = [pb.BatchExchangeTarget(audience=AUDIENCE), pb.BatchExchangeTarget(audience="https://no.example")]
    batch = pb.BatchExchangeTokensRequest(subject_token=ask(rig).subject_token, targets=targets)
    await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    [event] = [event for event in await events(rig) if event["kind"] == "exchange"]
    assert event["audience"] == [AUDIENCE, "https://no.example"]
    assert (len(event["minted"]), event["refused"]) == (1, ["AUDIENCE_DENIED"])


async def test_an_admin_action_is_recorded_before_and_after_and_looking_is_not(rig: Rig) -> None:
    await rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), **rig.auth("root"))
    await refusal(rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(), **rig.auth("guest")))
    await rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True), **rig.auth("root"))
    admin = [event for event in await events(rig) if event["kind"] == "admin"]
    begun = [event for event in admin if event["outcome"] == "begun"]
    ended = [event for event in admin if event["outcome"] != "begun"]
    assert [(event["caller"], event["outcome"]) for event in ended] == [
        ("root", "done"), ("guest", "refused"), ("root", "done"),
    ]  # fmt: skip
    assert begun[0]["principal"] == "ada"
    for event in (begun[1], ended[2]):
        assert (event["caller"], event["algorithm"], event["force"]) == ("root", "ES256", True)


async def test_a_revocation_is_recorded_with_its_key_and_why(rig: Rig) -> None:
    key_id = rig.parts.signing_keys.signer("ES256").key_id
    await rig.keys.RevokeSigningKey(keys_pb.RevokeSigningKeyRequest(key_id=key_id, reason="drill"), **rig.auth("root"))
    about = [(event["outcome"], event["key_id"], event["why"]) for event in await events(rig) if "why" in event]
    assert about == [("begun", key_id, "drill"), ("done", key_id, "drill")]


async def test_an_admin_action_that_can_not_be_recorded_is_not_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object, *, durable: bool) -> None:
        raise StoreUnavailable()

    before = rig.parts.signing_keys.ring
    monkeypatch.setattr(rig.parts.audit, "record", broken)
    rotate = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
    revoke = keys_pb.RevokeSigningKeyRequest(key_id=rig.parts.signing_keys.signer("ES256").key_id, reason="drill")
    for call in (
        rig.keys.RotateSigningKey(rotate, **rig.auth("root")),
        rig.keys.RevokeSigningKey(revoke, **rig.auth("root")),
    ):
        assert (await refusal(call)).code is grpc.StatusCode.UNAVAILABLE
    assert rig.parts.signing_keys.ring == before


async def test_a_revocation_does_not_wait_until_its_record_is_confirmed(rig: Rig, redis_url: str) -> None:
    """A store may take a second to say that a record is on its disks. A leaked key does not sign for that long."""
    trail = rig.parts.audit
    store = await Store.open(redis_url, prefix=trail._store.prefix, options=PATIENT)
    confirm_nothing(store)
    trail._store, others = store, trail._store
    before = rig.parts.signing_keys.ring
    rotate = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
    told = await refusal(rig.keys.RotateSigningKey(rotate, **rig.auth("root")))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
    assert rig.parts.signing_keys.ring == before
    key_id = rig.parts.signing_keys.signer("ES256").key_id
    revoke = keys_pb.RevokeSigningKeyRequest(key_id=key_id, reason="leaked")
    assert (await rig.keys.RevokeSigningKey(revoke, **rig.auth("root"))).signing_key.key_id == key_id
    trail._store = others
    await store.close()
    assert [event["outcome"] for event in await events(rig) if event.get("why") == "leaked"] == ["begun", "done"]


class BrokenWriter(LineWriter):
    """A log that was closed, until it is mended."""

    def __init__(self) -> None:
        super().__init__(CLOSED)
        self.mended = False

    @property
    def problem(self) -> str:
        return "" if self.mended else super().problem


@pytest.fixture
async def required(serve: Serve, transport: str) -> AsyncIterator[tuple[Rig, BrokenWriter]]:
    """A service with ``audit.required`` and every listener, and its log, which is broken."""
    extra = "[audit]\nrequired = true\n[oauth]\nenabled = true\n[envoy]\nenabled = true\n"
    extra += f'audience = "{OPEN_AUDIENCE}"\n'
    writer = BrokenWriter()
    async with serve(extra, transport=transport, log_writer=writer) as rig:
        yield rig, writer


@pytest.mark.parametrize("listener", ["gRPC", "a batch", "Envoy", "HTTP"])
async def test_without_any_record_exchanges_are_refused_and_revocations_are_not(
    required: tuple[Rig, BrokenWriter], listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``audit.required``: refused before a token is used up that is good for one use; a log or a stream is enough."""
    rig, writer = required
    async with plain_http.client(timeout=20) as http:
        trail = rig.parts.audit
        request = ask(rig, OPEN_AUDIENCE, jti="once")
        own = await rig.exchange.ExchangeToken(ask(rig, OPEN_AUDIENCE, jti="other"), **rig.auth("web"))

        async def fails(*_: object, **__: object) -> None:
            raise StoreUnavailable()

        with monkeypatch.context() as patch:
            patch.setattr(trail._store, "append", fails)
            with pytest.raises(StoreUnavailable):
                await trail.flush()
            assert await reason_of(rig, http, listener, request) == "AUDIT_UNAVAILABLE"
            ready = (await http.get(rig.url("ops", "/readyz"))).json()
            assert "audit" in ready["problems"]
            await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=own.token), **rig.auth("web"))
            introspect = pb.IntrospectTokenRequest(token=own.token)
            assert not (await rig.exchange.IntrospectToken(introspect, **rig.auth("web"))).active
        await trail.flush()
        assert (await http.get(rig.url("ops", "/readyz"))).status_code == 200
        assert await reason_of(rig, http, listener, request) == ""  # the token was not used up
        with monkeypatch.context() as patch:
            patch.setattr(trail._store, "append", fails)
            with pytest.raises(StoreUnavailable):
                await trail.flush()
            writer.mended = True
            request = ask(rig, OPEN_AUDIENCE, jti="another")
            assert await reason_of(rig, http, listener, request) == ""
            patch.setattr(trail, "_log_works", partial(log_takes_events, "warning", writer))  # without audit events
            assert await reason_of(rig, http, listener, request) == "AUDIT_UNAVAILABLE"


async def reason_of(rig: Rig, http: httpx2.AsyncClient, listener: str, request: pb.ExchangeTokenRequest) -> str:
    """Exchange ``request`` over a listener. Returns the reason of the refusal, or nothing."""
    if listener == "HTTP":
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": OPEN_AUDIENCE,
            "subject_token": request.subject_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }  # fmt: skip
        secret = rig.secrets["web"].reveal()
        answer = await http.post(rig.url("http", "/oauth2/token"), data=form, auth=("web", secret))
        assert (answer.status_code == 200) or (answer.status_code == 503 and answer.headers["retry-after"])
        return str(answer.json().get("reason", ""))
    call: Any
    if listener == "a batch":
        targets = [pb.BatchExchangeTarget(audience=OPEN_AUDIENCE)]
        batch = pb.BatchExchangeTokensRequest(subject_token=request.subject_token, targets=targets)
        call = rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    elif listener == "Envoy":
        check = envoy.CheckRequest()
        check.attributes.request.http.headers["authorization"] = f"Bearer {request.subject_token}"
        call = check_of(rig, check)
    else:
        call = rig.exchange.ExchangeToken(request, **rig.auth("web"))
    if await call.code() is grpc.StatusCode.OK:
        return ""
    told = await refusal(call)
    assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, ("RetryInfo",))
    return told.reason


def check_of(rig: Rig, check: envoy.CheckRequest) -> Any:
    call = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check", envoy.CheckRequest.SerializeToString,
        envoy.CheckResponse.FromString,
    )  # fmt: skip
    return call(check, **rig.auth("web"))


async def explain(rig: Rig, exchange: pb.ExchangeTokenRequest, client: str = "web") -> list[tuple[str, str, str]]:
    stub: Any = TokenExchangeServiceStub(rig.admin)
    request = pb.ExplainExchangeRequest(exchange=exchange, client_id=client)
    answer = await stub.ExplainExchange(request, **rig.auth("root"))
    name = pb.ExplainStep.Outcome.Name
    assert exchange.subject_token not in str(answer)
    return [(step.name, name(step.outcome).removeprefix("OUTCOME_").lower(), step.reason) for step in answer.steps]


async def test_an_explanation_names_every_step_and_changes_nothing(rig: Rig) -> None:
    steps = await explain(rig, ask(rig))
    assert [name for name, _, _ in steps] == [
        "policy.client", "assertion.form", "assertion.issuer", "assertion.kind", "assertion.signature",
        "assertion.times", "assertion.audience", "assertion.nonce", "assertion.claims", "profile.find",
        "policy.provider", "profile.missing", "policy.decision", "minting.signer", "replay.unclaimed",
    ]  # fmt: skip
    assert {outcome for _, outcome, _ in steps[:-1]} == {"passed"}
    assert steps[-1][1] == "skipped"
    fetched = len(rig.issuer.requests)
    single = ask(rig, OPEN_AUDIENCE, sub="new", jti="j")
    for _ in range(2):
        assert (await explain(rig, single))[-1] == ("replay.unclaimed", "passed", "")
    found = profiles_pb.GetProfileRequest(identity=Identity(provider="idp", subject="new"))
    assert (await refusal(rig.profiles.GetProfile(found, **rig.auth("root")))).code is grpc.StatusCode.NOT_FOUND
    await rig.exchange.ExchangeToken(single, **rig.auth("web"))
    assert (await explain(rig, single))[-1] == ("replay.unclaimed", "failed", "REPLAYED")
    assert len(rig.issuer.requests) == fetched


@pytest.mark.parametrize(
    ("changes", "client", "expected"),
    [
        ({"exp": 1}, "web", ("assertion.times", "failed", "EXPIRED")),
        ({"aud": "x"}, "web", ("assertion.audience", "failed", "WRONG_AUDIENCE")),
        ({"iss": "https://x"}, "web", ("assertion.issuer", "failed", "UNKNOWN_ISSUER")),
        ({"headers": {"kid": "new"}}, "web", ("assertion.signature", "failed", "UNKNOWN_KEY")),
        ({"sub": "nobody"}, "web", ("profile.missing", "failed", "PRINCIPAL_UNKNOWN")),
        ({}, "batch", ("policy.client", "failed", "AUDIENCE_DENIED")),
    ],
)
async def test_an_explanation_ends_with_what_failed(
    rig: Rig, changes: dict[str, Any], client: str, expected: tuple[str, str, str]
) -> None:
    fetched = len(rig.issuer.requests)
    assert (await explain(rig, ask(rig, **changes), client))[-1] == expected
    assert len(rig.issuer.requests) == fetched  # not even for a kid that is new


async def test_an_explanation_is_for_known_clients_and_the_security_role(rig: Rig) -> None:
    stub: Any = TokenExchangeServiceStub(rig.admin)
    for request, name, code in (
        (pb.ExplainExchangeRequest(exchange=ask(rig), client_id="nobody"), "root", grpc.StatusCode.NOT_FOUND),
        (pb.ExplainExchangeRequest(exchange=ask(rig)), "root", grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ExplainExchangeRequest(client_id="web"), "root", grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ExplainExchangeRequest(exchange=ask(rig), client_id="web"), "guest", grpc.StatusCode.PERMISSION_DENIED),
    ):
        assert (await refusal(stub.ExplainExchange(request, **rig.auth(name)))).code is code


async def test_what_can_not_be_decoded_is_neither_logged_nor_told(rig: Rig, logged: io.StringIO) -> None:
    for path in ("ExchangeToken", "BatchExchangeTokens"):
        call: Any = rig.data.unary_unary(f"/tokenmint.v1.TokenExchangeService/{path}")
        told = await refusal(call(b"\x0a\x7fcanary-4711", **rig.auth("web")))
        assert "canary" not in str(told)
    assert "canary" not in logged.getvalue()


async def test_no_secret_is_in_any_log_error_metric_or_record(rig: Rig, logged: io.StringIO, tmp_path: Path) -> None:
    """Canaries: subject tokens that are accepted or refused, client secrets, private keys, and what is minted."""
    good = ask_the_full_way(rig)
    minted = await rig.exchange.ExchangeToken(good, **rig.auth("web"))
    seen = [str(await refusal(rig.exchange.ExchangeToken(ask(rig, exp=1), **rig.auth("web"))))]
    bad = pb.ExchangeTokenRequest(subject_token="canary-subject-token-4711", audience=AUDIENCE)
    seen.append(str(await refusal(rig.exchange.ExchangeToken(bad, **rig.auth("web")))))
    wrong = (("tokenmint-client-id", "web"), ("tokenmint-client-secret", "tms_canary-secret-4711"))
    seen.append(str(await refusal(rig.exchange.ExchangeToken(good, metadata=wrong, timeout=20))))

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"about {good.subject_token} and canary-exception-4711")

    verifier: Any = rig.parts.exchange.verifier
    verifier.verify = broken
    seen.append(str(await refusal(rig.exchange.ExchangeToken(good, **rig.auth("web")))))
    async with plain_http.client() as http:
        seen.append((await http.get(rig.url("ops", "/metrics"))).text)
        seen.append((await http.get(rig.url("ops", "/readyz"))).text)
    seen += [json.dumps(await events(rig)), logged.getvalue(), repr(rig.settings()), repr(vars(rig.app))]
    sealed = [key.sealed or "" for key in rig.parts.signing_keys.ring.keys]
    secrets = [secret.reveal() for secret in rig.secrets.values()]
    canaries = [good.subject_token, good.subject_token.split(".")[2], minted.token, minted.token.split(".")[2]]
    canaries += [*secrets, *filter(None, sealed), (tmp_path / "kek").read_text(), "canary-"]
    assert '"kind":"exchange"' in logged.getvalue() or "exchange" in logged.getvalue()
    for canary in canaries:
        assert not any(canary in text for text in seen), canary[:12]

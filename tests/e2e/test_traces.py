"""Traces of whole calls: W3C Trace Context comes in, audit events and log lines name it, spans go to a collector."""

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests import plain_http
from tests.collector import Collector, attributes, over_grpc, over_http
from tests.e2e.test_audit import events
from tests.polling import until
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.process.state import watch_state
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
EXCHANGE = "tokenmint.v1.TokenExchangeService/ExchangeToken"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
OAUTH = '[oauth]\nenabled = true\n[envoy]\nenabled = true\naudience = "https://orders.example"\n'


def tracing(collector: Collector, **more: Any) -> str:
    """The table of the configuration."""
    values = {"endpoint": collector.url, "ratio": 0, "interval": "100ms", "timeout": "5s", **more}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    return f"{OAUTH}[tracing]\n{lines}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with over_grpc() as running:
        yield running


@pytest.fixture
async def rig(serve: Serve, transport: str, collector: Collector, logged: io.StringIO) -> AsyncIterator[Rig]:
    async with serve(tracing(collector), transport=transport) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


def called(rig: Rig, *metadata: tuple[str, str], name: str = "web") -> dict[str, Any]:
    """Arguments of a call with further metadata."""
    auth = rig.auth(name)
    return {**auth, "metadata": (*auth["metadata"], *metadata)}


async def flushed(rig: Rig) -> None:
    """Send the spans that wait."""
    export = rig.parts.tracing.export
    assert export is not None
    await export.flush()


async def traces(rig: Rig) -> list[tuple[Any, Any]]:
    """The ids in the events of exchanges."""
    return [(event.get("trace_id"), event.get("span_id")) for event in await events(rig) if event["kind"] == "exchange"]


async def test_a_sampled_call_becomes_a_span_with_a_child_for_each_step(rig: Rig, collector: Collector) -> None:
    state = "vendor=1,other@tenant=x"
    token = rig.request()
    await rig.exchange.ExchangeToken(token, **called(rig, ("traceparent", SAMPLED), ("tracestate", state)))
    await flushed(rig)
    (call,) = collector.of_calls()
    assert (call.trace_id.hex(), call.parent_span_id.hex(), call.trace_state) == (TRACE, CALLER, state)
    assert call.name == EXCHANGE
    assert attributes(call) == {
        "rpc.system.name": "grpc", "rpc.method": EXCHANGE, "rpc.response.status_code": "OK",
        "tokenmint.client.id": "web", "tokenmint.provider": "idp", "tokenmint.audience": AUDIENCE,
    }  # fmt: skip
    steps = [span for span in collector.children(call) if span.kind == Span.SPAN_KIND_INTERNAL]
    explained = [
        "policy.client", "assertion.form", "assertion.issuer", "assertion.kind", "assertion.signature",
        "assertion.times", "assertion.audience", "assertion.nonce", "assertion.claims", "profile.find",
        "policy.provider", "profile.missing", "policy.decision", "minting",
    ]  # fmt: skip
    assert [step.name for step in steps] == explained
    times = [time for step in steps for time in (step.start_time_unix_nano, step.end_time_unix_nano)]
    assert times == sorted(times)
    assert call.start_time_unix_nano <= times[0]
    assert times[-1] <= call.end_time_unix_nano
    assert all(span.trace_id.hex() == TRACE for span in collector.spans)
    assert await traces(rig) == [(TRACE, call.span_id.hex())]
    assert collector.resource["service.name"] == "tokenmint"
    assert token.subject_token.encode() not in b"".join(one.SerializeToString() for one in collector.requests)


async def test_requests_to_the_store_are_spans_below_their_step(rig: Rig, collector: Collector) -> None:
    rig.parts.near._entries.clear()
    await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", SAMPLED)))
    await flushed(rig)
    reads = [span for span in collector.spans if span.name == "store read"]
    assert reads
    assert attributes(reads[0]) == {"db.system.name": "redis", "db.operation.name": "read"}
    parents = {span.span_id: span.name for span in collector.spans}
    assert "profile.find" in {parents[span.parent_span_id] for span in reads}


async def test_a_call_that_is_not_sampled_stays_on_the_fast_way_and_is_recorded_with_its_trace(
    rig: Rig, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[Any] = []
    one = rig.parts.exchanges.one

    async def counted(*arguments: Any) -> Any:
        full.append(arguments)
        return await one(*arguments)

    monkeypatch.setattr(rig.parts.exchanges, "one", counted)
    for traceparent, taken in ((NOT_SAMPLED, 0), (SAMPLED, 1)):
        await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", traceparent)))
        assert len(full) == taken, "a sampled call takes the full way, and no other"
    await flushed(rig)
    assert len(collector.of_calls()) == 1
    first, second = await traces(rig)
    assert first == (TRACE, CALLER)
    assert second == (TRACE, collector.of_calls()[0].span_id.hex())


async def test_a_refused_call_says_the_reason_and_the_step_but_no_text_of_its_caller(
    rig: Rig, collector: Collector, logged: io.StringIO
) -> None:
    foreign = "https://foreign.example/tms_secret"
    request = rig.request(rig.issuer.token(rig.clock.now(), sub="nobody-knows-me"))
    await refusal(rig.exchange.ExchangeToken(request, **called(rig, ("traceparent", SAMPLED))))
    await refusal(rig.exchange.ExchangeToken(rig.request(audience=foreign), **called(rig, ("traceparent", SAMPLED))))
    await flushed(rig)
    first, second = collector.of_calls()
    assert attributes(first)["tokenmint.reason"] == "PRINCIPAL_UNKNOWN"
    assert attributes(second)["tokenmint.reason"] == "AUDIENCE_DENIED"
    (failed,) = (span for span in collector.children(first) if span.status.code == Status.STATUS_CODE_ERROR)
    assert failed.name == "profile.missing"
    assert attributes(failed) == {"error.type": "PRINCIPAL_UNKNOWN"}
    assert first.status.code == Status.STATUS_CODE_UNSET  # the caller's fault, by the conventions
    sent = b"".join(one.SerializeToString() for one in collector.requests)
    for text in (foreign, "nobody-knows-me", "1842", "ada@example.com", request.subject_token[:40]):
        assert text.encode() not in sent, text
    assert [trace for trace, _ in await traces(rig)] == [TRACE, TRACE]
    assert f"{TRACE}" in logged.getvalue()


def exemplars(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return the exemplars in OpenMetrics, each with its metric and method."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]  # type: ignore[no-untyped-call]  # the library is untyped
    return [(one.name, one.labels["method"], one.exemplar.labels) for one in samples if getattr(one, "exemplar", None)]


async def scraped(rig: Rig, accept: str) -> tuple[str, str]:
    async with plain_http.client() as http:
        answer = await http.get(rig.url("ops", "/metrics"), headers={"accept": accept})
    return answer.headers["content-type"], answer.text


async def test_the_duration_of_a_span_has_an_exemplar_in_openmetrics_alone(rig: Rig, collector: Collector) -> None:
    await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", NOT_SAMPLED)))
    await refusal(rig.exchange.ExchangeToken(rig.request(), metadata=(("traceparent", SAMPLED),), timeout=20))
    kind, text = await scraped(rig, "application/openmetrics-text; version=1.0.0")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert exemplars(text) == []
    await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", SAMPLED)))
    await flushed(rig)
    (call,) = collector.of_calls()
    _, text = await scraped(rig, "text/plain;q=0.5, Application/OpenMetrics-Text")
    ids = {"trace_id": TRACE, "span_id": call.span_id.hex()}
    assert exemplars(text) == [("tokenmint_call_seconds_bucket", f"/{EXCHANGE}", ids)]
    for accept in ("text/plain", "*/*", ""):
        kind, text = await scraped(rig, accept)
        assert (kind, TRACE in text) == ("text/plain; version=0.0.4; charset=utf-8", False)


async def test_callers_that_did_not_authenticate_make_no_spans(rig: Rig, collector: Collector) -> None:
    wrong = (("tokenmint-client-id", "web"), ("tokenmint-client-secret", "wrong"), ("traceparent", SAMPLED))
    await refusal(rig.exchange.ExchangeToken(rig.request(), metadata=wrong, timeout=20))
    await rig.key_set.GetKeySet(GetKeySetRequest(), metadata=(("traceparent", SAMPLED),), timeout=20)
    await flushed(rig)
    assert collector.spans == []


async def test_an_operators_change_names_the_trace_before_and_after_it(rig: Rig, collector: Collector) -> None:
    request = profiles_pb.CreateProfileRequest(profile=person("eve", "77"))
    await rig.profiles.CreateProfile(request, **called(rig, ("traceparent", SAMPLED), name="root"))
    await flushed(rig)
    (call,) = collector.of_calls()
    assert attributes(call)["tokenmint.operator.id"] == "root"
    named = [event for event in await events(rig) if event.get("principal") == "eve"]
    assert [event["outcome"] for event in named] == ["begun", "done"]
    assert {(event["trace_id"], event["span_id"]) for event in named} == {(TRACE, call.span_id.hex())}


async def test_a_gateways_check_continues_the_trace_of_the_checked_request(rig: Rig, collector: Collector) -> None:
    def check(**headers: str) -> envoy.CheckRequest:
        request = envoy.CheckRequest()
        request.attributes.request.http.headers["authorization"] = f"Bearer {rig.request().subject_token}"
        for name, value in headers.items():
            request.attributes.request.http.headers[name] = value
        return request

    def asked(*metadata: tuple[str, str]) -> Any:
        method = rig.data.unary_unary(
            "/envoy.service.auth.v3.Authorization/Check",
            request_serializer=envoy.CheckRequest.SerializeToString,
            response_deserializer=envoy.CheckResponse.FromString,
        )
        return lambda request: method(request, **called(rig, *metadata))

    await asked()(check(traceparent=SAMPLED))
    own = SAMPLED.replace(CALLER, "b" * 16)
    await asked(("traceparent", own))(check(traceparent=SAMPLED))
    await asked()(check(traceparent="00-" + "0" * 32 + f"-{CALLER}-01"))
    await flushed(rig)
    parents = [span.parent_span_id.hex() for span in collector.of_calls()]
    assert parents == [CALLER, "b" * 16], "the gateway's own span is the nearer one"
    assert [trace for trace, _ in await traces(rig)] == [TRACE, TRACE, None]


def form(rig: Rig) -> bytes:
    return urlencode(
        {
            "grant_type": GRANT, "subject_token": rig.request().subject_token, "subject_token_type": ID_TOKEN,
            "audience": AUDIENCE,
        }
    ).encode()  # fmt: skip


async def test_over_http_a_request_becomes_a_span_or_stays_on_the_fast_way(rig: Rig, collector: Collector) -> None:
    pair = base64.b64encode(f"web:{rig.secrets['web'].reveal()}".encode()).decode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {pair}"}
    async with plain_http.client(base_url=rig.url("http", ""), headers=headers) as http:
        for traceparent in (NOT_SAMPLED, NOT_SAMPLED.replace(CALLER, "c" * 16), SAMPLED):
            answer = await http.post("/oauth2/token", content=form(rig), headers={"traceparent": traceparent})
            assert answer.status_code == 200
        await http.post("/oauth2/introspect", content=b"token=unknown", headers={"traceparent": SAMPLED})
    await flushed(rig)
    token, introspect = collector.of_calls()
    assert (token.name, introspect.name) == ("POST /oauth2/token", "POST /oauth2/introspect")
    assert attributes(token) == {
        "http.request.method": "POST", "http.route": "/oauth2/token", "url.path": "/oauth2/token", "url.scheme": "http",
        "http.response.status_code": 200, "tokenmint.client.id": "web", "tokenmint.provider": "idp",
        "tokenmint.audience": AUDIENCE,
    }  # fmt: skip
    assert [span for _, span in await traces(rig)] == [
        CALLER, "c" * 16, token.span_id.hex(), introspect.span_id.hex()
    ]  # fmt: skip


async def test_without_an_export_a_callers_trace_is_still_in_audit_and_log(
    serve: Serve, transport: str, logged: io.StringIO
) -> None:
    async with serve(transport=transport) as rig:
        await rig.create(person("ada", "1842"))
        for metadata in (("traceparent", SAMPLED), ("traceparent", "00-" + "g" * 32 + f"-{CALLER}-01")):
            await rig.exchange.ExchangeToken(rig.request(), **called(rig, metadata))
        await refusal(rig.exchange.ExchangeToken(rig.request("x"), **called(rig, ("traceparent", SAMPLED))))
        assert await traces(rig) == [(TRACE, CALLER), (None, None), (TRACE, CALLER)]
        assert rig.parts.tracing.export is None
        assert "ggg" not in logged.getvalue()


async def test_roots_are_sampled_by_their_ratio_and_the_limit_holds_for_all(
    serve: Serve, transport: str, collector: Collector
) -> None:
    """One of the four places is for the operator who creates the profile."""
    async with serve(tracing(collector, ratio=1, calls_per_second=4), transport=transport) as rig:
        await rig.create(person("ada", "1842"))
        for _ in range(5):
            await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
        await flushed(rig)
        exchanges = [span for span in collector.of_calls() if span.name == EXCHANGE]
        assert len(exchanges) == 3
        assert all(span.parent_span_id == b"" for span in exchanges)
        assert len({span.trace_id for span in exchanges}) == 3
        recorded = [trace for trace, _ in await traces(rig) if trace is not None]
        assert recorded == [span.trace_id.hex() for span in exchanges]


async def test_over_http_spans_are_sent_with_headers_of_a_file(serve: Serve, transport: str) -> None:
    (serve.directory / "headers").write_text("authorization: Bearer collector-secret\nx-tenant: a\n")
    with over_http() as collector:
        extra = tracing(collector, protocol="http/protobuf", headers_file="headers", service_name="mint")
        async with serve(extra, transport=transport) as rig:
            await rig.create(person("ada", "1842"))
            await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", SAMPLED)))
            await flushed(rig)
        assert collector.paths[0] == "/v1/traces"
        assert collector.metadata[0]["authorization"] == "Bearer collector-secret"
        assert collector.metadata[0]["content-type"] == "application/x-protobuf"
        assert collector.of_calls()[0].trace_id.hex() == TRACE
        assert collector.resource["service.name"] == "mint"


async def test_a_collector_that_is_away_costs_no_call_and_is_shown(serve: Serve, transport: str) -> None:
    with over_grpc() as gone:
        extra = tracing(gone, queue_spans=512, timeout="500ms", calls_per_second=1000)
    async with serve(extra, transport=transport) as rig:
        await rig.create(person("ada", "1842"))
        for _ in range(40):
            await rig.exchange.ExchangeToken(rig.request(), **called(rig, ("traceparent", SAMPLED)))
        export = rig.parts.tracing.export
        assert export is not None

        async def failed() -> bool:
            return "collector" in rig.base.readiness.details().get("tracing", "")

        await until(failed)
        assert export.dropped > 0
        assert len(export) <= 512
        assert rig.base.readiness.problems() == {}
        watch_state(rig.parts)
        metrics = rig.base.metrics.render().decode()
        assert 'tokenmint_spans_total{outcome="dropped"}' in metrics

"""One trace from a client through a real Envoy and tokenmint to the audit event, with a collector's stand-in."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.collector import Collector, attributes, over_grpc
from tests.envoy import binary
from tests.interop.test_envoy_exchange import CONFIG, EXAMPLE, OURS, Setting, application, gateway
from tests.issuer import Issuer, serving
from tests.polling import wait_until
from tests.process import CLIENT, Service

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
CHECK = "envoy.service.auth.v3.Authorization/Check"
OURS_TRACED = """
[tracing]
endpoint = "{url}"
ratio = 0
interval = "100ms"
"""
ENVOYS_TRACER = """
                tracing:
                  provider:
                    name: envoy.tracers.opentelemetry
                    typed_config:
                      "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                      grpc_service: {{ envoy_grpc: {{ cluster_name: collector }}, timeout: 2s }}
                      service_name: edge
"""
ENVOYS_CLUSTER = """
    - name: collector
      type: STATIC
      connect_timeout: 2s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{ http2_protocol_options: {{}} }}
      load_assignment:
        cluster_name: collector
        endpoints:
          - lb_endpoints:
              - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}
"""


@pytest.fixture(scope="module")
def envoy_binary() -> Path:
    return binary()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with over_grpc() as running:
        yield running


def traced(example: str, collector: Collector) -> str:
    """The example with Envoy's own tracer at the edge."""
    place = "                stat_prefix: edge\n"
    assert example.count(place) == 1
    text = example.replace(place, place + ENVOYS_TRACER.format().lstrip("\n"))
    return text.rstrip("\n") + ENVOYS_CLUSTER.format(port=collector.url.rpartition(":")[2])


@pytest.fixture(params=["the example", "with Envoy's own spans"])
def setting(
    envoy_binary: Path, tmp_path: Path, collector: Collector, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Setting]:  # fmt: skip
    if request.param == "with Envoy's own spans":
        monkeypatch.setattr("tests.interop.test_envoy_exchange.EXAMPLE", traced(EXAMPLE, collector))
    with serving(Issuer()) as issuer, application() as backend:
        ours = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{CLIENT.fingerprint()}", OURS)
        text = CONFIG.format(issuer=issuer.url) + ours + OURS_TRACED.format(url=collector.url)
        (tmp_path / "tokenmint.toml").write_text(text)
        with Service(tmp_path) as service, gateway(envoy_binary, tmp_path, service, backend) as url:
            yield Setting(url, issuer, service)


def audited(service: Service) -> list[dict[str, Any]]:
    """The audit events in the service's log."""
    lines = [json.loads(line) for line in service.errors.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "audit"]


def test_one_trace_id_goes_through_client_envoy_tokenmint_and_audit_event(
    setting: Setting, collector: Collector, request: pytest.FixtureRequest
) -> None:
    token = setting.issuer.token(time.time())
    answer = setting.get("/orders/1", token, traceparent=SAMPLED, tracestate="vendor=1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["traceparent"].split("-")[1] == TRACE, "the service behind continues the same trace"
    wait_until(lambda: [span for span in collector.of_calls() if span.name == CHECK])
    (call,) = (span for span in collector.of_calls() if span.name == CHECK)
    assert call.trace_id.hex() == TRACE
    assert attributes(call)["tokenmint.client.id"] == "gateway"
    assert "minting" in {span.name for span in collector.children(call)}
    wait_until(lambda: audited(setting.service))
    (event,) = audited(setting.service)
    assert (event["trace_id"], event["span_id"], event["outcome"]) == (TRACE, call.span_id.hex(), "done")
    if "Envoy" in request.node.callspec.id:
        wait_until(lambda: call.parent_span_id in {span.span_id for span in collector.spans})
        parents = {span.span_id: span for span in collector.spans}
        above, chain = call, []
        while above.parent_span_id in parents:
            above = parents[above.parent_span_id]
            chain.append(above)
        assert chain, "a span of Envoy is above ours"
        assert chain[-1].parent_span_id.hex() == CALLER, "and the client's above all"
    else:
        assert (call.parent_span_id.hex(), call.trace_state) == (CALLER, "vendor=1")


def test_a_client_that_does_not_sample_is_in_the_audit_event_alone(setting: Setting, collector: Collector) -> None:
    answer = setting.get("/orders/1", setting.issuer.token(time.time()), traceparent=NOT_SAMPLED)
    assert answer.status_code == 200, answer.text
    wait_until(lambda: audited(setting.service))
    assert [event["trace_id"] for event in audited(setting.service)] == [TRACE]
    assert [span for span in collector.of_calls() if span.name == CHECK] == []

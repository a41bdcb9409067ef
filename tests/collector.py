"""A stand-in for an OpenTelemetry collector: it decodes real OTLP, over gRPC and over HTTP."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests import http_servers
from tests.http_servers import Handler
from tests.tls import Authority

EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """The spans that arrived, and what came with them."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[pb.ExportTraceServiceRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.code = grpc.StatusCode.OK
        """The answer over gRPC ..."""
        self.status = 200
        """... and over HTTP."""
        self.body = b""
        """The body of the answer over HTTP."""
        self.rejects = 0
        self.asked = 0
        """Requests that arrived, also those that were not taken."""
        self.go_on = threading.Event()
        """Answers wait for it."""
        self.go_on.set()

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scoped in resource.scope_spans
            for span in scoped.spans
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of the resource that came last."""
        return attributes(self.requests[-1].resource_spans[0].resource)

    def of_calls(self) -> list[Span]:
        """The spans of calls alone."""
        return [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    def children(self, parent: Span) -> list[Span]:
        """The spans below another one."""
        return [span for span in self.spans if span.parent_span_id == parent.span_id]

    def took(self, request: pb.ExportTraceServiceRequest) -> bytes:
        """Take a request; return the response."""
        self.requests.append(request)
        response = pb.ExportTraceServiceResponse()
        response.partial_success.rejected_spans = self.rejects
        encoded: bytes = response.SerializeToString()
        return encoded


def attributes(of: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@contextmanager
def over_grpc(tls: Authority | None = None) -> Iterator[Collector]:
    """Run one that speaks gRPC; with an authority by TLS."""
    collector = Collector()

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        collector.asked += 1
        collector.go_on.wait(20)
        collector.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        if collector.code is not grpc.StatusCode.OK:
            context.abort(collector.code, "tms_not-to-be-shown")
        return collector.took(pb.ExportTraceServiceRequest.FromString(body))

    threads = ThreadPoolExecutor(4)
    server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
    handler: Any = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, {"Export": handler}),))
    if tls is None:
        port, scheme = server.add_insecure_port("127.0.0.1:0"), "http"
    else:
        certificate, key = tls.issue("collector", "localhost", "127.0.0.1")
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        scheme = "https"
    server.start()
    collector.url = f"{scheme}://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        collector.go_on.set()
        server.stop(None).wait(5)
        threads.shutdown()


@contextmanager
def over_http() -> Iterator[Collector]:
    """Run one that speaks HTTP."""
    collector = Collector()

    class Export(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.asked += 1
            collector.go_on.wait(20)
            collector.paths.append(self.path)
            collector.metadata.append({name.lower(): value for name, value in self.headers.items()})
            if collector.status != 200:
                self.give(collector.status, b"tms_not-to-be-shown")
                return
            response = collector.took(pb.ExportTraceServiceRequest.FromString(body))
            self.give(200, collector.body or response, {"Content-Type": "application/x-protobuf"})

    with http_servers.running(Export) as port:
        collector.url = f"http://127.0.0.1:{port}"
        try:
            yield collector
        finally:
            collector.go_on.set()

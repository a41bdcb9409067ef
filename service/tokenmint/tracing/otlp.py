"""OTLP: spans as protobuf. Needs the extra `otel`, which is imported here alone.

https://opentelemetry.io/docs/specs/otlp/
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from tokenmint.tracing.spans import Kind, Span

_SAMPLED: Final = 0x1
_REMOTE_IS_KNOWN: Final = 0x100
_REMOTE: Final = 0x200
_KINDS: Final = {
    Kind.INTERNAL: pb.Span.SPAN_KIND_INTERNAL,
    Kind.SERVER: pb.Span.SPAN_KIND_SERVER,
    Kind.CLIENT: pb.Span.SPAN_KIND_CLIENT,
}


class Encoder:
    """Encodes spans of one process.

    Args:
        resource: the attributes of the process.
        version: the version of the service.
    """

    def __init__(self, resource: Mapping[str, str], version: str) -> None:
        self._resource = Resource(attributes=_attributes(resource))
        self._scope = InstrumentationScope(name="tokenmint", version=version)

    def encode(self, spans: Sequence[Span]) -> bytes:
        """Return an ExportTraceServiceRequest."""
        scoped = pb.ScopeSpans(scope=self._scope, spans=map(_span, spans))
        message = ExportTraceServiceRequest(
            resource_spans=[pb.ResourceSpans(resource=self._resource, scope_spans=[scoped])]
        )
        encoded: bytes = message.SerializeToString()
        return encoded

    def rejected(self, response: bytes) -> int:
        """Return the number of spans that a collector did not take, by its response; 0 if it is unreadable."""
        try:
            message = ExportTraceServiceResponse.FromString(response)
        except DecodeError:
            return 0
        return max(0, int(message.partial_success.rejected_spans))


def _span(span: Span) -> pb.Span:
    return pb.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        trace_state=span.state,
        flags=_SAMPLED | _REMOTE_IS_KNOWN | (_REMOTE if span.remote_parent else 0),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start,
        end_time_unix_nano=span.end,
        attributes=_attributes(span.attributes),
        status=pb.Status(code=pb.Status.STATUS_CODE_ERROR) if span.failed else None,
    )


def _attributes(values: Mapping[str, str | int]) -> Iterable[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in values.items()
    ]

"""The table `[tracing]`, as operators write it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tokenmint.base.config_values import Seconds, Table


def _fraction(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TracingTable(Table):
    """`[tracing]`: spans of calls, sent to an OpenTelemetry collector by OTLP. Without an endpoint there are none."""

    endpoint: str | None = None
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """None: `grpc`."""
    plaintext: bool = False
    """Lets spans go without TLS beyond loopback: within a mesh, or to an agent on the same node."""
    headers_file: str | None = None
    ca_file: str | None = None
    ratio: Annotated[float, BeforeValidator(_fraction), Field(ge=0, le=1)] = 0.1
    """The share of calls without a caller's trace that become spans."""
    calls_per_second: Annotated[int, Field(ge=1, le=100_000)] = 100
    queue_spans: Annotated[int, Field(ge=512, le=1_000_000)] = 8192
    batch_spans: Annotated[int, Field(ge=1, le=4096)] = 256
    interval: Annotated[Seconds, Field(ge=0.1, le=60)] = 1.0
    timeout: Annotated[Seconds, Field(ge=0.1, le=60)] | None = None
    """None: ten seconds."""
    service_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """None: `tokenmint`."""
    resource: dict[str, str] = Field(default_factory=dict)
    providers: bool = False
    """Sends `traceparent` to providers."""
    environment: bool = False
    """Takes missing values from OpenTelemetry's variables."""

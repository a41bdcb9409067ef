"""The settings of traces, in the types that the export works with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tokenmint.base.http_url import HttpUrl
from tokenmint.model.secret import Secret

OWN_HEADERS: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "transfer-encoding",
        "user-agent",
    }
)
"""Headers that the transport sets."""


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """`[tracing]` with an endpoint."""

    endpoint: HttpUrl
    protocol: Literal["grpc", "http/protobuf"] = "grpc"
    headers: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    """Headers from the environment. Those of ``headers_file`` count before them."""
    headers_file: Path | None = None
    ca_file: Path | None = None
    """The only authorities that are trusted; None: the public ones."""
    ratio: float = 0.1
    """The share of the calls without a caller's trace that become spans."""
    calls_per_second: int = 100
    """Calls that become spans at most, with and without a caller's trace."""
    queue_spans: int = 8192
    batch_spans: int = 256
    interval: float = 1.0
    """Seconds between exports."""
    timeout: float = 10.0
    """Seconds for one export."""
    service_name: str = "tokenmint"
    resource: tuple[tuple[str, str], ...] = ()
    """Further attributes of the resource."""
    providers: bool = False
    """Whether providers get `traceparent`."""


def is_own(name: str) -> bool:
    """Return whether the transport sets this header itself, or reads it otherwise."""
    return name in OWN_HEADERS or name.startswith("grpc-") or name.endswith("-bin")

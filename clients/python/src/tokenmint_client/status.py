"""From gRPC's failures to this package's errors."""

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from tokenmint_client.errors import (
    AccessDenied,
    CallerUnauthenticated,
    DeadlineExceeded,
    InvalidRequest,
    RateLimited,
    SubjectTokenRejected,
    TokenmintError,
    Unavailable,
)

DOMAIN: Final = "tokenmint.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"
_KINDS: Final[dict[str, type[TokenmintError]]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "UNAUTHENTICATED": SubjectTokenRejected,
    "PERMISSION_DENIED": AccessDenied,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


def from_rpc_error(error: grpc.RpcError) -> TokenmintError:
    """Return the error for a failed call."""
    code = error.code()
    status = status_pb2.Status(code=code.value[0], message=error.details() or code.value[1])
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            sent = status_pb2.Status.FromString(value)
            if sent.code == status.code:  # what a proxy made of it does not count
                status = sent
    return from_status(status)


def from_status(status: status_pb2.Status) -> TokenmintError:
    """Return the error for a status, e.g. of one target of a batch."""
    code = _NAMES.get(status.code, "UNKNOWN")
    reason, metadata = code, {}
    retry_after: float | None = None
    violations: dict[str, str] = {}
    for detail in status.details:
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Unpack(bad):
            violations = {item.field: item.description for item in bad.field_violations}
    kind = CallerUnauthenticated if reason == "CALLER_UNAUTHENTICATED" else _KINDS.get(code, TokenmintError)
    return kind(
        status.message, reason=reason, code=code, retry_after=retry_after, violations=violations, metadata=metadata
    )

"""The table from errors to gRPC responses: `google.rpc.Status` with `ErrorInfo` and at most one detail of each kind."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.base import errors, token_errors

DOMAIN: Final = "tokenmint.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""The delay that gRPC's own retries obey (gRFC A6): RetryInfo's, in milliseconds."""

CODES: Final[Mapping[type[errors.TokenmintError], grpc.StatusCode]] = MappingProxyType(
    {
        errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        errors.MalformedCall: grpc.StatusCode.INVALID_ARGUMENT,
        errors.NotGrpc: grpc.StatusCode.UNIMPLEMENTED,
        errors.MessageMissing: grpc.StatusCode.UNIMPLEMENTED,  # gRPC's status codes: request cardinality violation
        errors.TooManyHealthStreams: grpc.StatusCode.UNIMPLEMENTED,
        token_errors.TokenRejected: grpc.StatusCode.UNAUTHENTICATED,
        errors.CallerUnauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        errors.ProofRejected: grpc.StatusCode.UNAUTHENTICATED,
        errors.AccessDenied: grpc.StatusCode.PERMISSION_DENIED,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
        errors.Conflict: grpc.StatusCode.ABORTED,
        errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.DependencyUnavailable: grpc.StatusCode.UNAVAILABLE,
        # "The client should not retry until the system state has been explicitly fixed" (gRPC's guide to status codes).
        errors.KeySetInvalid: grpc.StatusCode.FAILED_PRECONDITION,
        errors.StoreWentBack: grpc.StatusCode.FAILED_PRECONDITION,
        errors.CorruptRecord: grpc.StatusCode.INTERNAL,
        errors.ConfigurationError: grpc.StatusCode.INTERNAL,
    }
)
"""Each class also stands for its subclasses."""


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the code for an error; INTERNAL for errors outside the table."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: BaseException) -> status_pb2.Status:
    """Return the status for an error. An INTERNAL error reveals nothing about itself."""
    code = code_of(error)
    public = isinstance(error, errors.TokenmintError) and code is not grpc.StatusCode.INTERNAL
    message = error.message if isinstance(error, errors.TokenmintError) and public else INTERNAL_MESSAGE
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=errors.TokenmintError.reason, domain=DOMAIN)
    if isinstance(error, errors.TokenmintError):
        info.reason = error.reason
        info.metadata.update(error.metadata if public else {})
    for detail in (info, _detail(error)):
        if detail is not None:
            status.details.add().Pack(detail)
    return status


def _detail(error: BaseException) -> Message | None:
    detail: Message | None = None
    match error:
        case errors.InvalidRequest():
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=item.field, description=item.description)
                for item in error.violations
            ]
            detail = error_details_pb2.BadRequest(field_violations=violations)
        case errors.NotFound() | errors.AlreadyExists():
            detail = error_details_pb2.ResourceInfo(
                resource_type=error.resource_type, resource_name=error.resource_name, description=error.summary
            )
        case errors.WrongState():
            violation = error_details_pb2.PreconditionFailure.Violation(
                type=error.violation, subject=error.subject, description=error.message
            )
            detail = error_details_pb2.PreconditionFailure(violations=[violation])
        case errors.RateLimited() | errors.Overloaded() | errors.DependencyUnavailable():
            delay = Duration()
            delay.FromMilliseconds(max(1, round(error.retry_after * 1000)))
            detail = error_details_pb2.RetryInfo(retry_delay=delay)
    return detail


async def abort(
    context: "grpc.aio.ServicerContext[object, object]", error: BaseException, *, pushback: bool = True
) -> NoReturn:
    """End the call with the status for ``error``; ``pushback`` also sends the delay that gRPC's own retries obey."""
    await context.abort(code_of(error), to_status(error).message, trailing_metadata=trailers(error, pushback=pushback))


def trailers(error: BaseException, *, pushback: bool) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of the status for ``error``; ``pushback`` as of :func:`abort`."""
    trailing: list[tuple[str, str | bytes]] = [(DETAILS_KEY, to_status(error).SerializeToString())]
    if pushback and isinstance(error, errors.DependencyUnavailable):
        trailing.append((PUSHBACK_KEY, str(max(1, round(error.retry_after * 1000)))))
    return tuple(trailing)

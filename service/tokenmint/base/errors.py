"""All errors of the service, as one hierarchy that is independent of gRPC and HTTP.

Each class has a stable ``reason`` (UPPER_SNAKE) for programs, and a ``message`` that is safe to show to an
authenticated caller: it never holds a token, a secret, or text of a foreign exception. ``detail`` is for the operator's
log and for ExplainExchange; no answer of an exchange has it. ``rpc/status.py`` and ``web/oauth_errors.py`` map the
classes to answers. Refusals of tokens are in ``token_errors.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

from tokenmint.base.foreign_text import LONG, clipped, quoted

MAX_VIOLATIONS: Final = 16
"""The largest number of violations in an answer, which is sent as metadata: clients accept 8 KiB of that in all."""


class TokenmintError(Exception):
    """Root of the hierarchy. Only its subclasses are raised.

    Args:
        message: safe to show to an authenticated caller; default: the class's ``summary``.
        detail: the compared values, for operators only. No tokens, no secrets.
        metadata: stable keys and values for programs, sent as ``ErrorInfo.metadata``.
    """

    reason: ClassVar[str] = "INTERNAL"
    summary: ClassVar[str] = "internal error"
    tells: ClassVar[bool] = False
    """Whether the message to an authenticated client includes the ``detail``."""

    def __init__(
        self,
        message: str | None = None,
        *,
        detail: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.message = message or self.summary
        self.detail = detail
        self.metadata = dict(metadata)
        super().__init__(self.message)

    def tell(self) -> None:
        """Add the detail to the message, for an authenticated client, if the class allows it."""
        if self.tells and self.detail and self.detail not in self.message:
            self.message = f"{self.message}: {self.detail}"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One violation of a request: the field's path and the expected content."""

    field: str
    description: str


class InvalidRequest(TokenmintError):
    """The request is malformed; every violation is listed, up to ``MAX_VIOLATIONS``."""

    reason = "INVALID_REQUEST"
    summary = "the request is not valid"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        listed, more = tuple(violations[:MAX_VIOLATIONS]), len(violations) - MAX_VIOLATIONS
        if more > 0:
            listed += (FieldViolation("...", f"{more} more are not listed"),)
        self.violations = listed
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class UnsupportedGrantType(InvalidRequest):
    reason = "UNSUPPORTED_GRANT_TYPE"
    summary = "the grant type is not served"


class MalformedCall(TokenmintError):
    """The call does not have the form that gRPC requires. Subclasses name the fault."""

    reason = "MALFORMED_CALL"
    summary = "the call does not have the form that its method takes"


class NotGrpc(MalformedCall):
    """The call has a content type other than gRPC's. gRPC-Web and Connect are refused too: their framing differs."""

    reason = "CONTENT_TYPE"
    summary = "the content type is not application/grpc: call by gRPC over HTTP/2"


class MalformedMessage(MalformedCall):
    """The bytes of a request are not a message of its type. The message quotes none of them: they may hold a token."""

    reason = "MALFORMED_MESSAGE"
    summary = "the request is not the protobuf message that this method takes"


class MessageMissing(MalformedCall):
    """The caller closed its side without a request: a request cardinality violation in gRPC's status codes."""

    reason = "MESSAGE_MISSING"
    summary = "the call has no message: send exactly one"


class TooManyHealthStreams(TokenmintError):
    """No further client can watch the health. After UNIMPLEMENTED it uses the connection all the same (gRFC A17)."""

    reason = "HEALTH_STREAMS"
    summary = "too many health streams are open: poll Check instead"


# --- the caller -------------------------------------------------------------------------------------------------


class CallerUnauthenticated(TokenmintError):
    """The caller is not authenticated. The message tells only whether a secret was sent; the detail has the cause."""

    reason = "CALLER_UNAUTHENTICATED"
    summary = "the caller is not authenticated: send tokenmint-client-id and tokenmint-client-secret"
    not_accepted = "the caller is not authenticated: client id or secret is not accepted"
    """The message to a caller that sent a secret. It does not tell which of both is wrong."""


class ProofRejected(TokenmintError):
    """The caller's proof of possession for a bound token (DPoP) was refused, or is missing."""

    reason = "PROOF_REJECTED"
    summary = "the proof of possession was refused"


class AccessDenied(TokenmintError):
    """The caller is authenticated but not authorized. Subclasses name the reason."""

    reason = "ACCESS_DENIED"
    summary = "the caller may not do this"


class MethodDenied(AccessDenied):
    reason = "METHOD_DENIED"
    summary = "the caller may not call this method"


class AudienceDenied(AccessDenied):
    """Also the answer for an audience that is not configured, so that callers can't enumerate audiences."""

    reason = "AUDIENCE_DENIED"
    summary = "the caller may not have tokens for this audience"


class ProviderDenied(AccessDenied):
    reason = "PROVIDER_DENIED"
    summary = "tokens of this provider are not exchanged for this audience"


class ScopeDenied(AccessDenied):
    reason = "SCOPE_DENIED"
    summary = "the caller may not have one of the requested scopes for this audience"


class GrantScopesDenied(ScopeDenied):
    """The fault is the grant's, and not the request's: `invalid_grant` (MCP's extension, section 7.6.2)."""

    summary = "the grant has scopes, and none of them can be granted for this audience"


class LifetimeDenied(AccessDenied):
    reason = "LIFETIME_DENIED"
    summary = "the audience does not allow a lifetime that long"


class FormatDenied(AccessDenied):
    reason = "FORMAT_DENIED"
    summary = "the audience does not support tokens of this type"


class PrincipalUnknown(AccessDenied):
    reason = "PRINCIPAL_UNKNOWN"
    summary = "the identity has no profile, and the audience requires one"


class PrincipalDisabled(AccessDenied):
    reason = "PRINCIPAL_DISABLED"
    summary = "the principal is disabled, was deleted, or lost this identity"


class ConditionDenied(AccessDenied):
    reason = "CONDITION_DENIED"
    summary = "a condition of the provider or the audience does not hold"


class ClaimsTooLarge(AccessDenied):
    reason = "CLAIMS_TOO_LARGE"
    summary = "the minted token would be larger than the audience allows: map fewer claims"


class ReexchangeDenied(AccessDenied):
    reason = "REEXCHANGE_DENIED"
    summary = "the audience does not accept this issued token in exchange"


class ActorDenied(AccessDenied):
    reason = "ACTOR_DENIED"
    summary = "the actor may not act for this subject at this audience"


class ConfirmationDenied(AccessDenied):
    reason = "CONFIRMATION_DENIED"
    summary = "this audience does not allow this binding of the token, or requires one"


class TokenDenied(AccessDenied):
    reason = "TOKEN_DENIED"
    summary = "the token was issued to another client"


# --- resources --------------------------------------------------------------------------------------------------


class _ResourceError(TokenmintError):
    def __init__(self, resource_type: str, resource_name: str, message: str | None = None) -> None:
        self.resource_type = resource_type
        self.resource_name = clipped(resource_name, LONG)
        super().__init__(message or f"{resource_type} {quoted(resource_name, LONG)}: {self.summary}")


class NotFound(_ResourceError):
    reason = "NOT_FOUND"
    summary = "it does not exist"


class AlreadyExists(_ResourceError):
    reason = "ALREADY_EXISTS"
    summary = "it exists already"


class WrongState(TokenmintError):
    """The state of the resource does not allow the change. ``violation`` names the rule, ``subject`` the resource."""

    reason = "WRONG_STATE"
    summary = "the state does not allow this"

    def __init__(
        self,
        message: str,
        *,
        violation: str,
        subject: str,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.violation = violation
        self.subject = subject
        super().__init__(message, metadata=metadata)


class Conflict(TokenmintError):
    reason = "CONFLICT"
    summary = "another change came first: read again and retry"


# --- load and dependencies --------------------------------------------------------------------------------------


class _Retryable(TokenmintError):
    """``retry_after`` is in seconds."""

    default_retry_after: ClassVar[float] = 1.0

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, detail: str = "") -> None:
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        super().__init__(message, detail=detail)


class RateLimited(_Retryable):
    reason = "RATE_LIMITED"
    summary = "too many calls: slow down"


class RevocationsFull(RateLimited):
    """The record of the revocation is written, and introspection honours it; watchers are not told."""

    reason = "REVOCATIONS_FULL"
    summary = (
        "revoked for introspection and exchange, but the log of revocations is full: verifiers that watch it are not "
        "told until a retry succeeds"
    )
    default_retry_after = 30.0


class Overloaded(_Retryable):
    """The process has as many calls in hand as it can finish in time. No part of this call was read."""

    reason = "OVERLOADED"
    summary = "the service is at its limit of calls: retry later"


class DeadlinePassed(_Retryable):
    """The caller has stopped waiting, so the call is not started, or not continued."""

    reason = "DEADLINE"
    summary = "the call's deadline has passed"


class TookTooLong(DeadlinePassed):
    """The service has stopped working on the call: it may have been done in part."""

    summary = "the call took longer than the service allows"


class DependencyUnavailable(_Retryable):
    reason = "DEPENDENCY_UNAVAILABLE"
    summary = "a dependency can't be reached: retry later"


class JustRevoked(DependencyUnavailable):
    """A token that is minted now would be covered by a revocation of its client or audience."""

    reason = "JUST_REVOKED"
    summary = "the tokens of this client, or of this audience, were revoked just now: retry in a moment"


class Stopping(DependencyUnavailable):
    """The process is about to end. No part of the call was read."""

    reason = "STOPPING"
    summary = "this replica is stopping and has not started the call: retry at once on another replica"
    default_retry_after = 0.05


class StoreUnavailable(DependencyUnavailable):
    reason = "STORE_UNAVAILABLE"
    summary = "the store can't be reached: retry later"


class OutcomeUnknown(StoreUnavailable):
    reason = "OUTCOME_UNKNOWN"
    summary = "the store did not confirm the change: it may have been made or not; a retry is safe"


class AuditUnavailable(DependencyUnavailable):
    reason = "AUDIT_UNAVAILABLE"
    summary = "neither the log nor the audit stream accepts the audit record of the exchange: retry later"


class KeySetUnavailable(DependencyUnavailable):
    reason = "KEY_SET_UNAVAILABLE"
    summary = "the provider's keys are not available: retry later"


class KeySetInvalid(TokenmintError):
    """The provider publishes an unusable key set. Only the provider can fix it, so no retry delay is named."""

    reason = "KEY_SET_INVALID"
    summary = "the provider's key set can't be used: the service's log gives the reason; a retry does not help"


class SignerUnavailable(DependencyUnavailable):
    reason = "SIGNER_UNAVAILABLE"
    summary = "no confirmed signing key is available: retry later"


class ClockWrong(DependencyUnavailable):
    """Another replica may answer, if its clock agrees with the store's."""

    reason = "CLOCK_WRONG"
    summary = "this replica's clock and the store's disagree, so it neither signs nor accepts tokens: retry later"
    default_retry_after = 5.0


class StoreWentBack(TokenmintError):
    """Neither a retry nor another replica helps: an operator has to act."""

    reason = "STORE_WENT_BACK"
    summary = "the store lost changes: nothing is exchanged until an operator restores the store or accepts the loss"


# --- the set-up of the service -----------------------------------------------------------------------------------


class CorruptRecord(TokenmintError):
    """A value in the store differs from the value that was written. ``detail`` names its key."""

    reason = "CORRUPT_RECORD"
    summary = "a stored record can't be read; the service's log names the record"


class ConfigurationError(TokenmintError):
    """The configuration can't be used; every problem is listed, each with a remedy."""

    reason = "CONFIGURATION"
    summary = "the configuration can't be used"

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

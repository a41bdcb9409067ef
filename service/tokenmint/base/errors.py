"""What can go wrong, as one hierarchy. Knows nothing of gRPC or HTTP.

Each class has a stable ``reason`` (UPPER_SNAKE) that callers may branch on, and a ``message`` that is safe to show
to an authenticated caller: it never holds a token, a secret, or text of a foreign exception. ``detail`` is for the
operator's log and for ExplainExchange; it never leaves the data plane. ``rpc/status.py`` and ``web/oauth_errors.py``
hold the tables that map the classes to answers. Refusals of tokens are in ``token_errors.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

from tokenmint.base.foreign_text import LONG, clipped, quoted

MAX_VIOLATIONS: Final = 16
"""How many of a request's mistakes are listed: an answer is metadata, of which clients take 8 KiB in all."""


class TokenmintError(Exception):
    """Root of the hierarchy. Only its subclasses are raised.

    Args:
        message: safe to show to an authenticated caller; default: the class's ``summary``.
        detail: what exactly was compared with what, for operators only. No tokens, no secrets.
        metadata: stable keys and values for programs, sent as ``ErrorInfo.metadata``.
    """

    reason: ClassVar[str] = "INTERNAL"
    summary: ClassVar[str] = "internal error"

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


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with a request: the field's path, and what was expected of it."""

    field: str
    description: str


class InvalidRequest(TokenmintError):
    """The request can't be meant: its violations are listed at once, up to ``MAX_VIOLATIONS`` of them."""

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
    """The call is not one that gRPC knows for its method. Subclasses say in which way."""

    reason = "MALFORMED_CALL"
    summary = "the call is not what its method takes"


class NotGrpc(MalformedCall):
    """The call has another content type than gRPC's; of gRPC-Web and Connect, too, the framing is another."""

    reason = "CONTENT_TYPE"
    summary = "the content type is not application/grpc: call by gRPC over HTTP/2"


class MalformedMessage(MalformedCall):
    """The bytes of a request are no message of its type. Nothing is said of them: they may hold a token."""

    reason = "MALFORMED_MESSAGE"
    summary = "the request is not the protobuf message that this method takes"


class MessageMissing(MalformedCall):
    """The caller ended its side without a request: gRPC's status codes call it a request cardinality violation."""

    reason = "MESSAGE_MISSING"
    summary = "the call brought no message: send exactly one"


# --- the caller -------------------------------------------------------------------------------------------------


class CallerUnauthenticated(TokenmintError):
    """The caller was not proved. Always answered with the same words, whatever was wrong."""

    reason = "CALLER_UNAUTHENTICATED"
    summary = "the caller is not authenticated: send tokenmint-client-id and tokenmint-client-secret"


class ProofRejected(TokenmintError):
    """The proof that a caller holds the key of a bound token (DPoP) was refused, or is missing."""

    reason = "PROOF_REJECTED"
    summary = "the proof of possession was refused"


class AccessDenied(TokenmintError):
    """The caller is known and may not have this. Subclasses say what."""

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
    summary = "the caller may not have a requested scope for this audience"


class LifetimeDenied(AccessDenied):
    reason = "LIFETIME_DENIED"
    summary = "the audience does not allow tokens that live so long"


class FormatDenied(AccessDenied):
    reason = "FORMAT_DENIED"
    summary = "the audience is not served with tokens of this type"


class PrincipalUnknown(AccessDenied):
    reason = "PRINCIPAL_UNKNOWN"
    summary = "the identity has no profile, and the audience asks for one"


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
    summary = "the audience is not served in exchange for this token of tokenmint's own"


class ActorDenied(AccessDenied):
    reason = "ACTOR_DENIED"
    summary = "the actor may not act for this subject at this audience"


class ConfirmationDenied(AccessDenied):
    reason = "CONFIRMATION_DENIED"
    summary = "the token can't be bound to this key, or to none, for this audience"


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
    summary = "there is none"


class AlreadyExists(_ResourceError):
    reason = "ALREADY_EXISTS"
    summary = "there is one already"


class WrongState(TokenmintError):
    """The resource's state does not allow the change. ``violation`` names the rule, ``subject`` the resource."""

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


class Overloaded(_Retryable):
    """The process has as many calls in hand as it can finish in time. Nothing of this one was looked at."""

    reason = "OVERLOADED"
    summary = "the service has as much to do as it can: retry later"


class DeadlinePassed(_Retryable):
    """The caller has stopped waiting, so the call is not begun, or not gone on with."""

    reason = "DEADLINE"
    summary = "the call's deadline has passed"


class DependencyUnavailable(_Retryable):
    reason = "DEPENDENCY_UNAVAILABLE"
    summary = "something that the answer needs can't be reached: retry later"


class Stopping(DependencyUnavailable):
    """The process is about to end. Nothing of the call was looked at."""

    reason = "STOPPING"
    summary = "this replica is stopping and has not begun the call: retry at once, on another one"
    default_retry_after = 0.05


class StoreUnavailable(DependencyUnavailable):
    reason = "STORE_UNAVAILABLE"
    summary = "the store can't be reached: retry later"


class OutcomeUnknown(StoreUnavailable):
    reason = "OUTCOME_UNKNOWN"
    summary = "the store did not confirm the change: it may or may not have been made; a retry is safe"


class AuditUnavailable(DependencyUnavailable):
    reason = "AUDIT_UNAVAILABLE"
    summary = "neither the log nor the audit stream takes the record that an exchange has to have: retry later"


class KeySetUnavailable(DependencyUnavailable):
    reason = "KEY_SET_UNAVAILABLE"
    summary = "the provider's keys are not at hand: retry later"


class KeySetInvalid(TokenmintError):
    """What a provider publishes is at fault. No retry cures that, so no delay is named: somebody has to mend it."""

    reason = "KEY_SET_INVALID"
    summary = "what the provider publishes as its keys can't be used: the service's log says why; a retry can't help"


class SignerUnavailable(DependencyUnavailable):
    reason = "SIGNER_UNAVAILABLE"
    summary = "no confirmed signing key is at hand: retry later"


class ClockWrong(DependencyUnavailable):
    """Another replica, whose clock agrees with the store's, may answer."""

    reason = "CLOCK_WRONG"
    summary = "this replica's clock and the store's disagree, so that it signs and proves nothing: retry later"
    default_retry_after = 5.0


class StoreWentBack(TokenmintError):
    """No retry helps, and no other replica: an operator has to act."""

    reason = "STORE_WENT_BACK"
    summary = "the store lost changes: nothing is exchanged until an operator has restored or accepted it"


# --- the service's own set-up -----------------------------------------------------------------------------------


class CorruptRecord(TokenmintError):
    """A value in the store is not what was written there. ``detail`` names its key."""

    reason = "CORRUPT_RECORD"
    summary = "a stored record can't be read; the service's log names it"


class ConfigurationError(TokenmintError):
    """The configuration can't be used: every problem is listed at once, each with the way out."""

    reason = "CONFIGURATION"
    summary = "the configuration can't be used"

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

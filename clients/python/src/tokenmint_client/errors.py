"""Errors as types, each with the stable ``reason`` that programs branch on.

Two families: :class:`TokenmintError` for what tokenmint answered (or that it did not), and
:class:`VerificationError` for a token that was not accepted offline.
"""

from collections.abc import Mapping
from types import MappingProxyType


class TokenmintError(Exception):
    """A call to tokenmint failed.

    Attributes:
        reason: ``ErrorInfo.reason`` of the answer, e.g. ``EXPIRED``; where it has none, the gRPC code's name.
        code: the gRPC code's name, e.g. ``UNAUTHENTICATED``.
        message: for people; holds no token and no secret.
        retry_after: seconds after which a retry makes sense, or None.
        violations: the fields of the request that were refused, with what was expected of each.
        metadata: further keys and values for programs.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        code: str,
        retry_after: float | None = None,
        violations: Mapping[str, str] = MappingProxyType({}),
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.message = message
        self.reason = reason
        self.code = code
        self.retry_after = retry_after
        self.violations = dict(violations)
        self.metadata = dict(metadata)


class InvalidRequest(TokenmintError):
    """The request can't be meant: ``violations`` lists every field that is wrong."""


class SubjectTokenRejected(TokenmintError):
    """The subject token was not proved: the user has to sign in again, or the caller sent the wrong token."""


class CallerUnauthenticated(TokenmintError):
    """This client was not proved: its credential is wrong."""


class AccessDenied(TokenmintError):
    """The policy does not allow this exchange."""


class RateLimited(TokenmintError):
    """Too many calls: ``retry_after`` says when to come back."""


class Unavailable(TokenmintError):
    """Tokenmint, or something that it needs, can't be reached; the retries were used up."""


class DeadlineExceeded(TokenmintError):
    """There was no answer within the time that the call was given."""


class VerificationError(Exception):
    """A token was not accepted.

    Attributes:
        reason: one of ``MALFORMED``, ``UNSUPPORTED_TOKEN_TYPE``, ``ALGORITHM_NOT_ALLOWED``, ``UNKNOWN_KEY``,
            ``BAD_SIGNATURE``, ``EXPIRED``, ``NOT_YET_VALID``, ``UNKNOWN_ISSUER``, ``WRONG_AUDIENCE``,
            ``CLAIM_REJECTED``, ``POSSESSION_NOT_PROVED``, ``PROOF_REJECTED``, ``NONCE_REQUIRED``, ``REVOKED``,
            ``KEY_SET_UNAVAILABLE``, ``REVOCATIONS_UNAVAILABLE``, ``STATUS_LIST_UNAVAILABLE``,
            ``UNAVAILABLE``.
        message: for people; holds no token.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class TokenRejected(VerificationError):
    """The token is not good: its sender needs another one."""


class KeySetUnavailable(VerificationError):
    """Nothing can be said of the token: the keys that it would be verified with can't be fetched."""

    def __init__(self, message: str) -> None:
        super().__init__("KEY_SET_UNAVAILABLE", message)


class RevocationsUnavailable(KeySetUnavailable):
    """Nothing can be said of the token: whether it was revoked is not known, and the verifier is to refuse it then."""

    def __init__(self, message: str) -> None:
        VerificationError.__init__(self, "REVOCATIONS_UNAVAILABLE", message)


class ReplayMemoryFull(VerificationError):
    """Nothing can be said of the token: its proof can't be remembered, and a forgotten one could be replayed."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", "too many proofs within a minute: none can be remembered")


class StatusListUnavailable(KeySetUnavailable):
    """Nothing can be said of the token: the list that tells whether it was revoked can't be had."""

    def __init__(self, message: str) -> None:
        VerificationError.__init__(self, "STATUS_LIST_UNAVAILABLE", message)

package tokenmint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason says why something was refused: stable, upper snake case, made to branch on. The service may know further
// ones. Where an answer has none (a deadline, no connection) it is the name of the gRPC code, e.g. DEADLINE_EXCEEDED.
type Reason string

// Why a token was refused, by the service or by a [Verifier].
const (
	Malformed            Reason = "MALFORMED"
	UnknownIssuer        Reason = "UNKNOWN_ISSUER"
	UnsupportedTokenType Reason = "UNSUPPORTED_TOKEN_TYPE"
	AlgorithmNotAllowed  Reason = "ALGORITHM_NOT_ALLOWED"
	UnknownKey           Reason = "UNKNOWN_KEY"
	BadSignature         Reason = "BAD_SIGNATURE"
	Expired              Reason = "EXPIRED"
	NotYetValid          Reason = "NOT_YET_VALID"
	TooOld               Reason = "TOO_OLD"
	WrongAudience        Reason = "WRONG_AUDIENCE"
	ClaimRejected        Reason = "CLAIM_REJECTED"
	WrongNonce           Reason = "WRONG_NONCE"
	Replayed             Reason = "REPLAYED"
	Revoked              Reason = "REVOKED"
	KeySetUnavailable    Reason = "KEY_SET_UNAVAILABLE"
	PossessionNotProved  Reason = "POSSESSION_NOT_PROVED"
	ProofRejected        Reason = "PROOF_REJECTED"
	NonceRequired        Reason = "NONCE_REQUIRED"

	// RevocationsUnavailable: a [Verifier] can't tell whether the token was revoked.
	RevocationsUnavailable Reason = "REVOCATIONS_UNAVAILABLE"

	// StatusListUnavailable: a [Verifier] can't have the list that tells whether the token was revoked.
	StatusListUnavailable Reason = "STATUS_LIST_UNAVAILABLE"
)

// Why the service refused an exchange that is not the token's fault.
const (
	InvalidRequest        Reason = "INVALID_REQUEST"
	CallerUnauthenticated Reason = "CALLER_UNAUTHENTICATED"
	AccessDenied          Reason = "ACCESS_DENIED"
	AudienceDenied        Reason = "AUDIENCE_DENIED"
	ProviderDenied        Reason = "PROVIDER_DENIED"
	ScopeDenied           Reason = "SCOPE_DENIED"
	LifetimeDenied        Reason = "LIFETIME_DENIED"
	FormatDenied          Reason = "FORMAT_DENIED"
	PrincipalUnknown      Reason = "PRINCIPAL_UNKNOWN"
	PrincipalDisabled     Reason = "PRINCIPAL_DISABLED"
	ConditionDenied       Reason = "CONDITION_DENIED"
	ClaimsTooLarge        Reason = "CLAIMS_TOO_LARGE"
	RateLimited           Reason = "RATE_LIMITED"
	StoreUnavailable      Reason = "STORE_UNAVAILABLE"
	SignerUnavailable     Reason = "SIGNER_UNAVAILABLE"
	AuditUnavailable      Reason = "AUDIT_UNAVAILABLE"
	DeadlineExceeded      Reason = "DEADLINE_EXCEEDED"
	Unavailable           Reason = "UNAVAILABLE"
)

const domain = "tokenmint.dev" // of ErrorInfo

// Violation is one thing wrong with a request.
type Violation struct {
	Field       string // the field's path
	Description string // what was expected of it
}

// Error is a refusal, by the service or by a [Verifier]. Find it with [errors.As].
type Error struct {
	Code       codes.Code        // of the service's answer; OK where a [Verifier] refused
	Reason     Reason            // to branch on
	Message    string            // for people; holds no token and no secret
	Metadata   map[string]string // further stable keys and values, of ErrorInfo
	Violations []Violation       // everything wrong with a request
	RetryAfter time.Duration     // when to try again, 0 where the answer does not say

	cause error
}

// Error returns the reason and the message.
func (e *Error) Error() string { return fmt.Sprintf("tokenmint: %s: %s", e.Reason, e.Message) }

// Unwrap returns what the error was made from, if anything.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf returns the reason of an [*Error] in err's chain, or "".
func ReasonOf(err error) Reason {
	var found *Error
	if errors.As(err, &found) {
		return found.Reason
	}
	return ""
}

// fromCall returns what a call that failed under ctx means. A server that is flooded ends calls as CANCELLED, too: that is
// context.Canceled only where ctx is.
func fromCall(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	answer, ok := status.FromError(err)
	if !ok {
		answer = status.FromContextError(err)
	}
	made := fromStatus(answer.Proto())
	switch {
	case made.Code == codes.DeadlineExceeded:
		made.cause = errors.Join(err, context.DeadlineExceeded)
	case made.Code == codes.Canceled && ctx.Err() != nil:
		made.cause = errors.Join(err, context.Canceled)
	default:
		made.cause = err
	}
	return made
}

// refusalOf returns the service's reason and message, or else only the name of the code: other texts vary by attempt.
func refusalOf(err error) string {
	made := fromStatus(status.Convert(err).Proto())
	if made.Reason == Reason(code.Code_name[int32(made.Code)]) {
		return made.Code.String()
	}
	return string(made.Reason) + ": " + made.Message
}

func fromStatus(answer *rpcstatus.Status) *Error {
	made := &Error{Code: codes.Code(answer.GetCode()), Message: answer.GetMessage()}
	made.Reason = Reason(code.Code_name[answer.GetCode()])
	for _, packed := range answer.GetDetails() {
		detail, err := packed.UnmarshalNew()
		if err != nil {
			continue // a kind that this package does not know
		}
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				made.Reason, made.Metadata = Reason(detail.GetReason()), detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, found := range detail.GetFieldViolations() {
				made.Violations = append(made.Violations, Violation{found.GetField(), found.GetDescription()})
			}
		}
	}
	return made
}

package tokenmint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// retryAfter is how many seconds a caller should wait while there is no key set.
const retryAfter = "10"

type claimsKey struct{}

// ClaimsFromContext returns what the token of the call said, in handlers behind the middleware or an interceptor.
func ClaimsFromContext(ctx context.Context) (*Claims, bool) {
	claims, ok := ctx.Value(claimsKey{}).(*Claims)
	return claims, ok
}

// ErrNoToken says that a call came without a token.
var ErrNoToken = errors.New("tokenmint: there is no bearer token")

// authenticate verifies the one `Authorization: Bearer` of a call and asks for scopes.
func (v *Verifier) authenticate(ctx context.Context, values, scopes []string) (context.Context, error) {
	if len(values) == 0 {
		return nil, ErrNoToken
	}
	if len(values) > 1 {
		return nil, refused(InvalidRequest, "there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, ErrNoToken
	}
	if strings.Contains(token, ",") { // gateways join repeated headers so, and no token has a comma
		return nil, refused(InvalidRequest, "there is more than one Authorization header")
	}
	claims, err := v.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if !claims.HasScopes(scopes...) {
		return nil, refused(ScopeDenied, "the token lacks a scope of: "+strings.Join(scopes, " "))
	}
	return context.WithValue(ctx, claimsKey{}, claims), nil
}

// Middleware lets requests with a good token, which grants all of scopes, through to next; [ClaimsFromContext] tells what it
// said. Others are answered as RFC 6750 section 3 says: 401, 400 with several Authorization headers, 403 where a scope is
// missing. Without a key set the answer is 503, with Retry-After. A token in the query is not looked at.
func (v *Verifier) Middleware(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		ctx, err := v.authenticate(request.Context(), request.Header.Values("Authorization"), scopes)
		if err == nil {
			next.ServeHTTP(writer, request.WithContext(ctx))
			return
		}
		refuse(writer, err, scopes)
	})
}

// refuse answers as RFC 6750 section 3 says.
func refuse(writer http.ResponseWriter, err error, scopes []string) {
	var found *Error
	switch {
	case undecided(err):
		// The message names the key set's address and its fault, which are not the caller's business: they are in the log.
		writer.Header().Set("Retry-After", retryAfter)
		http.Error(writer, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	case !errors.As(err, &found): // RFC 6750 section 3.1: no error code where no token was sent
		writer.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(writer, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	code, name, more := http.StatusUnauthorized, "invalid_token", ""
	switch found.Reason {
	case InvalidRequest:
		code, name = http.StatusBadRequest, "invalid_request"
	case ScopeDenied:
		code, name, more = http.StatusForbidden, "insufficient_scope", fmt.Sprintf(`, scope="%s"`, strings.Join(scopes, " "))
	}
	writer.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="%s", error_description="%s"%s`, name, found.Message, more))
	http.Error(writer, http.StatusText(code), code)
}

// undecided tells that the token was neither proved nor refused.
func undecided(err error) bool {
	var found *Error
	return errors.As(err, &found) && (found.Reason == KeySetUnavailable || found.Reason == RevocationsUnavailable ||
		found.Reason == StatusListUnavailable || found.Code != codes.OK)
}

// Except leaves methods of gRPC (`/package.Service/Method`, or `/package.Service/` for all of one) without protection,
// such as health checks.
type Except []string

func (e Except) covers(method string) bool {
	for _, name := range e {
		if method == name || (strings.HasSuffix(name, "/") && strings.HasPrefix(method, name)) {
			return true
		}
	}
	return false
}

// UnaryServerInterceptor lets calls with a good token through, as [Verifier.Middleware] does. Others end with
// UNAUTHENTICATED, PERMISSION_DENIED where a scope is missing, or UNAVAILABLE without a key set.
func (v *Verifier) UnaryServerInterceptor(except Except, scopes ...string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if !except.covers(info.FullMethod) {
			var err error
			if ctx, err = v.authenticateCall(ctx, scopes); err != nil {
				return nil, err
			}
		}
		return next(ctx, request)
	}
}

// StreamServerInterceptor is [Verifier.UnaryServerInterceptor] for streams.
func (v *Verifier) StreamServerInterceptor(except Except, scopes ...string) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if !except.covers(info.FullMethod) {
			ctx, err := v.authenticateCall(stream.Context(), scopes)
			if err != nil {
				return err
			}
			stream = authenticated{stream, ctx}
		}
		return next(server, stream)
	}
}

type authenticated struct {
	grpc.ServerStream
	ctx context.Context
}

func (a authenticated) Context() context.Context { return a.ctx }

func (v *Verifier) authenticateCall(ctx context.Context, scopes []string) (context.Context, error) {
	made, err := v.authenticate(ctx, metadata.ValueFromIncomingContext(ctx, "authorization"), scopes)
	if err == nil {
		return made, nil
	}
	code, message := codes.Unauthenticated, "the call has no token that is accepted here"
	switch {
	case ReasonOf(err) == ScopeDenied:
		code, message = codes.PermissionDenied, "the call's token lacks a scope"
	case undecided(err):
		code, message = codes.Unavailable, "the key set is not at hand: retry later"
	}
	answer := status.New(code, message)
	if reason := ReasonOf(err); reason != "" {
		if detailed, packErr := answer.WithDetails(&errdetails.ErrorInfo{Reason: string(reason), Domain: domain}); packErr == nil {
			answer = detailed
		}
	}
	return nil, answer.Err()
}

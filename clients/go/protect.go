package tokenmint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// retryAfter is how many seconds a caller should wait while there is no key set.
const retryAfter = "1"

type claimsKey struct{}

// ClaimsFromContext returns what the token of the call said, in handlers behind the middleware or an interceptor.
func ClaimsFromContext(ctx context.Context) (*Claims, bool) {
	claims, ok := ctx.Value(claimsKey{}).(*Claims)
	return claims, ok
}

// ErrNoToken says that a call came without a token.
var ErrNoToken = errors.New("tokenmint: there is no bearer token")

// presented returns the token of the one `Authorization` of a call, and whether it came with the scheme DPoP.
func presented(values []string, takesDPoP bool) (token string, isDPoP bool, err error) {
	if len(values) == 0 {
		return "", false, ErrNoToken
	}
	scheme, token, _ := strings.Cut(strings.Trim(values[0], " \t"), " ")
	bearer, dpop := strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "DPoP")
	token, isDPoP = strings.Trim(token, " \t"), takesDPoP && dpop
	known := isDPoP || bearer
	// Gateways join repeated headers by a comma, which no token has in it.
	if len(values) > 1 || ((bearer || dpop) && strings.Contains(token, ",")) {
		return "", isDPoP, refused(InvalidRequest, "there is more than one Authorization header")
	}
	if !known || token == "" {
		return "", false, ErrNoToken
	}
	return token, isDPoP, nil
}

// authenticate verifies the one `Authorization: Bearer` of a call and asks for scopes.
func (v *Verifier) authenticate(ctx context.Context, values, scopes []string) (context.Context, error) {
	token, _, err := presented(values, false)
	if err != nil {
		return nil, err
	}
	claims, err := v.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := missingScopes(claims, scopes); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, claimsKey{}, claims), nil
}

// missingScopes returns an error that names the scopes that a call needs and its token does not have.
func missingScopes(claims *Claims, scopes []string) error {
	missing := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return claims.HasScopes(scope) })
	if len(missing) == 0 {
		return nil
	}
	return refused(ScopeDenied, "missing scopes: "+strings.Join(missing, " "))
}

// Middleware lets requests with a good token, which grants all of scopes, through to next; [ClaimsFromContext] tells what it
// said. Others are answered as RFC 6750 section 3 says: 401, 400 with several Authorization headers, 403 where a scope is
// missing. Without a key set the answer is 503, with Retry-After. A token in the query is not looked at. Tokens that are bound
// to a key need a [Resource].
func (v *Verifier) Middleware(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		ctx, err := v.authenticate(request.Context(), request.Header.Values("Authorization"), scopes)
		if err == nil {
			next.ServeHTTP(writer, request.WithContext(ctx))
			return
		}
		challenge := challenge{scopes: scopes}
		challenge.refuse(writer, err)
	})
}

// challenge is what the answer to a refused request says of the tokens that are accepted.
type challenge struct {
	scopes   []string
	resource *Resource
	isDPoP   bool // the scheme of the request
}

// refuse answers as RFC 6750 section 3 and RFC 9449 section 7.1 say.
func (c challenge) refuse(writer http.ResponseWriter, err error) {
	var found *Error
	switch {
	case undecided(err):
		// The message names the key set's address and its fault, which are not the caller's business: they are in the log.
		writer.Header().Set("Retry-After", retryAfter)
		http.Error(writer, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	case !errors.As(err, &found): // RFC 6750 section 3.1: no error code where no token was sent
		writer.Header().Set("WWW-Authenticate", c.header("", ""))
		http.Error(writer, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	code, name := http.StatusUnauthorized, "invalid_token"
	switch found.Reason {
	case InvalidRequest:
		code, name = http.StatusBadRequest, "invalid_request"
	case ScopeDenied:
		code, name = http.StatusForbidden, "insufficient_scope"
	case ProofRejected:
		name = "invalid_dpop_proof"
	case NonceRequired:
		name = "use_dpop_nonce"
	}
	if c.isDPoP && code == http.StatusUnauthorized && c.resource.nonces != nil {
		writer.Header().Set("DPoP-Nonce", c.resource.nonces.at(c.resource.verifier.now()))
	}
	writer.Header().Set("WWW-Authenticate", c.header(name, found.Message))
	http.Error(writer, http.StatusText(code), code)
}

// header is WWW-Authenticate: the schemes that are accepted; of a request with DPoP this one alone.
func (c challenge) header(name, description string) string {
	var members []string
	add := func(name, value string) { members = append(members, fmt.Sprintf(`%s="%s"`, name, value)) }
	if name != "" {
		add("error", name)
		add("error_description", description)
	}
	if len(c.scopes) > 0 && (name == "insufficient_scope" || (c.resource != nil && name != "invalid_request")) {
		add("scope", strings.Join(c.scopes, " "))
	}
	if c.resource == nil {
		return strings.TrimSpace("Bearer " + strings.Join(members, ", "))
	}
	add("resource_metadata", c.resource.MetadataURL())
	algorithms := fmt.Sprintf(`algs="%s"`, strings.Join(proofAlgorithmNames(), " "))
	switch said := strings.Join(members, ", "); {
	case c.isDPoP || c.resource.config.RequireDPoP:
		return "DPoP " + said + ", " + algorithms
	case c.resource.config.WithoutDPoP:
		return "Bearer " + said
	default:
		return "Bearer " + said + ", DPoP " + algorithms
	}
}

// undecided tells that the token was neither proved nor refused.
func undecided(err error) bool {
	var found *Error
	return errors.As(err, &found) &&
		(found.Reason == KeySetUnavailable || found.Reason == RevocationsUnavailable ||
			found.Reason == StatusListUnavailable || found.Reason == Unavailable || found.Code != codes.OK)
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

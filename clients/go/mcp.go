package tokenmint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// AsBearer hands a request that [Resource.Middleware] let through on to next with the scheme Bearer, for libraries that know no
// other one: the proof was checked.
func AsBearer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if _, verified := ClaimsFromContext(request.Context()); verified {
			_, token, _ := strings.Cut(strings.TrimSpace(request.Header.Get("Authorization")), " ")
			request = request.Clone(request.Context())
			request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		}
		next.ServeHTTP(writer, request)
	})
}

// TokenVerifier returns the token verifier of the official SDK for the Model Context Protocol, an auth.TokenVerifier. invalid
// is its auth.ErrInvalidToken, and info makes its auth.TokenInfo of the claims of a good token. The SDK knows the scheme Bearer
// alone: for DPoP put [Resource.Middleware] and [AsBearer] in front, whose claims the verifier then takes. Without keys or
// revocations the SDK answers 500, or 503 behind [AnswerUnavailable].
func TokenVerifier[T any](resource *Resource, invalid error, info func(*Claims) *T) func(context.Context, string, *http.Request) (*T, error) {
	return func(ctx context.Context, token string, request *http.Request) (*T, error) {
		claims, verified := ClaimsFromContext(ctx)
		var err error
		if !verified {
			claims, err = resource.VerifyRequest(ctx, token, request)
		}
		switch {
		case err == nil:
			return info(claims), nil
		case undecided(err):
			if mark, marked := ctx.Value(undecidedKey{}).(*atomic.Bool); marked {
				mark.Store(true)
			}
			// The message names the key set's address and its fault, which are not the caller's business: they are in the log.
			return nil, errors.New("tokens can't be verified at the moment: try again")
		default:
			return nil, fmt.Errorf("%w: %w", invalid, err)
		}
	}
}

type undecidedKey struct{}

// AnswerUnavailable answers 503 with Retry-After where the [TokenVerifier] of next has no keys or revocations
// to judge a token by. The SDK by itself answers 500.
func AnswerUnavailable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		undecided := &atomic.Bool{}
		ctx := context.WithValue(request.Context(), undecidedKey{}, undecided)
		next.ServeHTTP(&unavailableWriter{writer, undecided}, request.WithContext(ctx))
	})
}

// unavailableWriter changes the status of the answer to a request whose token could be neither accepted nor refused.
type unavailableWriter struct {
	http.ResponseWriter
	undecided *atomic.Bool
}

func (w *unavailableWriter) WriteHeader(status int) {
	if status == http.StatusInternalServerError && w.undecided.Load() {
		w.Header().Set("Retry-After", retryAfter)
		status = http.StatusServiceUnavailable
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher]: answers of the SDK are streams.
func (w *unavailableWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for [http.ResponseController].
func (w *unavailableWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

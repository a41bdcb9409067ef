package tokenmint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	earliestRefresh = 0.70 // of a token's life: from then on it may be refreshed,
	latestRefresh   = 0.85 // and until then, so that not all are at once
	reserve         = 10 * time.Second
	retryRefresh    = 5 * time.Second
)

// DefaultMaxEntries is how many tokens a [TokenSource] keeps at most.
const DefaultMaxEntries = 10_000

// Exchanger gets tokens; a [Client] is one.
type Exchanger interface {
	Exchange(ctx context.Context, request ExchangeRequest) (*Token, error)
}

// TokenSource exchanges subject tokens and keeps the results where they belong, on the server. It is safe for
// concurrent use.
//
// A token is fresh until 70 to 85 % of its life, drawn at random for each, and usable until 10 s before its expiry. A fresh
// one is answered from the store; a usable one too, while it is refreshed behind the answer; else the callers wait for
// one exchange together. Failures are not kept.
type TokenSource struct {
	exchanger Exchanger
	store     Store
	now       func() time.Time
	timeout   time.Duration

	flights singleflight.Group
	mutex   sync.Mutex
	again   map[Key]time.Time // when a refresh that failed may be tried again
	flying  map[Key]*flight
}

// flight is an exchange under way.
type flight struct{ forgotten bool }

// SourceOption is a setting of a [TokenSource].
type SourceOption func(*TokenSource)

// WithMaxEntries bounds how many tokens are kept in memory.
func WithMaxEntries(count int) SourceOption {
	return func(s *TokenSource) { s.store = NewMemoryStore(count) }
}

// WithStore keeps the tokens elsewhere.
func WithStore(store Store) SourceOption { return func(s *TokenSource) { s.store = store } }

// WithSourceClock tells the time, for tests.
func WithSourceClock(now func() time.Time) SourceOption { return func(s *TokenSource) { s.now = now } }

// NewTokenSource returns a source that gets its tokens from exchanger.
func NewTokenSource(exchanger Exchanger, options ...SourceOption) *TokenSource {
	source := &TokenSource{exchanger: exchanger, now: time.Now, timeout: DefaultTimeout}
	source.again, source.flying = map[Key]time.Time{}, map[Key]*flight{}
	for _, option := range options {
		option(source)
	}
	if source.store == nil {
		source.store = NewMemoryStore(DefaultMaxEntries)
	}
	return source
}

// TokenSource returns a source that gets its tokens with this client.
func (c *Client) TokenSource(options ...SourceOption) *TokenSource {
	source := NewTokenSource(c, options...)
	source.timeout = c.timeout
	return source
}

// WithStore returns a source like this one that keeps its tokens in store, for instance in the session of one user of a
// web application.
func (s *TokenSource) WithStore(store Store) *TokenSource {
	other := NewTokenSource(s.exchanger, WithStore(store), WithSourceClock(s.now))
	other.timeout = s.timeout
	return other
}

// Get returns a token for audience on behalf of whom subjectToken proves, with all scopes that the audience grants, or with
// those named. It fails with an [*Error], or with ctx's own where that ends first; others that wait for the same
// exchange go on waiting.
func (s *TokenSource) Get(ctx context.Context, subjectToken, audience string, scopes ...string) (*Token, error) {
	return s.Exchange(ctx, ExchangeRequest{SubjectToken: subjectToken, Audience: audience, Scopes: scopes})
}

// Exchange is [TokenSource.Get] for further fields of the request, all of which tell tokens apart. A transaction token, which has
// RequestContext and RequestDetails, is of one request: each call gets a new one, and none is kept.
func (s *TokenSource) Exchange(ctx context.Context, request ExchangeRequest) (*Token, error) {
	if !isKept(request) {
		return s.exchanger.Exchange(ctx, request)
	}
	request.Scopes = slices.Compact(slices.Sorted(slices.Values(request.Scopes)))
	request.Resources = slices.Compact(slices.Sorted(slices.Values(request.Resources)))
	key := keyOf(request)
	now := s.now()
	entry, found := s.store.Get(ctx, key)
	seen := entry.Token // nil where there is none
	if found && usable(entry, now) {
		if !now.Before(entry.RefreshAt) && s.mayRefresh(key, now) {
			s.fly(ctx, key, request, seen)
		}
		return entry.Token, nil
	}
	select {
	case result := <-s.fly(ctx, key, request, seen):
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*Token), nil
	case <-ctx.Done():
		return nil, fromCall(ctx, ctx.Err())
	}
}

// Forget drops every token that was got for subjectToken, and keeps none that is being got, e.g. when its user signs out.
func (s *TokenSource) Forget(ctx context.Context, subjectToken string) {
	subject := digest(subjectToken)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for key, flight := range s.flying {
		if key.Subject == subject {
			flight.forgotten = true
			s.flights.Forget(key.String())
		}
	}
	s.store.Forget(ctx, subject)
}

// isKept tells whether a token may be handed out again. A transaction token belongs to one request, with its context.
func isKept(request ExchangeRequest) bool {
	return request.RequestContext == nil && request.RequestDetails == nil && request.RequestedTokenType != TxnTokenType
}

func usable(entry Entry, now time.Time) bool { return now.Before(entry.Token.Expiry.Add(-reserve)) }

// fly begins an exchange, or joins the one under way. It outlives the caller who began it. Where another one ended since
// the caller looked and saw seen, its token is what was asked for.
func (s *TokenSource) fly(ctx context.Context, key Key, request ExchangeRequest, seen *Token) <-chan singleflight.Result {
	return s.flights.DoChan(key.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		if kept, found := s.store.Get(ctx, key); found && usable(kept, s.now()) && (seen == nil || kept.Token.Value != seen.Value) {
			return kept.Token, nil
		}
		current, began := s.began(key), s.now()
		token, err := s.exchanger.Exchange(ctx, request)
		s.ended(ctx, key, current, began, token)
		if err != nil {
			return nil, err
		}
		return token, nil
	})
}

func (s *TokenSource) began(key Key) *flight {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.flying[key] = &flight{}
	return s.flying[key]
}

func (s *TokenSource) ended(ctx context.Context, key Key, current *flight, began time.Time, token *Token) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.flying[key] == current {
		delete(s.flying, key)
	}
	now := s.now()
	maps.DeleteFunc(s.again, func(_ Key, at time.Time) bool { return now.After(at) })
	if token == nil {
		s.again[key] = now.Add(retryRefresh)
		return
	}
	delete(s.again, key)
	if !current.forgotten {
		share := earliestRefresh + rand.Float64()*(latestRefresh-earliestRefresh)
		life := time.Duration(share * float64(token.Expiry.Sub(began)))
		s.store.Put(ctx, key, Entry{Token: token, GotAt: began, RefreshAt: began.Add(life)})
	}
}

func (s *TokenSource) mayRefresh(key Key, now time.Time) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return !now.Before(s.again[key])
}

// keyOf returns the key of a token in the cache. It is the same in every language (tests/clients/cache_keys.json). It
// holds no token and names no session.
func keyOf(request ExchangeRequest) Key {
	var target strings.Builder
	for _, part := range []string{
		request.Audience,
		strings.Join(slices.Compact(slices.Sorted(slices.Values(request.Resources))), " "), // a URI has no space in it
		strings.Join(slices.Compact(slices.Sorted(slices.Values(request.Scopes))), " "),
		request.SubjectTokenType,
		request.RequestedTokenType,
		strconv.FormatInt(request.Lifetime.Milliseconds(), 10),
		digest(request.ActorToken),
		request.ActorTokenType,
		request.Nonce,
		request.DPoPThumbprint,
	} {
		fmt.Fprintf(&target, "%d:%s", len(part), part) // with its length, so that no two requests look alike
	}
	return Key{Subject: digest(request.SubjectToken), Target: digest(target.String())}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

package tokenmint

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	pb "tokenmint.dev/client-go/tokenmintv1"
)

// DefaultMaxLag is how old a set of revocations may be.
const DefaultMaxLag = 30 * time.Second

const (
	firstSnapshot = 5 * time.Second  // how long a verification waits for the first snapshot
	silence       = 10 * time.Second // without a message the stream is opened anew; the service sends one a second
	firstPause    = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	pruneEvery    = time.Minute
	mostRevoked   = 2_000_000 // entries
	mostActors    = 16        // of a token
)

type nameDigest [16]byte

type revoked struct{ validAfter, expires int64 }

// Revocations follows what tokenmint revokes, as far as it concerns one audience, so that a [Verifier] refuses a revoked
// token within a second and without a call. It begins with the first use, opens its stream again after a failure, and
// goes on where it was. It is safe for concurrent use.
type Revocations struct {
	service   pb.RevocationServiceClient
	audience  string
	maxLag    time.Duration
	accept    bool
	onLag     func(time.Duration)
	now       func() time.Time
	monotonic func() time.Time

	begin    sync.Once
	end      context.CancelFunc
	ended    chan struct{}
	complete chan struct{}
	begun    time.Time

	mutex    sync.RWMutex
	held     map[nameDigest]revoked
	position string
	told     int64     // Unix seconds, the service's time; an older service does not tell it
	current  time.Time // when the set was last known to be complete
	pruned   time.Time
	failure  string
}

// RevocationsOption is a setting of [Revocations].
type RevocationsOption func(*Revocations)

// WithMaxLag sets how old the set may be: beyond that no token is accepted, or, with [WithAcceptWhenLagging], tokens are
// compared with the last set. The default is [DefaultMaxLag].
func WithMaxLag(lag time.Duration) RevocationsOption { return func(r *Revocations) { r.maxLag = lag } }

// WithAcceptWhenLagging fails open: a set that is too old, or that never came, refuses only what it holds.
func WithAcceptWhenLagging() RevocationsOption { return func(r *Revocations) { r.accept = true } }

// WithOnLag calls a function with the lag after each message and each failure, e.g. for a metric.
func WithOnLag(call func(time.Duration)) RevocationsOption {
	return func(r *Revocations) { r.onLag = call }
}

// WithRevocationsClock tells the time, for tests.
func WithRevocationsClock(now func() time.Time) RevocationsOption {
	return func(r *Revocations) { r.now, r.monotonic = now, now }
}

// NewRevocations returns the revocations that concern audience. The client's table in tokenmint's configuration has the
// audience in `serves`. Close it before the client.
func NewRevocations(client *Client, audience string, options ...RevocationsOption) *Revocations {
	made := &Revocations{
		service: pb.NewRevocationServiceClient(client.connection), audience: audience, maxLag: DefaultMaxLag,
		now: time.Now, monotonic: time.Now, held: map[nameDigest]revoked{}, told: math.MaxInt64,
		ended: make(chan struct{}), complete: make(chan struct{}), end: func() {},
	}
	for _, option := range options {
		option(made)
	}
	return made
}

// WithRevocations refuses tokens that these say are revoked. They have to be those of the verifier's audience.
func WithRevocations(revocations *Revocations) VerifierOption {
	return func(s *verifierSettings) { s.revocations = revocations }
}

// Start begins to follow, without waiting. [Verifier.Verify] does it otherwise, and waits for the first snapshot.
func (r *Revocations) Start() {
	r.begin.Do(func() {
		ctx, end := context.WithCancel(context.Background())
		r.mutex.Lock()
		r.end, r.begun = end, time.Now()
		r.mutex.Unlock()
		go r.follow(ctx)
	})
}

// Close ends the stream.
func (r *Revocations) Close() {
	r.begin.Do(func() { close(r.ended) })
	r.mutex.RLock()
	end := r.end
	r.mutex.RUnlock()
	end()
	<-r.ended
}

// Lag returns how long ago the set was last known to be complete; before the first snapshot it is very long.
func (r *Revocations) Lag() time.Duration {
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	return r.lag()
}

func (r *Revocations) lag() time.Duration { return max(0, r.monotonic().Sub(r.current)) }

// Failure returns why the stream is away, or "" while it is open.
func (r *Revocations) Failure() string {
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	return r.failure
}

// check fails where a token with these verified claims, signed by this key, is revoked or may be.
func (r *Revocations) check(ctx context.Context, claims *Claims, keyID string) error {
	r.Start()
	r.mutex.RLock()
	wait := time.Until(r.begun.Add(firstSnapshot))
	r.mutex.RUnlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-r.complete:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	if r.covers(claims, keyID) {
		return refused(Revoked, "the token was revoked")
	}
	if !r.accept && r.lag() > r.maxLag {
		return refused(RevocationsUnavailable,
			"it can't be told whether the token was revoked: the stream of revocations is away")
	}
	return nil
}

func (r *Revocations) covers(claims *Claims, keyID string) bool {
	if len(r.held) == 0 {
		return false
	}
	issued := claims.IssuedAt.Unix()
	for _, name := range namesOf(claims.Raw, keyID) {
		if entry, found := r.held[digestOf(name)]; found && (entry.validAfter == 0 || issued <= entry.validAfter) {
			return true
		}
	}
	return false
}

// namesOf returns every name by which a token can be revoked, each as KIND:NAME.
func namesOf(claims map[string]any, keyID string) []string {
	names := []string{"key:" + keyID}
	add := func(kind string, value any) {
		if text, ok := value.(string); ok {
			names = append(names, kind+":"+text)
		}
	}
	add("token", claims["jti"])
	add("principal", claims["sub"])
	add("client", claims["client_id"])
	add("audience", claims["aud"])
	audiences, _ := claims["aud"].([]any)
	for _, one := range audiences {
		add("audience", one)
	}
	lineage, _ := claims["tm_lineage"].([]any)
	for _, ancestor := range lineage {
		add("token", ancestor)
	}
	act, _ := claims["act"].(map[string]any)
	for range mostActors { // RFC 8693 section 4.1; an actor with an `iss` is no principal of the service
		if act == nil {
			break
		}
		if _, foreign := act["iss"]; !foreign {
			add("principal", act["sub"])
		}
		act, _ = act["act"].(map[string]any)
	}
	return names
}

func digestOf(name string) nameDigest {
	sum := sha256.Sum256([]byte("tokenmint:revoked:" + name))
	return nameDigest(sum[:len(nameDigest{})])
}

func (r *Revocations) follow(ctx context.Context) {
	defer close(r.ended)
	failures := 0
	for ctx.Err() == nil {
		heard, err := r.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		} else {
			failures++
		}
		if !errors.Is(err, io.EOF) { // the end of a stream's age
			r.fail(err)
		}
		pause := min(longestPause, firstPause<<min(failures, 10))
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// read takes the messages of one stream, and returns whether there were any.
func (r *Revocations) read(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(silence, cancel) // its connection may be dead
	defer silent.Stop()
	r.mutex.RLock()
	request := &pb.WatchRevocationsRequest{Audience: r.audience, Position: r.position}
	r.mutex.RUnlock()
	stream, err := r.service.WatchRevocations(ctx, request)
	if err != nil {
		return false, err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		silent.Reset(silence)
		heard = true
		if err := r.take(message); err != nil {
			return heard, err
		}
	}
}

var errTooMany = errors.New("too many revocations")

func (r *Revocations) take(message *pb.WatchRevocationsResponse) error {
	r.mutex.Lock()
	for _, one := range message.GetRevocations() {
		if len(one.GetDigest()) != len(nameDigest{}) {
			continue
		}
		name := nameDigest(one.GetDigest())
		before, known := r.held[name]
		if !known && len(r.held) >= mostRevoked {
			r.mutex.Unlock()
			return errTooMany
		}
		r.held[name] = revoked{
			max(before.validAfter, one.GetTokensValidAfter()), max(before.expires, one.GetExpireTime().GetSeconds()),
		}
	}
	now := r.monotonic()
	if message.GetPosition() != "" { // otherwise the snapshot has further messages
		r.position = message.GetPosition()
		if at := now.Add(-message.GetAge().AsDuration()); at.After(r.current) {
			r.current = at
		}
		r.failure = ""
		select {
		case <-r.complete:
		default:
			close(r.complete)
		}
	}
	if message.GetTime() != nil {
		r.told = message.GetTime().GetSeconds()
	}
	if now.Sub(r.pruned) >= pruneEvery {
		r.pruned = now
		// A clock that is ahead for a while must not make it forget: set back, it accepts the tokens again.
		expired := min(r.now().Unix(), r.told)
		for name, entry := range r.held {
			if entry.expires <= expired {
				delete(r.held, name)
			}
		}
	}
	lag := r.lag()
	r.mutex.Unlock()
	r.tell(lag)
	return nil
}

func (r *Revocations) fail(err error) {
	failure := refusalOf(err)
	r.mutex.Lock()
	changed := failure != r.failure
	r.failure = failure
	lag := r.lag()
	r.mutex.Unlock()
	if changed {
		slog.Warn("tokenmint: the stream of revocations is away, and is opened again", "cause", failure)
	}
	r.tell(lag)
}

func (r *Revocations) tell(lag time.Duration) {
	if r.onLag != nil {
		r.onLag(lag)
	}
}

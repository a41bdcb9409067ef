package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "tokenmint.dev/benchmarks/peers/go/pb"
)

const (
	mostWaiting = 10_000                 // events that wait for the stream; one more is in the log alone
	batchSize   = 200                    // events in one round trip
	streamPause = 200 * time.Millisecond // between two looks at what waits
	logPause    = 5 * time.Millisecond   // for which a first line waits for others
	streamSize  = 100_000                // events that the stream keeps, about
	perSecond   = 1e6                    // calls, for each client and for all: counted, and never reached here
)

// duties are what a server has to do beside the exchange itself, where it does the same job as tokenmint: limits, policy,
// an audit trail in the log and in the store, and numbers.
type duties struct {
	each, all bucket
	rules     map[string]rule
	trail     *trail
	numbers   numbers
}

func newDuties(s settings, store *redis.Client) *duties {
	d := &duties{rules: map[string]rule{}, trail: newTrail(store, s.Prefix+"audit")}
	for audience := range s.Audiences {
		d.rules[audience] = rule{
			clients:   map[string]bool{s.ClientID: true},
			providers: map[string]bool{"idp": true},
			claims:    map[string]source{"email": {"assertion", "email"}, "tenant": {"profile", "tenant"}, "roles": {"profile", "roles"}},
		}
	}
	return d
}

// bucket is a limit of calls per second: the time at which it is full again.
type bucket struct {
	lock sync.Mutex
	full time.Time
}

func (b *bucket) take(cost int, now time.Time) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(float64(cost) / perSecond * float64(time.Second)))
	if full.Sub(now) > time.Second { // the burst: what a second brings
		return false
	}
	b.full = full
	return true
}

// source says where a claim of the minted token comes from.
type source struct{ from, name string }

type rule struct {
	clients, providers map[string]bool
	claims             map[string]source
}

// admit counts a call, and asks the policy whether the client may have tokens for these audiences.
func (d *duties) admit(client string, audiences ...string) error {
	now := time.Now()
	if !d.each.take(len(audiences), now) || !d.all.take(len(audiences), now) {
		return status.Error(codes.ResourceExhausted, "too many calls")
	}
	for _, audience := range audiences {
		if found, known := d.rules[audience]; !known || !found.clients[client] || !found.providers["idp"] {
			return status.Error(codes.PermissionDenied, "audience")
		}
	}
	return nil
}

// claims returns what the policy says of a person in a token for an audience.
func (d *duties) claims(audience string, assertion map[string]any, person *profile) map[string]any {
	chosen := make(map[string]any, len(d.rules[audience].claims))
	for name, where := range d.rules[audience].claims {
		var value any
		switch {
		case where.from == "assertion":
			value = assertion[where.name]
		case where.name == "roles":
			value = person.Roles
		default:
			value = person.Claims[where.name]
		}
		if value != nil {
			chosen[name] = value
		}
	}
	return chosen
}

type mintedID struct {
	TokenID string `json:"jti"`
	KeyID   string `json:"kid"`
}

type event struct {
	Kind        string     `json:"kind"`
	Method      string     `json:"method"`
	Outcome     string     `json:"outcome"`
	Reason      string     `json:"reason,omitempty"`
	Caller      string     `json:"caller"`
	Audiences   []string   `json:"audience"`
	TokenSHA256 string     `json:"token_sha256"`
	Provider    string     `json:"provider,omitempty"`
	Principal   string     `json:"principal,omitempty"`
	Minted      []mintedID `json:"minted,omitempty"`
	Time        string     `json:"time"`
}

// ended counts a call and records it: a line of the log, and an event of the stream.
func (d *duties) ended(
	method, client, token string, audiences []string, answers []*pb.ExchangeTokenResponse, failed error, started time.Time,
) {
	code := status.Code(failed)
	d.numbers.call(code, time.Since(started), len(answers))
	digest := sha256.Sum256([]byte(token))
	what := event{Kind: "exchange", Method: method, Outcome: "done", Caller: client, Audiences: audiences,
		TokenSHA256: hex.EncodeToString(digest[:]), Time: time.Now().UTC().Format(time.RFC3339Nano)}
	if failed != nil {
		what.Outcome, what.Reason = "refused", code.String()
	}
	for _, answer := range answers {
		what.Provider, what.Principal = "idp", answer.Subject
		what.Minted = append(what.Minted, mintedID{answer.TokenId, answer.KeyId})
	}
	if line, err := json.Marshal(what); err == nil {
		d.trail.record(line)
	}
}

// bounds of the histogram of calls, in seconds.
var bounds = [...]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

type numbers struct {
	calls  [17]atomic.Int64 // by status code
	took   [len(bounds) + 1]atomic.Int64
	minted atomic.Int64
}

func (n *numbers) call(code codes.Code, took time.Duration, minted int) {
	n.calls[code].Add(1)
	n.minted.Add(int64(minted))
	place := 0
	for place < len(bounds) && took.Seconds() > bounds[place] {
		place++
	}
	n.took[place].Add(1)
}

// trail writes events to the log and to a stream of the store; neither keeps a call waiting.
type trail struct {
	store       *redis.Client
	key         string
	log, stream chan []byte
}

func newTrail(store *redis.Client, key string) *trail {
	t := &trail{store, key, make(chan []byte, mostWaiting), make(chan []byte, mostWaiting)}
	go t.writeLog()
	go t.writeStream()
	return t
}

func (t *trail) record(line []byte) {
	for _, waiting := range []chan []byte{t.log, t.stream} {
		select {
		case waiting <- line:
		default: // the reader is slow, or the store is away
		}
	}
}

func (t *trail) writeLog() {
	out := bufio.NewWriterSize(os.Stderr, 64*1024)
	for line := range t.log {
		time.Sleep(logPause)
		for more := true; more; {
			_, _ = out.Write(line)
			_ = out.WriteByte('\n')
			select {
			case line = <-t.log:
			default:
				more = false
			}
		}
		_ = out.Flush()
	}
}

func (t *trail) writeStream() {
	for range time.Tick(streamPause) {
		for len(t.stream) > 0 {
			batch := t.store.Pipeline()
			for range min(batchSize, len(t.stream)) {
				batch.XAdd(context.Background(), &redis.XAddArgs{
					Stream: t.key, MaxLen: streamSize, Approx: true, Values: []any{"event", <-t.stream},
				})
			}
			_, _ = batch.Exec(context.Background())
		}
	}
}

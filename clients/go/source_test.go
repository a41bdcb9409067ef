package tokenmint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeExchanger mints tokens of ten minutes; it waits for gate where there is one.
type fakeExchanger struct {
	mutex sync.Mutex
	at    time.Time
	err   error
	count atomic.Int64
	gate  chan struct{}
}

func newFake() *fakeExchanger { return &fakeExchanger{at: time.Unix(1_800_000_000, 0)} }

func (f *fakeExchanger) now() time.Time {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.at
}

func (f *fakeExchanger) set(later time.Duration, err error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.at, f.err = f.at.Add(later), err
}

func (f *fakeExchanger) Exchange(context.Context, ExchangeRequest) (*Token, error) {
	number := f.count.Add(1)
	if f.gate != nil {
		<-f.gate
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	return &Token{Value: fmt.Sprint("value-", number), ID: fmt.Sprint(number), Expiry: f.at.Add(10 * time.Minute)}, nil
}

func get(t *testing.T, source *TokenSource, subject, audience string, scopes ...string) string {
	t.Helper()
	token, err := source.Get(t.Context(), subject, audience, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return token.ID
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it did not come about")
		}
	}
}

func TestTokensAreToldApartBySubjectAudienceAndScopesInAnyOrder(t *testing.T) {
	fake := newFake()
	source := NewTokenSource(fake, WithSourceClock(fake.now))
	first := get(t, source, "s", "a", "read", "write")
	if again := get(t, source, "s", "a", "write", "read", "read"); again != first {
		t.Errorf("the same scopes in another order got another token: %s, %s", first, again)
	}
	seen := map[string]bool{first: true}
	for _, other := range []string{get(t, source, "s", "a"), get(t, source, "t", "a"), get(t, source, "s", "b")} {
		if seen[other] {
			t.Errorf("token %s was given for two requests", other)
		}
		seen[other] = true
	}
}

func TestRefreshedBehindTheAnswerFrom85PercentOn(t *testing.T) {
	fake := newFake()
	source := NewTokenSource(fake, WithSourceClock(fake.now))
	first := get(t, source, "s", "a")
	fake.set(419*time.Second, nil) // just under 70 %
	if got := get(t, source, "s", "a"); got != first || fake.count.Load() != 1 {
		t.Fatalf("refreshed too early: %s after %s", got, first)
	}
	fake.set(91*time.Second, nil) // 85 %
	if got := get(t, source, "s", "a"); got != first {
		t.Fatalf("a usable token was not answered: %s", got)
	}
	eventually(t, func() bool { return get(t, source, "s", "a") != first })
}

// overtaken is a store in which, between a caller's look and what it makes of that, other callers come first.
type overtaken struct {
	Store
	others func()
}

func (o *overtaken) Get(ctx context.Context, key Key) (Entry, bool) {
	entry, found := o.Store.Get(ctx, key)
	if first := o.others; first != nil {
		o.others = nil
		first()
	}
	return entry, found
}

func TestOneExchangeWhereAnotherCallersFlightLandsAfterTheLookAtTheStore(t *testing.T) {
	fake := newFake()
	store := &overtaken{Store: NewMemoryStore(10)}
	slow := NewTokenSource(fake, WithSourceClock(fake.now), WithStore(store))
	others := NewTokenSource(fake, WithSourceClock(fake.now), WithStore(store.Store))
	store.others = func() { get(t, others, "s", "a") }
	if got := get(t, slow, "s", "a"); got != "1" {
		t.Errorf("the token of the other caller was there, and another one was got: %s", got)
	}
	fake.set(511*time.Second, nil)
	store.others = func() { eventually(t, func() bool { return get(t, others, "s", "a") == "2" }) }
	if got := get(t, slow, "s", "a"); got != "1" {
		t.Errorf("a usable token was not answered: %s", got)
	}
	eventually(t, func() bool { return get(t, slow, "s", "a") == "2" })
	if count := fake.count.Load(); count != 2 {
		t.Errorf("%d exchanges for two tokens", count)
	}
}

func TestAFailedRefreshLeavesTheTokenAndWaitsFiveSeconds(t *testing.T) {
	fake := newFake()
	source := NewTokenSource(fake, WithSourceClock(fake.now))
	first := get(t, source, "s", "a")
	fake.set(511*time.Second, &Error{Reason: Revoked})
	get(t, source, "s", "a")
	eventually(t, func() bool { source.mutex.Lock(); defer source.mutex.Unlock(); return len(source.again) == 1 })
	for range 3 {
		if got := get(t, source, "s", "a"); got != first {
			t.Fatal("the usable token is gone")
		}
	}
	if fake.count.Load() != 2 {
		t.Fatalf("tried again at once: %d exchanges", fake.count.Load())
	}
	fake.set(79*time.Second, &Error{Reason: Revoked}) // 10 s before expiry
	if _, err := source.Get(t.Context(), "s", "a"); ReasonOf(err) != Revoked {
		t.Fatalf("an unusable token was answered, or another error: %v", err)
	}
}

func TestCallersShareOneFlightAndOneWhoGoesAwayDoesNotEndIt(t *testing.T) {
	fake := newFake()
	fake.gate = make(chan struct{})
	source := NewTokenSource(fake, WithSourceClock(fake.now))
	impatient, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := source.Get(impatient, "s", "a"); left <- err }()
	eventually(t, func() bool { return fake.count.Load() == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller who went away got %v", err)
	}
	var waiting sync.WaitGroup
	for range 100 {
		waiting.Go(func() {
			if _, err := source.Get(t.Context(), "s", "a"); err != nil {
				t.Error(err)
			}
		})
	}
	close(fake.gate)
	waiting.Wait()
	if fake.count.Load() != 1 {
		t.Errorf("%d exchanges", fake.count.Load())
	}
}

func TestForgottenTokensAreNotKeptEvenWhereTheyArriveLater(t *testing.T) {
	fake := newFake()
	fake.gate = make(chan struct{})
	store := NewMemoryStore(10)
	source := NewTokenSource(fake, WithSourceClock(fake.now), WithStore(store))
	arrived := make(chan error)
	go func() { _, err := source.Get(t.Context(), "s", "a"); arrived <- err }()
	eventually(t, func() bool { return fake.count.Load() == 1 })
	source.Forget(t.Context(), "s")
	close(fake.gate)
	if err := <-arrived; err != nil || store.Len() != 0 {
		t.Fatalf("%d tokens are kept, %v", store.Len(), err)
	}
}

func TestAFullStoreDropsTheExpiredFirstThenTheLeastRecentlyUsed(t *testing.T) {
	store, at := NewMemoryStore(2), time.Unix(1_800_000_000, 0)
	put := func(name string, got, life time.Duration) {
		entry := Entry{Token: &Token{Expiry: at.Add(got + life)}, GotAt: at.Add(got)}
		store.Put(t.Context(), Key{Subject: name}, entry)
	}
	has := func(name string) bool { _, ok := store.Get(t.Context(), Key{Subject: name}); return ok }
	put("long", 0, time.Hour)
	put("short", 0, time.Minute)
	put("next", time.Minute, time.Hour) // at which `short` has expired, though `long` is older
	if !has("long") || has("short") || !has("next") {
		t.Fatal("the expired one should have gone")
	}
	has("long")
	put("last", 2*time.Minute, time.Hour)
	if !has("long") || has("next") || !has("last") {
		t.Fatal("the least recently used one should have gone")
	}
}

func TestTokensPrintWithoutTheirValue(t *testing.T) {
	token := Token{Value: "canary", ID: "1"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		for _, shown := range []string{fmt.Sprintf(format, token), fmt.Sprintf(format, &token), token.LogValue().String()} {
			if strings.Contains(shown, "canary") {
				t.Errorf("%s shows the value: %s", format, shown)
			}
		}
	}
}

func TestATransportSendsTheTokenToItsOriginsOnly(t *testing.T) {
	bound := NewTokenSource(newFake()).For(StaticSubject("s"), "orders")
	for _, bad := range []string{"", "orders", "http://orders.example", "ftp://orders.example", "//orders.example"} {
		if _, err := bound.Transport(nil, bad); err == nil {
			t.Errorf("%q was taken for an origin", bad)
		}
	}
	if _, err := bound.Transport(nil, "http://[::1]:8080", "http://localhost", "https://orders.example"); err != nil {
		t.Error(err)
	}
}

func TestPlaintextIsForLoopback(t *testing.T) {
	for target, allowed := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "10.0.0.1:1": false, "localhost.example:1": false, "x": false,
	} {
		client, err := New(target, WithPublicClient("spa"), WithPlaintext())
		if (err == nil) != allowed {
			t.Errorf("%s: %v", target, err)
		}
		if err == nil {
			_ = client.Close()
		}
	}
	if _, err := New("x:1", WithPublicClient("a"), WithClientSecret("b", "c")); err == nil {
		t.Error("two credentials were taken")
	}
}

func TestEachCallGetsATransactionTokenOfItsOwn(t *testing.T) {
	fake := newFake()
	store := NewMemoryStore(10)
	source := NewTokenSource(fake, WithSourceClock(fake.now), WithStore(store))
	for number, request := range []ExchangeRequest{
		{RequestContext: map[string]any{"req_ip": "192.0.2.7"}}, {RequestDetails: map[string]any{}},
		{RequestedTokenType: TxnTokenType},
	} {
		request.SubjectToken, request.Audience = "s", "a"
		for range 2 {
			if _, err := source.Exchange(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		}
		if got := fake.count.Load(); got != int64(2*number+2) {
			t.Errorf("request %d: %d exchanges", number, got)
		}
		if _, kept := store.Get(t.Context(), keyOf(request)); kept {
			t.Errorf("request %d: its token is kept", number)
		}
	}
}

func TestAContextThatJSONCannotHoldIsRefusedBeforeTheCall(t *testing.T) {
	client := &Client{}
	for _, request := range []ExchangeRequest{
		{RequestContext: map[string]any{"load": math.NaN()}}, {RequestDetails: map[string]any{"secret-name": make(chan int)}},
	} {
		_, err := client.Exchange(t.Context(), request)
		if ReasonOf(err) != InvalidRequest {
			t.Errorf("%v", err)
		}
	}
}

func TestTheKeyOfATokenIsTheSameInEveryLanguage(t *testing.T) {
	text, err := os.ReadFile("../../tests/clients/cache_keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Case    string
		Request struct {
			SubjectToken       string `json:"subject_token"`
			SubjectTokenType   string `json:"subject_token_type"`
			Audience           string
			Resources          []string
			Scopes             []string
			Lifetime           int64
			RequestedTokenType string `json:"requested_token_type"`
			ActorToken         string `json:"actor_token"`
			ActorTokenType     string `json:"actor_token_type"`
			Nonce              string
			DPoPThumbprint     string `json:"dpop_jkt"`
		}
		Key Key
	}
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) == 0 {
		t.Fatal(err, "no rows")
	}
	for _, row := range rows {
		given := row.Request
		got := keyOf(ExchangeRequest{
			SubjectToken: given.SubjectToken, SubjectTokenType: given.SubjectTokenType, Audience: given.Audience,
			Resources: given.Resources, Scopes: given.Scopes, Lifetime: time.Duration(given.Lifetime) * time.Second,
			RequestedTokenType: given.RequestedTokenType, ActorToken: given.ActorToken,
			ActorTokenType: given.ActorTokenType, Nonce: given.Nonce, DPoPThumbprint: given.DPoPThumbprint,
		})
		if got != row.Key {
			t.Errorf("%s: %v, expected %v", row.Case, got, row.Key)
		}
	}
}

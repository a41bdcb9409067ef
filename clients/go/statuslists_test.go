package tokenmint

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// publisher is a mint that publishes one list, in which token 1 is revoked.
type publisher struct {
	*mint
	url     string
	claims  map[string]any
	headers map[string]any
	body    string
	code    int
	etag    string
	asked   atomic.Int64
	matched atomic.Int64
}

func lst(statuses ...byte) string {
	var packed bytes.Buffer
	writer := zlib.NewWriter(&packed)
	_, _ = writer.Write(statuses)
	_ = writer.Close()
	return base64.RawURLEncoding.EncodeToString(packed.Bytes())
}

func newPublisher(t *testing.T, options ...StatusListsOption) (*publisher, *Verifier) {
	t.Helper()
	m, _ := newMint(t)
	p := &publisher{mint: m, code: http.StatusOK, etag: `"1"`, headers: map[string]any{"typ": statusListType}}
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if !strings.HasPrefix(request.URL.Path, statusListPath) {
			m.ServeHTTP(writer, request)
			return
		}
		p.asked.Add(1)
		writer.Header().Set("ETag", p.etag)
		if request.Header.Get("If-None-Match") == p.etag && p.code == http.StatusOK {
			p.matched.Add(1)
			writer.WriteHeader(http.StatusNotModified)
			return
		}
		writer.Header().Set("Location", "/elsewhere")
		writer.WriteHeader(p.code)
		body := p.body
		if body == "" {
			body = p.token(t, p.headers, p.claims)
		}
		_, _ = writer.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	now := time.Now().Unix()
	p.claims = map[string]any{"iss": p.url, "sub": p.uri(), "aud": nil, "scope": nil, "iat": now, "exp": now + 300, "ttl": 60,
		"status_list": map[string]any{"bits": 1, "lst": lst(2)}}
	clock := func() time.Time { return time.Now().Add(time.Duration(m.later.Load())) }
	verifier, err := NewVerifier(p.url, audience, WithVerifierClock(clock), WithStatusLists(NewStatusLists(options...)))
	if err != nil {
		t.Fatal(err)
	}
	return p, verifier
}

func (p *publisher) uri() string { return p.url + statusListPath + "AAAAAAAAAAAAAAAAAAAAAA" }

func (p *publisher) reason(t *testing.T, verifier *Verifier, index any) Reason {
	t.Helper()
	return p.of(t, verifier, map[string]any{"status_list": map[string]any{"idx": index, "uri": p.uri()}})
}

func (p *publisher) of(t *testing.T, verifier *Verifier, status any) Reason {
	t.Helper()
	now := time.Now().Unix()
	_, err := verifier.Verify(t.Context(), p.token(t, nil, map[string]any{"iss": p.url, "exp": now + 1200, "status": status}))
	return ReasonOf(err)
}

func (p *publisher) pass(seconds int64) { p.later.Store(seconds * int64(time.Second)) }

func TestStatusListVectors(t *testing.T) {
	text, err := os.ReadFile("../../tests/clients/status_list_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Vectors []struct {
			Name     string
			Bits     int
			Size     uint64
			Lst      string
			Statuses map[string]byte
		}
	}
	if err := json.Unmarshal(text, &document); err != nil || len(document.Vectors) == 0 {
		t.Fatal(err)
	}
	for _, vector := range document.Vectors {
		statuses, err := unpacked(vector.Bits, vector.Lst)
		if err != nil {
			t.Fatalf("%s: %v", vector.Name, err)
		}
		list := statusList{bits: vector.Bits, statuses: statuses}
		for index := range vector.Size {
			want := vector.Statuses[strconv.FormatUint(index, 10)]
			if got, found := list.at(index); !found || got != want {
				t.Fatalf("%s: token %d has status %d, and not %d", vector.Name, index, got, want)
			}
		}
		if _, found := list.at(vector.Size); found {
			t.Errorf("%s: a token beyond its end", vector.Name)
		}
	}
}

func TestStatusListFaults(t *testing.T) {
	now := time.Now().Unix()
	cases := map[string]func(*publisher){
		"another list":     func(p *publisher) { p.claims["sub"] = p.uri() + "B" },
		"another issuer":   func(p *publisher) { p.claims["iss"] = issuer },
		"no iat":           func(p *publisher) { p.claims["iat"] = nil },
		"no exp":           func(p *publisher) { p.claims["exp"] = nil },
		"no list":          func(p *publisher) { p.claims["status_list"] = nil },
		"expired":          func(p *publisher) { p.claims["exp"] = now },
		"of the future":    func(p *publisher) { p.claims["iat"] = now + 60 },
		"a ttl of nothing": func(p *publisher) { p.claims["ttl"] = 0 },
		"a ttl of a text":  func(p *publisher) { p.claims["ttl"] = "60" },
		"three bits":       func(p *publisher) { p.claims["status_list"] = map[string]any{"bits": 3, "lst": lst(2)} },
		"no ZLIB":          func(p *publisher) { p.claims["status_list"] = map[string]any{"bits": 1, "lst": "AAAA"} },
		"cut off":          func(p *publisher) { p.claims["status_list"] = map[string]any{"bits": 1, "lst": lst(2)[:8]} },
		"more behind it":   func(p *publisher) { p.claims["status_list"] = map[string]any{"bits": 1, "lst": lst(2) + "AAAA"} },
		"a bomb": func(p *publisher) {
			p.claims["status_list"] = map[string]any{"bits": 1, "lst": lst(make([]byte, maxStatuses+1)...)}
		},
		"another typ": func(p *publisher) { p.headers["typ"] = "at+jwt" },
		"crit":        func(p *publisher) { p.headers["crit"] = []string{"x"} },
		"unknown key": func(p *publisher) { p.headers["kid"] = "other" },
		"no JWT":      func(p *publisher) { p.body = "<html>" },
		"too long":    func(p *publisher) { p.body = strings.Repeat("a", maxListSize+1) },
		"not found":   func(p *publisher) { p.code = http.StatusNotFound },
		"an error":    func(p *publisher) { p.code = http.StatusServiceUnavailable },
		"a redirect":  func(p *publisher) { p.code = http.StatusFound },
		"unchanged":   func(p *publisher) { p.code = http.StatusNotModified },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			p, verifier := newPublisher(t)
			spoil(p)
			for range 3 { // once in a while
				if got := p.reason(t, verifier, 0); got != StatusListUnavailable {
					t.Errorf("%q, not %q", got, StatusListUnavailable)
				}
			}
			if asked := p.asked.Load(); asked != 1 {
				t.Errorf("asked %d times", asked)
			}
			open, accepting := newPublisher(t, WithAcceptWhenUnavailable())
			spoil(open)
			if got := open.reason(t, accepting, 0); got != "" {
				t.Errorf("fail open: %q", got)
			}
		})
	}
}

func TestStatusListPlaces(t *testing.T) {
	p, verifier := newPublisher(t)
	place := func(index, uri any) any {
		return map[string]any{"status_list": map[string]any{"idx": index, "uri": uri}}
	}
	for name, status := range map[string]any{
		"none": nil, "a text": "x", "empty": map[string]any{}, "a list": map[string]any{"status_list": []any{}},
		"negative": place(-1, p.uri()), "a half": place(0.5, p.uri()), "a text as index": place("0", p.uri()),
		"no uri": place(0, nil), "another host": place(0, "https://other.example/status-lists/a"),
		"a host that begins so": place(0, p.url+".evil.example/status-lists/a"), "a query": place(0, p.uri()+"?a"),
		"a path": place(0, p.uri()+"/../x"), "no name": place(0, p.url+statusListPath), "long": place(0, p.uri()+strings.Repeat("a", 2000)),
	} {
		if got := p.of(t, verifier, status); got != ClaimRejected {
			t.Errorf("%s: %q", name, got)
		}
	}
	if p.asked.Load() != 0 {
		t.Error("a list was fetched")
	}
	for index, want := range map[int]Reason{0: "", 1: Revoked, 7: "", 8: ClaimRejected} {
		if got := p.reason(t, verifier, index); got != want {
			t.Errorf("token %d: %q, not %q", index, got, want)
		}
	}
}

func TestStatusListIsKept(t *testing.T) {
	p, verifier := newPublisher(t)
	steps := []struct {
		at, asked int64
		change    func()
		index     int
		want      Reason
	}{
		{0, 1, nil, 0, ""},
		{59, 1, nil, 1, Revoked},
		{61, 2, nil, 0, ""}, // unchanged, by its tag
		{122, 3, func() { // a replica that is behind
			p.etag, p.claims["status_list"] = `"2"`, map[string]any{"bits": 1, "lst": lst(0)}
			p.claims["iat"] = time.Now().Unix() - 15
		}, 1, Revoked},
		{133, 4, func() { p.code = http.StatusServiceUnavailable }, 0, ""},
		{290, 5, nil, 0, ""},
		{301, 6, nil, 0, StatusListUnavailable},
		{312, 7, func() {
			p.code, p.claims["status_list"] = http.StatusOK, map[string]any{"bits": 2, "lst": lst(2 << 2)}
			p.claims["iat"], p.claims["exp"] = time.Now().Unix()+300, time.Now().Unix()+600
		}, 1, Revoked},
		{312, 7, nil, 0, ""},
	}
	for _, step := range steps {
		p.pass(step.at)
		if step.change != nil {
			step.change()
		}
		got := p.reason(t, verifier, step.index)
		deadline := time.Now().Add(5 * time.Second)
		for p.asked.Load() < step.asked && time.Now().Before(deadline) { // a list that serves is fetched beside
			time.Sleep(time.Millisecond)
		}
		if asked := p.asked.Load(); got != step.want || asked != step.asked {
			t.Fatalf("after %d s: %q, asked %d times; not %q and %d", step.at, got, asked, step.want, step.asked)
		}
		_, _, _ = verifier.statusLists.flight.Do(p.uri(), func() (any, error) { return nil, nil }) // it has ended
	}
	if p.matched.Load() != 1 {
		t.Errorf("%d of the requests matched by their tag", p.matched.Load())
	}
}

func TestStatusListsAreBoundedAndFetchedOnce(t *testing.T) {
	lists := NewStatusLists()
	for number := range maxLists + 50 {
		lists.keep(strconv.Itoa(number), statusList{statuses: []byte{0}})
	}
	if len(lists.held) != maxLists {
		t.Errorf("%d lists", len(lists.held))
	}
	large := make([]byte, maxStatuses)
	for number := range 70 {
		lists.keep("large"+strconv.Itoa(number), statusList{statuses: large})
	}
	if lists.size > maxListsSize {
		t.Errorf("%d bytes", lists.size)
	}
	p, verifier := newPublisher(t)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := p.reason(t, verifier, 0); got != "" {
				t.Errorf("%q", got)
			}
		})
	}
	group.Wait()
	if asked := p.asked.Load(); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

package tokenmint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// bearerCase is a row of the table that the middleware of all languages is held to.
type bearerCase struct {
	Name        string
	Token       string
	Keys        string
	Revocations string
	Times       int
	Scheme      string
	Place       string
	Status      int
	Error       string
}

func bearerCases(t *testing.T) (requires []string, cases []bearerCase) {
	t.Helper()
	text, err := os.ReadFile("../../tests/clients/bearer.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Requires []string
		Cases    []bearerCase
	}
	if err := json.Unmarshal(text, &document); err != nil || len(document.Cases) == 0 {
		t.Fatal(err, "no cases")
	}
	return document.Requires, document.Cases
}

// keyRing is an issuer with three keys, of which two are published until the second is revoked.
type keyRing struct {
	keys    map[string]*ecdsa.PrivateKey
	revoked atomic.Bool
	away    atomic.Bool
	later   atomic.Int64 // nanoseconds
}

func newKeyRing(t *testing.T) *keyRing {
	t.Helper()
	ring := &keyRing{keys: map[string]*ecdsa.PrivateKey{}}
	for _, name := range []string{"k1", "revoked key", "unknown key"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ring.keys[name] = key
	}
	return ring
}

func (r *keyRing) now() time.Time { return time.Now().Add(time.Duration(r.later.Load())) }

func (r *keyRing) ServeHTTP(writer http.ResponseWriter, _ *http.Request) {
	writer.Header().Set("Cache-Control", "max-age=60")
	if r.away.Load() {
		writer.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var set jose.JSONWebKeySet
	for _, name := range []string{"k1", "revoked key"} {
		if name == "k1" || !r.revoked.Load() {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: r.keys[name].Public(), KeyID: name, Algorithm: "ES256", Use: "sig"})
		}
	}
	_ = json.NewEncoder(writer).Encode(set)
}

func (r *keyRing) token(t *testing.T, kind string) string {
	t.Helper()
	if kind == "malformed" {
		return "not-a-token"
	}
	keyID := "k1"
	if _, own := r.keys[kind]; own {
		keyID = kind
	}
	now := time.Now().Unix()
	claims := map[string]any{"iss": issuer, "aud": audience, "sub": "ada", "iat": now, "exp": now + 600, "scope": "read"}
	switch kind {
	case "expired":
		claims["exp"] = now - 60
	case "wrong audience":
		claims["aud"] = "https://others.example"
	case "wrong issuer":
		claims["iss"] = "https://others.example"
	case "missing scope":
		claims["scope"] = "write"
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: r.keys[keyID]}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type answered struct {
	status     int
	challenge  string
	retryAfter string
	body       string
}

func ask(t *testing.T, address string, authorizations []string) answered {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header["Authorization"] = authorizations
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{answer.StatusCode, answer.Header.Get("WWW-Authenticate"), answer.Header.Get("Retry-After"), string(body)}
}

func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	lines := &bytes.Buffer{}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return lines
}

func TestMiddlewareAnswersAsRFC6750Section3Says(t *testing.T) {
	requires, cases := bearerCases(t)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			log := logged(t)
			ring := newKeyRing(t)
			set := httptest.NewServer(ring)
			t.Cleanup(set.Close)
			options := []VerifierOption{WithKeySetURL(set.URL), WithVerifierClock(ring.now)}
			if c.Revocations == "unavailable" {
				old := NewRevocations(&Client{}, audience)
				old.begin.Do(func() {}) // nothing follows
				if err := old.take(said("0.1-0", "", 0, time.Minute)); err != nil {
					t.Fatal(err)
				}
				options = append(options, WithRevocations(old))
			}
			verifier, err := NewVerifier(issuer, audience, options...)
			if err != nil {
				t.Fatal(err)
			}
			service := httptest.NewServer(verifier.Middleware(http.HandlerFunc(greet), requires...))
			t.Cleanup(service.Close)
			address, token, headers := service.URL, "", []string(nil)
			if c.Token != "" {
				token = ring.token(t, c.Token)
			}
			value := c.Scheme + " " + token
			if c.Scheme == "" {
				value = "Bearer " + token
			}
			switch {
			case c.Place == "query":
				address += "?access_token=" + token
			case token != "":
				for range max(1, c.Times) {
					headers = append(headers, value)
				}
			}
			ring.away.Store(c.Keys == "unavailable")
			if c.Token == "revoked key" {
				if before := ask(t, address, headers); before.status != http.StatusOK {
					t.Fatal("before it is revoked:", before)
				}
				ring.revoked.Store(true)
				ring.later.Add(int64(61 * time.Second)) // the set's age
			}
			judge(t, c, ask(t, address, headers), token, strings.Join(requires, " "))
			if token != "" && strings.Contains(log.String(), token) {
				t.Error("the log has the token")
			}
			if c.Keys == "unavailable" && !strings.Contains(log.String(), `cause="the answer has status 503"`) {
				t.Error("the log does not say why: ", log)
			}
		})
	}
}

func greet(writer http.ResponseWriter, request *http.Request) {
	claims, _ := ClaimsFromContext(request.Context())
	_, _ = writer.Write([]byte(claims.Subject))
}

var descriptions = regexp.MustCompile(`, error_description="[ !#-\[\]-~]+"`)

func judge(t *testing.T, c bearerCase, got answered, token, scopes string) {
	t.Helper()
	want := ""
	switch {
	case c.Status == http.StatusUnauthorized && c.Error == "": // RFC 6750 section 3.1: no code where there was no token
		want = "Bearer"
	case c.Status == http.StatusForbidden:
		want = `Bearer error="` + c.Error + `", scope="` + scopes + `"`
	case c.Error != "":
		want = `Bearer error="` + c.Error + `"`
	}
	described := descriptions.MatchString(got.challenge)
	if got.status != c.Status || descriptions.ReplaceAllString(got.challenge, "") != want || described != (c.Error != "") {
		t.Errorf("got %+v, want %d %q", got, c.Status, want)
	}
	if token != "" && strings.Contains(got.body+got.challenge, token) {
		t.Error("the answer has the token")
	}
	if seconds, err := strconv.Atoi(got.retryAfter); c.Status == http.StatusServiceUnavailable {
		if err != nil || seconds < 1 || strings.Contains(got.body, "127.0.0.1") {
			t.Errorf("got %+v", got)
		}
	}
	if c.Status == http.StatusOK && got.body != "ada" {
		t.Errorf("got %+v", got)
	}
}

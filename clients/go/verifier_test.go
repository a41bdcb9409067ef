package tokenmint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const issuer, audience = "https://tokens.example", "https://orders.example"

// mint is an issuer with a key set over HTTP.
type mint struct {
	key     *ecdsa.PrivateKey
	keyID   string
	control string
	status  atomic.Int64
	fetches atomic.Int64
	later   atomic.Int64 // nanoseconds
}

func newMint(t *testing.T, options ...VerifierOption) (*mint, *Verifier) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &mint{key: key, keyID: "k1", control: "max-age=60"}
	m.status.Store(http.StatusOK)
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	now := func() time.Time { return time.Now().Add(time.Duration(m.later.Load())) }
	verifier, err := NewVerifier(issuer, audience, append([]VerifierOption{WithKeySetURL(server.URL), WithVerifierClock(now)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m, verifier
}

func (m *mint) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	m.fetches.Add(1)
	writer.Header().Set("Cache-Control", m.control)
	writer.Header().Set("ETag", `"1"`)
	if request.Header.Get("If-None-Match") == `"1"` && m.status.Load() == http.StatusOK {
		writer.WriteHeader(http.StatusNotModified)
		return
	}
	writer.WriteHeader(int(m.status.Load()))
	key := jose.JSONWebKey{Key: m.key.Public(), KeyID: m.keyID, Algorithm: "ES256", Use: "sig"}
	_ = json.NewEncoder(writer).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
}

// token returns a good token; changes to nil remove a claim.
func (m *mint) token(t *testing.T, headers, changes map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{"iss": issuer, "aud": audience, "sub": "ada", "iat": now, "exp": now + 600, "scope": "read"}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", m.keyID)
	for name, value := range headers {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: m.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestVerifierReasons(t *testing.T) {
	m, verifier := newMint(t)
	now := time.Now().Unix()
	cases := []struct {
		name             string
		headers, changes map[string]any
		want             Reason
	}{
		{"good", nil, nil, ""},
		{"typ with its prefix", map[string]any{"typ": "application/AT+JWT"}, nil, ""},
		{"a list of one audience", nil, map[string]any{"aud": []string{audience}}, ""},
		{"several audiences", nil, map[string]any{"aud": []string{audience, "x"}}, WrongAudience},
		{"a claim in another case", nil, map[string]any{"SUB": "root", "Cnf": 1}, ""},
		{"typ of RFC 7519", map[string]any{"typ": "JWT"}, nil, UnsupportedTokenType},
		{"crit", map[string]any{"crit": []string{"x"}, "x": 1}, nil, Malformed},
		{"kid", map[string]any{"kid": "other"}, nil, UnknownKey},
		{"issuer with a slash", nil, map[string]any{"iss": issuer + "/"}, UnknownIssuer},
		{"no issuer", nil, map[string]any{"iss": nil}, ClaimRejected},
		{"audience by prefix", nil, map[string]any{"aud": audience + ".evil"}, WrongAudience},
		{"no audience", nil, map[string]any{"aud": nil}, ClaimRejected},
		{"no sub", nil, map[string]any{"sub": nil}, ClaimRejected},
		{"empty sub", nil, map[string]any{"sub": ""}, ClaimRejected},
		{"no exp", nil, map[string]any{"exp": nil}, ClaimRejected},
		{"no iat", nil, map[string]any{"iat": nil}, ClaimRejected},
		{"exp as text", nil, map[string]any{"exp": "9999999999"}, ClaimRejected},
		{"expired within leeway", nil, map[string]any{"exp": now - 20}, ""},
		{"expired", nil, map[string]any{"exp": now - 31}, Expired},
		{"nbf", nil, map[string]any{"nbf": now + 60}, NotYetValid},
		{"iat", nil, map[string]any{"iat": now + 60}, NotYetValid},
		{"bound to a key (RFC 7800)", nil, map[string]any{"cnf": map[string]any{"jkt": "x"}}, PossessionNotProved},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			claims, err := verifier.Verify(t.Context(), m.token(t, c.headers, c.changes))
			if ReasonOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err == nil && (claims.Subject != "ada" || !claims.HasScopes("read") || claims.HasScopes("write")) {
				t.Errorf("claims are %+v", claims)
			}
		})
	}
}

func TestSymmetricAlgorithmsCannotBeConfigured(t *testing.T) {
	for _, name := range []string{"HS256", "none", "", "es256"} {
		if _, err := NewVerifier(issuer, audience, WithAlgorithms(name)); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	for _, address := range []string{"http://tokens.example/jwks", "", "file:///jwks"} {
		if _, err := NewVerifier(issuer, audience, WithKeySetURL(address)); err == nil {
			t.Errorf("%q was taken for the URL of a key set", address)
		}
	}
}

func TestKeySetIsKeptForItsAgeThenAskedForAgainAndOutlivesAnOutage(t *testing.T) {
	m, verifier := newMint(t)
	claims := map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()}
	token := m.token(t, nil, claims)
	verify := func(later time.Duration, want Reason, fetches int64) {
		t.Helper()
		m.later.Add(int64(later))
		_, err := verifier.Verify(t.Context(), token)
		<-verifier.keys.flight.DoChan("", func() (any, error) { return nil, nil }) // one in the background has ended
		if ReasonOf(err) != want || m.fetches.Load() != fetches {
			t.Fatalf("%v after %d fetches, want %q after %d", err, m.fetches.Load(), want, fetches)
		}
	}
	verify(0, "", 1)
	verify(50*time.Second, "", 1)
	verify(11*time.Second, "", 2)
	m.status.Store(http.StatusServiceUnavailable)
	verify(61*time.Second, "", 3)
	verify(58*time.Minute, "", 4)
	verify(2*time.Minute, KeySetUnavailable, 5)
	m.status.Store(http.StatusOK)
	verify(2*time.Second, "", 6)
}

func TestUnknownKeysFetchAtMostOnceInTenSeconds(t *testing.T) {
	m, verifier := newMint(t)
	for number := range 20 {
		stranger := m.token(t, map[string]any{"kid": fmt.Sprint("made-up-", number)}, nil)
		if _, err := verifier.Verify(t.Context(), stranger); ReasonOf(err) != UnknownKey {
			t.Fatal(err)
		}
	}
	if m.fetches.Load() != 2 { // the first one, and one for an unknown key
		t.Fatalf("%d fetches", m.fetches.Load())
	}
}

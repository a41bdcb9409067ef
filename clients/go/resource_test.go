package tokenmint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRFC9728Section31ThePathGoesBehindTheWellKnownOne(t *testing.T) {
	_, verifier := newMint(t)
	for resource, path := range map[string]string{
		"https://api.example":       "",
		"https://api.example/":      "",
		"https://api.example/mcp":   "/mcp",
		"https://API.example/a/b/":  "/a/b/",
		"http://127.0.0.1:8000/mcp": "/mcp",
	} {
		made, err := NewResource(verifier, ResourceConfig{Resource: resource})
		if err != nil {
			t.Fatal(resource, err)
		}
		if made.MetadataPath() != wellKnownResource+path || !strings.HasSuffix(made.MetadataURL(), made.MetadataPath()) {
			t.Errorf("%s: %s", resource, made.MetadataURL())
		}
	}
}

func TestRFC9728Section12AResourceIsAnHTTPSURLWithoutQueryAndFragment(t *testing.T) {
	_, verifier := newMint(t)
	for _, config := range []ResourceConfig{
		{Resource: "http://api.example"}, {Resource: "https://api.example/?a"}, {Resource: "https://api.example/#a"},
		{Resource: "https://u@api.example"}, {Resource: "api"}, {}, {Resource: "http://127.0.0.1.example/"},
		{Resource: "https://api.example", WithoutDPoP: true, RequireDPoP: true},
		{Resource: "https://api.example", ReplayMemory: -1}, {Resource: "https://api.example", NonceKey: []byte("short")},
	} {
		if _, err := NewResource(verifier, config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}

func TestRFC9449Section111AFullMemoryRefusesAndForgetsNothingThatCouldBeReplayed(t *testing.T) {
	memory := &replayMemory{size: 2, used: map[[sha256.Size]byte]time.Time{}}
	now := time.Now()
	proof := func(name byte, expiry time.Time) *dpopProof {
		return &dpopProof{replayID: [sha256.Size]byte{name}, expiry: expiry}
	}
	use := func(name byte, at time.Time) Reason {
		return ReasonOf(memory.use(proof(name, at.Add(maxProofAge)), at))
	}
	for step, c := range []struct {
		name byte
		at   time.Duration
		want Reason
	}{
		{'a', 0, ""}, {'b', 10 * time.Second, ""}, {'c', 20 * time.Second, Unavailable}, {'a', 20 * time.Second, ProofRejected},
		{'b', 20 * time.Second, ProofRejected}, {'c', 60 * time.Second, ""}, {'b', 69 * time.Second, ProofRejected},
		{'b', 70 * time.Second, ""}, {'a', 71 * time.Second, Unavailable},
	} {
		if got := use(c.name, now.Add(c.at)); got != c.want {
			t.Fatalf("step %d: %q, want %q", step, got, c.want)
		}
	}
	if len(memory.used) != 2 || len(memory.order) != 2 {
		t.Errorf("it holds %d and %d", len(memory.used), len(memory.order))
	}
}

func TestRFC3986Section62URLsAreComparedInTheirNormalForm(t *testing.T) {
	for text, normal := range map[string]string{
		"HTTPS://API.example:443":            "https://api.example/",
		"https://api.example/a/./b/../c?d#e": "https://api.example/a/c",
		"https://api.example/%7Ea%2fb":       "https://api.example/~a%2Fb",
		"http://[::1]:80/":                   "http://[::1]/",
		"https://api.example@evil.example/":  "",
		"https://user@api.example/":          "",
		"https://api.example\\a":             "",
		"https://é.example/":                 "",
		"ftp://api.example/":                 "",
	} {
		if got := normalURL(text); got != normal {
			t.Errorf("%s: %q, want %q", text, got, normal)
		}
	}
}

// A number of bytes that come from outside must end in a refusal, never in another way.
func FuzzReadProof(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7fX0.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := readProof(text, "GET", "https://api.example/", "token", time.Now()); ReasonOf(err) != ProofRejected {
			t.Error(err)
		}
	})
}

// certificate returns one that signs itself.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestRFC8705Section3ATokenIsBoundToTheCertificateOfTheConnection(t *testing.T) {
	m, verifier := newMint(t)
	resource, err := NewResource(verifier, ResourceConfig{Resource: "https://api.example", Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(resource.Middleware(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		claims, _ := ClaimsFromContext(request.Context())
		_, _ = fmt.Fprint(writer, claims.Confirmation["x5t#S256"])
	})))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	own, other := certificate(t, "own"), certificate(t, "other")
	token := m.token(t, nil, map[string]any{"cnf": map[string]any{"x5t#S256": hashOf(own.Certificate[0])}})
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		status       int
	}{
		"own": {[]tls.Certificate{own}, http.StatusOK}, "other": {[]tls.Certificate{other}, http.StatusUnauthorized},
		"none": {nil, http.StatusUnauthorized},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = c.certificates
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatal(name, err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestRFC9449Section9NoncesAreThoseOfThisKeyAndOfThisTime(t *testing.T) {
	key, err := newNonces([]byte(strings.Repeat("k", minNonceKey)))
	other, otherErr := newNonces([]byte(strings.Repeat("o", minNonceKey)))
	if err := errors.Join(err, otherErr); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	made := key.at(now)
	for later, good := range map[time.Duration]bool{0: true, nonceAge - 2*time.Second: true, nonceAge: false, -maxProofAhead - 2*time.Second: false} {
		if key.accept(made, now.Add(later)) != good {
			t.Errorf("%s later it is not %v", later, good)
		}
	}
	if other.accept(made, now) || key.accept("", now) || key.accept("é", now) {
		t.Error("a foreign nonce was accepted")
	}
}

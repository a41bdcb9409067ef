package tokenmint

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func answering(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Location", "https://elsewhere.example")
		writer.WriteHeader(status)
		_, _ = writer.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/jwks.json"
}

func TestTheErrorNamesTheAddressAndTheCause(t *testing.T) {
	logged(t)
	m, _ := newMint(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	for _, c := range []struct{ name, address, cause string }{
		{"DNS", "https://tokens.invalid/jwks.json", "the host name can't be resolved (DNS)"}, // RFC 6761
		{"refused", "http://" + closed.Addr().String() + "/jwks.json", "the connection was refused"},
		{"TLS", untrusted.URL + "/jwks.json", "TLS failed: "},
		{"no TLS", strings.Replace(answering(t, 200, ""), "http:", "https:", 1), "TLS failed: "},
		{"status", answering(t, 404, "no"), "the answer has status 404"},
		{"redirect", answering(t, 302, ""), "the answer has status 302"},
		{"not JSON", answering(t, 200, "<html>"), "the answer is not JSON"},
		{"no set", answering(t, 200, "[]"), "the answer is not a JSON Web Key Set (RFC 7517)"},
		{"no keys", answering(t, 200, "{}"), "the answer is not a JSON Web Key Set (RFC 7517)"},
		{"no key", answering(t, 200, `{"keys": []}`), "the answer holds no usable key"},
		{"too long", answering(t, 200, strings.Repeat(" ", maxKeySetSize)+"{}"), "longer than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			verifier, err := NewVerifier(issuer, audience, WithKeySetURL(c.address))
			if err != nil {
				t.Fatal(err)
			}
			token := m.token(t, nil, nil)
			_, err = verifier.Verify(t.Context(), token)
			var found *Error
			if !errors.As(err, &found) || found.Reason != KeySetUnavailable {
				t.Fatal(err)
			}
			if want := "the key set at " + c.address + " can't be fetched: "; !strings.HasPrefix(found.Message, want) ||
				!strings.Contains(found.Message, c.cause) || strings.Contains(found.Message, token) {
				t.Errorf("got %q", found.Message)
			}
		})
	}
}

func TestTheAddressIsNamedWithoutTheSecretsInIt(t *testing.T) {
	log := logged(t)
	m, _ := newMint(t)
	address := strings.Replace(answering(t, 404, ""), "http://", "http://user:hunter2@", 1) + "?key=hunter2#hunter2"
	verifier, err := NewVerifier(issuer, audience, WithKeySetURL(address))
	if err != nil {
		t.Fatal(err)
	}
	_, err = verifier.Verify(t.Context(), m.token(t, nil, nil))
	if text := err.Error() + log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "127.0.0.1") {
		t.Error(text)
	}
	_, err = NewVerifier(issuer, audience, WithKeySetURL("http://user:hunter2@tokens.example/?key=hunter2"))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "without TLS") {
		t.Error(err)
	}
}

func TestNothingSecretPrints(t *testing.T) {
	const secret = "hunter2"
	token := Token{Value: secret, ID: "id"}
	client, err := New("127.0.0.1:9", WithClientSecret("web", secret), WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	source := client.TokenSource()
	for name, value := range map[string]any{
		"token":           token,
		"pointer":         &token,
		"entry":           Entry{Token: &token},
		"batch result":    BatchResult{Token: &token},
		"request":         ExchangeRequest{SubjectToken: secret, ActorToken: secret, Nonce: secret},
		"pointer request": &ExchangeRequest{SubjectToken: secret, ActorToken: secret},
		"client":          client,
		"client's value":  *client,
		"source":          source,
		"bound source":    source.For(StaticSubject(secret), "https://orders.example"),
		"credentials":     source.For(StaticSubject(secret), "https://orders.example").PerRPCCredentials(),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, value) + fmt.Sprintf(verb, []any{value}); strings.Contains(text, secret) ||
				strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s with %s: %s", name, verb, text)
			}
		}
		log := logged(t)
		slog.Info("a call", "value", value)
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s in a log: %s", name, log)
		}
	}
}

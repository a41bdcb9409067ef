// Package mcptest tests the client with the official SDK for the Model Context Protocol. It is a module of its own, so that
// users of the client do not get the SDK.
package mcptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	tokenmint "tokenmint.dev/client-go"
)

const (
	issuer   = "https://tokens.example"
	audience = "https://orders.example"
	resource = "https://api.example/mcp"
	metadata = "https://api.example/.well-known/oauth-protected-resource/mcp"
)

type object = map[string]any

// signer signs compact JWS by ES256.
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func (s signer) sign(t *testing.T, header, claims object) string {
	t.Helper()
	encode := func(value object) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	header["alg"] = "ES256"
	signed := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	r, other, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(append(padded(r), padded(other)...))
}

func padded(number *big.Int) []byte { return number.FillBytes(make([]byte, 32)) }

func (s signer) jwk(t *testing.T) object {
	t.Helper()
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return object{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
}

func (s signer) thumbprint(t *testing.T) string {
	t.Helper()
	key := s.jwk(t)
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, key["x"], key["y"]))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s signer) token(t *testing.T, changes object) string {
	t.Helper()
	now := time.Now().Unix()
	claims := object{
		"iss": issuer, "aud": audience, "sub": "ada", "client_id": "agent", "scope": "read", "iat": now, "exp": now + 600,
	}
	for name, value := range changes {
		claims[name] = value
	}
	return s.sign(t, object{"typ": "at+jwt", "kid": "k1"}, claims)
}

// proving sends a token, with a DPoP proof where there is a key for it.
type proving struct {
	t     *testing.T
	token string
	key   *signer
	count *atomic.Int64
}

func (p proving) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+p.token)
	if p.key != nil {
		hash := sha256.Sum256([]byte(p.token))
		request.Header.Set("Authorization", "DPoP "+p.token)
		request.Header.Set("DPoP", p.key.sign(p.t, object{"typ": "dpop+jwt", "jwk": p.key.jwk(p.t)}, object{
			"htm": request.Method, "htu": resource, "iat": time.Now().Unix(), "jti": fmt.Sprint(p.count.Add(1)),
			"ath": base64.RawURLEncoding.EncodeToString(hash[:]),
		}))
	}
	return http.DefaultTransport.RoundTrip(request)
}

// How a server checks tokens: by the SDK's own check alone, with our answer where it can't, or behind our middleware too.
const (
	alone          = "alone"
	withAnswer     = "with our answer"
	withMiddleware = "with our middleware"
)

var kinds = []string{alone, withAnswer, withMiddleware}

// serve serves a tool, behind the SDK's own check of tokens by our verifier.
func serve(t *testing.T, tokens signer, away bool, kind string) string {
	t.Helper()
	keys := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		if away {
			writer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		key := tokens.jwk(t)
		key["kid"], key["alg"] = "k1", "ES256"
		_ = json.NewEncoder(writer).Encode(object{"keys": []object{key}})
	}))
	t.Cleanup(keys.Close)
	verifier, err := tokenmint.NewVerifier(issuer, audience, tokenmint.WithKeySetURL(keys.URL))
	if err != nil {
		t.Fatal(err)
	}
	protected, err := tokenmint.NewResource(verifier, tokenmint.ResourceConfig{Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "orders", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"}, func(_ context.Context, request *mcp.CallToolRequest, _ object) (*mcp.CallToolResult, any, error) {
		info := request.Extra.TokenInfo
		acting := "nobody"
		if actor, ok := info.Extra["actor"].(object); ok && actor != nil {
			acting, _ = actor["sub"].(string)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: info.UserID + " by " + acting}}}, nil, nil
	})
	streaming := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	check := tokenmint.TokenVerifier(protected, auth.ErrInvalidToken, func(claims *tokenmint.Claims) *auth.TokenInfo {
		return &auth.TokenInfo{
			Scopes: claims.Scopes, Expiration: claims.Expiry, UserID: claims.Subject, Extra: object{"actor": claims.Actor},
		}
	})
	options := &auth.RequireBearerTokenOptions{ResourceMetadataURL: protected.MetadataURL(), Scopes: []string{"read"}}
	handler := auth.RequireBearerToken(check, options)(streaming)
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	mux.Handle(protected.MetadataPath(), protected.MetadataHandler())
	var served http.Handler = mux
	switch kind {
	case withMiddleware:
		served = protected.Middleware(tokenmint.AsBearer(mux), "read")
	case withAnswer:
		served = tokenmint.AnswerUnavailable(mux)
	}
	web := httptest.NewServer(served)
	t.Cleanup(web.Close)
	return web.URL
}

func whoami(t *testing.T, address string, send http.RoundTripper) string {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{
		Endpoint: address + "/mcp", HTTPClient: &http.Client{Transport: send}, DisableStandaloneSSE: true,
	}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami", Arguments: object{}})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Content[0].(*mcp.TextContent).Text
}

func TestAToolSeesThePrincipalAndWhoActsForIt(t *testing.T) {
	tokens := newSigner(t)
	for _, kind := range kinds {
		address := serve(t, tokens, false, kind)
		token := tokens.token(t, object{"act": object{"sub": "assistant"}})
		if text := whoami(t, address, proving{t: t, token: token}); text != "ada by assistant" {
			t.Errorf("%s: %q", kind, text)
		}
	}
}

func TestRFC9449Section7BoundTokensNeedAProof(t *testing.T) {
	tokens, key := newSigner(t), newSigner(t)
	token := tokens.token(t, object{"cnf": object{"jkt": key.thumbprint(t)}})
	address := serve(t, tokens, false, withMiddleware)
	if text := whoami(t, address, proving{t: t, token: token, key: &key, count: &atomic.Int64{}}); text != "ada by nobody" {
		t.Error(text)
	}
	for _, kind := range kinds {
		if answer := post(t, serve(t, tokens, false, kind), token); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: as a bearer token it was answered with %d", kind, answer.StatusCode)
		}
	}
}

func TestRFC9728ARefusedClientIsToldWhereTheMetadataAre(t *testing.T) {
	tokens := newSigner(t)
	for _, kind := range kinds {
		address := serve(t, tokens, false, kind)
		for _, token := range []string{
			"x.y.z", tokens.token(t, object{"exp": 1}), tokens.token(t, object{"aud": "https://others.example"}), newSigner(t).token(t, nil),
		} {
			answer := post(t, address, token)
			challenge := answer.Header.Get("WWW-Authenticate")
			if answer.StatusCode != http.StatusUnauthorized || !strings.Contains(challenge, `resource_metadata="`+metadata+`"`) {
				t.Errorf("%s: %d %s", kind, answer.StatusCode, challenge)
			}
		}
		if answer := post(t, address, tokens.token(t, object{"scope": "write"})); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: without a scope %d", kind, answer.StatusCode)
		}
		answer, err := http.Get(address + "/.well-known/oauth-protected-resource/mcp")
		var document tokenmint.Metadata
		if err != nil || json.NewDecoder(answer.Body).Decode(&document) != nil {
			t.Fatal(err, "no metadata")
		}
		_ = answer.Body.Close()
		if document.Resource != resource || document.AuthorizationServers[0] != issuer {
			t.Errorf("the metadata are %+v", document)
		}
	}
}

func TestWithoutKeysClientsAreNotSentToSignInAgain(t *testing.T) {
	tokens := newSigner(t)
	for kind, status := range map[string]int{
		alone: http.StatusInternalServerError, withAnswer: http.StatusServiceUnavailable, withMiddleware: http.StatusServiceUnavailable,
	} {
		answer := post(t, serve(t, tokens, true, kind), tokens.token(t, nil))
		retries := answer.Header.Get("Retry-After") == "1"
		if answer.StatusCode != status || answer.Header.Get("WWW-Authenticate") != "" || retries != (kind != alone) {
			t.Errorf("%s: %d", kind, answer.StatusCode)
		}
	}
}

func post(t *testing.T, address, token string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/mcp", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

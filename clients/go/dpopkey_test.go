package tokenmint

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// minting exchanges for tokens that are bound where that is asked for, of the type that the test says.
type minting struct {
	*mint
	t         *testing.T
	tokenType string
}

func (m minting) Exchange(_ context.Context, request ExchangeRequest) (*Token, error) {
	claims, tokenType := map[string]any{}, "Bearer"
	if request.DPoPThumbprint != "" {
		claims["cnf"], tokenType = map[string]any{"jkt": request.DPoPThumbprint}, "DPoP"
	}
	if m.tokenType != "" {
		tokenType = m.tokenType
	}
	return &Token{Value: m.token(m.t, nil, claims), TokenType: tokenType, Expiry: time.Now().Add(time.Hour)}, nil
}

type presentedTo struct {
	base    string
	schemes []string
	proofs  map[string]bool
}

// newPresentedTo serves an API that takes tokens with proofs, which need its nonce.
func newPresentedTo(t *testing.T, verifier *Verifier) *presentedTo {
	t.Helper()
	made := &presentedTo{proofs: map[string]bool{}}
	var protected http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		scheme, _, _ := strings.Cut(request.Header.Get("Authorization"), " ")
		made.schemes = append(made.schemes, scheme)
		made.proofs[request.Header.Get("DPoP")] = true
		protected.ServeHTTP(writer, request)
	}))
	t.Cleanup(server.Close)
	made.base = server.URL
	resource, err := NewResource(verifier, ResourceConfig{Resource: server.URL, NonceKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	protected = resource.Middleware(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		claims, _ := ClaimsFromContext(request.Context())
		body, _ := io.ReadAll(request.Body)
		_, _ = fmt.Fprintf(writer, "%s %s", claims.Subject, body)
	}))
	return made
}

func newDPoPKey(t *testing.T) *DPoPKey {
	t.Helper()
	key, err := NewDPoPKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRFC9449Section71TheTypeOfATokenDecidesTheScheme(t *testing.T) {
	m, verifier := newMint(t)
	for name, row := range map[string]struct {
		key       *DPoPKey
		tokenType string
		once      bool // the body can be read once
		status    int
		schemes   string
		fault     string
	}{
		"a bearer token":           {nil, "", false, 200, "Bearer", ""},
		"a bound token":            {newDPoPKey(t), "", false, 200, "DPoP DPoP", ""}, // the first without the nonce
		"a body for one reading":   {newDPoPKey(t), "", true, 401, "DPoP", ""},
		"a bound token, no key":    {nil, "DPoP", false, 0, "", "presented as DPoP, not as Bearer"},
		"no access token":          {nil, "N_A", false, 0, "", "presented as N_A, not as Bearer"},
		"no access token, and key": {newDPoPKey(t), "N_A", false, 0, "", "presented as N_A, not as Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newPresentedTo(t, verifier)
			bound := NewTokenSource(minting{m, t, row.tokenType}).For(StaticSubject("s"), audience)
			if row.key != nil {
				bound = bound.WithDPoP(row.key)
			}
			transport, err := bound.Transport(nil, api.base)
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = strings.NewReader("order")
			if row.once {
				body = io.MultiReader(body)
			}
			answer, err := (&http.Client{Transport: transport}).Post(api.base+"/a%2Fb?c=1", "text/plain", body)
			if row.fault != "" {
				if err == nil || !strings.Contains(err.Error(), row.fault) {
					t.Error(err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				text, _ := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode != row.status || (row.status == 200) != (string(text) == "ada order") {
					t.Errorf("%d %s", answer.StatusCode, text)
				}
			}
			if schemes := strings.Join(api.schemes, " "); schemes != row.schemes || len(api.proofs) != len(api.schemes) {
				t.Errorf("sent as %q with %d proofs", schemes, len(api.proofs))
			}
			if _, err := bound.PlaintextPerRPCCredentials().GetRequestMetadata(t.Context()); (err == nil) != (row.schemes == "Bearer") {
				t.Errorf("gRPC, which has no proofs: %v", err)
			}
		})
	}
}

func TestRFC9449Section9ANonceIsUsedForTheNextRequests(t *testing.T) {
	m, verifier := newMint(t)
	api := newPresentedTo(t, verifier)
	transport, err := NewTokenSource(minting{m, t, ""}).For(StaticSubject("s"), audience).WithDPoP(newDPoPKey(t)).Transport(nil, api.base)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		answer, err := (&http.Client{Transport: transport}).Get(api.base)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer, err)
		}
		_ = answer.Body.Close()
	}
	if len(api.schemes) != 4 || len(api.proofs) != 4 {
		t.Errorf("%d requests with %d proofs", len(api.schemes), len(api.proofs))
	}
}

func TestADPoPKeyIsForP256AndItsNoncesAreBounded(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewDPoPKey(other); err == nil {
		t.Error("a key for P-384")
	}
	key := newDPoPKey(t)
	if text := fmt.Sprintf("%v %+v %#v", key, key, key); strings.Contains(text, "signer") {
		t.Error(text)
	}
	answer := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{
		"Dpop-Nonce": {"n"}, "Www-Authenticate": {`DPoP error="use_dpop_nonce"`},
	}}
	for number := range maxNonces + 5 {
		if !key.hasToRepeat(strconv.Itoa(number), answer) {
			t.Error("a new nonce is not used")
		}
	}
	if len(key.nonces) > maxNonces {
		t.Errorf("%d nonces", len(key.nonces))
	}
	if key.hasToRepeat(strconv.Itoa(maxNonces+4), answer) {
		t.Error("the nonce was in the proof")
	}
	answer.Header.Set("DPoP-Nonce", strings.Repeat("n", maxNonceSize+1))
	if key.hasToRepeat("long", answer) {
		t.Error("a nonce that is too long")
	}
}

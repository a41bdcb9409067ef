package tokenmint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	leeway       = 30 * time.Second
	maxTokenSize = 16 << 10 // bytes
)

// asymmetric are the algorithms that a verifier can be told to accept: a shared secret would let it mint.
var asymmetric = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// Verifier verifies tokens that tokenmint minted, without asking it for more than its key set. It is safe for concurrent
// use and meant to be made once.
type Verifier struct {
	issuer       string
	audience     string
	algorithms   []jose.SignatureAlgorithm
	types        []string
	confirmation bool
	now          func() time.Time
	keys         *keySet
	revocations  *Revocations
	statusLists  *StatusLists
}

// VerifierOption is a setting of a [Verifier].
type VerifierOption func(*verifierSettings)

type verifierSettings struct {
	algorithms   []string
	types        []string
	keySetURL    string
	client       *http.Client
	confirmation bool
	now          func() time.Time
	revocations  *Revocations
	statusLists  *StatusLists
}

// WithAlgorithms accepts these asymmetric algorithms (RFC 7518) instead of ES256 only.
func WithAlgorithms(algorithms ...string) VerifierOption {
	return func(s *verifierSettings) { s.algorithms = algorithms }
}

// WithTypes accepts these values of the header `typ` instead of `at+jwt` only.
func WithTypes(types ...string) VerifierOption {
	return func(s *verifierSettings) { s.types = types }
}

// WithKeySetURL fetches the key set from elsewhere than the issuer's /.well-known/jwks.json.
func WithKeySetURL(address string) VerifierOption {
	return func(s *verifierSettings) { s.keySetURL = address }
}

// WithHTTPClient fetches the key set with this client. Redirects are not followed.
func WithHTTPClient(client *http.Client) VerifierOption {
	return func(s *verifierSettings) { s.client = client }
}

// WithConfirmation accepts tokens that are bound to a key (RFC 7800): the application itself then checks [Claims.Raw]'s
// `cnf`, without which such a token proves nothing. They are refused by default.
func WithConfirmation() VerifierOption {
	return func(s *verifierSettings) { s.confirmation = true }
}

// WithVerifierClock tells the time, for tests.
func WithVerifierClock(now func() time.Time) VerifierOption {
	return func(s *verifierSettings) { s.now = now }
}

// NewVerifier returns a verifier of tokens that issuer minted for audience; both are compared exactly.
func NewVerifier(issuer, audience string, options ...VerifierOption) (*Verifier, error) {
	settings := verifierSettings{
		algorithms: []string{"ES256"},
		types:      []string{"at+jwt"},
		keySetURL:  strings.TrimSuffix(issuer, "/") + "/.well-known/jwks.json",
		client:     http.DefaultClient,
		now:        time.Now,
	}
	for _, option := range options {
		option(&settings)
	}
	if issuer == "" || audience == "" {
		return nil, errors.New("tokenmint: a verifier needs an issuer and an audience")
	}
	verifier := &Verifier{issuer: issuer, audience: audience, confirmation: settings.confirmation, now: settings.now,
		revocations: settings.revocations, statusLists: settings.statusLists}
	for _, name := range settings.algorithms {
		algorithm := jose.SignatureAlgorithm(name)
		if !slices.Contains(asymmetric, algorithm) {
			return nil, fmt.Errorf("tokenmint: %q is no asymmetric algorithm of RFC 7518", name)
		}
		verifier.algorithms = append(verifier.algorithms, algorithm)
	}
	for _, name := range settings.types {
		verifier.types = append(verifier.types, mediaType(name))
	}
	if len(verifier.algorithms) == 0 || len(verifier.types) == 0 {
		return nil, errors.New("tokenmint: a verifier needs an algorithm and a type")
	}
	var err error
	verifier.keys, err = newKeySet(settings.keySetURL, settings.client, settings.now)
	return verifier, err
}

// Claims are what a verified token says. Only a [Verifier] makes them.
type Claims struct {
	Subject  string         // the principal
	ClientID string         // the client that the token was minted for
	Scopes   []string       // what it grants
	ID       string         // its jti
	IssuedAt time.Time      // when it was minted
	Expiry   time.Time      // when it stops being valid
	Raw      map[string]any // all claims, as JSON decodes them
}

// HasScopes tells whether all of scopes are granted.
func (c *Claims) HasScopes(scopes ...string) bool {
	return !slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(c.Scopes, scope) })
}

// Verify returns the claims of a token, or fails with an [*Error] that says why the token is refused, or with
// KEY_SET_UNAVAILABLE, REVOCATIONS_UNAVAILABLE or STATUS_LIST_UNAVAILABLE where that can't be told.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	if len(token) > maxTokenSize {
		return nil, refused(Malformed, "the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, v.algorithms)
	if err != nil {
		var other *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &other) {
			return nil, refused(AlgorithmNotAllowed, "the token's algorithm is not accepted")
		}
		return nil, refused(Malformed, "the token is not a well-formed compact JWS")
	}
	header := parsed.Headers[0]
	if _, sent := header.ExtraHeaders["crit"]; sent {
		return nil, refused(Malformed, "the token has critical extensions")
	}
	kind, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains(v.types, mediaType(kind)) {
		return nil, refused(UnsupportedTokenType, "the token's typ is not accepted")
	}
	key, err := v.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, err
	}
	var text json.RawMessage
	if err := parsed.Claims(key.Key, &text); err != nil {
		return nil, refused(BadSignature, "the token's signature does not verify")
	}
	claims, err := v.check(text)
	if err == nil && v.revocations != nil {
		err = v.revocations.check(ctx, claims, header.KeyID)
	}
	if err == nil && v.statusLists != nil {
		err = v.statusLists.check(ctx, v, claims)
	}
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// wireClaims are the claims that are looked at; a pointer is nil where there is none.
type wireClaims struct {
	Issuer    *string        `json:"iss"`
	Subject   *string        `json:"sub"`
	Audience  *jwt.Audience  `json:"aud"`
	Expiry    *float64       `json:"exp"`
	IssuedAt  *float64       `json:"iat"`
	NotBefore *float64       `json:"nbf"`
	ID        string         `json:"jti"`
	ClientID  string         `json:"client_id"`
	Scope     string         `json:"scope"`
	Bound     map[string]any `json:"cnf"`
}

func (v *Verifier) check(text json.RawMessage) (*Claims, error) {
	var said wireClaims
	raw := map[string]any{}
	if json.Unmarshal(text, &said) != nil || json.Unmarshal(text, &raw) != nil {
		return nil, refused(ClaimRejected, "a claim of the token is not of its type")
	}
	now := float64(v.now().UnixMilli()) / 1000
	switch late, early := now-leeway.Seconds(), now+leeway.Seconds(); {
	case said.Issuer == nil || *said.Issuer != v.issuer:
		return nil, refused(UnknownIssuer, "the token is of another issuer")
	case said.Audience == nil || !slices.Contains(*said.Audience, v.audience):
		return nil, refused(WrongAudience, "the token is for another audience")
	case said.Expiry == nil || said.IssuedAt == nil || said.Subject == nil || *said.Subject == "":
		return nil, refused(ClaimRejected, "the token lacks exp, iat or sub")
	case *said.Expiry <= late:
		return nil, refused(Expired, "the token has expired")
	case *said.IssuedAt > early || (said.NotBefore != nil && *said.NotBefore > early):
		return nil, refused(NotYetValid, "the token is not valid yet")
	case said.Bound != nil && !v.confirmation:
		return nil, refused(ClaimRejected, "the token is bound to a key, whose proof is not checked here")
	}
	return &Claims{
		Subject:  *said.Subject,
		ClientID: said.ClientID,
		Scopes:   strings.Fields(said.Scope),
		ID:       said.ID,
		IssuedAt: time.UnixMilli(int64(*said.IssuedAt * 1000)),
		Expiry:   time.UnixMilli(int64(*said.Expiry * 1000)),
		Raw:      raw,
	}, nil
}

// mediaType returns a `typ` without the prefix that may be left out (RFC 7515 section 4.1.9), in lower case.
func mediaType(kind string) string {
	return strings.TrimPrefix(strings.ToLower(kind), "application/")
}

func refused(reason Reason, message string) *Error { return &Error{Reason: reason, Message: message} }

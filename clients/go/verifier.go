package tokenmint

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	defaultLeeway = 30 * time.Second
	maxTokenSize  = 16 << 10 // bytes
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
	leeway       time.Duration
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
	leeway       time.Duration
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

// WithLeeway sets how much the clocks may differ, instead of 30 s.
func WithLeeway(leeway time.Duration) VerifierOption {
	return func(s *verifierSettings) { s.leeway = leeway }
}

// WithConfirmation accepts tokens that are bound to a key (RFC 7800) without a proof: the application itself then checks
// [Claims.Confirmation], without which such a token proves nothing. They are refused by default, unless a [Resource] checks
// the proof.
func WithConfirmation() VerifierOption {
	return func(s *verifierSettings) { s.confirmation = true }
}

// WithVerifierClock tells the time, for tests.
func WithVerifierClock(now func() time.Time) VerifierOption {
	return func(s *verifierSettings) { s.now = now }
}

// NewVerifier returns a verifier of tokens that issuer minted for audience; both are compared exactly. A token for several
// audiences is refused.
func NewVerifier(issuer, audience string, options ...VerifierOption) (*Verifier, error) {
	settings := verifierSettings{
		algorithms: []string{"ES256"},
		types:      []string{"at+jwt"},
		keySetURL:  strings.TrimSuffix(issuer, "/") + "/.well-known/jwks.json",
		client:     http.DefaultClient,
		leeway:     defaultLeeway,
		now:        time.Now,
	}
	for _, option := range options {
		option(&settings)
	}
	if issuer == "" || audience == "" {
		return nil, errors.New("tokenmint: a verifier needs an issuer and an audience")
	}
	verifier := &Verifier{
		issuer: issuer, audience: audience, leeway: settings.leeway, confirmation: settings.confirmation, now: settings.now,
		revocations: settings.revocations, statusLists: settings.statusLists,
	}
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

	// Actor is the party that acts for the subject, its act (RFC 8693 section 4.1), or nil. Earlier ones are nested in it.
	Actor map[string]any
	// Confirmation is the key that the token is bound to, its cnf (RFC 7800), or nil.
	Confirmation map[string]any
}

// HasScopes tells whether all of scopes are granted.
func (c *Claims) HasScopes(scopes ...string) bool {
	return !slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(c.Scopes, scope) })
}

// Verify returns the claims of a token, or fails with an [*Error] that says why the token is refused, or with
// KEY_SET_UNAVAILABLE or REVOCATIONS_UNAVAILABLE where that can't be told.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	return v.verify(ctx, token, func(claims *Claims) error {
		if claims.Confirmation != nil && !v.confirmation {
			return refused(PossessionNotProved, "the token is bound to a key, and no proof of the key is checked here")
		}
		return nil
	})
}

// verify is [Verifier.Verify] with another check that the sender holds the key that the token is bound to.
func (v *Verifier) verify(ctx context.Context, token string, prove func(*Claims) error) (*Claims, error) {
	algorithm, keyID, err := v.header(token)
	if err != nil {
		return nil, err
	}
	key, err := v.keys.find(ctx, keyID, algorithm)
	if err != nil {
		return nil, err
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	if err != nil {
		return nil, refused(Malformed, "the token is not a well-formed compact JWS")
	}
	text, err := parsed.Verify(key.Key)
	if err != nil {
		return nil, refused(BadSignature, "the token's signature does not verify")
	}
	claims, err := v.check(text)
	if err == nil {
		err = prove(claims)
	}
	if err == nil && v.revocations != nil {
		err = v.revocations.check(ctx, claims, keyID)
	}
	if err == nil && v.statusLists != nil {
		err = v.statusLists.check(ctx, v, claims)
	}
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// compact is a compact JWS; that of the algorithm `none` has no signature.
var compact = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$`)

// header returns alg and kid of a token of which nothing is believed yet.
func (v *Verifier) header(token string) (algorithm, keyID string, err error) {
	if len(token) > maxTokenSize {
		return "", "", refused(Malformed, "the token is too long")
	}
	encoded, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	var header map[string]any
	if err != nil || !compact.MatchString(token) || json.Unmarshal(text, &header) != nil {
		return "", "", refused(Malformed, "the token is not a well-formed compact JWS")
	}
	algorithm, _ = header["alg"].(string)
	kind, _ := header["typ"].(string)
	keyID, _ = header["kid"].(string)
	_, critical := header["crit"]
	switch {
	case !slices.Contains(v.algorithms, jose.SignatureAlgorithm(algorithm)):
		return "", "", refused(AlgorithmNotAllowed, "the token's algorithm is not accepted")
	case !slices.Contains(v.types, mediaType(kind)):
		return "", "", refused(UnsupportedTokenType, "the token's typ is not accepted")
	case critical || keyID == "":
		return "", "", refused(Malformed, "the token's header has a crit, or no kid")
	}
	return algorithm, keyID, nil
}

func (v *Verifier) check(text []byte) (*Claims, error) {
	// Not a struct: encoding/json would take a claim `SUB` for `sub`.
	var raw map[string]any
	if json.Unmarshal(text, &raw) != nil || raw == nil {
		return nil, refused(Malformed, "the token is not a well-formed JWT")
	}
	read := claimReader{raw: raw}
	issuer, subject, audiences := read.text("iss"), read.text("sub"), read.audiences()
	issued, expiry := read.time("iat"), read.time("exp")
	notBefore := issued
	if _, sent := raw["nbf"]; sent {
		notBefore = read.time("nbf")
	}
	claims := &Claims{
		Subject:      subject,
		ClientID:     read.text("client_id"),
		Scopes:       strings.FieldsFunc(read.text("scope"), func(character rune) bool { return character == ' ' }),
		ID:           read.text("jti"),
		IssuedAt:     time.UnixMilli(int64(issued * 1000)),
		Expiry:       time.UnixMilli(int64(expiry * 1000)),
		Raw:          raw,
		Actor:        read.object("act"),
		Confirmation: read.object("cnf"),
	}
	switch {
	case read.wrong != "":
		return nil, refused(ClaimRejected, read.wrong)
	case issuer == "" || subject == "":
		return nil, refused(ClaimRejected, lacking)
	case issuer != v.issuer:
		return nil, refused(UnknownIssuer, "the token's issuer is another one")
	case len(audiences) != 1 || audiences[0] != v.audience:
		// One audience, as tokenmint mints them: another service that accepts the token could send it on to this one.
		return nil, refused(WrongAudience, "the token was issued for another audience, or for several")
	}
	now := float64(v.now().UnixMilli()) / 1000
	switch late, early := now-v.leeway.Seconds(), now+v.leeway.Seconds(); {
	case expiry <= late:
		return nil, refused(Expired, "the token has expired")
	case issued > early || notBefore > early:
		return nil, refused(NotYetValid, "the token is not valid yet: compare the clocks")
	}
	return claims, nil
}

// lacking is said of a token without one of the claims that every token has.
const lacking = "the token lacks iss, sub or aud"

// claimReader reads claims of the types that they have to have; wrong says what is wrong with the first that is not.
type claimReader struct {
	raw   map[string]any
	wrong string
}

func (r *claimReader) fail(message string) {
	if r.wrong == "" {
		r.wrong = message
	}
}

func (r *claimReader) text(name string) string {
	value, sent := r.raw[name]
	text, ok := value.(string)
	if sent && !ok {
		r.fail("the token's " + name + " is not a text")
	}
	return text
}

func (r *claimReader) time(name string) float64 {
	seconds, ok := r.raw[name].(float64)
	if !ok {
		r.fail("the token's " + name + " is missing or is not a time")
	}
	return seconds
}

func (r *claimReader) object(name string) map[string]any {
	value, sent := r.raw[name]
	object, ok := value.(map[string]any)
	if sent && !ok {
		r.fail("the token's " + name + " is not an object")
	}
	return object
}

func (r *claimReader) audiences() []string {
	if text, ok := r.raw["aud"].(string); ok {
		return []string{text}
	}
	list, ok := r.raw["aud"].([]any)
	if !ok {
		r.fail(lacking)
	}
	var audiences []string
	for _, one := range list {
		text, _ := one.(string) // another type is no audience of anybody's
		audiences = append(audiences, text)
	}
	return audiences
}

// mediaType returns a `typ` without the prefix that may be left out (RFC 7515 section 4.1.9), in lower case.
func mediaType(kind string) string {
	return strings.TrimPrefix(strings.ToLower(kind), "application/")
}

func refused(reason Reason, message string) *Error { return &Error{Reason: reason, Message: message} }

package tokenmint

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	wellKnownResource = "/.well-known/oauth-protected-resource"
	// DefaultReplayMemory is how many proofs a [Resource] remembers, for a minute each.
	DefaultReplayMemory = 100_000
)

// ResourceConfig names a service among OAuth clients, and says which tokens that are bound to a key it accepts.
type ResourceConfig struct {
	// Resource is the resource identifier: the URL that clients know the service by, without query and fragment. Its origin
	// counts as that of all requests, for any Host header.
	Resource string
	// AuthorizationServers are issuers whose tokens it accepts. Default: the verifier's issuer.
	AuthorizationServers []string
	// ScopesSupported are scopes that clients may ask for.
	ScopesSupported []string
	// Name is for people.
	Name string
	// Documentation is a URL for developers.
	Documentation string
	// WithoutDPoP refuses tokens that are bound to a DPoP key.
	WithoutDPoP bool
	// RequireDPoP refuses tokens that are not bound to a DPoP key.
	RequireDPoP bool
	// NonceKey is a secret of 32 bytes or more, the same in all replicas. With it, proofs need a nonce of this service.
	NonceKey []byte
	// Certificates announces that tokens may be bound to the client's certificate (RFC 8705 section 3.3).
	Certificates bool
	// Certificate returns the client's certificate. Default: that of the connection.
	Certificate func(*http.Request) *x509.Certificate
	// ReplayMemory is how many proofs are remembered. Default: [DefaultReplayMemory]. Each process remembers its own.
	ReplayMemory int
}

// Resource is a protected resource that clients discover (RFC 9728), and whose tokens may be bound to a key (RFC 9449,
// RFC 8705). It is safe for concurrent use and meant to be made once.
type Resource struct {
	verifier *Verifier
	config   ResourceConfig
	origin   string
	path     string
	document []byte
	used     *replayMemory
	nonces   nonces
}

// NewResource returns a protected resource whose tokens verifier accepts.
func NewResource(verifier *Verifier, config ResourceConfig) (*Resource, error) {
	normal := normalURL(config.Resource)
	parsed, err := url.Parse(config.Resource)
	switch {
	case err != nil || normal == "" || strings.ContainsAny(config.Resource, "?#"):
		return nil, errors.New("tokenmint: a resource is an absolute URL without user, query and fragment")
	case !strings.EqualFold(parsed.Scheme, "https") && !onLoopback(hostAndPort(parsed)):
		return nil, errors.New("tokenmint: a resource is an https URL (http is for loopback only)")
	case config.RequireDPoP && config.WithoutDPoP:
		return nil, errors.New("tokenmint: a resource can't require DPoP without it")
	case config.ReplayMemory < 0:
		return nil, errors.New("tokenmint: a replay memory has room for 1 or more")
	}
	if len(config.AuthorizationServers) == 0 {
		config.AuthorizationServers = []string{verifier.issuer}
	}
	if config.ReplayMemory == 0 {
		config.ReplayMemory = DefaultReplayMemory
	}
	if config.Certificate == nil {
		config.Certificate = connectionCertificate
	}
	scheme, rest, _ := strings.Cut(normal, "://")
	authority, _, _ := strings.Cut(rest, "/")
	_, after, _ := strings.Cut(config.Resource, "://")
	made := &Resource{
		verifier: verifier,
		config:   config,
		origin:   scheme + "://" + authority,
		path:     wellKnownResource,
		used:     &replayMemory{size: config.ReplayMemory, used: map[[sha256.Size]byte]time.Time{}},
	}
	if _, path, _ := strings.Cut(after, "/"); path != "" {
		made.path += "/" + path
	}
	if config.NonceKey != nil {
		if made.nonces, err = newNonces(config.NonceKey); err != nil {
			return nil, err
		}
	}
	made.document, err = json.Marshal(made.metadata())
	return made, err
}

// Metadata is what a resource says of itself (RFC 9728 section 2).
type Metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	Name                 string   `json:"resource_name,omitempty"`
	Documentation        string   `json:"resource_documentation,omitempty"`
	DPoPAlgorithms       []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPRequired         bool     `json:"dpop_bound_access_tokens_required,omitempty"`
	CertificateBound     bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

func (r *Resource) metadata() Metadata {
	document := Metadata{
		Resource:             r.config.Resource,
		AuthorizationServers: r.config.AuthorizationServers,
		ScopesSupported:      r.config.ScopesSupported,
		BearerMethods:        []string{"header"},
		Name:                 r.config.Name,
		Documentation:        r.config.Documentation,
		DPoPRequired:         r.config.RequireDPoP,
		CertificateBound:     r.config.Certificates,
	}
	if !r.config.WithoutDPoP {
		document.DPoPAlgorithms = proofAlgorithmNames()
	}
	return document
}

// MetadataPath is where the metadata are: the well-known path in front of the identifier's own (RFC 9728 section 3.1).
func (r *Resource) MetadataPath() string { return r.path }

// MetadataURL is the same, as clients know it.
func (r *Resource) MetadataURL() string { return r.origin + r.path }

// MetadataHandler serves the metadata, also to applications in a browser. [Resource.Middleware] serves them too.
func (r *Resource) MetadataHandler() http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		const methods = "GET, HEAD, OPTIONS"
		header := writer.Header()
		switch request.Method {
		case http.MethodGet, http.MethodHead:
			header.Set("Content-Type", "application/json")
			header.Set("Cache-Control", "max-age=3600")
			header.Set("Access-Control-Allow-Origin", "*")
			_, _ = writer.Write(r.document)
		case http.MethodOptions:
			header.Set("Access-Control-Allow-Origin", "*")
			header.Set("Access-Control-Allow-Methods", methods)
			header.Set("Access-Control-Allow-Headers", "*")
			writer.WriteHeader(http.StatusNoContent)
		default:
			header.Set("Allow", methods)
			writer.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
}

// Middleware is [Verifier.Middleware] for a resource: it serves the metadata, announces them in its challenges, and accepts
// tokens that are bound to a key, with a proof of the key.
func (r *Resource) Middleware(next http.Handler, scopes ...string) http.Handler {
	metadata := r.MetadataHandler()
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if pathOf(request) == r.path {
			metadata.ServeHTTP(writer, request)
			return
		}
		ctx, isDPoP, err := r.authenticate(request, scopes)
		if err == nil {
			next.ServeHTTP(writer, request.WithContext(ctx))
			return
		}
		challenge := challenge{scopes: scopes, resource: r, isDPoP: isDPoP}
		challenge.refuse(writer, err)
	})
}

// VerifyRequest returns the claims of a token that came with a request, for frameworks that take the token out of it
// themselves. It fails as [Verifier.Verify] does, and with POSSESSION_NOT_PROVED, PROOF_REJECTED or NONCE_REQUIRED.
func (r *Resource) VerifyRequest(ctx context.Context, token string, request *http.Request) (*Claims, error) {
	scheme, _, _ := strings.Cut(strings.TrimSpace(request.Header.Get("Authorization")), " ")
	return r.verify(ctx, token, strings.EqualFold(scheme, "DPoP"), request)
}

func (r *Resource) authenticate(request *http.Request, scopes []string) (context.Context, bool, error) {
	token, isDPoP, err := presented(request.Header.Values("Authorization"), !r.config.WithoutDPoP)
	if err != nil {
		return nil, isDPoP, err
	}
	claims, err := r.verify(request.Context(), token, isDPoP, request)
	if err != nil {
		return nil, isDPoP, err
	}
	if err := missingScopes(claims, scopes); err != nil {
		return nil, isDPoP, err
	}
	return context.WithValue(request.Context(), claimsKey{}, claims), isDPoP, nil
}

// verify verifies a token, and that its sender holds the keys that it is bound to.
func (r *Resource) verify(ctx context.Context, token string, isDPoP bool, request *http.Request) (*Claims, error) {
	return r.verifier.verify(ctx, token, func(claims *Claims) error { return r.prove(claims, token, isDPoP, request) })
}

// prove checks that the sender of a token holds the keys that it is bound to.
func (r *Resource) prove(claims *Claims, token string, isDPoP bool, request *http.Request) error {
	jkt, byKey := claims.Confirmation["jkt"]
	x5t, byCertificate := claims.Confirmation["x5t#S256"]
	switch {
	case claims.Confirmation != nil && !byKey && !byCertificate:
		return unproved("the token is bound to a key in a way that is not checked here")
	case byKey && r.config.WithoutDPoP:
		return unproved("the token is bound to a DPoP key, and proofs are not checked here")
	case byKey && !isDPoP: // RFC 9449 section 7.2
		return unproved("the token is bound to a DPoP key, and has to be sent with the scheme DPoP")
	case isDPoP && !byKey:
		return unproved("the token is not bound to a DPoP key, and has to be sent with the scheme Bearer")
	case r.config.RequireDPoP && !byKey:
		return unproved("the token is not bound to a DPoP key, which is required here")
	}
	if byCertificate {
		certificate, expected := r.config.Certificate(request), ""
		if certificate != nil {
			expected = hashOf(certificate.Raw)
		}
		if named, _ := x5t.(string); certificate == nil || !same(named, expected) {
			return unproved("the token is bound to another certificate than the connection's")
		}
	}
	if byKey {
		return r.proveKey(request, token, jkt)
	}
	return nil
}

func (r *Resource) proveKey(request *http.Request, token string, jkt any) error {
	proofs, now := request.Header.Values("DPoP"), r.verifier.now()
	if len(proofs) != 1 {
		return badProof("is missing, or there are several DPoP headers")
	}
	made, err := readProof(proofs[0], request.Method, r.origin+pathOf(request), token, now)
	if err != nil {
		return err
	}
	if named, _ := jkt.(string); !same(named, made.thumbprint) {
		return unproved("the DPoP proof is by another key than the token's")
	}
	if r.nonces != nil && !r.nonces.accept(made.nonce, now) {
		return refused(NonceRequired, "the DPoP proof needs the nonce of this answer")
	}
	return r.used.use(made, now)
}

// pathOf returns the path of a request as the client sent it, for any handler that took a prefix off.
func pathOf(request *http.Request) string {
	if parsed, err := url.ParseRequestURI(request.RequestURI); err == nil {
		return parsed.EscapedPath()
	}
	return request.URL.EscapedPath()
}

func connectionCertificate(request *http.Request) *x509.Certificate {
	if request.TLS == nil || len(request.TLS.PeerCertificates) == 0 {
		return nil
	}
	return request.TLS.PeerCertificates[0]
}

func unproved(message string) *Error { return refused(PossessionNotProved, message) }

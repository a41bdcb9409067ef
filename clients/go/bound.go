package tokenmint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/credentials"
)

// Subject returns the subject token of a call, fresh each time that it is asked.
type Subject func(ctx context.Context) (string, error)

type subjectKey struct{}

// ErrNoSubject says that a call has no subject token with it: see [NewSubjectContext].
var ErrNoSubject = errors.New("tokenmint: the context has no subject token")

// NewSubjectContext returns a context that carries the token of the user on whose behalf calls are made.
func NewSubjectContext(ctx context.Context, subjectToken string) context.Context {
	return context.WithValue(ctx, subjectKey{}, subjectToken)
}

// SubjectFromContext is the [Subject] of calls whose context [NewSubjectContext] made.
func SubjectFromContext(ctx context.Context) (string, error) {
	if token, ok := ctx.Value(subjectKey{}).(string); ok {
		return token, nil
	}
	return "", ErrNoSubject
}

// StaticSubject is the [Subject] of calls on behalf of one token.
func StaticSubject(subjectToken string) Subject {
	return func(context.Context) (string, error) { return subjectToken, nil }
}

// BoundSource is a [TokenSource] for one audience.
type BoundSource struct {
	source   *TokenSource
	subject  Subject
	audience string
	scopes   []string
	dpop     *DPoPKey
}

// For returns a source of tokens for audience, on behalf of whom subject names.
func (s *TokenSource) For(subject Subject, audience string, scopes ...string) *BoundSource {
	return &BoundSource{source: s, subject: subject, audience: audience, scopes: scopes}
}

// WithDPoP returns a source like this one whose tokens are bound to a key. Its [BoundSource.Transport] sends a proof of the key
// with each request (RFC 9449 section 7.1). gRPC has no such proofs.
func (b *BoundSource) WithDPoP(key *DPoPKey) *BoundSource {
	other := *b
	other.dpop = key
	return &other
}

// Get returns a token. It fails as [TokenSource.Get] does, and as the subject does.
func (b *BoundSource) Get(ctx context.Context) (*Token, error) {
	subjectToken, err := b.subject(ctx)
	if err != nil {
		return nil, err
	}
	request := ExchangeRequest{SubjectToken: subjectToken, Audience: b.audience, Scopes: b.scopes}
	if b.dpop != nil {
		request.DPoPThumbprint = b.dpop.thumbprint
	}
	return b.source.Exchange(ctx, request)
}

// bearer is the value of the header that presents a token without a proof.
func (b *BoundSource) bearer(token *Token) (string, error) {
	if token.TokenType != "" && !strings.EqualFold(token.TokenType, "Bearer") {
		return "", fmt.Errorf("tokenmint: a token for %s is presented as %s, not as Bearer", b.audience, token.TokenType)
	}
	return "Bearer " + token.Value, nil
}

// PerRPCCredentials sends the token with gRPC calls. Connections without TLS are refused.
func (b *BoundSource) PerRPCCredentials() credentials.PerRPCCredentials { return perRPC{b, true} }

// PlaintextPerRPCCredentials sends the token over connections without TLS too: on loopback, or in a mesh that adds it.
func (b *BoundSource) PlaintextPerRPCCredentials() credentials.PerRPCCredentials {
	return perRPC{b, false}
}

type perRPC struct {
	bound  *BoundSource
	secure bool
}

func (p perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := p.bound.Get(ctx)
	if err != nil {
		return nil, err
	}
	value, err := p.bound.bearer(token)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": value}, nil
}

func (p perRPC) RequireTransportSecurity() bool { return p.secure }

// Transport returns a transport that sends the token with HTTP requests to origins (scheme://host:port), and nowhere else:
// a redirect to another host goes without it. Without origins the audience is the one, where it is a URL. Origins
// without TLS are refused, but for loopback. base may be nil for [http.DefaultTransport].
func (b *BoundSource) Transport(base http.RoundTripper, origins ...string) (http.RoundTripper, error) {
	if base == nil {
		base = http.DefaultTransport
	}
	if len(origins) == 0 {
		origins = []string{b.audience}
	}
	allowed := map[string]bool{}
	for _, origin := range origins {
		parsed, err := url.Parse(origin)
		if err != nil || parsed.Host == "" {
			return nil, fmt.Errorf("tokenmint: %q is no origin: write https://host", origin)
		}
		if parsed.Scheme != "https" && (parsed.Scheme != "http" || !onLoopback(hostAndPort(parsed))) {
			return nil, fmt.Errorf("tokenmint: %q has no TLS: a token would be sent in the open", origin)
		}
		allowed[originOf(parsed)] = true
	}
	return &transport{b, base, allowed}, nil
}

type transport struct {
	bound   *BoundSource
	base    http.RoundTripper
	allowed map[string]bool
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.allowed[originOf(request.URL)] {
		return t.base.RoundTrip(request)
	}
	token, err := t.bound.Get(request.Context())
	var presented *http.Request
	if err == nil {
		presented, err = t.presented(request, token)
	}
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	answer, err := t.base.RoundTrip(presented)
	if err != nil || t.bound.dpop == nil || !t.bound.dpop.hasToRepeat(originOf(request.URL), answer) {
		return answer, err
	}
	return t.repeated(request, token, answer)
}

// presented returns a copy of a request with the token: its type decides the scheme (RFC 9449 section 7.1).
func (t *transport) presented(request *http.Request, token *Token) (*http.Request, error) {
	made := request.Clone(request.Context())
	if t.bound.dpop != nil && strings.EqualFold(token.TokenType, "DPoP") {
		return made, t.bound.dpop.prove(made, originOf(request.URL), token.Value)
	}
	value, err := t.bound.bearer(token)
	made.Header.Set("Authorization", value)
	return made, err
}

// repeated sends a request again, with the nonce of the service that refused it. A body that can be read once is not sent twice.
func (t *transport) repeated(request *http.Request, token *Token, refused *http.Response) (*http.Response, error) {
	hasBody := request.Body != nil && request.Body != http.NoBody
	if hasBody && request.GetBody == nil {
		return refused, nil
	}
	again, err := t.presented(request, token)
	if err == nil && hasBody {
		again.Body, err = request.GetBody()
	}
	if err != nil {
		return refused, nil //nolint:nilerr // the service's answer says more
	}
	_ = refused.Body.Close()
	return t.base.RoundTrip(again)
}

func originOf(of *url.URL) string { return strings.ToLower(of.Scheme + "://" + hostAndPort(of)) }

func hostAndPort(of *url.URL) string {
	port := of.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[of.Scheme]
	}
	if host := of.Hostname(); strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	} else {
		return host + ":" + port
	}
}

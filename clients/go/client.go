package tokenmint

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "tokenmint.dev/client-go/tokenmintv1"
)

// DefaultTimeout is how long a call may take, retries included, where its context has no deadline.
const DefaultTimeout = 10 * time.Second

// serviceConfig has gRPC retry what the service could not answer: UNAVAILABLE only, after the delay that the answer
// names (RetryInfo, which gRPC reads as grpc-retry-pushback-ms) or else with growing delays.
const serviceConfig = `{"methodConfig": [{"name": [{}], "retryPolicy": {
	"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// Client calls tokenmint. It is safe for concurrent use and meant to be made once.
type Client struct {
	connection *grpc.ClientConn
	service    pb.TokenExchangeServiceClient
	timeout    time.Duration
}

// Option is a setting of a [Client].
type Option func(*settings) error

type settings struct {
	proof       func(context.Context) (map[string]string, error)
	certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	tls         *tls.Config
	roots       *x509.CertPool
	plaintext   bool
	timeout     time.Duration
	dial        []grpc.DialOption
}

// WithCAFile trusts the authorities in a PEM file instead of the system's.
func WithCAFile(file string) Option {
	return func(s *settings) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("tokenmint: authorities: %w", err)
		}
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("tokenmint: there is no certificate in %s", file)
		}
		return nil
	}
}

// WithTLS sets the whole TLS configuration; other options add to it.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) error { s.tls = config.Clone(); return nil }
}

// WithPlaintext does without TLS. [New] refuses it for targets other than loopback.
func WithPlaintext() Option { return func(s *settings) error { s.plaintext = true; return nil } }

// WithTimeout sets how long a call may take, retries included, where its context has no deadline.
func WithTimeout(timeout time.Duration) Option {
	return func(s *settings) error { s.timeout = timeout; return nil }
}

// WithDialOptions adds options of gRPC's own, e.g. for tracing.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error { s.dial = append(s.dial, options...); return nil }
}

// New returns a client of the service at target (host:port, or another target of gRPC's). It connects on first use.
// Exactly one option should say how the client is proved.
func New(target string, options ...Option) (*Client, error) {
	s := settings{timeout: DefaultTimeout}
	for _, option := range options {
		if err := option(&s); err != nil {
			return nil, err
		}
	}
	transport, err := s.transport(target)
	if err != nil {
		return nil, err
	}
	dial := []grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithDefaultServiceConfig(serviceConfig)}
	if s.proof != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(proof{s.proof, s.plaintext}))
	}
	connection, err := grpc.NewClient(target, append(dial, s.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("tokenmint: %w", err)
	}
	return &Client{connection, pb.NewTokenExchangeServiceClient(connection), s.timeout}, nil
}

func (s *settings) transport(target string) (credentials.TransportCredentials, error) {
	if s.plaintext {
		if !onLoopback(target) {
			return nil, fmt.Errorf("tokenmint: plaintext is for loopback only, not for %s", target)
		}
		if s.certificate != nil || s.roots != nil || s.tls != nil {
			return nil, fmt.Errorf("tokenmint: plaintext and TLS settings exclude each other")
		}
		return insecure.NewCredentials(), nil
	}
	config := s.tls
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if s.roots != nil {
		config.RootCAs = s.roots
	}
	if s.certificate != nil {
		config.GetClientCertificate = s.certificate
	}
	return credentials.NewTLS(config), nil
}

func onLoopback(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	address := net.ParseIP(host)
	return host == "localhost" || (address != nil && address.IsLoopback())
}

// Close ends the connection.
func (c *Client) Close() error { return c.connection.Close() }

// Service returns the generated client, with the same connection, credential and retries, for what this package has no
// method for.
func (c *Client) Service() pb.TokenExchangeServiceClient { return c.service }

// ExchangeRequest is what [Client.Exchange] asks for. Only SubjectToken and a target, Audience or Resources, are required; what is left out is as
// the service and the audience are configured.
type ExchangeRequest struct {
	SubjectToken       string        // proves on whose behalf the request is made
	SubjectTokenType   string        // its kind, a URN of RFC 8693 section 3; default: an ID token
	Audience           string        // whom the minted token is for
	Resources          []string      // URIs that name it too, or instead of Audience (RFC 8707)
	Scopes             []string      // default: all that the audience grants this client
	Lifetime           time.Duration // whole seconds
	RequestedTokenType string        // the kind wanted
	ActorToken         string        // proves who acts for the subject
	ActorTokenType     string        // its kind, required with it
	Nonce              string        // what the subject token's nonce must be
	DPoPThumbprint     string        // of the key that the token shall be bound to (RFC 9449)

	// The circumstances of a transaction and the transaction itself, for the rctx and tctx of a transaction token. Each has
	// at most 4096 bytes as JSON. A batch does not use them.
	RequestContext, RequestDetails map[string]any
}

// Format prints which tokens there are, and everything else, with each verb.
func (r ExchangeRequest) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "ExchangeRequest(audience=%s resources=%s scopes=%s lifetime=%s subject_token=%s actor_token=%s nonce=%s)",
		r.Audience, r.Resources, r.Scopes, r.Lifetime, hidden(r.SubjectToken), hidden(r.ActorToken), hidden(r.Nonce))
}

// LogValue is what structured logs show: everything but the tokens.
func (r ExchangeRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

func hidden(secret string) string {
	if secret == "" {
		return ""
	}
	return "***"
}

// Target is one token of a batch.
type Target struct {
	Audience           string
	Resources          []string // URIs that name it too, or instead of Audience (RFC 8707)
	Scopes             []string
	Lifetime           time.Duration
	RequestedTokenType string
}

// BatchResult is what became of one [Target]: a token, or why there is none.
type BatchResult struct {
	Token *Token
	Err   error
}

// Exchange gets one token. Nothing is cached; a [TokenSource] does that. It fails with an [*Error].
func (c *Client) Exchange(ctx context.Context, request ExchangeRequest) (*Token, error) {
	requestContext, contextErr := jsonOf(request.RequestContext)
	requestDetails, detailsErr := jsonOf(request.RequestDetails)
	if err := errors.Join(contextErr, detailsErr); err != nil {
		return nil, &Error{Code: codes.InvalidArgument, Reason: InvalidRequest, Message: "request_context and request_details: expected values that JSON can hold", cause: err}
	}
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	answer, err := c.service.ExchangeToken(ctx, &pb.ExchangeTokenRequest{
		SubjectToken:       request.SubjectToken,
		SubjectTokenType:   request.SubjectTokenType,
		Audience:           request.Audience,
		Resources:          request.Resources,
		Scopes:             request.Scopes,
		Lifetime:           seconds(request.Lifetime),
		RequestedTokenType: request.RequestedTokenType,
		ActorToken:         request.ActorToken,
		ActorTokenType:     request.ActorTokenType,
		Nonce:              request.Nonce,
		DpopJkt:            request.DPoPThumbprint,
		RequestId:          newRequestID(),
		RequestContext:     requestContext,
		RequestDetails:     requestDetails,
	})
	if err != nil {
		return nil, fromCall(ctx, err)
	}
	return fromResponse(answer), nil
}

// ExchangeBatch proves the subject token of request once and gets a token for each target, 1 to 16; the request's own
// audience, scopes, lifetime and kind are not used. The results are in the order of the targets. It fails with an
// [*Error] where the request as a whole is refused.
func (c *Client) ExchangeBatch(ctx context.Context, request ExchangeRequest, targets ...Target) ([]BatchResult, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	asked := &pb.BatchExchangeTokensRequest{
		SubjectToken:     request.SubjectToken,
		SubjectTokenType: request.SubjectTokenType,
		ActorToken:       request.ActorToken,
		ActorTokenType:   request.ActorTokenType,
		Nonce:            request.Nonce,
		DpopJkt:          request.DPoPThumbprint,
		RequestId:        newRequestID(),
	}
	for _, target := range targets {
		asked.Targets = append(asked.Targets, &pb.BatchExchangeTarget{
			Audience:           target.Audience,
			Resources:          target.Resources,
			Scopes:             target.Scopes,
			Lifetime:           seconds(target.Lifetime),
			RequestedTokenType: target.RequestedTokenType,
		})
	}
	answer, err := c.service.BatchExchangeTokens(ctx, asked)
	if err != nil {
		return nil, fromCall(ctx, err)
	}
	results := make([]BatchResult, 0, len(answer.GetResults()))
	for _, result := range answer.GetResults() {
		if minted := result.GetToken(); minted != nil {
			results = append(results, BatchResult{Token: fromResponse(minted)})
		} else {
			results = append(results, BatchResult{Err: fromStatus(result.GetError())})
		}
	}
	return results, nil
}

func jsonOf(members map[string]any) (string, error) {
	if members == nil {
		return "", nil
	}
	text, err := json.Marshal(members)
	return string(text), err
}

func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, given := ctx.Deadline(); given {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.timeout)
}

func seconds(lifetime time.Duration) *durationpb.Duration {
	if lifetime == 0 {
		return nil
	}
	return durationpb.New(lifetime)
}

// newRequestID returns a UUID (version 4): a retry that gRPC makes is the same request, not a replay.
func newRequestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

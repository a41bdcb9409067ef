// Driver is the Go driver: tokenmint.dev/client-go as an application uses it; the protocol is in ../../../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	tokenmint "tokenmint.dev/client-go"
	pb "tokenmint.dev/client-go/tokenmintv1"
)

type target struct {
	Audience  string   `json:"audience"`
	Resources []string `json:"resources"`
	Scopes    []string `json:"scopes"`
	Lifetime  float64  `json:"lifetime"`
}

type command struct {
	Do                 string     `json:"do"`
	Target             string     `json:"target"`
	CAFile             string     `json:"ca_file"`
	Credential         credential `json:"credential"`
	Issuer             string     `json:"issuer"`
	KeySetURL          string     `json:"jwks_url"`
	Revocations        string     `json:"revocations"`
	MaxLag             float64    `json:"max_lag"`
	StatusLists        string     `json:"status_lists"`
	Timeout            float64    `json:"timeout"`
	MaxEntries         int        `json:"max_entries"`
	SubjectToken       string     `json:"subject_token"`
	SubjectTokenType   string     `json:"subject_token_type"`
	RequestedTokenType string     `json:"requested_token_type"`
	Nonce              string     `json:"nonce"`
	ActorToken         string     `json:"actor_token"`
	ActorTokenType     string     `json:"actor_token_type"`
	DPoPThumbprint     string     `json:"dpop_jkt"`
	Targets            []target   `json:"targets"`
	Count              int        `json:"count"`
	Seconds            float64    `json:"seconds"`
	Token              string     `json:"token"`
	Values             []string   `json:"values"`
	URL                string     `json:"url"`
	AcceptBound        bool       `json:"accept_bound"`
	Algorithms         []string   `json:"algorithms"`
	TokenType          string     `json:"token_type"`
	Resource           string     `json:"resource"`
	RequireDPoP        bool       `json:"require_dpop"`
	NonceKey           string     `json:"nonce_key"`
	RequestContext     object     `json:"request_context"`
	RequestDetails     object     `json:"request_details"`
	target
}

type credential struct {
	Kind      string `json:"kind"`
	ClientID  string `json:"client_id"`
	Secret    string `json:"secret"`
	KeyFile   string `json:"key_file"`
	KeyID     string `json:"key_id"`
	Algorithm string `json:"algorithm"`
	Audience  string `json:"audience"`
	TokenFile string `json:"token_file"`
	CertFile  string `json:"cert_file"`
}

func (c credential) option() tokenmint.Option {
	switch c.Kind {
	case "secret":
		return tokenmint.WithClientSecret(c.ClientID, c.Secret)
	case "assertion":
		return tokenmint.WithPrivateKeyFile(c.ClientID, c.KeyFile, c.KeyID, c.Algorithm, c.Audience)
	case "workload":
		return tokenmint.WithWorkloadTokenFile(c.ClientID, c.TokenFile)
	case "certificate":
		return tokenmint.WithClientCertificate(c.CertFile, c.KeyFile)
	default:
		return tokenmint.WithPublicClient(c.ClientID)
	}
}

// gathering is how long concurrent callers have to ask before the first is answered.
const gathering = 200 * time.Millisecond

type object = map[string]any

// neverFollowed is a lag before the first snapshot: no driver lives for so long.
const neverFollowed = 365 * 24 * time.Hour

// state is what configure makes.
type state struct {
	command   command
	client    *tokenmint.Client
	source    *tokenmint.TokenSource
	verifiers map[string]*tokenmint.Verifier
	followed  map[string]*tokenmint.Revocations
	domains   map[string]*tokenmint.TxnTokenVerifier
	stops     []func()
	mutex     sync.Mutex
	offset    time.Duration
	gate      sync.RWMutex // held while concurrent callers gather
}

// Exchange is the client's, once the callers have gathered.
func (s *state) Exchange(ctx context.Context, request tokenmint.ExchangeRequest) (*tokenmint.Token, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.client.Exchange(ctx, request)
}

func configure(given command) (*state, error) {
	s := &state{command: given, verifiers: map[string]*tokenmint.Verifier{}, followed: map[string]*tokenmint.Revocations{}}
	s.domains = map[string]*tokenmint.TxnTokenVerifier{}
	options := []tokenmint.Option{tokenmint.WithPlaintext(), given.Credential.option()}
	if given.CAFile != "" {
		options[0] = tokenmint.WithCAFile(given.CAFile)
	}
	if given.Timeout > 0 {
		options = append(options, tokenmint.WithTimeout(duration(given.Timeout)))
	}
	client, err := tokenmint.New(given.Target, options...)
	if err != nil {
		return nil, err
	}
	keep := []tokenmint.SourceOption{tokenmint.WithSourceClock(s.now)}
	if given.MaxEntries > 0 {
		keep = append(keep, tokenmint.WithMaxEntries(given.MaxEntries))
	}
	s.client, s.source = client, tokenmint.NewTokenSource(s, keep...)
	return s, nil
}

func (s *state) now() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return time.Now().Add(s.offset)
}

func (s *state) close() {
	for _, stop := range s.stops {
		stop()
	}
	_ = s.client.Close()
}

func (s *state) verifier(audience string) (*tokenmint.Verifier, error) {
	if made, ok := s.verifiers[audience]; ok {
		return made, nil
	}
	options := []tokenmint.VerifierOption{tokenmint.WithKeySetURL(s.command.KeySetURL), tokenmint.WithVerifierClock(s.now)}
	if s.command.AcceptBound {
		options = append(options, tokenmint.WithConfirmation())
	}
	if len(s.command.Algorithms) > 0 {
		options = append(options, tokenmint.WithAlgorithms(s.command.Algorithms...))
	}
	if s.command.TokenType != "" {
		options = append(options, tokenmint.WithTypes(s.command.TokenType))
	}
	if s.command.Revocations != "" {
		var lagging []tokenmint.RevocationsOption
		if s.command.Revocations == "accept" {
			lagging = append(lagging, tokenmint.WithAcceptWhenLagging())
		}
		if s.command.MaxLag > 0 {
			lagging = append(lagging, tokenmint.WithMaxLag(duration(s.command.MaxLag)))
		}
		revocations := tokenmint.NewRevocations(s.client, audience, lagging...)
		s.followed[audience] = revocations
		s.stops = append(s.stops, revocations.Close)
		options = append(options, tokenmint.WithRevocations(revocations))
	}
	if s.command.StatusLists != "" {
		var unavailable []tokenmint.StatusListsOption
		if s.command.StatusLists == "accept" {
			unavailable = append(unavailable, tokenmint.WithAcceptWhenUnavailable())
		}
		options = append(options, tokenmint.WithStatusLists(tokenmint.NewStatusLists(unavailable...)))
	}
	made, err := tokenmint.NewVerifier(s.command.Issuer, audience, options...)
	if err == nil {
		s.verifiers[audience] = made
	}
	return made, err
}

func (s *state) do(ctx context.Context, given command) (any, error) {
	switch given.Do {
	case "exchange":
		return s.exchange(ctx, given)
	case "batch":
		return s.batch(ctx, given)
	case "token":
		token, err := s.source.Exchange(ctx, tokenmint.ExchangeRequest{
			SubjectToken: given.SubjectToken, Audience: given.Audience, Resources: given.Resources, Scopes: given.Scopes,
			ActorToken: given.ActorToken, ActorTokenType: given.ActorTokenType, DPoPThumbprint: given.DPoPThumbprint,
			RequestedTokenType: given.RequestedTokenType, RequestContext: given.RequestContext, RequestDetails: given.RequestDetails,
		})
		return shown(token), err
	case "concurrent":
		return s.concurrent(ctx, given), nil
	case "advance":
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.offset += duration(given.Seconds)
		return object{}, nil
	case "verify":
		verifier, err := s.verifier(given.Audience)
		if err != nil {
			return nil, err
		}
		claims, err := verifier.Verify(ctx, given.Token)
		if err != nil {
			return nil, err
		}
		answer := object{"claims": claims.Raw, "actor": nil, "confirmation": nil}
		if claims.Actor != nil {
			answer["actor"] = claims.Actor
		}
		if claims.Confirmation != nil {
			answer["confirmation"] = claims.Confirmation
		}
		return answer, nil
	case "lag":
		return s.lag(given)
	case "verify_txn":
		return s.verifyTxn(ctx, given)
	case "txn_header":
		return txnHeader(given)
	case "protect":
		return s.protect(given)
	case "call_http":
		return s.callHTTP(given)
	case "call_grpc":
		return s.callGRPC(ctx, given)
	}
	return nil, fmt.Errorf("unknown command %q", given.Do)
}

func (s *state) lag(given command) (any, error) {
	if _, err := s.verifier(given.Audience); err != nil {
		return nil, err
	}
	followed := s.followed[given.Audience]
	followed.Start()
	answer := object{"lag": nil, "failure": followed.Failure()}
	if lag := followed.Lag(); lag < neverFollowed {
		answer["lag"] = lag.Seconds()
	}
	return answer, nil
}

func (s *state) verifyTxn(ctx context.Context, given command) (any, error) {
	verifier, ok := s.domains[given.Audience]
	if !ok {
		var err error
		verifier, err = tokenmint.NewTxnTokenVerifier(s.command.Issuer, given.Audience,
			tokenmint.WithKeySetURL(s.command.KeySetURL), tokenmint.WithVerifierClock(s.now))
		if err != nil {
			return nil, err
		}
		s.domains[given.Audience] = verifier
	}
	token, err := verifier.Verify(ctx, given.Token)
	if err != nil {
		return nil, err
	}
	return object{
		"txn": token.Txn, "subject": token.Subject, "scopes": token.Scopes, "requester": token.Requester,
		"tctx": token.Tctx, "rctx": token.Rctx, "claims": token.Raw,
	}, nil
}

func txnHeader(given command) (any, error) {
	header := http.Header{}
	if given.Values != nil {
		for _, value := range given.Values {
			header.Add(tokenmint.TxnTokenHeader, value)
		}
		token, err := tokenmint.TxnTokenOf(header)
		return object{"token": token}, err
	}
	err := tokenmint.SetTxnToken(header, given.Token)
	return object{"name": tokenmint.TxnTokenHeader, "value": header.Get(tokenmint.TxnTokenHeader)}, err
}

func (s *state) exchange(ctx context.Context, given command) (any, error) {
	if given.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration(given.Timeout))
		defer cancel()
	}
	token, err := s.client.Exchange(ctx, tokenmint.ExchangeRequest{
		SubjectToken: given.SubjectToken, SubjectTokenType: given.SubjectTokenType, Audience: given.Audience,
		Resources: given.Resources, Scopes: given.Scopes, Lifetime: duration(given.Lifetime), RequestedTokenType: given.RequestedTokenType,
		Nonce: given.Nonce, RequestContext: given.RequestContext, RequestDetails: given.RequestDetails,
	})
	return shown(token), err
}

func (s *state) batch(ctx context.Context, given command) (any, error) {
	var targets []tokenmint.Target
	for _, one := range given.Targets {
		targets = append(targets, tokenmint.Target{
			Audience: one.Audience, Resources: one.Resources, Scopes: one.Scopes, Lifetime: duration(one.Lifetime),
		})
	}
	results, err := s.client.ExchangeBatch(ctx, tokenmint.ExchangeRequest{SubjectToken: given.SubjectToken}, targets...)
	if err != nil {
		return nil, err
	}
	shownResults := []object{}
	for _, result := range results {
		if result.Err != nil {
			shownResults = append(shownResults, failed(result.Err))
		} else {
			shownResults = append(shownResults, object{"token": shown(result.Token)})
		}
	}
	return object{"results": shownResults}, nil
}

func (s *state) concurrent(ctx context.Context, given command) object {
	var ready, done sync.WaitGroup
	var mutex sync.Mutex
	ids, reasons := []string{}, []string{}
	start := make(chan struct{})
	s.gate.Lock()
	for range given.Count {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			token, err := s.source.Get(ctx, given.SubjectToken, given.Audience, given.Scopes...)
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				reasons = append(reasons, string(tokenmint.ReasonOf(err)))
			} else if !slices.Contains(ids, token.ID) {
				ids = append(ids, token.ID)
			}
		})
	}
	ready.Wait()
	close(start)
	time.Sleep(gathering)
	s.gate.Unlock()
	done.Wait()
	return object{"token_ids": ids, "errors": reasons}
}

// whoami answers with who is calling.
type whoami struct {
	pb.UnimplementedKeySetServiceServer
}

func (whoami) GetKeySet(ctx context.Context, _ *pb.GetKeySetRequest) (*pb.GetKeySetResponse, error) {
	claims, _ := tokenmint.ClaimsFromContext(ctx)
	return &pb.GetKeySetResponse{Etag: claims.Subject}, nil
}

func (s *state) protect(given command) (any, error) {
	verifier, err := s.verifier(given.Audience)
	if err != nil {
		return nil, err
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	calls, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		claims, _ := tokenmint.ClaimsFromContext(request.Context())
		_, _ = io.WriteString(writer, claims.Subject)
	})
	httpServer := &http.Server{Handler: verifier.Middleware(handler, given.Scopes...)}
	if given.Resource != "" {
		config := tokenmint.ResourceConfig{
			Resource: given.Resource, AuthorizationServers: []string{"https://login.example"}, ScopesSupported: given.Scopes,
			RequireDPoP: given.RequireDPoP,
		}
		if given.NonceKey != "" {
			config.NonceKey = []byte(given.NonceKey)
		}
		resource, err := tokenmint.NewResource(verifier, config)
		if err != nil {
			return nil, err
		}
		httpServer.Handler = resource.Middleware(handler, given.Scopes...)
	}
	grpcServer := grpc.NewServer(grpc.UnaryInterceptor(verifier.UnaryServerInterceptor(nil)))
	pb.RegisterKeySetServiceServer(grpcServer, whoami{})
	go func() { _ = httpServer.Serve(web) }()
	go func() { _ = grpcServer.Serve(calls) }()
	s.stops = append(s.stops, func() { _ = httpServer.Close() }, grpcServer.Stop)
	return object{"http": "http://" + web.Addr().String(), "grpc": calls.Addr().String()}, nil
}

func (s *state) callHTTP(given command) (any, error) {
	client := &http.Client{}
	if given.SubjectToken != "" {
		bound := s.source.For(tokenmint.StaticSubject(given.SubjectToken), given.Audience)
		transport, err := bound.Transport(nil, given.URL)
		if err != nil {
			return nil, err
		}
		client.Transport = transport
	}
	answer, err := client.Get(given.URL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return object{"status": answer.StatusCode, "body": string(body), "www_authenticate": answer.Header.Get("WWW-Authenticate")}, err
}

func (s *state) callGRPC(ctx context.Context, given command) (any, error) {
	dial := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if given.SubjectToken != "" {
		bound := s.source.For(tokenmint.StaticSubject(given.SubjectToken), given.Audience)
		dial = append(dial, grpc.WithPerRPCCredentials(bound.PlaintextPerRPCCredentials()))
	}
	connection, err := grpc.NewClient(given.Target, dial...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	answer, err := pb.NewKeySetServiceClient(connection).GetKeySet(ctx, &pb.GetKeySetRequest{})
	if err != nil {
		return object{"code": code.Code_name[int32(status.Code(err))], "body": ""}, nil
	}
	return object{"code": "OK", "body": answer.GetEtag()}, nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func shown(token *tokenmint.Token) any {
	if token == nil {
		return nil
	}
	return object{
		"token": token.Value, "token_id": token.ID, "key_id": token.KeyID, "subject": token.Subject,
		"scopes": token.Scopes, "expires_at": token.Expiry.Unix(),
	}
}

func failed(err error) object {
	var refusal *tokenmint.Error
	if !errors.As(err, &refusal) {
		return object{"failure": err.Error()}
	}
	fields := []string{}
	for _, violation := range refusal.Violations {
		fields = append(fields, violation.Field)
	}
	var after any
	if refusal.RetryAfter > 0 {
		after = refusal.RetryAfter.Seconds()
	}
	name := ""
	if refusal.Code != 0 {
		name = code.Code_name[int32(refusal.Code)]
	}
	return object{"error": object{
		"code": name, "reason": refusal.Reason, "message": refusal.Message, "retry_after": after, "violations": fields,
	}}
}

func main() {
	var current *state
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var given command
		err := json.Unmarshal(lines.Bytes(), &given)
		var answer any = object{}
		switch {
		case err != nil:
		case given.Do == "configure":
			if current != nil {
				current.close()
			}
			current, err = configure(given)
		default:
			answer, err = current.do(context.Background(), given)
		}
		if err != nil {
			_ = answers.Encode(failed(err))
		} else {
			_ = answers.Encode(object{"ok": answer})
		}
	}
	if current != nil {
		current.close()
	}
}

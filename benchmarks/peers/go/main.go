// What a competent team would write by hand in Go: grpc-go, go-oidc, go-jose and go-redis, each used as its own
// documentation shows. Authenticates the caller, verifies an ID token against the provider's JWKS, reads the profile
// and mints an ES256 (or RS256) token. No audit trail, no rate limits, no key rotation, no policy beyond a map; with
// `Full` it has all of these but rotation (full.go), and so does the same job as tokenmint.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "tokenmint.dev/benchmarks/peers/go/pb"
)

const lifetime = 10 * time.Minute

type settings struct {
	Issuer, JWKS, Redis, Prefix, ClientID, SecretSHA256 string
	Audiences                                           map[string]string // audience → algorithm
	Full                                                bool              // whether the duties of full.go are done
}

type profile struct {
	Principal string         `json:"principal"`
	Disabled  bool           `json:"disabled"`
	Roles     []string       `json:"roles"`
	Claims    map[string]any `json:"claims"`
}

type signingKey struct {
	signer jose.Signer
	id     string
}

type server struct {
	pb.UnimplementedTokenExchangeServiceServer
	settings settings
	secret   []byte
	verifier *oidc.IDTokenVerifier
	redis    *redis.Client
	keys     map[string]signingKey
	duties   *duties // nil: none
}

func main() {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv("PEER")), &s); err != nil {
		log.Fatal("PEER: ", err)
	}
	address, err := redis.ParseURL(s.Redis)
	if err != nil {
		log.Fatal(err)
	}
	secret, err := hex.DecodeString(s.SecretSHA256)
	if err != nil {
		log.Fatal(err)
	}
	keySet := oidc.NewRemoteKeySet(context.Background(), s.JWKS)
	this := &server{
		settings: s,
		secret:   secret,
		verifier: oidc.NewVerifier(s.Issuer, keySet, &oidc.Config{ClientID: "app"}),
		redis:    redis.NewClient(address),
		keys:     map[string]signingKey{"ES256": newKey(jose.ES256), "RS256": newKey(jose.RS256)},
	}
	if s.Full {
		this.duties = newDuties(s, this.redis)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	transport := grpc.NewServer()
	pb.RegisterTokenExchangeServiceServer(transport, this)
	fmt.Printf("{\"listen\": %q}\n", listener.Addr().String())
	log.Fatal(transport.Serve(listener))
}

func newKey(algorithm jose.SignatureAlgorithm) signingKey {
	var private any
	var err error
	if algorithm == jose.ES256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		log.Fatal(err)
	}
	id := rand.Text()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: private, KeyID: id}},
		(&jose.SignerOptions{}).WithType("at+jwt"),
	)
	if err != nil {
		log.Fatal(err)
	}
	return signingKey{signer, id}
}

func (s *server) authenticate(ctx context.Context) error {
	incoming, _ := metadata.FromIncomingContext(ctx)
	id, secret := incoming.Get("tokenmint-client-id"), incoming.Get("tokenmint-client-secret")
	if len(id) == 1 && len(secret) == 1 && id[0] == s.settings.ClientID {
		digest := sha256.Sum256([]byte(secret[0]))
		if subtle.ConstantTimeCompare(digest[:], s.secret) == 1 {
			return nil
		}
	}
	return status.Error(codes.Unauthenticated, "the caller is not authenticated")
}

func (s *server) prove(ctx context.Context, token string) (*oidc.IDToken, map[string]any, *profile, error) {
	proved, err := s.verifier.Verify(ctx, token)
	if err != nil {
		return nil, nil, nil, status.Error(codes.Unauthenticated, "the subject token was not accepted")
	}
	var claims map[string]any
	if err := proved.Claims(&claims); err != nil {
		return nil, nil, nil, status.Error(codes.Unauthenticated, "the subject token was not accepted")
	}
	stored, err := s.redis.Get(ctx, s.settings.Prefix+proved.Subject).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil, nil, status.Error(codes.PermissionDenied, "unknown principal")
	} else if err != nil {
		return nil, nil, nil, status.Error(codes.Unavailable, "the store is out of reach")
	}
	var person profile
	if err := json.Unmarshal(stored, &person); err != nil {
		return nil, nil, nil, status.Error(codes.Internal, "internal error")
	}
	if person.Disabled {
		return nil, nil, nil, status.Error(codes.PermissionDenied, "disabled")
	}
	return proved, claims, &person, nil
}

func (s *server) mint(audience string, claims map[string]any, person *profile) (*pb.ExchangeTokenResponse, error) {
	algorithm, known := s.settings.Audiences[audience]
	if !known {
		return nil, status.Error(codes.PermissionDenied, "audience")
	}
	key := s.keys[algorithm]
	now := time.Now()
	id := rand.Text()
	chosen := map[string]any{"email": claims["email"], "tenant": person.Claims["tenant"], "roles": person.Roles}
	if s.duties != nil {
		chosen = s.duties.claims(audience, claims, person)
	}
	chosen["client_id"] = s.settings.ClientID
	token, err := jwt.Signed(key.signer).Claims(jwt.Claims{
		Issuer:    "https://tokens.example",
		Subject:   person.Principal,
		Audience:  jwt.Audience{audience},
		Expiry:    jwt.NewNumericDate(now.Add(lifetime)),
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		ID:        id,
	}).Claims(chosen).Serialize()
	if err != nil {
		return nil, status.Error(codes.Internal, "internal error")
	}
	return &pb.ExchangeTokenResponse{
		Token:           token,
		IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token",
		TokenType:       "Bearer",
		ExpireTime:      timestamppb.New(now.Add(lifetime)),
		KeyId:           key.id,
		TokenId:         id,
		Subject:         person.Principal,
	}, nil
}

func (s *server) ExchangeToken(ctx context.Context, in *pb.ExchangeTokenRequest) (*pb.ExchangeTokenResponse, error) {
	if err := s.authenticate(ctx); err != nil {
		return nil, err
	}
	if s.duties == nil {
		return s.exchange(ctx, in)
	}
	started := time.Now()
	if err := s.duties.admit(s.settings.ClientID, in.Audience); err != nil {
		return nil, err
	}
	answer, err := s.exchange(ctx, in)
	var answers []*pb.ExchangeTokenResponse
	if err == nil {
		answers = append(answers, answer)
	}
	s.duties.ended("ExchangeToken", s.settings.ClientID, in.SubjectToken, []string{in.Audience}, answers, err, started)
	return answer, err
}

func (s *server) exchange(ctx context.Context, in *pb.ExchangeTokenRequest) (*pb.ExchangeTokenResponse, error) {
	_, claims, person, err := s.prove(ctx, in.SubjectToken)
	if err != nil {
		return nil, err
	}
	return s.mint(in.Audience, claims, person)
}

func (s *server) BatchExchangeTokens(
	ctx context.Context, in *pb.BatchExchangeTokensRequest,
) (*pb.BatchExchangeTokensResponse, error) {
	if err := s.authenticate(ctx); err != nil {
		return nil, err
	}
	var audiences []string
	started := time.Now()
	if s.duties != nil {
		for _, target := range in.Targets {
			audiences = append(audiences, target.Audience)
		}
		if err := s.duties.admit(s.settings.ClientID, audiences...); err != nil {
			return nil, err
		}
	}
	answer, minted, err := s.batch(ctx, in)
	if s.duties != nil {
		s.duties.ended("BatchExchangeTokens", s.settings.ClientID, in.SubjectToken, audiences, minted, err, started)
	}
	return answer, err
}

func (s *server) batch(
	ctx context.Context, in *pb.BatchExchangeTokensRequest,
) (*pb.BatchExchangeTokensResponse, []*pb.ExchangeTokenResponse, error) {
	_, claims, person, err := s.prove(ctx, in.SubjectToken)
	if err != nil {
		return nil, nil, err
	}
	answer := &pb.BatchExchangeTokensResponse{}
	var minted []*pb.ExchangeTokenResponse
	for _, target := range in.Targets {
		token, err := s.mint(target.Audience, claims, person)
		result := &pb.BatchExchangeResult{Outcome: &pb.BatchExchangeResult_Token{Token: token}}
		if err != nil {
			result.Outcome = &pb.BatchExchangeResult_Error{Error: status.Convert(err).Proto()}
		} else {
			minted = append(minted, token)
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, minted, nil
}

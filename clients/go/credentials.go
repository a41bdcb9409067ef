package tokenmint

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The metadata that prove a caller.
const (
	clientIDKey        = "tokenmint-client-id"
	clientSecretKey    = "tokenmint-client-secret"
	clientAssertionKey = "tokenmint-client-assertion"
	workloadTokenKey   = "tokenmint-workload-token"
)

const assertionLifetime = time.Minute

// proof is what proves this client, as metadata of each attempt of a call: gRPC asks anew when it retries.
type proof struct {
	metadata  func(context.Context) (map[string]string, error)
	plaintext bool
}

func (p proof) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	return p.metadata(ctx)
}

func (p proof) RequireTransportSecurity() bool { return !p.plaintext }

// WithClientSecret proves the client with a secret that `tokenmint clients new-secret` made.
func WithClientSecret(clientID, secret string) Option {
	return credential(func(context.Context) (map[string]string, error) {
		return map[string]string{clientIDKey: clientID, clientSecretKey: secret}, nil
	})
}

// WithPublicClient names a client that has no credential.
func WithPublicClient(clientID string) Option {
	return credential(func(context.Context) (map[string]string, error) {
		return map[string]string{clientIDKey: clientID}, nil
	})
}

// WithWorkloadTokenFile proves the client with a token of its platform, read from the file for each call since
// platforms renew it there.
func WithWorkloadTokenFile(clientID, file string) Option {
	return credential(func(context.Context) (map[string]string, error) {
		token, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("tokenmint: workload token: %w", err)
		}
		return map[string]string{clientIDKey: clientID, workloadTokenKey: strings.TrimSpace(string(token))}, nil
	})
}

// WithClientAssertion proves the client with assertions that assert makes (RFC 7523 section 2.2), one for each attempt of a call.
func WithClientAssertion(clientID string, assert func(context.Context) (string, error)) Option {
	return credential(func(ctx context.Context) (map[string]string, error) {
		assertion, err := assert(ctx)
		if err != nil {
			return nil, err
		}
		return map[string]string{clientIDKey: clientID, clientAssertionKey: assertion}, nil
	})
}

// WithPrivateKey proves the client with assertions signed by key, whose public half the service knows as keyID.
// The algorithm is one of RFC 7518 that fits the key, e.g. ES256; issuer is tokenmint's own, the assertions' audience.
func WithPrivateKey(clientID string, key crypto.Signer, keyID, algorithm, issuer string) Option {
	return func(s *settings) error {
		options := (&jose.SignerOptions{}).WithType("JWT")
		signing := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: jose.JSONWebKey{Key: key, KeyID: keyID}}
		signer, err := jose.NewSigner(signing, options)
		if err != nil {
			return fmt.Errorf("tokenmint: the key of client %s: %w", clientID, err)
		}
		return WithClientAssertion(clientID, func(context.Context) (string, error) {
			now := time.Now()
			return jwt.Signed(signer).Claims(jwt.Claims{
				Issuer:   clientID,
				Subject:  clientID,
				Audience: jwt.Audience{issuer},
				IssuedAt: jwt.NewNumericDate(now),
				Expiry:   jwt.NewNumericDate(now.Add(assertionLifetime)),
				ID:       rand.Text(),
			}).Serialize()
		})(s)
	}
}

// WithPrivateKeyFile is [WithPrivateKey] with a PKCS#8 PEM file.
func WithPrivateKeyFile(clientID, file, keyID, algorithm, issuer string) Option {
	return func(s *settings) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("tokenmint: the key of client %s: %w", clientID, err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return fmt.Errorf("tokenmint: %s is no PEM file", file)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("tokenmint: %s is no PKCS#8 private key: %w", file, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return fmt.Errorf("tokenmint: the key in %s can't sign", file)
		}
		return WithPrivateKey(clientID, signer, keyID, algorithm, issuer)(s)
	}
}

// WithClientCertificate proves the client with the certificate of a mutual TLS connection. The PEM files are read for
// each new connection, since they are renewed in place.
func WithClientCertificate(certFile, keyFile string) Option {
	return func(s *settings) error {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certFile, keyFile)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return fmt.Errorf("tokenmint: client certificate: %w", err)
		}
		s.certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
		return nil
	}
}

func credential(metadata func(context.Context) (map[string]string, error)) Option {
	return func(s *settings) error {
		if s.proof != nil {
			return errors.New("tokenmint: a client is proved by one credential, and several are given")
		}
		s.proof = metadata
		return nil
	}
}

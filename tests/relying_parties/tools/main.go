// Verifiers that nobody here wrote, for tokens on standard input: go-spiffe, and the authenticator of kube-apiserver.
//
//	relying-parties spiffe CA HOST:PORT PATH TRUST-DOMAIN AUDIENCE
//	relying-parties kubernetes CA HOST:PORT CONFIGURATION
//
// Every host leads to HOST:PORT, over TLS with certificates that CA signed. There is a token in each line, and for each a line
// of JSON; that of a refusal has the library's words as "refused".
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const patience = 30 * time.Second

// A verifier returns what a token says.
type verifier func(ctx context.Context, token string) (map[string]any, error)

func main() {
	verify, err := verifierOf(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		answer, err := verify(ctx, strings.TrimSpace(lines.Text()))
		cancel()
		if err != nil {
			answer = map[string]any{"refused": err.Error()}
		}
		_ = answers.Encode(answer)
	}
}

func verifierOf(args []string) (verifier, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("usage: spiffe|kubernetes CA HOST:PORT ...")
	}
	roots, err := rootsOf(args[1])
	if err != nil {
		return nil, err
	}
	if args[0] == "spiffe" && len(args) == 6 {
		return func(ctx context.Context, token string) (map[string]any, error) {
			return spiffe(ctx, roots, "https://"+args[2]+args[3], args[4], args[5], token)
		}, nil
	}
	if args[0] == "kubernetes" && len(args) == 4 {
		return kubernetes(clientOf(roots, args[2]), args[3])
	}
	return nil, fmt.Errorf("there is no such command, or it has other arguments")
}

func rootsOf(ca string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificates", ca)
	}
	return roots, nil
}

func clientOf(roots *x509.CertPool, address string) *http.Client {
	dialer := net.Dialer{Timeout: patience}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}
}

// The bundle is fetched by go-spiffe's own federation, with the profile https_web.
func spiffe(ctx context.Context, roots *x509.CertPool, url, name, audience, token string) (map[string]any, error) {
	domain, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		return nil, err
	}
	bundle, err := federation.FetchBundle(ctx, domain, url, federation.WithWebPKIRoots(roots))
	if err != nil {
		return nil, err
	}
	svid, err := jwtsvid.ParseAndValidate(token, bundle, []string{audience})
	if err != nil {
		return nil, err
	}
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	return map[string]any{
		"id": svid.ID.String(), "audience": svid.Audience, "expiry": svid.Expiry.Unix(), "claims": svid.Claims,
		"sequence": sequence, "refresh_hint": hint.Seconds(), "keys": len(bundle.JWTAuthorities()),
	}, nil
}

// The configuration is read and validated as kube-apiserver does it.
func kubernetes(client *http.Client, path string) (verifier, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	configuration := &apiserver.AuthenticationConfiguration{}
	if err := runtime.DecodeInto(codecs.UniversalDecoder(), data, configuration); err != nil {
		return nil, err
	}
	compiler := cel.NewDefaultCompiler()
	if problems := validation.ValidateAuthenticationConfiguration(compiler, configuration, nil); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	authenticator, err := oidc.New(context.Background(), oidc.Options{
		JWTAuthenticator:     configuration.JWT[0],
		Client:               client,
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(),
	})
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); authenticator.HealthCheck() != nil; { // it fetches in the background
		if time.Now().After(end) {
			return nil, fmt.Errorf("the issuer was not initialised: %w", authenticator.HealthCheck())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return func(ctx context.Context, token string) (map[string]any, error) {
		response, ok, err := authenticator.AuthenticateToken(ctx, token)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("the token is of another issuer")
		}
		user := response.User
		return map[string]any{"username": user.GetName(), "groups": user.GetGroups(), "uid": user.GetUID()}, nil
	}, nil
}

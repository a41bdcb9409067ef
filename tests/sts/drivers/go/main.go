// The clients of Go modules, each unchanged. A line of standard output is a row: client, flow, token or refusal.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/stacklok/toolhive/pkg/oauthproto/jwtbearer"
	"github.com/stacklok/toolhive/pkg/oauthproto/tokenexchange"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/google/externalaccount"
)

const tokenType = "urn:ietf:params:oauth:token-type:"

type world struct {
	Home, Away, Mcp, Orders, Svids, Secret, User, Access string
	TrustDomain                                          string `json:"trust_domain"`
}

type row struct {
	Client string         `json:"client"`
	Flow   string         `json:"flow"`
	Token  string         `json:"token,omitempty"`
	Seen   map[string]any `json:"seen,omitempty"`
	Error  string         `json:"error,omitempty"`
}

func (r row) print() {
	line, _ := json.Marshal(r)
	fmt.Println(string(line))
}

func report(client, flow string, source oauth2.TokenSource, err error) string {
	told := row{Client: client, Flow: flow}
	if err == nil {
		var token *oauth2.Token
		if token, err = source.Token(); err == nil {
			told.Token = token.AccessToken
		}
	}
	if err != nil {
		told.Error = err.Error()
	}
	told.print()
	return told.Token
}

// validate lets go-spiffe fetch the bundle of the trust domain, and validate a token with it.
func validate(ctx context.Context, w world, flow, token string) {
	told := row{Client: "go-spiffe jwtsvid", Flow: flow}
	domain, err := spiffeid.TrustDomainFromString(w.TrustDomain)
	if err == nil {
		var svid *jwtsvid.SVID
		bundle, fetched := federation.FetchBundle(ctx, domain, w.Home+"/.well-known/spiffe-bundle.json")
		if err = fetched; err == nil {
			svid, err = jwtsvid.ParseAndValidate(token, bundle, []string{w.Svids})
		}
		if err == nil {
			hint, hinted := bundle.RefreshHint()
			sequence, numbered := bundle.SequenceNumber()
			told.Seen = map[string]any{
				"sub": svid.ID.String(), "hint": hinted && hint > 0, "sequence": numbered && sequence > 0,
			}
		}
	}
	if err != nil {
		told.Error = err.Error()
	}
	told.print()
}

func main() {
	var w world
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	home, away := w.Home+"/oauth2/token", w.Away+"/oauth2/token"

	file := filepath.Join(filepath.Dir(os.Args[1]), "go-subject-token")
	if err := os.WriteFile(file, []byte(w.User), 0o600); err != nil {
		panic(err)
	}
	source, err := externalaccount.NewTokenSource(ctx, externalaccount.Config{
		Audience: w.Orders, SubjectTokenType: tokenType + "id_token", TokenURL: home,
		CredentialSource: &externalaccount.CredentialSource{File: file},
		ClientID:         "web", ClientSecret: w.Secret, Scopes: []string{"read"},
	})
	report("x/oauth2 google/externalaccount", "token exchange", source, err)

	exchanging := func(audience string, scopes ...string) *clientcredentials.Config {
		return &clientcredentials.Config{
			ClientID: "web", ClientSecret: w.Secret, TokenURL: home, Scopes: scopes,
			EndpointParams: url.Values{
				"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token": {w.User}, "subject_token_type": {tokenType + "id_token"}, "audience": {audience},
			},
		}
	}
	access := report("x/oauth2 clientcredentials", "token exchange", exchanging(w.Orders, "read").TokenSource(ctx), nil)

	// SPIFFE's own library, with the bundle of the trust domain that home has.
	svid, err := exchanging(w.Svids).Token(ctx)
	if err != nil {
		panic(err)
	}
	validate(ctx, w, "validates a JWT-SVID by the bundle", svid.AccessToken)
	validate(ctx, w, "refuses an access token of ours", access)

	// ToolHive, a gateway for MCP servers: its clients for RFC 8693 and RFC 7523.
	subject := func(token string) func() (string, error) { return func() (string, error) { return token, nil } }
	exchange := tokenexchange.ExchangeConfig{
		TokenURL: home, ClientID: "web", ClientSecret: w.Secret, Audience: w.Orders, Scopes: []string{"read"},
		SubjectTokenProvider: subject(w.Access),
	}
	report("ToolHive (gateway)", "token exchange", exchange.TokenSource(ctx), nil)
	legOne := tokenexchange.ExchangeConfig{
		TokenURL: home, ClientID: "web", ClientSecret: w.Secret, Audience: w.Away, Resource: w.Mcp,
		Scopes: []string{"tools.call"}, SubjectTokenType: "id_token", RequestedTokenType: tokenType + "id-jag",
		SubjectTokenProvider: subject(w.User),
	}
	report("ToolHive (gateway)", "ID-JAG, leg 1", legOne.TokenSource(ctx), nil)
	legTwo := jwtbearer.Config{
		TokenURL: away, ClientID: "mcp-client", ClientSecret: w.Secret, Scopes: []string{"tools.call"},
		AssertionProvider: func() (string, error) {
			token, err := legOne.TokenSource(ctx).Token()
			if err != nil {
				return "", err
			}
			return token.AccessToken, nil
		},
	}
	report("ToolHive (gateway)", "ID-JAG, leg 2", legTwo.TokenSource(ctx), nil)
}

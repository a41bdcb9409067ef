// The clients of Go modules, each unchanged. A line of standard output is a row: client, flow, token or refusal.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/stacklok/toolhive/pkg/oauthproto/jwtbearer"
	"github.com/stacklok/toolhive/pkg/oauthproto/tokenexchange"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/google/externalaccount"
)

const tokenType = "urn:ietf:params:oauth:token-type:"

type world struct {
	Home, Away, Mcp, Orders, Secret, User, Access string
}

type row struct {
	Client string `json:"client"`
	Flow   string `json:"flow"`
	Token  string `json:"token,omitempty"`
	Error  string `json:"error,omitempty"`
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
	line, _ := json.Marshal(told)
	fmt.Println(string(line))
	return told.Token
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

	config := clientcredentials.Config{
		ClientID: "web", ClientSecret: w.Secret, TokenURL: home, Scopes: []string{"read"},
		EndpointParams: url.Values{
			"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token": {w.User}, "subject_token_type": {tokenType + "id_token"}, "audience": {w.Orders},
		},
	}
	report("x/oauth2 clientcredentials", "token exchange", config.TokenSource(ctx), nil)

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

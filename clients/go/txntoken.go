package tokenmint

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	// TxnTokenHeader is the HTTP header that carries a transaction token (draft-ietf-oauth-transaction-tokens section
	// 12.1). Authorization carries other tokens.
	TxnTokenHeader = "Txn-Token"
	// TxnTokenType is the type of transaction tokens, for a request's requested type.
	TxnTokenType = "urn:ietf:params:oauth:token-type:txn_token"
)

const txnTokenTyp = "txntoken+jwt"

var compactJWS = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// SetTxnToken puts a transaction token into the header of a request: the token of one's own request, unchanged, or a new
// one. It fails for a text that is no token.
func SetTxnToken(header http.Header, token string) error {
	if _, err := oneTxnToken(token); err != nil {
		return err
	}
	header.Set(TxnTokenHeader, token)
	return nil
}

// TxnTokenOf returns the transaction token of a request. It fails if there is none, or more than one.
func TxnTokenOf(header http.Header) (string, error) {
	values := header.Values(TxnTokenHeader)
	if len(values) != 1 {
		return "", refused(Malformed, "the request has no Txn-Token header, or several, and exactly one is expected")
	}
	return oneTxnToken(values[0])
}

func oneTxnToken(token string) (string, error) {
	if len(token) > maxTokenSize || !compactJWS.MatchString(token) {
		return "", refused(Malformed, "the Txn-Token is not one compact JWS")
	}
	return token, nil
}

// TransactionToken is what a verified transaction token says. Only a [TxnTokenVerifier] makes one.
type TransactionToken struct {
	Txn       string         // the id of the transaction
	Subject   string         // the principal of the transaction
	Scopes    []string       // its purpose
	Requester string         // the workload that requested the token
	Tctx      map[string]any // the transaction context: the same for all workloads of the transaction
	Rctx      map[string]any // the request context
	Expiry    time.Time      // when it stops being valid
	Raw       map[string]any // all claims, as JSON decodes them
}

// TxnTokenVerifier verifies transaction tokens of one trust domain. It is safe for concurrent use and meant to be made
// once. A transaction token authenticates nobody: it says which transaction a request belongs to.
type TxnTokenVerifier struct {
	verifier *Verifier
}

// NewTxnTokenVerifier returns a verifier of transaction tokens that issuer minted for trustDomain; both are compared
// exactly.
func NewTxnTokenVerifier(issuer, trustDomain string, options ...VerifierOption) (*TxnTokenVerifier, error) {
	verifier, err := NewVerifier(issuer, trustDomain, append(options[:len(options):len(options)], WithTypes(txnTokenTyp))...)
	if err != nil {
		return nil, err
	}
	return &TxnTokenVerifier{verifier}, nil
}

// Verify returns what a token says. It fails as [Verifier.Verify].
func (v *TxnTokenVerifier) Verify(ctx context.Context, token string) (*TransactionToken, error) {
	claims, err := v.verifier.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, name := range []string{"txn", "scope", "req_wl"} {
		text, _ := claims.Raw[name].(string)
		if strings.TrimSpace(text) == "" {
			return nil, refused(ClaimRejected, "the transaction token's "+name+" is missing, or is not a text")
		}
		texts[name] = text
	}
	contexts := map[string]map[string]any{}
	for _, name := range []string{"tctx", "rctx"} {
		value, sent := claims.Raw[name]
		object, isObject := value.(map[string]any)
		if sent && !isObject {
			return nil, refused(ClaimRejected, "the transaction token's "+name+" is not an object")
		}
		contexts[name] = object
	}
	return &TransactionToken{
		Txn:       texts["txn"],
		Subject:   claims.Subject,
		Scopes:    claims.Scopes,
		Requester: texts["req_wl"],
		Tctx:      contexts["tctx"],
		Rctx:      contexts["rctx"],
		Expiry:    claims.Expiry,
		Raw:       claims.Raw,
	}, nil
}

package tokenmint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxNonces    = 100  // services whose nonce is kept
	maxNonceSize = 1024 // bytes
)

// DPoPKey is a key of this client. Tokens that [BoundSource.WithDPoP] gets are bound to it: without the key they are of no use.
// It is safe for concurrent use.
type DPoPKey struct {
	signer     jose.Signer
	thumbprint string

	mutex  sync.Mutex
	nonces map[string]string // by the service's origin
}

// NewDPoPKey returns the key with this private half, which is for P-256, e.g. one that replicas share with their tokens. With nil
// it is a new one.
func NewDPoPKey(private *ecdsa.PrivateKey) (*DPoPKey, error) {
	if private == nil {
		var err error
		if private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	if private.Curve != elliptic.P256() {
		return nil, errors.New("tokenmint: a DPoP key is for P-256")
	}
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, options)
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: private.Public()}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &DPoPKey{
		signer: signer, thumbprint: base64.RawURLEncoding.EncodeToString(thumbprint), nonces: map[string]string{},
	}, nil
}

// Thumbprint returns the SHA-256 of the public key (RFC 7638): the DPoPThumbprint of an [ExchangeRequest].
func (k *DPoPKey) Thumbprint() string { return k.thumbprint }

// Format prints the thumbprint alone, with each verb.
func (k *DPoPKey) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "DPoPKey(%s)", k.thumbprint)
}

// Proof returns a proof for one request with a token (RFC 9449 section 4.2). Query and fragment of address are left out. nonce is
// the latest DPoP-Nonce of the service, or "".
func (k *DPoPKey) Proof(method string, address *url.URL, token, nonce string) (string, error) {
	path := address.EscapedPath()
	if path == "" {
		path = "/"
	}
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "iat": time.Now().Unix(), "ath": hashOf([]byte(token)),
		"htu": address.Scheme + "://" + address.Host + path,
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// prove adds the proof to a request for an origin.
func (k *DPoPKey) prove(request *http.Request, origin, token string) error {
	k.mutex.Lock()
	nonce := k.nonces[origin]
	k.mutex.Unlock()
	method := request.Method
	if method == "" {
		method = http.MethodGet
	}
	proof, err := k.Proof(method, request.URL, token, nonce)
	if err != nil {
		return fmt.Errorf("tokenmint: no DPoP proof: %w", err)
	}
	request.Header.Set("Authorization", "DPoP "+token)
	request.Header.Set("DPoP", proof)
	return nil
}

// hasToRepeat notes the nonce of an answer, and tells whether its request failed for want of it (RFC 9449 section 9).
func (k *DPoPKey) hasToRepeat(origin string, answer *http.Response) bool {
	nonce := answer.Header.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > maxNonceSize {
		return false
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	before, known := k.nonces[origin]
	if !known && len(k.nonces) >= maxNonces {
		clear(k.nonces) // the services tell them again
	}
	k.nonces[origin] = nonce
	challenges := strings.Join(answer.Header.Values("WWW-Authenticate"), ", ")
	return before != nonce && answer.StatusCode == http.StatusUnauthorized && strings.Contains(challenges, `error="use_dpop_nonce"`)
}

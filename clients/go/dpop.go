package tokenmint

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxProofSize  = 8 << 10 // bytes
	maxProofID    = 255     // bytes of a jti
	maxProofAge   = 60 * time.Second
	maxProofAhead = 10 * time.Second // by which the sender's clock may be fast
	maxURL        = 2048             // bytes
	maxRSABits    = 4096             // larger keys are cheap to make and expensive to check
	nonceAge      = 5 * time.Minute
	minNonceKey   = 32 // bytes
	nonceTime     = 8  // bytes
	nonceTag      = 16 // bytes
)

// proofAlgorithms are what proofs may be signed with: none is symmetric.
var proofAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.RS256, jose.EdDSA}

// secretMembers are those of a JWK that is not public.
var secretMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// dpopProof is one whose signature, method, URL, age and token hash are good. Not yet whether it is new.
type dpopProof struct {
	thumbprint string
	nonce      string
	replayID   [sha256.Size]byte
	expiry     time.Time
}

// readProof checks a proof for one request (RFC 9449 section 4.3).
func readProof(text, method, address, token string, now time.Time) (*dpopProof, error) {
	if len(text) > maxProofSize || !compact.MatchString(text) {
		return nil, badProof("is not a well-formed compact JWS")
	}
	key, err := proofKey(text)
	if err != nil {
		return nil, err
	}
	parsed, err := jose.ParseSignedCompact(text, proofAlgorithms)
	if err != nil {
		return nil, badProof("is not a well-formed compact JWS")
	}
	payload, err := parsed.Verify(key.Key)
	if err != nil {
		return nil, badProof("has a signature that its jwk does not verify")
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil || claims == nil {
		return nil, badProof("is not a well-formed JWT")
	}
	id, _ := claims["jti"].(string)
	issued, timed := claims["iat"].(float64)
	hashed, _ := claims["ath"].(string)
	nonce, isText := claims["nonce"].(string)
	if _, sent := claims["nonce"]; sent && !isText {
		return nil, badProof("has a nonce that is not a text")
	}
	target, _ := claims["htu"].(string)
	here, there := normalURL(address), normalURL(target)
	seconds := float64(now.UnixMilli()) / 1000
	switch {
	case id == "" || len(id) > maxProofID:
		return nil, badProof(fmt.Sprintf("has no jti of 1 to %d characters", maxProofID))
	case claims["htm"] != method:
		return nil, badProof("is for another method (htm)")
	case here == "" || there != here:
		return nil, badProof("is for another URL (htu)")
	case !timed:
		return nil, badProof("has no iat that is a time")
	case issued > seconds+maxProofAhead.Seconds():
		return nil, badProof("has an iat in the future: compare the clocks")
	case seconds >= issued+maxProofAge.Seconds():
		return nil, badProof(fmt.Sprintf("is older than %.0f s: make a new one for each request", maxProofAge.Seconds()))
	case !same(hashed, hashOf([]byte(token))):
		return nil, badProof("is for another access token (ath)")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, badProof("has no public jwk")
	}
	named := base64.RawURLEncoding.EncodeToString(thumbprint)
	return &dpopProof{
		thumbprint: named,
		nonce:      nonce,
		replayID:   sha256.Sum256([]byte(named + "\x00" + id)),
		expiry:     time.UnixMilli(int64(issued * 1000)).Add(maxProofAge),
	}, nil
}

// proofKey returns the key in the header of a proof.
func proofKey(text string) (*jose.JSONWebKey, error) {
	encoded, _, _ := strings.Cut(text, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	var header map[string]any
	if err != nil || json.Unmarshal(decoded, &header) != nil {
		return nil, badProof("is not a well-formed compact JWS")
	}
	kind, _ := header["typ"].(string)
	algorithm, _ := header["alg"].(string)
	member, isObject := header["jwk"].(map[string]any)
	_, critical := header["crit"]
	switch {
	case mediaType(kind) != "dpop+jwt":
		return nil, badProof("has another typ than dpop+jwt")
	case !slices.Contains(proofAlgorithms, jose.SignatureAlgorithm(algorithm)):
		return nil, badProof("has an alg that is none of " + strings.Join(proofAlgorithmNames(), ", "))
	case critical:
		return nil, badProof("has a crit")
	case !isObject:
		return nil, badProof("has no public jwk")
	}
	for _, name := range secretMembers {
		if _, sent := member[name]; sent {
			return nil, badProof("has a jwk that is not public")
		}
	}
	public, err := json.Marshal(member)
	var key jose.JSONWebKey
	if err != nil || key.UnmarshalJSON(public) != nil || !key.Valid() || !key.IsPublic() {
		return nil, badProof("has a jwk that its alg does not fit")
	}
	if modulus, ok := key.Key.(*rsa.PublicKey); ok && (modulus.N.BitLen() < minRSABits || modulus.N.BitLen() > maxRSABits) {
		return nil, badProof(fmt.Sprintf("has an RSA key that is not of %d to %d bits", minRSABits, maxRSABits))
	}
	return &key, nil
}

func proofAlgorithmNames() []string {
	names := make([]string, 0, len(proofAlgorithms))
	for _, algorithm := range proofAlgorithms {
		names = append(names, string(algorithm))
	}
	return names
}

// replayMemory remembers the proofs that were used, until they would be too old.
type replayMemory struct {
	mutex sync.Mutex
	size  int
	used  map[[sha256.Size]byte]time.Time
	order [][sha256.Size]byte
}

// use uses a proof up. Where there is no room, it fails: a forgotten proof could be replayed.
func (m *replayMemory) use(one *dpopProof, now time.Time) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if expiry, found := m.used[one.replayID]; found && now.Before(expiry) {
		return badProof("was used before: make a new one for each request")
	}
	// In the order of their use. A proof expires at most 70 s later, so the old ones are in front.
	for len(m.order) > 0 && !now.Before(m.used[m.order[0]]) {
		delete(m.used, m.order[0])
		m.order = m.order[1:]
	}
	if len(m.used) >= m.size {
		return refused(Unavailable, "too many proofs within a minute: none can be remembered")
	}
	if _, found := m.used[one.replayID]; !found {
		m.order = append(m.order, one.replayID)
	}
	m.used[one.replayID] = one.expiry
	return nil
}

// nonces are those of this service (RFC 9449 section 9): a time and its HMAC, so that nothing has to be remembered.
type nonces []byte

func (n nonces) at(now time.Time) string {
	clock := binary.BigEndian.AppendUint64(nil, uint64(now.Unix())) //nolint:gosec // after 1970
	return base64.URLEncoding.EncodeToString(append(clock, n.tag(clock)...))
}

func (n nonces) accept(nonce string, now time.Time) bool {
	content, err := base64.URLEncoding.DecodeString(nonce)
	if err != nil || len(content) != nonceTime+nonceTag || !hmac.Equal(content[nonceTime:], n.tag(content[:nonceTime])) {
		return false
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(content)), 0) //nolint:gosec // this service wrote it
	return now.Sub(made) < nonceAge && made.Sub(now) <= maxProofAhead
}

func (n nonces) tag(clock []byte) []byte {
	mac := hmac.New(sha256.New, n)
	_, _ = mac.Write([]byte("tokenmint dpop nonce"))
	_, _ = mac.Write(clock)
	return mac.Sum(nil)[:nonceTag]
}

var (
	uriCharacters = regexp.MustCompile(`^[!#-;=?-\[\]_a-z~]+$`) // RFC 3986 section 2
	httpURL       = regexp.MustCompile(`^(?i:(https?))://([^/?#@]+)((?:/[^?#]*)?)(?:\?[^#]*)?(?:#.*)?$`)
	escaped       = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	unreserved    = regexp.MustCompile(`^[A-Za-z0-9._~-]$`)
)

// normalURL returns scheme, authority and path in their normal form (RFC 3986 sections 6.2.2 and 6.2.3), or "" for a text that
// is no absolute http or https URL, or one with a user.
func normalURL(text string) string {
	parts := httpURL.FindStringSubmatch(text)
	if parts == nil || len(text) > maxURL || !uriCharacters.MatchString(text) {
		return ""
	}
	scheme, host := strings.ToLower(parts[1]), strings.ToLower(parts[2])
	host = strings.TrimSuffix(strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme]), ":")
	path := escaped.ReplaceAllStringFunc(parts[3], func(sequence string) string {
		character, _ := url.PathUnescape(sequence)
		if unreserved.MatchString(character) {
			return character
		}
		return strings.ToUpper(sequence)
	})
	return scheme + "://" + host + withoutDots(path)
}

// withoutDots removes the segments "." and ".." (RFC 3986 section 5.2.4).
func withoutDots(path string) string {
	var kept []string
	segments := strings.Split(path, "/")[1:]
	for _, segment := range segments {
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	end := ""
	if len(kept) > 0 && slices.Contains([]string{".", ".."}, segments[len(segments)-1]) {
		end = "/"
	}
	return "/" + strings.Join(kept, "/") + end
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func same(given, expected string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(expected)) == 1
}

func badProof(fault string) *Error { return refused(ProofRejected, "the DPoP proof "+fault) }

func newNonces(key []byte) (nonces, error) {
	if len(key) < minNonceKey {
		return nil, errors.New("tokenmint: a key for nonces has 32 bytes or more")
	}
	return nonces(slices.Clone(key)), nil
}

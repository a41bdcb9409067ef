package tokenmint

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	maxKeySetSize = 1 << 20 // bytes
	maxKeys       = 100
	maxEntries    = 2000            // of a set that are looked at
	defaultAge    = 5 * time.Minute // where the answer does not say
	minAge        = time.Second
	maxAge        = time.Hour
	maxStale      = time.Hour        // beyond its age, while it can't be fetched
	minRSABits    = 2048             // RFC 7518 section 3.3
	unknownKey    = 10 * time.Second // between fetches for unknown keys
	retryFetch    = time.Second      // after a fetch that failed
	fetchTimeout  = 5 * time.Second
)

// keySet is the JWK set at a URL, kept for as long as its headers say.
type keySet struct {
	url    string
	shown  string // the same in messages
	client *http.Client
	now    func() time.Time

	flight singleflight.Group
	mutex  sync.Mutex
	held   held
	failed time.Time // when the last fetch did, if it did
	cause  string    // why
	looked time.Time // for an unknown key
}

type held struct {
	keys   []jose.JSONWebKey
	etag   string
	fresh  time.Time // until then
	usable time.Time // until then, where it can't be fetched
}

func newKeySet(address string, client *http.Client, now func() time.Time) (*keySet, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		return nil, errors.New("tokenmint: the address of the key set is no URL")
	}
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !onLoopback(hostAndPort(parsed))) {
		return nil, fmt.Errorf("tokenmint: the key set at %s would be fetched without TLS: use https (http is for loopback only)", shownURL(parsed))
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keySet{url: address, shown: shownURL(parsed), client: &own, now: now}, nil
}

// find returns the key with an id that is used with an algorithm.
func (k *keySet) find(ctx context.Context, keyID, algorithm string) (*jose.JSONWebKey, error) {
	due, waits := k.due(keyID)
	if due {
		if err := k.refresh(ctx, keyID, waits); err != nil {
			return nil, err
		}
	}
	current := k.current()
	if !k.now().Before(current.usable) {
		return nil, refused(KeySetUnavailable, k.failure())
	}
	key := current.key(keyID)
	if key == nil {
		return nil, refused(UnknownKey, "the token's key is not in the key set")
	}
	if key.Algorithm != algorithm {
		return nil, refused(AlgorithmNotAllowed, "the token's algorithm is not its key's")
	}
	return key, nil
}

// due tells whether a fetch is due before a key is looked up, and whether the key can only be looked up after it. A set that
// is too old serves without waiting while fetches fail.
func (k *keySet) due(keyID string) (due, waits bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	now := k.now()
	known, fresh := k.held.key(keyID) != nil, now.Before(k.held.fresh)
	waits = !known || !now.Before(k.held.usable) || (!fresh && k.failed.IsZero())
	switch {
	case within(k.failed, now, retryFetch):
		return false, waits
	case !fresh:
		return true, waits
	default: // tokens with made-up keys must not become traffic
		return !known && !within(k.looked, now, unknownKey), waits
	}
}

func within(since, now time.Time, limit time.Duration) bool {
	return !since.IsZero() && !now.Before(since) && now.Sub(since) < limit
}

func (k *keySet) current() held {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.held
}

func (h held) key(keyID string) *jose.JSONWebKey {
	for index := range h.keys {
		if h.keys[index].KeyID == keyID {
			return &h.keys[index]
		}
	}
	return nil
}

// refresh fetches the set for a key, or waits for the fetch under way, if it has to wait. A fetch that fails leaves what there
// is. It returns an error where ctx ends first.
func (k *keySet) refresh(ctx context.Context, keyID string, waits bool) error {
	done := k.flight.DoChan("", func() (any, error) {
		if due, _ := k.due(keyID); !due { // another fetch ended meanwhile
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		next, err := k.fetch(ctx, k.current())
		k.mutex.Lock()
		defer k.mutex.Unlock()
		now := k.now()
		if now.Before(k.held.fresh) {
			k.looked = now
		}
		if err == nil {
			k.held, k.failed = next, time.Time{}
		} else {
			k.failed, k.cause = now, causeOf(err)
			slog.Warn("tokenmint: the key set can't be fetched", "url", k.shown, "cause", k.cause)
		}
		return nil, nil
	})
	if !waits {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fromCall(ctx, ctx.Err())
	}
}

func (k *keySet) fetch(ctx context.Context, before held) (held, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return held{}, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if before.etag != "" {
		request.Header.Set("If-None-Match", before.etag)
	}
	answer, err := k.client.Do(request)
	if err != nil {
		return held{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	next := held{keys: before.keys, etag: before.etag}
	switch {
	case answer.StatusCode == http.StatusNotModified && len(before.keys) > 0:
	case answer.StatusCode == http.StatusOK:
		next.etag = answer.Header.Get("ETag")
		if next.keys, err = readKeys(answer.Body); err != nil {
			return held{}, err
		}
	default:
		return held{}, unusable(fmt.Sprintf("the answer has status %d", answer.StatusCode))
	}
	now := k.now()
	next.fresh = now.Add(ageOf(answer.Header))
	next.usable = next.fresh.Add(maxStale)
	return next, nil
}

// readKeys returns the keys that verify signatures, of several with one id the first. One that can't be read is skipped, since sets
// may hold kinds yet to come; a set without any is no set.
func readKeys(body io.Reader) ([]jose.JSONWebKey, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxKeySetSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySetSize {
		return nil, unusable(fmt.Sprintf("the answer is longer than %d bytes", maxKeySetSize))
	}
	if !json.Valid(text) {
		return nil, unusable("the answer is not JSON")
	}
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, unusable("the answer is not a JSON Web Key Set (RFC 7517)")
	}
	var keys []jose.JSONWebKey
	for _, member := range (*set.Keys)[:min(len(*set.Keys), maxEntries)] {
		if len(keys) == maxKeys {
			break // those that can't be used take no place of one that can
		}
		var key jose.JSONWebKey
		if key.UnmarshalJSON(member) == nil && usableKey(&key) && (held{keys: keys}).key(key.KeyID) == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, unusable("the answer holds no usable key")
	}
	return keys, nil
}

// usableKey tells whether a key verifies signatures of tokens: public, with an id and its algorithm.
func usableKey(key *jose.JSONWebKey) bool {
	if public, ok := key.Key.(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
		return false
	}
	return key.Valid() && key.IsPublic() && key.KeyID != "" && (key.Use == "" || key.Use == "sig") &&
		slices.Contains(asymmetric, jose.SignatureAlgorithm(key.Algorithm))
}

func ageOf(header http.Header) time.Duration {
	age := defaultAge
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minAge
		case "max-age":
			age = secondsOr(strings.Trim(value, `"`), age)
		}
	}
	return max(minAge, min(age-secondsOr(strings.TrimSpace(header.Get("Age")), 0), maxAge))
}

func secondsOr(text string, otherwise time.Duration) time.Duration {
	if stated, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(stated) * time.Second
	}
	return otherwise
}

package tokenmint

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/sync/singleflight"
)

const (
	statusListType  = "statuslist+jwt"
	statusListPath  = "/status-lists/"
	maxListSize     = 1 << 20 // bytes, of an answer
	maxStatuses     = 1 << 20 // bytes, of a list that is unpacked
	maxLists        = 1000
	maxListsSize    = 64 << 20 // bytes, of all lists
	maxListURI      = 1024     // bytes
	listCooldown    = 10 * time.Second
	defaultListTime = 5 * time.Minute
	minListTime     = time.Second
	maxListTime     = time.Hour
)

var listName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// StatusLists tell whether a token was revoked, for services that can't keep a stream open (Token Status List, draft 20).
// They fetch the list that a token names, verify it, keep it, and look the token up. Verifiers of one issuer may share
// them. They are safe for concurrent use.
type StatusLists struct {
	accept bool
	flight singleflight.Group

	mutex sync.Mutex
	held  map[string]*statusList
	size  int
	used  uint64
}

// statusList is a list, and the times that belong to it.
type statusList struct {
	bits     int
	statuses []byte
	etag     string
	issued   float64
	expires  time.Time
	ttl      time.Duration
	fresh    time.Time // until then
	asked    time.Time
	cause    string
	used     uint64 // larger for those that were used later
}

// StatusListsOption is a setting of [StatusLists].
type StatusListsOption func(*StatusLists)

// WithAcceptWhenUnavailable accepts tokens whose list can't be had, unless the last list shows them as revoked. They are
// refused by default, with STATUS_LIST_UNAVAILABLE.
func WithAcceptWhenUnavailable() StatusListsOption { return func(s *StatusLists) { s.accept = true } }

// NewStatusLists returns lists for [WithStatusLists].
func NewStatusLists(options ...StatusListsOption) *StatusLists {
	made := &StatusLists{held: map[string]*statusList{}}
	for _, option := range options {
		option(made)
	}
	return made
}

// WithStatusLists refuses tokens that their list shows as revoked, and tokens that name none.
func WithStatusLists(lists *StatusLists) VerifierOption {
	return func(s *verifierSettings) { s.statusLists = lists }
}

// check fails where a token with these verified claims is revoked or may be.
func (s *StatusLists) check(ctx context.Context, v *Verifier, claims *Claims) error {
	uri, index, err := placeOf(claims.Raw, v.issuer)
	if err != nil {
		return err
	}
	current := s.find(uri)
	if now := v.now(); current.due(now) {
		done := s.flight.DoChan(uri, func() (any, error) {
			if before := s.find(uri); before.due(v.now()) { // another flight may just have ended
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
				defer cancel()
				s.keep(uri, v.fetchList(ctx, uri, before))
			}
			return nil, nil
		})
		if !now.Before(current.expires) { // nothing that serves meanwhile
			select {
			case <-done:
			case <-ctx.Done():
				return fromCall(ctx, ctx.Err())
			}
			current = s.find(uri)
		}
	}
	available := v.now().Before(current.expires)
	if available || current.statuses != nil {
		status, found := current.at(index)
		if !found {
			return refused(ClaimRejected, "the token's status list does not have its index")
		}
		if status != 0 {
			return refused(Revoked, "the token was revoked, or suspended")
		}
	}
	if !available && !s.accept {
		return refused(StatusListUnavailable, fmt.Sprintf("the status list at %s can't be fetched: %s", clipped(uri), current.cause))
	}
	return nil
}

// find returns a copy of a list, which is empty where there is none.
func (s *StatusLists) find(uri string) statusList {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found, known := s.held[uri]
	if !known {
		return statusList{cause: "it has not been fetched yet"}
	}
	s.used++
	found.used = s.used
	return *found
}

// keep stores a list; those that were not used for the longest time make room.
func (s *StatusLists) keep(uri string, list statusList) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if before := s.held[uri]; before != nil {
		s.size -= len(before.statuses)
	}
	s.used++
	list.used = s.used
	s.held[uri] = &list
	s.size += len(list.statuses)
	for len(s.held) > maxLists || (len(s.held) > 1 && s.size > maxListsSize) {
		oldest := uri
		for name, one := range s.held {
			if one.used < s.held[oldest].used {
				oldest = name
			}
		}
		s.size -= len(s.held[oldest].statuses)
		delete(s.held, oldest)
	}
}

func (l statusList) due(now time.Time) bool {
	wait := listCooldown
	if l.ttl > 0 {
		wait = min(wait, l.ttl)
	}
	return !now.Before(l.fresh) && (now.Before(l.asked) || !now.Before(l.asked.Add(wait)))
}

// at returns the status at an index (section 4.1).
func (l statusList) at(index uint64) (status byte, found bool) {
	place := index * uint64(l.bits) //nolint:gosec // 1, 2, 4 or 8
	if index > math.MaxUint32 || place/8 >= uint64(len(l.statuses)) {
		return 0, false
	}
	return l.statuses[place/8] >> (place % 8) & byte(1<<l.bits-1), true //nolint:gosec // 8 bits at most
}

// placeOf returns the list and the index that a token names (section 6.2).
func placeOf(claims map[string]any, issuer string) (string, uint64, error) {
	status, _ := claims["status"].(map[string]any)
	place, _ := status["status_list"].(map[string]any)
	index, isNumber := place["idx"].(float64)
	uri, isText := place["uri"].(string)
	if !isNumber || !isText || index < 0 || index > math.MaxUint32 || index != math.Trunc(index) {
		return "", 0, refused(ClaimRejected, "the token has no place in a status list")
	}
	name, below := strings.CutPrefix(uri, strings.TrimSuffix(issuer, "/")+statusListPath)
	if len(uri) > maxListURI || !below || !listName.MatchString(name) {
		return "", 0, refused(ClaimRejected, "the token's status list is not one of its issuer's")
	}
	return uri, uint64(index), nil
}

// fetchList returns the list at a URI, or the one before with the cause why there is no other.
func (v *Verifier) fetchList(ctx context.Context, uri string, before statusList) statusList {
	before.asked = v.now()
	next, err := v.requestList(ctx, uri, before)
	if err == nil {
		return next
	}
	before.cause = causeOf(err)
	if reason := ReasonOf(err); reason != "" {
		var why *Error
		_ = errors.As(err, &why)
		before.cause = "it is not accepted: " + why.Message
	}
	slog.Warn("tokenmint: the status list can't be used", "url", clipped(uri), "cause", before.cause)
	return before
}

func (v *Verifier) requestList(ctx context.Context, uri string, before statusList) (statusList, error) {
	address, err := url.Parse(uri)
	if err != nil || (address.Scheme != "https" && (address.Scheme != "http" || !onLoopback(hostAndPort(address)))) {
		return before, unusable("it would be fetched without TLS")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return before, err
	}
	request.Header.Set("Accept", "application/"+statusListType)
	usable := before.etag != "" && before.asked.Before(before.expires)
	if usable {
		request.Header.Set("If-None-Match", before.etag)
	}
	answer, err := v.keys.client.Do(request)
	if err != nil {
		return before, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusNotModified && usable {
		before.fresh = before.asked.Add(before.ttl)
		return before, nil
	}
	if answer.StatusCode != http.StatusOK {
		return before, unusable(fmt.Sprintf("the answer has status %d", answer.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxListSize+1))
	if err != nil {
		return before, err
	}
	if len(text) > maxListSize {
		return before, unusable(fmt.Sprintf("the answer is longer than %d bytes", maxListSize))
	}
	said, err := v.readList(ctx, string(text))
	if err != nil {
		return before, err
	}
	return said.taken(uri, answer.Header.Get("ETag"), before)
}

// listClaims are the claims of a list.
type listClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	IssuedAt *float64 `json:"iat"`
	Expiry   *float64 `json:"exp"`
	TTL      *float64 `json:"ttl"`
	List     *struct {
		Bits int    `json:"bits"`
		Lst  string `json:"lst"`
	} `json:"status_list"`
}

// readList returns the claims of a list that a key of the issuer signed.
func (v *Verifier) readList(ctx context.Context, token string) (*listClaims, error) {
	parsed, err := jwt.ParseSigned(token, v.algorithms)
	if err != nil {
		return nil, unusable("the answer is not a status list")
	}
	header := parsed.Headers[0]
	_, critical := header.ExtraHeaders["crit"]
	kind, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if critical || mediaType(kind) != statusListType {
		return nil, unusable("the answer is not a status list")
	}
	key, err := v.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, err
	}
	var text json.RawMessage
	if err := parsed.Claims(key.Key, &text); err != nil {
		return nil, refused(BadSignature, "its signature does not verify")
	}
	said := &listClaims{}
	if json.Unmarshal(text, said) != nil || said.IssuedAt == nil || said.Expiry == nil {
		return nil, unusable("a claim of it is missing or is of the wrong kind")
	}
	now := float64(v.now().UnixMilli()) / 1000
	switch {
	case said.Issuer != v.issuer:
		return nil, unusable("it is of another issuer")
	case *said.IssuedAt > now+v.leeway.Seconds():
		return nil, unusable("it was made in the future: compare the clocks")
	case *said.Expiry <= now:
		return nil, unusable("it has expired: compare the clocks")
	case said.TTL != nil && *said.TTL <= 0:
		return nil, unusable("its ttl is not positive")
	}
	return said, nil
}

// taken returns the list with these claims (section 8.3), or the one before if that is newer.
func (c *listClaims) taken(uri, etag string, before statusList) (statusList, error) {
	if c.Subject != uri {
		return before, unusable("it is another list")
	}
	if c.List == nil {
		return before, unusable("it has no status_list")
	}
	statuses, err := unpacked(c.List.Bits, c.List.Lst)
	if err != nil {
		return before, err
	}
	ttl := defaultListTime
	if c.TTL != nil {
		ttl = time.Duration(min(*c.TTL, maxListTime.Seconds()) * float64(time.Second))
	}
	ttl = max(minListTime, ttl)
	if before.statuses != nil && *c.IssuedAt < before.issued { // of a replica that is behind
		before.fresh = before.asked.Add(min(ttl, listCooldown))
		return before, nil
	}
	expires := time.UnixMilli(int64(min(*c.Expiry, 1<<40) * 1000))
	return statusList{
		bits: c.List.Bits, statuses: statuses, etag: etag, issued: *c.IssuedAt, expires: expires,
		ttl: ttl, fresh: before.asked.Add(ttl), asked: before.asked,
	}, nil
}

// unpacked returns the bytes of a list (section 4).
func unpacked(bits int, lst string) ([]byte, error) {
	if !slices.Contains([]int{1, 2, 4, 8}, bits) || lst == "" {
		return nil, unusable("its status_list has no bits or no lst")
	}
	wrong := unusable("its lst is not compressed as the draft says")
	packed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(lst, "="))
	if err != nil {
		return nil, wrong
	}
	rest := bytes.NewReader(packed)
	reader, err := zlib.NewReader(rest)
	if err != nil {
		return nil, wrong
	}
	statuses, err := io.ReadAll(io.LimitReader(reader, maxStatuses+1))
	switch {
	case err != nil:
		return nil, wrong
	case len(statuses) > maxStatuses:
		return nil, unusable(fmt.Sprintf("its lst has more than %d bytes", maxStatuses))
	case rest.Len() > 0:
		return nil, unusable("its lst has something behind it")
	}
	return statuses, nil
}

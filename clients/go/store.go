package tokenmint

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Key names what a token was got for. Both parts are SHA-256 in hex and give nothing away.
type Key struct {
	Subject string // of the subject token
	Target  string // of the audience, the scopes and all else that was asked for
}

// String returns both parts in one.
func (k Key) String() string { return k.Subject + k.Target }

// Entry is what a [Store] keeps.
type Entry struct {
	Token     *Token    `json:"token"`
	GotAt     time.Time `json:"got_at"`
	RefreshAt time.Time `json:"refresh_at"` // from when on it is refreshed
}

// Store keeps tokens for a [TokenSource]. It must be safe for concurrent use, and its content is secret. A store that can't be
// reached keeps nothing: the tokens are got again.
type Store interface {
	Get(ctx context.Context, key Key) (Entry, bool)
	Put(ctx context.Context, key Key, entry Entry)
	// Forget drops every entry whose key has this Subject.
	Forget(ctx context.Context, subject string)
}

// MemoryStore is a [Store] of bounded size in memory. Where it is full, what has expired goes first and then what was not
// used for longest.
type MemoryStore struct {
	mutex   sync.Mutex
	max     int
	entries *simplelru.LRU[Key, Entry]
	nothing time.Time // before it nothing expires
}

// NewMemoryStore returns a store of at most maxEntries (at least 1).
func NewMemoryStore(maxEntries int) *MemoryStore {
	entries, _ := simplelru.NewLRU[Key, Entry](max(1, maxEntries), nil) // fails for sizes below 1 only
	return &MemoryStore{max: max(1, maxEntries), entries: entries}
}

// Get implements [Store].
func (m *MemoryStore) Get(_ context.Context, key Key) (Entry, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.entries.Get(key)
}

// Put implements [Store].
func (m *MemoryStore) Put(_ context.Context, key Key, entry Entry) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.entries.Len() >= m.max && !m.entries.Contains(key) && !entry.GotAt.Before(m.nothing) {
		m.dropExpired(entry.GotAt)
	}
	if m.entries.Len() == 0 || entry.Token.Expiry.Before(m.nothing) {
		m.nothing = entry.Token.Expiry
	}
	m.entries.Add(key, entry)
}

func (m *MemoryStore) dropExpired(now time.Time) {
	var first time.Time
	for _, key := range m.entries.Keys() {
		held, _ := m.entries.Peek(key)
		switch expiry := held.Token.Expiry; {
		case !expiry.After(now):
			m.entries.Remove(key)
		case first.IsZero() || expiry.Before(first):
			first = expiry
		}
	}
	m.nothing = first
}

// Forget implements [Store].
func (m *MemoryStore) Forget(_ context.Context, subject string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, key := range m.entries.Keys() {
		if key.Subject == subject {
			m.entries.Remove(key)
		}
	}
}

// Len returns how many tokens are kept.
func (m *MemoryStore) Len() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.entries.Len()
}

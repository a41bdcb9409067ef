package dev.tokenmint.client;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** A store of bounded size: where it is full, what has expired goes first and then what was not used for longest. */
public final class MemoryTokenStore implements TokenStore {
    private final int maxEntries;
    private final Map<Key, Entry> entries = new LinkedHashMap<>(16, 0.75f, true);
    private Instant nextExpiry = Instant.MAX; // before it nothing expires

    /** A store of at most {@code maxEntries}, at least 1. */
    public MemoryTokenStore(int maxEntries) {
        if (maxEntries < 1) {
            throw new IllegalArgumentException("a store has at least one entry");
        }
        this.maxEntries = maxEntries;
    }

    @Override
    public synchronized Optional<Entry> get(Key key) {
        return Optional.ofNullable(entries.get(key));
    }

    @Override
    public synchronized void put(Key key, Entry entry) {
        entries.put(key, entry);
        if (entry.token().expiresAt().isBefore(nextExpiry)) {
            nextExpiry = entry.token().expiresAt();
        }
        if (entries.size() > maxEntries && !entry.gotAt().isBefore(nextExpiry)) {
            entries.values().removeIf(held -> !held.token().expiresAt().isAfter(entry.gotAt()));
            nextExpiry = entries.values().stream()
                    .map(held -> held.token().expiresAt())
                    .min(Instant::compareTo)
                    .orElse(Instant.MAX);
        }
        if (entries.size() > maxEntries) {
            entries.remove(entries.keySet().iterator().next());
        }
    }

    @Override
    public synchronized void forget(String subject) {
        entries.keySet().removeIf(key -> key.subject().equals(subject));
    }

    /** Returns how many tokens are kept. */
    public synchronized int size() {
        return entries.size();
    }
}

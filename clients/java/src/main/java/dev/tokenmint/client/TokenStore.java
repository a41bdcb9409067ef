package dev.tokenmint.client;

import java.time.Instant;
import java.util.Optional;

/**
 * Keeps tokens for a {@link TokenSource}: in memory, or in the session of one user of a web application. Safe for
 * concurrent use; its content is secret.
 */
public interface TokenStore {
    /** What a token was got for. Both parts are SHA-256 in hex: of the subject token, and of all else that was asked for. */
    record Key(String subject, String target) implements java.io.Serializable {}

    /** A token, when it was got, and from when on it is refreshed. */
    record Entry(Token token, Instant gotAt, Instant refreshAt) implements java.io.Serializable {}

    /** Returns what is kept. */
    Optional<Entry> get(Key key);

    /** Keeps a token in place of what there was. */
    void put(Key key, Entry entry);

    /** Drops every entry whose key has this subject. */
    void forget(String subject);
}

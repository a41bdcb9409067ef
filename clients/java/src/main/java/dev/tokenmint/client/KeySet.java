package dev.tokenmint.client;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.RSAKey;
import com.nimbusds.jose.util.JSONObjectUtils;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.nio.charset.StandardCharsets;
import java.text.ParseException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/** The JWK set at a URL, kept for as long as its headers say. */
final class KeySet {
    private static final int MAX_KEYS = 100;
    private static final int MAX_ENTRIES = 2000; // of a set that are looked at
    private static final int MIN_RSA_BITS = 2048; // RFC 7518 section 3.3
    private static final Duration DEFAULT_AGE = Duration.ofMinutes(5); // where the answer does not say
    private static final Duration MIN_AGE = Duration.ofSeconds(1);
    private static final Duration MAX_AGE = Duration.ofHours(1);
    private static final Duration MAX_STALE = Duration.ofHours(1); // beyond its age, while it can't be fetched
    private static final Duration UNKNOWN_KEY = Duration.ofSeconds(10); // between fetches for unknown keys
    private static final Duration RETRY = Duration.ofSeconds(1); // after a fetch that failed

    private static final System.Logger LOG = System.getLogger("dev.tokenmint.client");

    private record Held(List<JWK> keys, String etag, Instant fresh, Instant usable) {
        JWK key(String keyId) {
            return keys.stream().filter(key -> keyId.equals(key.getKeyID())).findFirst().orElse(null);
        }
    }

    private final URI address;
    private final HttpClient http;
    private final Clock clock;
    private final ReentrantLock fetching = new ReentrantLock(); // held by the one who fetches
    private volatile Held held = new Held(List.of(), "", Instant.MIN, Instant.MIN);
    private volatile Instant failed; // when the last fetch did, or null
    private volatile String cause = "it has not been fetched yet"; // of the last failure
    private volatile Instant looked; // when a fetch for an unknown key ended, or null

    KeySet(URI address, HttpClient http, Clock clock) {
        if (!Fetch.isSafe(address)) {
            throw new IllegalArgumentException("the key set at " + Fetch.shown(address)
                    + " would be fetched without TLS: use https (http is for loopback only)");
        }
        Fetch.requireNoRedirects(http);
        this.address = address;
        this.http = http;
        this.clock = clock;
    }

    /** Returns the key with an id. */
    JWK find(String keyId) {
        if (due(keyId)) {
            if (waits(keyId)) {
                fetching.lock();
                refresh(keyId);
            } else if (fetching.tryLock()) {
                refresh(keyId);
            }
        }
        if (!clock.instant().isBefore(held.usable())) {
            throw new VerificationException(
                    VerificationException.KEY_SET_UNAVAILABLE,
                    "the key set at " + Fetch.shown(address) + " can't be fetched: " + cause);
        }
        JWK key = held.key(keyId);
        if (key == null) {
            throw new VerificationException("UNKNOWN_KEY", "the token's key is not in the key set");
        }
        return key;
    }

    /** Tells whether a fetch is due before a key is looked up. Tokens with made-up keys must not become traffic. */
    private boolean due(String keyId) {
        Instant now = clock.instant();
        if (within(failed, now, RETRY)) {
            return false;
        }
        return !now.isBefore(held.fresh()) || (held.key(keyId) == null && !within(looked, now, UNKNOWN_KEY));
    }

    /**
     * Tells whether a key can only be looked up after the fetch that is due or under way. A set that is too old serves without
     * waiting while fetches fail.
     */
    private boolean waits(String keyId) {
        Instant now = clock.instant();
        return held.key(keyId) == null
                || !now.isBefore(held.usable())
                || (!now.isBefore(held.fresh()) && failed == null);
    }

    private static boolean within(Instant since, Instant now, Duration limit) {
        return since != null && !now.isBefore(since) && now.isBefore(since.plus(limit));
    }

    /** Fetches the set for a key, unless another fetch ended meanwhile, and unlocks. */
    private void refresh(String keyId) {
        try {
            if (!due(keyId)) {
                return;
            }
            boolean forUnknown = clock.instant().isBefore(held.fresh());
            try {
                held = fetch(held);
                failed = null;
            } catch (IOException unusable) {
                cause = FetchFailure.causeOf(unusable, Fetch.TIMEOUT);
                failed = clock.instant(); // what there is stays usable for a while
                LOG.log(System.Logger.Level.WARNING, "the key set at {0} can''t be fetched: {1}", Fetch.shown(address), cause);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                failed = clock.instant();
            }
            if (forUnknown) {
                looked = clock.instant();
            }
        } finally {
            fetching.unlock();
        }
    }

    private Held fetch(Held before) throws IOException, InterruptedException {
        Fetch.Answer answer = Fetch.get(http, address, "application/jwk-set+json, application/json", before.etag());
        Instant fresh = clock.instant().plus(age(answer.headers()));
        return answer.status() == 304
                ? new Held(before.keys(), before.etag(), fresh, fresh.plus(MAX_STALE))
                : new Held(
                        read(answer.body()),
                        answer.headers().firstValue("ETag").orElse(""),
                        fresh,
                        fresh.plus(MAX_STALE));
    }

    /** Returns the public keys that verify signatures, of several with one id the first; a set without any is no set. */
    private static List<JWK> read(byte[] text) throws IOException {
        Map<String, JWK> keys = new LinkedHashMap<>();
        List<?> members = members(new String(text, StandardCharsets.UTF_8));
        for (Object member : members.subList(0, Math.min(members.size(), MAX_ENTRIES))) {
            if (keys.size() == MAX_KEYS) {
                break; // those that can't be used take no place of one that can
            }
            JWK key = usable(member);
            if (key != null) {
                keys.putIfAbsent(key.getKeyID(), key);
            }
        }
        if (keys.isEmpty()) {
            throw new FetchFailure("the answer holds no usable key");
        }
        return List.copyOf(keys.values());
    }

    private static List<?> members(String text) throws FetchFailure {
        if (!FetchFailure.isJson(text)) {
            throw new FetchFailure("the answer is not JSON");
        }
        try {
            if (JSONObjectUtils.parse(text).get("keys") instanceof List<?> members) {
                return members;
            }
        } catch (ParseException other) {
            // an array is no set, either
        }
        throw new FetchFailure("the answer is not a JSON Web Key Set (RFC 7517)");
    }

    /** Returns a public key for signatures, or null: a key that can't be read is a key that is not there. */
    private static JWK usable(Object member) {
        try {
            @SuppressWarnings("unchecked") // a JSON object
            JWK key = member instanceof Map<?, ?> object ? JWK.parse((Map<String, Object>) object) : null;
            boolean usable = key != null
                    && !key.isPrivate()
                    && key.getKeyID() != null
                    && key.getAlgorithm() != null
                    && JWSAlgorithm.Family.SIGNATURE.contains(JWSAlgorithm.parse(key.getAlgorithm().getName()))
                    && (key.getKeyUse() == null || key.getKeyUse().equals(KeyUse.SIGNATURE))
                    && !(key instanceof RSAKey rsa && rsa.size() < MIN_RSA_BITS);
            return usable ? key : null;
        } catch (ParseException | IllegalArgumentException | IllegalStateException unreadable) {
            return null;
        }
    }

    private static Duration age(HttpHeaders headers) {
        long age = DEFAULT_AGE.toSeconds();
        for (String directive : String.join(",", headers.allValues("Cache-Control")).toLowerCase(Locale.ROOT).split(",", -1)) {
            String stated = directive.strip();
            if (stated.matches("(no-store|no-cache)(=.*)?")) {
                return MIN_AGE;
            }
            if (stated.matches("max-age=\"?[0-9]{1,9}\"?")) {
                age = Long.parseLong(stated.replaceAll("[^0-9]", ""));
            }
        }
        String spent = headers.firstValue("Age").orElse("").strip();
        age -= spent.matches("[0-9]{1,9}") ? Long.parseLong(spent) : 0;
        return Duration.ofSeconds(Math.max(MIN_AGE.toSeconds(), Math.min(age, MAX_AGE.toSeconds())));
    }
}

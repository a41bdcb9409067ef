package dev.tokenmint.client;

import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.text.ParseException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;

/** The JWK set at a URL, kept for as long as its headers say. */
final class KeySet {
    private static final int MAX_SIZE = 1 << 20; // bytes
    private static final int MAX_KEYS = 100;
    private static final Duration DEFAULT_AGE = Duration.ofMinutes(5); // where the answer does not say
    private static final Duration MIN_AGE = Duration.ofSeconds(1);
    private static final Duration MAX_AGE = Duration.ofHours(1);
    private static final Duration MAX_STALE = Duration.ofHours(1); // beyond its age, while it can't be fetched
    private static final Duration UNKNOWN_KEY = Duration.ofSeconds(10); // between fetches for unknown keys
    private static final Duration RETRY = Duration.ofSeconds(1); // after a fetch that failed
    private static final Duration TIMEOUT = Duration.ofSeconds(5);

    private static final System.Logger LOG = System.getLogger("dev.tokenmint.client");

    private record Held(List<JWK> keys, String etag, Instant fresh, Instant usable) {
        JWK key(String keyId) {
            return keys.stream().filter(key -> keyId.equals(key.getKeyID())).findFirst().orElse(null);
        }
    }

    private final URI address;
    private final HttpClient http;
    private final Clock clock;
    private final Object fetching = new Object(); // held by the one who fetches; the others wait and look again
    private volatile Held held = new Held(List.of(), "", Instant.MIN, Instant.MIN);
    private volatile Instant failed = Instant.EPOCH; // when the last fetch did
    private volatile String cause = "it has not been fetched yet"; // of the last failure
    private volatile Instant looked = Instant.EPOCH; // for an unknown key

    KeySet(URI address, HttpClient http, Clock clock) {
        boolean secure = "https".equals(address.getScheme());
        if (!secure && !("http".equals(address.getScheme()) && Loopback.is(address.getHost()))) {
            throw new IllegalArgumentException("the key set at " + shown(address)
                    + " would be fetched without TLS: use https (http is for loopback only)");
        }
        if (http.followRedirects() != HttpClient.Redirect.NEVER) {
            throw new IllegalArgumentException("the key set's client follows redirects");
        }
        this.address = address;
        this.http = http;
        this.clock = clock;
    }

    /** Returns the key with an id. */
    JWK find(String keyId) {
        if (stale()) {
            synchronized (fetching) {
                if (stale()) {
                    refresh();
                }
            }
        }
        if (!clock.instant().isBefore(held.usable())) {
            throw new VerificationException(
                    VerificationException.KEY_SET_UNAVAILABLE,
                    "the key set at " + shown(address) + " can't be fetched: " + cause);
        }
        JWK key = held.key(keyId);
        if (key == null) {
            synchronized (fetching) {
                key = held.key(keyId);
                // Tokens with made-up keys must not become traffic.
                if (key == null && Duration.between(looked, clock.instant()).compareTo(UNKNOWN_KEY) >= 0) {
                    looked = clock.instant();
                    refresh();
                    key = held.key(keyId);
                }
            }
        }
        if (key == null) {
            throw new VerificationException("UNKNOWN_KEY", "the token's key is not in the key set");
        }
        return key;
    }

    private boolean stale() {
        Instant now = clock.instant();
        return !now.isBefore(held.fresh()) && Duration.between(failed, now).compareTo(RETRY) >= 0;
    }

    private void refresh() {
        try {
            held = fetch(held);
            failed = Instant.EPOCH;
        } catch (IOException unusable) {
            failed = clock.instant(); // what there is stays usable for a while
            cause = FetchFailure.causeOf(unusable, TIMEOUT);
            LOG.log(System.Logger.Level.WARNING, "the key set at {0} can''t be fetched: {1}", shown(address), cause);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            failed = clock.instant();
        }
    }

    private Held fetch(Held before) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(address)
                .timeout(TIMEOUT)
                .header("Accept", "application/jwk-set+json, application/json");
        if (!before.etag().isEmpty()) {
            request.header("If-None-Match", before.etag());
        }
        HttpResponse<InputStream> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
        try (InputStream body = answer.body()) {
            Instant fresh = clock.instant().plus(age(answer.headers().firstValue("Cache-Control").orElse("")));
            return switch (answer.statusCode()) {
                case 304 -> new Held(before.keys(), before.etag(), fresh, fresh.plus(MAX_STALE));
                case 200 -> new Held(
                        read(body), answer.headers().firstValue("ETag").orElse(""), fresh, fresh.plus(MAX_STALE));
                default -> throw new FetchFailure("the answer has status " + answer.statusCode());
            };
        }
    }

    /** Returns the public keys that verify signatures; a set without any is no set. */
    private static List<JWK> read(InputStream body) throws IOException {
        byte[] text = body.readNBytes(MAX_SIZE + 1);
        if (text.length > MAX_SIZE) {
            throw new FetchFailure("the answer is longer than " + MAX_SIZE + " bytes");
        }
        List<JWK> keys = parsed(new String(text, StandardCharsets.UTF_8)).getKeys().stream()
                .filter(key -> !key.isPrivate() && key.getKeyID() != null)
                .filter(key -> key.getKeyUse() == null || key.getKeyUse().equals(KeyUse.SIGNATURE))
                .limit(MAX_KEYS)
                .toList();
        if (keys.isEmpty()) {
            throw new FetchFailure("the answer holds no usable key");
        }
        return keys;
    }

    private static JWKSet parsed(String text) throws FetchFailure {
        if (!FetchFailure.isJson(text)) {
            throw new FetchFailure("the answer is not JSON");
        }
        try {
            return JWKSet.parse(text);
        } catch (ParseException wrong) {
            throw new FetchFailure("the answer is not a JSON Web Key Set (RFC 7517)");
        }
    }

    /** Returns an address as messages show it: without user, query and fragment, which may hold a secret. */
    private static String shown(URI address) {
        String port = address.getPort() < 0 ? "" : ":" + address.getPort();
        String text = address.getScheme() + "://" + address.getHost() + port + address.getRawPath();
        return text.substring(0, Math.min(text.length(), 200));
    }

    static Duration age(String cacheControl) {
        Duration age = DEFAULT_AGE;
        for (String directive : cacheControl.toLowerCase(Locale.ROOT).split(",", -1)) {
            String stated = directive.strip();
            if (stated.equals("no-store") || stated.equals("no-cache")) {
                return MIN_AGE;
            }
            if (stated.matches("max-age=\"?[0-9]{1,9}\"?")) {
                age = Duration.ofSeconds(Long.parseLong(stated.replaceAll("[^0-9]", "")));
            }
        }
        age = age.compareTo(MAX_AGE) > 0 ? MAX_AGE : age;
        return age.compareTo(MIN_AGE) < 0 ? MIN_AGE : age;
    }
}

package dev.tokenmint.client;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.JWK;
import java.net.URI;
import java.net.http.HttpClient;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * Verifies tokens that tokenmint minted, without asking it for more than its key set. Safe for concurrent use, meant to be
 * made once.
 */
public final class Verifier {
    private static final int MAX_TOKEN_SIZE = 16 << 10; // bytes

    private final String issuer;
    private final String audience;
    private final Set<JWSAlgorithm> algorithms;
    private final Set<String> types;
    private final Duration leeway;
    private final boolean confirmation;
    private final Clock clock;
    private final KeySet keys;
    private final Revocations revocations;
    private final StatusLists statusLists;
    private final HttpClient http;

    private Verifier(Builder from) {
        issuer = from.issuer;
        audience = from.audience;
        algorithms = from.algorithms;
        types = from.types;
        leeway = from.leeway;
        confirmation = from.confirmation;
        clock = from.clock;
        revocations = from.revocations;
        statusLists = from.statusLists;
        http = from.http;
        keys = new KeySet(from.keySet, from.http, from.clock);
    }

    /**
     * Returns a builder of a verifier of tokens that {@code issuer} minted for {@code audience}, both compared exactly. A token
     * for several audiences is refused.
     */
    public static Builder builder(String issuer, String audience) {
        return new Builder(issuer, audience);
    }

    /**
     * Returns what a token says.
     *
     * @throws VerificationException where the token is refused, or key set, revocations or status list are not at hand
     */
    public VerifiedToken verify(String token) {
        return verify(token, verified -> {
            if (verified.confirmation() != null && !confirmation) {
                throw new VerificationException(
                        VerificationException.POSSESSION_NOT_PROVED,
                        "the token is bound to a key, and no proof of the key is checked here");
            }
        });
    }

    /** The same with another check that the sender holds the key that the token is bound to. */
    VerifiedToken verify(String token, Consumer<VerifiedToken> possession) {
        Signed signed = signed(token, types, MAX_TOKEN_SIZE);
        VerifiedToken verified = check(signed.claims());
        possession.accept(verified);
        if (revocations != null) {
            revocations.start();
            revocations.check(signed.claims(), verified.issuedAt(), signed.keyId());
        }
        if (statusLists != null) {
            statusLists.check(signed.claims(), this);
        }
        return verified;
    }

    private record Signed(Map<String, Object> claims, String keyId) {}

    /** Returns what a key of the issuer signed, in a JWS of one of these types. */
    private Signed signed(String token, Set<String> accepted, int longest) {
        if (token.length() > longest) {
            throw new VerificationException("MALFORMED", "the token is too long");
        }
        Map<String, Object> header = Signatures.header(token);
        if (header == null) {
            throw new VerificationException("MALFORMED", "the token is not a well-formed compact JWS");
        }
        if (!(header.get("alg") instanceof String name) || !algorithms.contains(JWSAlgorithm.parse(name))) {
            throw new VerificationException("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted");
        }
        if (!accepted.contains(Signatures.mediaType(header.get("typ")))) {
            throw new VerificationException("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted");
        }
        if (header.containsKey("crit") || !(header.get("kid") instanceof String keyId) || keyId.isEmpty()) {
            throw new VerificationException("MALFORMED", "the token's header has a crit, or no kid");
        }
        JWK key = keys.find(keyId);
        JWSAlgorithm algorithm = JWSAlgorithm.parse(name);
        if (!algorithm.equals(key.getAlgorithm())) {
            throw new VerificationException("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not its key's");
        }
        if (!Signatures.verify(token, algorithm, key)) {
            throw new VerificationException("BAD_SIGNATURE", "the token's signature does not verify");
        }
        Map<String, Object> claims = Signatures.claims(token);
        if (claims == null) {
            throw new VerificationException("MALFORMED", "the token is not a well-formed JWT");
        }
        return new Signed(claims, keyId);
    }

    /** Returns the claims of a status list that a key of the issuer signed, and that was not made in the future. */
    Map<String, Object> statusList(String token) {
        Map<String, Object> claims = signed(token, Set.of(StatusLists.TYPE), StatusLists.MAX_LENGTH).claims();
        if (!issuer.equals(claims.get("iss"))) {
            throw new VerificationException("UNKNOWN_ISSUER", "its issuer is another one");
        }
        if (time(claims, "iat").isAfter(clock.instant().plus(leeway))) {
            throw new VerificationException("NOT_YET_VALID", "it was made in the future: compare the clocks");
        }
        return claims;
    }

    private VerifiedToken check(Map<String, Object> claims) {
        String from = text(claims, "iss");
        String subject = text(claims, "sub");
        Object audiences = claims.get("aud") instanceof String one ? List.of(one) : claims.get("aud");
        if (from.isEmpty() || subject.isEmpty() || !(audiences instanceof List<?>)) {
            throw rejected("the token lacks iss, sub or aud");
        }
        Instant issuedAt = time(claims, "iat");
        Instant expiresAt = time(claims, "exp");
        Instant notBefore = claims.containsKey("nbf") ? time(claims, "nbf") : issuedAt;
        for (String name : List.of("act", "cnf")) {
            if (claims.containsKey(name) && !(claims.get(name) instanceof Map<?, ?>)) {
                throw rejected("the token's " + name + " is not an object");
            }
        }
        var token = new VerifiedToken(
                subject,
                text(claims, "client_id"),
                Arrays.stream(text(claims, "scope").split(" ")).filter(part -> !part.isEmpty()).toList(),
                text(claims, "jti"),
                issuedAt,
                expiresAt,
                Collections.unmodifiableMap(claims));
        if (!issuer.equals(from)) {
            throw new VerificationException("UNKNOWN_ISSUER", "the token's issuer is another one");
        }
        // One audience, as tokenmint mints them: another service that accepts the token could send it on to this one.
        if (!audiences.equals(List.of(audience))) {
            throw new VerificationException("WRONG_AUDIENCE", "the token was issued for another audience, or for several");
        }
        Instant now = clock.instant();
        if (!expiresAt.isAfter(now.minus(leeway))) {
            throw new VerificationException("EXPIRED", "the token has expired");
        }
        if (issuedAt.isAfter(now.plus(leeway)) || notBefore.isAfter(now.plus(leeway))) {
            throw new VerificationException("NOT_YET_VALID", "the token is not valid yet: compare the clocks");
        }
        return token;
    }

    private static String text(Map<String, Object> claims, String name) {
        if (!(claims.getOrDefault(name, "") instanceof String value)) {
            throw rejected("the token's " + name + " is not a text");
        }
        return value;
    }

    static Instant time(Map<String, Object> claims, String name) {
        if (!(claims.get(name) instanceof Number seconds) || !Double.isFinite(seconds.doubleValue())) {
            throw rejected("the token's " + name + " is missing or is not a time");
        }
        return Instant.ofEpochMilli((long) (seconds.doubleValue() * 1000)); // one that is too large is the largest
    }

    private static VerificationException rejected(String message) {
        return new VerificationException("CLAIM_REJECTED", message);
    }

    String issuer() {
        return issuer;
    }

    HttpClient http() {
        return http;
    }

    Instant now() {
        return clock.instant();
    }

    /** Builds a verifier. */
    public static final class Builder {
        private final String issuer;
        private final String audience;
        private Set<JWSAlgorithm> algorithms = Set.of(JWSAlgorithm.ES256);
        private Set<String> types = Set.of("at+jwt");
        private URI keySet;
        private HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
        private Duration leeway = Duration.ofSeconds(30);
        private boolean confirmation;
        private Clock clock = Clock.systemUTC();
        private Revocations revocations;
        private StatusLists statusLists;

        private Builder(String issuer, String audience) {
            if (issuer.isEmpty() || audience.isEmpty()) {
                throw new IllegalArgumentException("a verifier needs an issuer and an audience");
            }
            this.issuer = issuer;
            this.audience = audience;
            keySet = URI.create(issuer.replaceAll("/$", "") + "/.well-known/jwks.json");
        }

        /** Accepts these asymmetric algorithms (RFC 7518) instead of ES256 only: a shared secret would let a verifier mint. */
        public Builder algorithms(List<String> names) {
            Set<JWSAlgorithm> given = names.stream().map(JWSAlgorithm::parse).collect(Collectors.toSet());
            if (given.isEmpty() || !JWSAlgorithm.Family.SIGNATURE.containsAll(given)) {
                throw new IllegalArgumentException(names + " are not asymmetric algorithms of RFC 7518");
            }
            algorithms = given;
            return this;
        }

        /** Accepts these values of the header {@code typ} instead of {@code at+jwt} only. */
        public Builder types(List<String> names) {
            if (names.isEmpty()) {
                throw new IllegalArgumentException("a verifier needs a type");
            }
            types = names.stream().map(Signatures::mediaType).collect(Collectors.toSet());
            return this;
        }

        /** Fetches the key set from elsewhere than the issuer's {@code /.well-known/jwks.json}. */
        public Builder keySetUrl(URI address) {
            keySet = address;
            return this;
        }

        /** Fetches the key set and status lists with this client, which must not follow redirects. */
        public Builder httpClient(HttpClient client) {
            http = client;
            return this;
        }

        /**
         * Accepts tokens that are bound to a key (RFC 7800) without a proof: the application itself then checks
         * {@link VerifiedToken#confirmation}, without which such a token proves nothing. They are refused by default, unless a
         * {@link ProtectedResource} checks the proof.
         */
        public Builder acceptBound() {
            confirmation = true;
            return this;
        }

        /** Sets how much the clocks may differ, instead of 30 s. */
        public Builder leeway(Duration most) {
            leeway = most;
            return this;
        }

        /** Refuses tokens that these say are revoked. They have to be those of the verifier's audience. */
        public Builder revocations(Revocations revoked) {
            revocations = revoked;
            return this;
        }

        /** Refuses tokens that their status list shows as revoked, and tokens that name none. */
        public Builder statusLists(StatusLists lists) {
            statusLists = lists;
            return this;
        }

        /** Tells the time, for tests. */
        public Builder clock(Clock other) {
            clock = other;
            return this;
        }

        /** Returns the verifier. */
        public Verifier build() {
            return new Verifier(this);
        }
    }
}

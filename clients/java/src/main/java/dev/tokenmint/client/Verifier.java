package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.crypto.factories.DefaultJWSVerifierFactory;
import com.nimbusds.jose.jwk.AsymmetricJWK;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import java.net.URI;
import java.net.http.HttpClient;
import java.text.ParseException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Verifies tokens that tokenmint minted, without asking it for more than its key set. Safe for concurrent use, meant to be
 * made once.
 */
public final class Verifier {
    private static final Duration LEEWAY = Duration.ofSeconds(30);
    private static final int MAX_TOKEN_SIZE = 16 << 10; // bytes

    private final String issuer;
    private final String audience;
    private final Set<JWSAlgorithm> algorithms;
    private final Set<String> types;
    private final boolean confirmation;
    private final Clock clock;
    private final KeySet keys;
    private final Revocations revocations;

    private Verifier(Builder from) {
        issuer = from.issuer;
        audience = from.audience;
        algorithms = from.algorithms;
        types = from.types;
        confirmation = from.confirmation;
        clock = from.clock;
        revocations = from.revocations;
        keys = new KeySet(from.keySet, from.http, from.clock);
    }

    /** Returns a builder of a verifier of tokens that {@code issuer} minted for {@code audience}, both compared exactly. */
    public static Builder builder(String issuer, String audience) {
        return new Builder(issuer, audience);
    }

    /**
     * Returns what a token says.
     *
     * @throws VerificationException where the token is refused, or key set or revocations are not at hand
     */
    public VerifiedToken verify(String token) {
        if (token.length() > MAX_TOKEN_SIZE) {
            throw new VerificationException("MALFORMED", "the token is too long");
        }
        SignedJWT parsed;
        try {
            parsed = SignedJWT.parse(token);
        } catch (ParseException malformed) {
            // SignedJWT takes `none` for malformed too; that is a question of the algorithm
            throw new VerificationException("MALFORMED", "the token is not a well-formed compact JWS");
        }
        var header = parsed.getHeader();
        if (!algorithms.contains(header.getAlgorithm())) {
            throw new VerificationException("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted");
        }
        if (header.getCriticalParams() != null) {
            throw new VerificationException("MALFORMED", "the token has critical extensions");
        }
        if (!types.contains(mediaType(header.getType()))) {
            throw new VerificationException("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted");
        }
        JWK key = keys.find(Objects.requireNonNullElse(header.getKeyID(), ""));
        if (!header.getAlgorithm().equals(key.getAlgorithm())) {
            throw new VerificationException("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not that of its key");
        }
        if (!signedBy(parsed, key)) {
            throw new VerificationException("BAD_SIGNATURE", "the token's signature does not verify");
        }
        try {
            VerifiedToken verified = check(parsed.getJWTClaimsSet());
            if (revocations != null) {
                revocations.start();
                revocations.check(verified.claims(), verified.issuedAt(), Objects.requireNonNullElse(header.getKeyID(), ""));
            }
            return verified;
        } catch (ParseException wrong) {
            throw new VerificationException("CLAIM_REJECTED", "a claim of the token is not of its type");
        }
    }

    private static boolean signedBy(SignedJWT token, JWK key) {
        try {
            var verifier = new DefaultJWSVerifierFactory()
                    .createJWSVerifier(token.getHeader(), ((AsymmetricJWK) key).toPublicKey());
            return token.verify(verifier);
        } catch (JOSEException | ClassCastException unfit) {
            return false;
        }
    }

    private VerifiedToken check(JWTClaimsSet claims) throws ParseException {
        if (!issuer.equals(claims.getIssuer())) {
            throw new VerificationException("UNKNOWN_ISSUER", "the token is of another issuer");
        }
        if (!claims.getAudience().contains(audience)) {
            throw new VerificationException("WRONG_AUDIENCE", "the token is for another audience");
        }
        if (claims.getExpirationTime() == null
                || claims.getIssueTime() == null
                || claims.getSubject() == null
                || claims.getSubject().isEmpty()) {
            throw new VerificationException("CLAIM_REJECTED", "the token lacks exp, iat or sub");
        }
        Instant now = clock.instant();
        Instant expiresAt = claims.getExpirationTime().toInstant();
        Instant issuedAt = claims.getIssueTime().toInstant();
        if (!expiresAt.isAfter(now.minus(LEEWAY))) {
            throw new VerificationException("EXPIRED", "the token has expired");
        }
        Instant notBefore = claims.getNotBeforeTime() == null ? issuedAt : claims.getNotBeforeTime().toInstant();
        if (issuedAt.isAfter(now.plus(LEEWAY)) || notBefore.isAfter(now.plus(LEEWAY))) {
            throw new VerificationException("NOT_YET_VALID", "the token is not valid yet");
        }
        if (claims.getClaim("cnf") != null && !confirmation) {
            throw new VerificationException("CLAIM_REJECTED", "the token is bound to a key, whose proof is not checked here");
        }
        String scope = Objects.requireNonNullElse(claims.getStringClaim("scope"), "");
        return new VerifiedToken(
                claims.getSubject(),
                Objects.requireNonNullElse(claims.getStringClaim("client_id"), ""),
                Arrays.stream(scope.split(" ")).filter(part -> !part.isEmpty()).toList(),
                Objects.requireNonNullElse(claims.getJWTID(), ""),
                issuedAt,
                expiresAt,
                claims.toJSONObject());
    }

    /** Returns a {@code typ} without the prefix that may be left out (RFC 7515 section 4.1.9), in lower case. */
    private static String mediaType(JOSEObjectType type) {
        String name = type == null ? "" : type.getType().toLowerCase(Locale.ROOT);
        return name.startsWith("application/") ? name.substring("application/".length()) : name;
    }

    /** Builds a verifier. */
    public static final class Builder {
        private final String issuer;
        private final String audience;
        private Set<JWSAlgorithm> algorithms = Set.of(JWSAlgorithm.ES256);
        private Set<String> types = Set.of("at+jwt");
        private URI keySet;
        private HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
        private boolean confirmation;
        private Clock clock = Clock.systemUTC();
        private Revocations revocations;

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
            types = names.stream().map(name -> mediaType(new JOSEObjectType(name))).collect(Collectors.toSet());
            return this;
        }

        /** Fetches the key set from elsewhere than the issuer's {@code /.well-known/jwks.json}. */
        public Builder keySetUrl(URI address) {
            keySet = address;
            return this;
        }

        /** Fetches the key set with this client, which must not follow redirects. */
        public Builder httpClient(HttpClient client) {
            http = client;
            return this;
        }

        /**
         * Accepts tokens that are bound to a key (RFC 7800): the application itself then checks the claim {@code cnf},
         * without which such a token proves nothing. They are refused by default.
         */
        public Builder acceptBound() {
            confirmation = true;
            return this;
        }

        /** Refuses tokens that these say are revoked. They have to be those of the verifier's audience. */
        public Builder revocations(Revocations revoked) {
            revocations = revoked;
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

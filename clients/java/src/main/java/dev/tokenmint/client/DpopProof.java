package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.RSAKey;
import com.nimbusds.jose.util.Base64URL;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.text.ParseException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A DPoP proof whose signature, method, URL, age and token hash are good (RFC 9449 section 4.3). Not yet whether it is new.
 *
 * @param thumbprint the RFC 7638 SHA-256 of its key
 * @param nonce the service's nonce in it, or empty
 * @param replayId a hash of key and {@code jti}
 * @param expiresAt when it is too old
 */
record DpopProof(String thumbprint, String nonce, String replayId, Instant expiresAt) {
    /** What proofs may be signed with: none is symmetric. */
    static final List<String> ALGORITHMS = List.of("ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA");

    static final Duration MAX_AHEAD = Duration.ofSeconds(10); // by which the sender's clock may be fast

    private static final Duration MAX_AGE = Duration.ofSeconds(60);
    private static final int MAX_SIZE = 8 << 10; // characters
    private static final int MAX_ID = 255; // characters of a jti
    private static final int MIN_RSA_BITS = 2048;
    private static final int MAX_RSA_BITS = 4096; // larger keys are cheap to make and expensive to check
    private static final Set<String> SECRET_MEMBERS = Set.of("d", "p", "q", "dp", "dq", "qi", "oth", "k");

    /**
     * Checks a proof for one request.
     *
     * @throws VerificationException PROOF_REJECTED
     */
    static DpopProof read(String proof, String method, String url, String token, Instant now) {
        Map<String, Object> header = proof.length() > MAX_SIZE ? null : Signatures.header(proof);
        if (header == null) {
            throw rejected("is not a well-formed compact JWS");
        }
        JWK key = key(header);
        if (!Signatures.verify(proof, JWSAlgorithm.parse((String) header.get("alg")), key)) {
            throw rejected("has a signature that its jwk does not verify");
        }
        Map<String, Object> claims = Signatures.claims(proof);
        if (claims == null) {
            throw rejected("is not a well-formed JWT");
        }
        if (!(claims.get("jti") instanceof String id) || id.isEmpty() || id.length() > MAX_ID) {
            throw rejected("has no jti of 1 to " + MAX_ID + " characters");
        }
        if (!method.equals(claims.get("htm"))) {
            throw rejected("is for another method (htm)");
        }
        String here = NormalUrl.of(url);
        if (here == null || !here.equals(NormalUrl.of(claims.get("htu")))) {
            throw rejected("is for another URL (htu)");
        }
        if (!(claims.get("iat") instanceof Number issued)) {
            throw rejected("has no iat that is a time");
        }
        double seconds = now.toEpochMilli() / 1000.0;
        if (issued.doubleValue() > seconds + MAX_AHEAD.toSeconds()) {
            throw rejected("has an iat in the future: compare the clocks");
        }
        if (seconds >= issued.doubleValue() + MAX_AGE.toSeconds()) {
            throw rejected("is older than " + MAX_AGE.toSeconds() + " s: make a new one for each request");
        }
        if (!same(claims.get("ath"), hash(token.getBytes(StandardCharsets.UTF_8)))) {
            throw rejected("is for another access token (ath)");
        }
        if (!(claims.getOrDefault("nonce", "") instanceof String nonce)) {
            throw rejected("has a nonce that is not a text");
        }
        String thumbprint = thumbprint(key);
        String replayId = hash((thumbprint + '\0' + id).getBytes(StandardCharsets.UTF_8));
        return new DpopProof(thumbprint, nonce, replayId, Instant.ofEpochMilli((long) (issued.doubleValue() * 1000)).plus(MAX_AGE));
    }

    private static JWK key(Map<String, Object> header) {
        if (!Signatures.mediaType(header.get("typ")).equals("dpop+jwt")) {
            throw rejected("has another typ than dpop+jwt");
        }
        if (!(header.get("alg") instanceof String algorithm) || !ALGORITHMS.contains(algorithm)) {
            throw rejected("has an alg that is none of " + String.join(", ", ALGORITHMS));
        }
        if (header.containsKey("crit")) {
            throw rejected("has a crit");
        }
        if (!(header.get("jwk") instanceof Map<?, ?> member)) {
            throw rejected("has no public jwk");
        }
        JWK key;
        try {
            @SuppressWarnings("unchecked") // a JSON object
            Map<String, Object> members = (Map<String, Object>) member;
            if (members.keySet().stream().anyMatch(SECRET_MEMBERS::contains)) {
                throw rejected("has a jwk that is not public");
            }
            key = JWK.parse(members);
        } catch (ParseException | IllegalArgumentException | IllegalStateException unfit) {
            throw rejected("has a jwk that its alg does not fit");
        }
        if (key instanceof RSAKey rsa && (rsa.size() < MIN_RSA_BITS || rsa.size() > MAX_RSA_BITS)) {
            throw rejected("has an RSA key that is not of " + MIN_RSA_BITS + " to " + MAX_RSA_BITS + " bits");
        }
        return key;
    }

    private static String thumbprint(JWK key) {
        try {
            return key.computeThumbprint().toString();
        } catch (JOSEException unfit) {
            throw rejected("has no public jwk");
        }
    }

    /** Returns the base64url of a SHA-256. */
    static String hash(byte[] content) {
        try {
            return Base64URL.encode(MessageDigest.getInstance("SHA-256").digest(content)).toString();
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible); // every platform has it
        }
    }

    /** Compares in constant time. */
    static boolean same(Object given, String expected) {
        return given instanceof String text
                && MessageDigest.isEqual(text.getBytes(StandardCharsets.UTF_8), expected.getBytes(StandardCharsets.UTF_8));
    }

    static VerificationException rejected(String fault) {
        return new VerificationException("PROOF_REJECTED", "the DPoP proof " + fault);
    }
}

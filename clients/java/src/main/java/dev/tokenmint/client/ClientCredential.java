package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSSigner;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.crypto.RSASSASigner;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.util.Base64;
import java.util.Date;
import java.util.Map;
import java.util.UUID;

/** What proves a client: metadata of each attempt of a call, or a certificate ({@link TokenmintClient.Builder}). */
@FunctionalInterface
public interface ClientCredential {
    /** Returns the metadata of one attempt of a call, by name. Fails with an {@link IOException} where there is nothing to send. */
    Map<String, String> metadata() throws IOException;

    /** A secret that {@code tokenmint clients new-secret} made. */
    static ClientCredential secret(String clientId, String secret) {
        return () -> Map.of("tokenmint-client-id", clientId, "tokenmint-client-secret", secret);
    }

    /** A client without a credential. */
    static ClientCredential publicClient(String clientId) {
        return () -> Map.of("tokenmint-client-id", clientId);
    }

    /** A token of the client's platform, read from the file for each attempt, since platforms renew it there. */
    static ClientCredential workloadToken(String clientId, Path file) {
        return () ->
                Map.of("tokenmint-client-id", clientId, "tokenmint-workload-token", Files.readString(file).strip());
    }

    /**
     * Assertions that the client signs (RFC 7523 section 2.2), a fresh one for each attempt.
     *
     * @param clientId the client
     * @param key its private key, EC or RSA
     * @param keyId how the service knows the public half
     * @param algorithm one of RFC 7518 that fits the key, e.g. {@code ES256}
     * @param issuer tokenmint's own issuer, the assertions' audience
     * @throws IllegalArgumentException where the key can't sign so
     */
    static ClientCredential assertion(String clientId, PrivateKey key, String keyId, String algorithm, String issuer) {
        JWSAlgorithm named = JWSAlgorithm.parse(algorithm);
        JWSHeader header = new JWSHeader.Builder(named).type(JOSEObjectType.JWT).keyID(keyId).build();
        JWSSigner signer;
        try {
            signer = JWSAlgorithm.Family.EC.contains(named)
                    ? new ECDSASigner(key, Curve.forJWSAlgorithm(named).iterator().next())
                    : new RSASSASigner(key);
        } catch (JOSEException unfit) {
            throw new IllegalArgumentException("the key of client " + clientId + " can't sign " + algorithm, unfit);
        }
        return () -> {
            Instant now = Instant.now();
            SignedJWT assertion = new SignedJWT(header, new JWTClaimsSet.Builder()
                    .issuer(clientId)
                    .subject(clientId)
                    .audience(issuer)
                    .issueTime(Date.from(now))
                    .expirationTime(Date.from(now.plusSeconds(60)))
                    .jwtID(UUID.randomUUID().toString())
                    .build());
            try {
                assertion.sign(signer);
            } catch (JOSEException failed) {
                throw new IOException("the client assertion can't be signed", failed);
            }
            return Map.of("tokenmint-client-id", clientId, "tokenmint-client-assertion", assertion.serialize());
        };
    }

    /**
     * The same with a PKCS#8 PEM file.
     *
     * @throws IOException where there is no such key in the file
     */
    static ClientCredential assertion(String clientId, Path keyFile, String keyId, String algorithm, String issuer)
            throws IOException {
        String base64 = Files.readString(keyFile).replaceAll("-----[A-Z ]+-----|\\s", "");
        PrivateKey key;
        try {
            var encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64));
            String kind = JWSAlgorithm.Family.EC.contains(JWSAlgorithm.parse(algorithm)) ? "EC" : "RSA";
            key = KeyFactory.getInstance(kind).generatePrivate(encoded);
        } catch (GeneralSecurityException | IllegalArgumentException unreadable) {
            throw new IOException(keyFile + " holds no PKCS#8 private key for " + algorithm, unreadable);
        }
        return assertion(clientId, key, keyId, algorithm, issuer);
    }
}

package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSSigner;
import com.nimbusds.jose.crypto.factories.DefaultJWSSignerFactory;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
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
     * @param key its private key with a key id and an algorithm; {@link JWK#parseFromPEMEncodedObjects} reads PEM files
     * @param issuer tokenmint's own issuer, the assertions' audience
     * @throws IllegalArgumentException where the key can't sign
     */
    static ClientCredential assertion(String clientId, JWK key, String issuer) {
        JWSAlgorithm algorithm = JWSAlgorithm.parse(String.valueOf(key.getAlgorithm()));
        JWSHeader header = new JWSHeader.Builder(algorithm).type(JOSEObjectType.JWT).keyID(key.getKeyID()).build();
        JWSSigner signer;
        try {
            signer = new DefaultJWSSignerFactory().createJWSSigner(key, algorithm);
        } catch (JOSEException unfit) {
            throw new IllegalArgumentException("the key of client " + clientId + " can't sign", unfit);
        }
        return () -> {
            Instant now = Clock.systemUTC().instant();
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
}

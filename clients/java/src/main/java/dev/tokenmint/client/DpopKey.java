package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.Payload;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import java.net.URI;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.ECPublicKey;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/**
 * A key of this client (RFC 9449). Tokens that {@link TokenHttpClient#withDpop} gets are bound to it: without the key they are of
 * no use. Safe for concurrent use.
 */
public final class DpopKey {
    private static final int MAX_NONCES = 100; // services whose nonce is kept
    private static final int MAX_NONCE = 1024; // characters

    private final ECKey key;
    private final ECDSASigner signer;
    private final String thumbprint;
    private final Map<String, String> nonces = new LinkedHashMap<>(); // by the service's origin, the oldest first

    private DpopKey(ECKey key) {
        this.key = key;
        try {
            signer = new ECDSASigner(key);
            thumbprint = key.computeThumbprint().toString();
        } catch (JOSEException unfit) {
            throw new IllegalArgumentException("a DPoP key is a key pair for P-256", unfit);
        }
    }

    /** Returns a new key. */
    public static DpopKey generate() {
        try {
            return new DpopKey(new ECKeyGenerator(Curve.P_256).generate());
        } catch (JOSEException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /**
     * Returns a key with this pair for P-256, e.g. one that replicas share with their tokens.
     *
     * @throws IllegalArgumentException where it is another kind of pair
     */
    public static DpopKey of(KeyPair pair) {
        if (!(pair.getPublic() instanceof ECPublicKey half)
                || !(pair.getPrivate() instanceof ECPrivateKey secret)
                || !Curve.P_256.equals(Curve.forECParameterSpec(half.getParams()))) {
            throw new IllegalArgumentException("a DPoP key is a key pair for P-256");
        }
        return new DpopKey(new ECKey.Builder(Curve.P_256, half).privateKey(secret).build());
    }

    /** Returns the SHA-256 of the public key (RFC 7638), for {@link ExchangeRequest.Builder#dpopThumbprint}. */
    public String thumbprint() {
        return thumbprint;
    }

    /**
     * Returns a proof for one request (RFC 9449 section 4.2).
     *
     * @param method of the request
     * @param address of the request, whose query and fragment are left out
     * @param token of the request
     * @param nonce the latest {@code DPoP-Nonce} of the service, or ""
     */
    public String proof(String method, URI address, String token, String nonce) {
        String path = address.getRawPath().isEmpty() ? "/" : address.getRawPath();
        Map<String, Object> claims = new LinkedHashMap<>(Map.of(
                "jti", UUID.randomUUID().toString(),
                "htm", method,
                "htu", address.getScheme() + "://" + address.getRawAuthority() + path,
                "iat", Instant.now().getEpochSecond(),
                "ath", DpopProof.hash(token.getBytes(StandardCharsets.UTF_8))));
        if (!nonce.isEmpty()) {
            claims.put("nonce", nonce);
        }
        var header = new JWSHeader.Builder(JWSAlgorithm.ES256)
                .type(new JOSEObjectType("dpop+jwt"))
                .jwk(key.toPublicJWK())
                .build();
        try {
            var proof = new JWSObject(header, new Payload(claims));
            proof.sign(signer);
            return proof.serialize();
        } catch (JOSEException failed) {
            throw new IllegalStateException("the DPoP proof can't be signed", failed);
        }
    }

    /** Returns a proof with the latest nonce of a service. */
    String proofFor(String method, URI address, String token, String origin) {
        String nonce;
        synchronized (nonces) {
            nonce = nonces.getOrDefault(origin, "");
        }
        return proof(method, address, token, nonce);
    }

    /** Notes the nonce of an answer. Tells whether its request failed for want of it (RFC 9449 section 9). */
    boolean hasToRepeat(String origin, HttpResponse<?> answer) {
        String nonce = answer.headers().firstValue("DPoP-Nonce").orElse("");
        if (nonce.isEmpty() || nonce.length() > MAX_NONCE) {
            return false;
        }
        boolean isNew;
        synchronized (nonces) {
            isNew = !nonce.equals(nonces.remove(origin));
            nonces.put(origin, nonce);
            if (nonces.size() > MAX_NONCES) {
                nonces.remove(nonces.keySet().iterator().next());
            }
        }
        String challenges = String.join(", ", answer.headers().allValues("WWW-Authenticate"));
        return isNew && answer.statusCode() == 401 && challenges.contains("error=\"use_dpop_nonce\"");
    }

    @Override
    public String toString() {
        return "DpopKey[" + thumbprint + "]";
    }
}

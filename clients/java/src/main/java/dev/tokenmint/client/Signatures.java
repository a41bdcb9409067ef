package dev.tokenmint.client;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.factories.DefaultJWSVerifierFactory;
import com.nimbusds.jose.jwk.AsymmetricJWK;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.OctetKeyPair;
import com.nimbusds.jose.util.Base64URL;
import com.nimbusds.jose.util.JSONObjectUtils;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.text.ParseException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** The parts of a compact JWS, and the check of its signature. */
final class Signatures {
    // A token with the algorithm `none` has no signature.
    private static final Pattern COMPACT = Pattern.compile("[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]*");
    private static final byte[] ED25519 = HexFormat.of().parseHex("302a300506032b6570032100"); // RFC 8410 section 4

    private Signatures() {}

    /** Returns the header of a compact JWS, or null where the text is none. */
    static Map<String, Object> header(String token) {
        return COMPACT.matcher(token).matches() ? object(token.substring(0, token.indexOf('.'))) : null;
    }

    /** Returns the claims of a compact JWS, or null where its payload is no JSON object. */
    static Map<String, Object> claims(String token) {
        return object(token.substring(token.indexOf('.') + 1, token.lastIndexOf('.')));
    }

    private static Map<String, Object> object(String encoded) {
        try {
            ByteBuffer bytes = ByteBuffer.wrap(new Base64URL(encoded).decode());
            String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            return text.strip().startsWith("{") ? JSONObjectUtils.parse(text) : null; // it takes an array for an object
        } catch (CharacterCodingException | ParseException none) {
            return null;
        }
    }

    /** Returns a {@code typ} in lower case, without the prefix that may be left out (RFC 7515 section 4.1.9). */
    static String mediaType(Object type) {
        String name = type instanceof String text ? text.toLowerCase(Locale.ROOT) : "";
        return name.startsWith("application/") ? name.substring("application/".length()) : name;
    }

    /** Tells whether a key verifies the signature of a compact JWS. */
    static boolean verify(String token, JWSAlgorithm algorithm, JWK key) {
        int end = token.lastIndexOf('.');
        byte[] signed = token.substring(0, end).getBytes(StandardCharsets.US_ASCII);
        Base64URL signature = new Base64URL(token.substring(end + 1));
        try {
            if (key instanceof OctetKeyPair pair) {
                return JWSAlgorithm.EdDSA.equals(algorithm) && verify(pair, signed, signature.decode());
            }
            // A header of its own: the token's was judged already, and no other member of it counts.
            var header = new JWSHeader.Builder(algorithm).build();
            return new DefaultJWSVerifierFactory()
                    .createJWSVerifier(header, ((AsymmetricJWK) key).toPublicKey())
                    .verify(header, signed, signature);
        } catch (JOSEException | GeneralSecurityException | ClassCastException unfit) {
            return false;
        }
    }

    /** Ed25519 by the platform: the library needs another one for it. */
    private static boolean verify(OctetKeyPair key, byte[] signed, byte[] signature) throws GeneralSecurityException {
        if (!Curve.Ed25519.equals(key.getCurve())) {
            return false;
        }
        var encoded = new ByteArrayOutputStream();
        encoded.writeBytes(ED25519);
        encoded.writeBytes(key.getDecodedX());
        var verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded.toByteArray())));
        verifier.update(signed);
        return verifier.verify(signature);
    }
}

package dev.tokenmint.client;

import com.nimbusds.jose.util.Base64URL;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Nonces of this service (RFC 9449 section 9): a time and its HMAC, so that nothing has to be remembered. */
final class Nonces {
    private static final Duration MAX_AGE = Duration.ofMinutes(5);
    private static final int MIN_KEY = 32; // bytes
    private static final int TIME = 8; // bytes
    private static final int TAG = 16; // bytes

    private final SecretKeySpec key;

    Nonces(byte[] key) {
        if (key.length < MIN_KEY) {
            throw new IllegalArgumentException("a key for nonces has " + MIN_KEY + " bytes or more");
        }
        this.key = new SecretKeySpec(key, "HmacSHA256");
    }

    String at(Instant now) {
        byte[] time = ByteBuffer.allocate(TIME).putLong(now.getEpochSecond()).array();
        return Base64URL.encode(ByteBuffer.allocate(TIME + TAG).put(time).put(tag(time)).array()).toString();
    }

    boolean accepts(String nonce, Instant now) {
        byte[] content = new Base64URL(nonce).decode();
        if (content.length != TIME + TAG) {
            return false;
        }
        byte[] time = Arrays.copyOf(content, TIME);
        if (!MessageDigest.isEqual(Arrays.copyOfRange(content, TIME, TIME + TAG), tag(time))) {
            return false;
        }
        Instant made = Instant.ofEpochSecond(ByteBuffer.wrap(time).getLong());
        return now.minus(MAX_AGE).isBefore(made) && !made.isAfter(now.plus(DpopProof.MAX_AHEAD));
    }

    private byte[] tag(byte[] time) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(key);
            mac.update("tokenmint dpop nonce".getBytes(StandardCharsets.US_ASCII));
            return Arrays.copyOf(mac.doFinal(time), TAG);
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException(impossible); // every platform has it
        }
    }
}

package dev.tokenmint.client;

import dev.tokenmint.v1.ExchangeTokenResponse;
import java.time.Instant;
import java.util.List;

/**
 * A minted token and what is known of it. It prints without its value.
 *
 * @param value the token itself: a secret
 * @param tokenType how it is presented: {@code Bearer}, {@code DPoP} or {@code N_A}
 * @param issuedTokenType its kind, a URN of RFC 8693 section 3 or of tokenmint
 * @param expiresAt when it stops being valid
 * @param scopes what it grants
 * @param keyId the {@code kid} of the key that signed it
 * @param tokenId its {@code jti}
 * @param subject the principal that it is about
 */
public record Token(
        String value,
        String tokenType,
        String issuedTokenType,
        Instant expiresAt,
        List<String> scopes,
        String keyId,
        String tokenId,
        String subject)
        implements java.io.Serializable {

    static Token of(ExchangeTokenResponse answer) {
        return new Token(
                answer.getToken(),
                answer.getTokenType(),
                answer.getIssuedTokenType(),
                Instant.ofEpochSecond(answer.getExpireTime().getSeconds(), answer.getExpireTime().getNanos()),
                List.copyOf(answer.getScopesList()),
                answer.getKeyId(),
                answer.getTokenId(),
                answer.getSubject());
    }

    /** Returns the value of a header that presents the token. */
    String authorization() {
        if (!tokenType.isEmpty() && !tokenType.equalsIgnoreCase("Bearer")) {
            throw new IllegalStateException("the token is presented as " + tokenType + ", not as Bearer");
        }
        return "Bearer " + value;
    }

    @Override
    public String toString() {
        return "Token[id=" + tokenId + ", subject=" + subject + ", expiresAt=" + expiresAt + ", value=***]";
    }
}

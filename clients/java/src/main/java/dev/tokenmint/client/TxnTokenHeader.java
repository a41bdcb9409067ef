package dev.tokenmint.client;

import java.util.List;
import java.util.regex.Pattern;

/**
 * The HTTP header that carries a transaction token (draft-ietf-oauth-transaction-tokens section 12.1). {@code
 * Authorization} carries other tokens.
 */
public final class TxnTokenHeader {
    /** Its name. */
    public static final String NAME = "Txn-Token";
    /** The type of transaction tokens, for a request's requested type. */
    public static final String TOKEN_TYPE = "urn:ietf:params:oauth:token-type:txn_token";

    private static final int MAX_TOKEN_SIZE = 16 << 10; // bytes
    private static final Pattern COMPACT = Pattern.compile("[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+");

    private TxnTokenHeader() {}

    /**
     * Returns the value to send a token with: the token of one's own request, unchanged, or a new one.
     *
     * @throws VerificationException where the text is no token
     */
    public static String value(String token) {
        if (token.length() > MAX_TOKEN_SIZE || !COMPACT.matcher(token).matches()) {
            throw new VerificationException("MALFORMED", "the Txn-Token is not one compact JWS");
        }
        return token;
    }

    /**
     * Returns the token of a request from all values of its header.
     *
     * @throws VerificationException where there is none, or more than one
     */
    public static String received(List<String> values) {
        if (values.size() != 1) {
            throw new VerificationException(
                    "MALFORMED", "the request has " + values.size() + " Txn-Token headers, and exactly one is expected");
        }
        return value(values.get(0));
    }
}

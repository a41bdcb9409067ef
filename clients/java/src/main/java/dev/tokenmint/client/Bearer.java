package dev.tokenmint.client;

import java.util.Collection;
import java.util.List;

/** Decides about the {@code Authorization: Bearer} of a call. */
final class Bearer {
    static final String MISSING = "MISSING_TOKEN";
    static final String SEVERAL = "INVALID_REQUEST";
    static final String SCOPE_DENIED = "SCOPE_DENIED";

    private static final String CHALLENGE = "WWW-Authenticate";
    private static final String RETRY_AFTER = "10"; // seconds

    private Bearer() {}

    static VerifiedToken check(Verifier verifier, List<String> authorizations, Collection<String> scopes) {
        String sent = authorizations.isEmpty() ? "" : authorizations.get(0).strip();
        boolean bearer = sent.regionMatches(true, 0, "Bearer ", 0, 7);
        // Gateways join repeated headers by a comma, which no token has in it.
        if (authorizations.size() > 1 || (bearer && sent.indexOf(',') >= 0)) {
            throw new VerificationException(SEVERAL, "there is more than one Authorization header");
        }
        if (!bearer) {
            throw new VerificationException(MISSING, "there is no bearer token");
        }
        VerifiedToken token = verifier.verify(sent.substring(7).strip());
        if (!token.hasScopes(scopes)) {
            throw new VerificationException(SCOPE_DENIED, "the token lacks a scope of: " + String.join(" ", scopes));
        }
        return token;
    }

    /** The answer to a request without a good token (RFC 6750 section 3): its status, and one header. */
    record Answer(int status, String header, String value) {
        static Answer to(VerificationException refused, Collection<String> scopes) {
            return switch (refused.reason()) {
                // The message has the key set's address, which is not the caller's business: it is in the log.
                case VerificationException.KEY_SET_UNAVAILABLE, VerificationException.REVOCATIONS_UNAVAILABLE ->
                    new Answer(503, "Retry-After", RETRY_AFTER);
                case MISSING -> new Answer(401, CHALLENGE, "Bearer");
                case SEVERAL -> challenge(400, "invalid_request", refused, "");
                case SCOPE_DENIED -> challenge(
                        403, "insufficient_scope", refused, ", scope=\"" + String.join(" ", scopes) + "\"");
                default -> challenge(401, "invalid_token", refused, "");
            };
        }

        private static Answer challenge(int status, String error, VerificationException refused, String more) {
            String members = "error=\"" + error + "\", error_description=\"" + refused.getMessage() + "\"" + more;
            return new Answer(status, CHALLENGE, "Bearer " + members);
        }
    }
}

package dev.tokenmint.client;

import java.util.Collection;
import java.util.List;

/** Reads the {@code Authorization} of a call. */
final class Bearer {
    static final String MISSING = "MISSING_TOKEN";
    static final String SEVERAL = "INVALID_REQUEST";
    static final String SCOPE_DENIED = "SCOPE_DENIED";

    private Bearer() {}

    /** The token of a call as sent, and whether it came with the scheme {@code DPoP}. */
    record Presented(String token, boolean isDpop) {}

    static VerifiedToken check(Verifier verifier, List<String> authorizations, Collection<String> scopes) {
        return require(verifier.verify(presented(authorizations, false).token()), scopes);
    }

    static Presented presented(List<String> authorizations, boolean takesDpop) {
        String sent = authorizations.isEmpty() ? "" : authorizations.get(0).strip();
        boolean dpop = isScheme("DPoP", sent);
        boolean bearer = isScheme("Bearer", sent);
        boolean isDpop = takesDpop && dpop;
        boolean known = isDpop || bearer;
        // Gateways join repeated headers by a comma, which no token has in it.
        if (authorizations.size() > 1 || ((bearer || dpop) && sent.indexOf(',') >= 0)) {
            throw new VerificationException(SEVERAL, "there is more than one Authorization header");
        }
        if (!known) {
            throw new VerificationException(MISSING, "there is no bearer token");
        }
        return new Presented(sent.substring(sent.indexOf(' ')).strip(), isDpop);
    }

    static boolean isScheme(String scheme, String authorization) {
        return authorization.strip().regionMatches(true, 0, scheme + " ", 0, scheme.length() + 1);
    }

    static VerifiedToken require(VerifiedToken token, Collection<String> scopes) {
        List<String> missing = scopes.stream().filter(scope -> !token.hasScopes(List.of(scope))).toList();
        if (!missing.isEmpty()) {
            throw new VerificationException(SCOPE_DENIED, "missing scopes: " + String.join(" ", missing));
        }
        return token;
    }
}

package dev.tokenmint.client;

import java.util.Collection;
import java.util.List;

/** Decides about the {@code Authorization: Bearer} of a call. */
final class Bearer {
    static final String MISSING = "MISSING_TOKEN";
    static final String SCOPE_DENIED = "SCOPE_DENIED";

    private Bearer() {}

    static VerifiedToken check(Verifier verifier, List<String> authorizations, Collection<String> scopes) {
        if (authorizations.isEmpty() || !authorizations.get(0).regionMatches(true, 0, "Bearer ", 0, 7)) {
            throw new VerificationException(MISSING, "there is no bearer token");
        }
        if (authorizations.size() > 1) {
            throw new VerificationException("MALFORMED", "there are several authorizations");
        }
        VerifiedToken token = verifier.verify(authorizations.get(0).substring(7).strip());
        if (!token.hasScopes(scopes)) {
            throw new VerificationException(SCOPE_DENIED, "the token lacks a scope");
        }
        return token;
    }
}

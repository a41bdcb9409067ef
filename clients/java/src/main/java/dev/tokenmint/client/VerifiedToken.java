package dev.tokenmint.client;

import java.io.Serializable;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * What a verified token says. Only a {@link Verifier} makes them. It is serialisable, as the authentication of Spring Security is
 * that has it: sessions and caches may keep it. It does not contain the token itself.
 *
 * @param subject the principal
 * @param clientId the client that the token was minted for
 * @param scopes what it grants
 * @param tokenId its {@code jti}
 * @param issuedAt when it was minted
 * @param expiresAt when it stops being valid
 * @param claims all of them
 */
public record VerifiedToken(
        String subject,
        String clientId,
        List<String> scopes,
        String tokenId,
        Instant issuedAt,
        Instant expiresAt,
        Map<String, Object> claims)
        implements Serializable {
    private static final long serialVersionUID = 1L;

    /**
     * Returns the party that acts for the subject, the claim {@code act} (RFC 8693 section 4.1), or null. Earlier ones are nested
     * in it.
     */
    public Map<String, Object> actor() {
        return object("act");
    }

    /** Returns the key that the token is bound to, the claim {@code cnf} (RFC 7800), or null. */
    public Map<String, Object> confirmation() {
        return object("cnf");
    }

    @SuppressWarnings("unchecked") // JSON objects have names that are texts
    private Map<String, Object> object(String name) {
        return (Map<String, Object>) claims.get(name);
    }

    /** Tells whether all of these scopes are granted. */
    public boolean hasScopes(Collection<String> wanted) {
        return scopes.containsAll(wanted);
    }
}

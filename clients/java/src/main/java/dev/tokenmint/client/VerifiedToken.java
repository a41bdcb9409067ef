package dev.tokenmint.client;

import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * What a verified token says. Only a {@link Verifier} makes them.
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
        Map<String, Object> claims) {
    /** Tells whether all of these scopes are granted. */
    public boolean hasScopes(Collection<String> wanted) {
        return scopes.containsAll(wanted);
    }
}

package dev.tokenmint.client;

import java.time.Duration;
import java.util.List;

/**
 * One token of a batch.
 *
 * @param audience whom the token is for, or empty where {@code resources} name it
 * @param scopes default: all that the audience grants this client
 * @param lifetime in whole seconds; zero: as the audience is configured
 * @param resources URIs that name the audience too (RFC 8707)
 */
public record Target(String audience, List<String> scopes, Duration lifetime, List<String> resources) {
    /** A target that its audience names. */
    public Target(String audience, List<String> scopes, Duration lifetime) {
        this(audience, scopes, lifetime, List.of());
    }

    /** A target with all scopes that the audience grants, and its lifetime. */
    public Target(String audience) {
        this(audience, List.of(), Duration.ZERO);
    }
}

package dev.tokenmint.client;

import java.time.Duration;
import java.util.List;

/** One token of a batch. */
public record Target(String audience, List<String> scopes, Duration lifetime) {
    /** A target with all scopes that the audience grants, and its lifetime. */
    public Target(String audience) {
        this(audience, List.of(), Duration.ZERO);
    }
}

package dev.tokenmint.client;

/**
 * A refusal, by the service or by a {@link Verifier}. Branch on {@link #reason()}: stable, upper snake case, the name of the
 * gRPC code where an answer has none. The message holds no token and no secret.
 */
public sealed class TokenmintException extends RuntimeException permits CallException, VerificationException {
    private static final long serialVersionUID = 1L;

    private final String reason;

    TokenmintException(String reason, String message, Throwable cause) {
        super(message, cause);
        this.reason = reason;
    }

    /** Returns why, e.g. {@code EXPIRED}. */
    public final String reason() {
        return reason;
    }
}

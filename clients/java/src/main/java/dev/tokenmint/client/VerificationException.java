package dev.tokenmint.client;

/** A token was not proved by a {@link Verifier}. */
public final class VerificationException extends TokenmintException {
    /** The reason where nothing can be said of the token, since the key set can't be fetched. */
    public static final String KEY_SET_UNAVAILABLE = "KEY_SET_UNAVAILABLE";

    /** The reason where nothing can be said of the token, since it is not known whether it was revoked. */
    public static final String REVOCATIONS_UNAVAILABLE = "REVOCATIONS_UNAVAILABLE";

    private static final long serialVersionUID = 1L;

    VerificationException(String reason, String message) {
        super(reason, message, null);
    }
}

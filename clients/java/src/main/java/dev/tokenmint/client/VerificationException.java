package dev.tokenmint.client;

/** A token was not proved by a {@link Verifier}. */
public final class VerificationException extends TokenmintException {
    /** The reason where nothing can be said of the token, since the key set can't be fetched. */
    public static final String KEY_SET_UNAVAILABLE = "KEY_SET_UNAVAILABLE";

    /** The reason where a token is bound to a key, and its sender did not prove to hold the key. */
    public static final String POSSESSION_NOT_PROVED = "POSSESSION_NOT_PROVED";
    /** The reason where the DPoP proof of a request is not good. */
    public static final String PROOF_REJECTED = "PROOF_REJECTED";
    /** The reason where a DPoP proof needs a nonce of this service. */
    public static final String NONCE_REQUIRED = "NONCE_REQUIRED";
    /** The reason where nothing can be said of the token, since its proof can't be remembered. */
    public static final String UNAVAILABLE = "UNAVAILABLE";
    /** The reason where nothing can be said of the token, since it is not known whether it was revoked. */
    public static final String REVOCATIONS_UNAVAILABLE = "REVOCATIONS_UNAVAILABLE";
    /** The reason where nothing can be said of the token, since the list that tells whether it was revoked can't be had. */
    public static final String STATUS_LIST_UNAVAILABLE = "STATUS_LIST_UNAVAILABLE";

    private static final long serialVersionUID = 1L;

    VerificationException(String reason, String message) {
        super(reason, message, null);
    }

    /** Tells whether nothing can be said of the token now, so that it was neither accepted nor refused. */
    boolean isUnavailable() {
        return switch (reason()) {
            case KEY_SET_UNAVAILABLE, REVOCATIONS_UNAVAILABLE, STATUS_LIST_UNAVAILABLE, UNAVAILABLE -> true;
            default -> false;
        };
    }
}

package dev.tokenmint.client;

import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * Verifies transaction tokens of one trust domain (draft-ietf-oauth-transaction-tokens section 12.2). Safe for concurrent
 * use, meant to be made once. A transaction token authenticates nobody: it says which transaction a request belongs to.
 */
public final class TxnTokenVerifier {
    private static final String TYP = "txntoken+jwt";

    private final Verifier verifier;

    private TxnTokenVerifier(Verifier verifier) {
        this.verifier = verifier;
    }

    /** Returns a verifier of transaction tokens that {@code issuer} minted for {@code trustDomain}, both compared exactly. */
    public static TxnTokenVerifier of(String issuer, String trustDomain) {
        return of(issuer, trustDomain, builder -> builder);
    }

    /** Returns the same with further settings, such as the address of the key set. The accepted {@code typ} stays. */
    public static TxnTokenVerifier of(String issuer, String trustDomain, UnaryOperator<Verifier.Builder> settings) {
        return new TxnTokenVerifier(
                settings.apply(Verifier.builder(issuer, trustDomain)).types(List.of(TYP)).build());
    }

    /**
     * Returns what a token says.
     *
     * @throws VerificationException where the token is refused, or the key set is not at hand
     */
    public TransactionToken verify(String token) {
        VerifiedToken verified = verifier.verify(token);
        Map<String, Object> claims = verified.claims();
        text(claims, "scope");
        return new TransactionToken(
                text(claims, "txn"),
                verified.subject(),
                verified.scopes(),
                text(claims, "req_wl"),
                object(claims, "tctx"),
                object(claims, "rctx"),
                verified.expiresAt(),
                claims);
    }

    private static String text(Map<String, Object> claims, String name) {
        if (claims.get(name) instanceof String text && !text.isBlank()) {
            return text;
        }
        throw new VerificationException(
                "CLAIM_REJECTED", "the transaction token's " + name + " is missing, or is not a text");
    }

    @SuppressWarnings("unchecked") // the names of a JSON object are texts
    private static Map<String, Object> object(Map<String, Object> claims, String name) {
        if (!claims.containsKey(name)) {
            return Map.of();
        }
        if (claims.get(name) instanceof Map<?, ?> members) {
            return (Map<String, Object>) members;
        }
        throw new VerificationException("CLAIM_REJECTED", "the transaction token's " + name + " is not an object");
    }
}

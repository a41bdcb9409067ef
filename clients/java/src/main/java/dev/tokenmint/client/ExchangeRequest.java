package dev.tokenmint.client;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** What an exchange asks for. What is left out is as the service and the audience are configured. */
public final class ExchangeRequest {
    final String subjectToken;
    final String subjectTokenType;
    final String audience;
    final List<String> resources;
    final List<String> scopes;
    final Duration lifetime;
    final String requestedTokenType;
    final String actorToken;
    final String actorTokenType;
    final String nonce;
    final String dpopThumbprint;
    final String requestContext; // JSON, or "", as the next
    final String requestDetails;

    private ExchangeRequest(Builder from) {
        subjectToken = from.subjectToken;
        subjectTokenType = from.subjectTokenType;
        audience = from.audience;
        resources = from.resources;
        scopes = from.scopes;
        lifetime = from.lifetime;
        requestedTokenType = from.requestedTokenType;
        actorToken = from.actorToken;
        actorTokenType = from.actorTokenType;
        nonce = from.nonce;
        dpopThumbprint = from.dpopThumbprint;
        requestContext = from.requestContext;
        requestDetails = from.requestDetails;
    }

    /** Tells whether its token may be handed out again. A transaction token belongs to one request, with its context. */
    boolean isKept() {
        return requestContext.isEmpty() && requestDetails.isEmpty() && !TxnTokenHeader.TOKEN_TYPE.equals(requestedTokenType);
    }

    /** Returns a request to exchange a token for one for {@code audience} (unused in a batch, whose targets name theirs). */
    public static Builder of(String subjectToken, String audience) {
        return new Builder(Objects.requireNonNull(subjectToken), Objects.requireNonNull(audience));
    }

    /** Builds a request. */
    public static final class Builder {
        private final String subjectToken;
        private final String audience;
        private String subjectTokenType = "";
        private List<String> resources = List.of();
        private List<String> scopes = List.of();
        private Duration lifetime = Duration.ZERO;
        private String requestedTokenType = "";
        private String actorToken = "";
        private String actorTokenType = "";
        private String nonce = "";
        private String dpopThumbprint = "";
        private String requestContext = "";
        private String requestDetails = "";

        private Builder(String subjectToken, String audience) {
            this.subjectToken = subjectToken;
            this.audience = audience;
        }

        /** Says the kind of the subject token, a URN of RFC 8693 section 3; default: an ID token. */
        public Builder subjectTokenType(String type) {
            subjectTokenType = type;
            return this;
        }

        /** Names the target by URIs too, or instead of the audience where that is empty (RFC 8707). */
        public Builder resources(List<String> uris) {
            resources = uris.stream().sorted().distinct().toList();
            return this;
        }

        /** Asks for these scopes; default: all that the audience grants this client. */
        public Builder scopes(List<String> wanted) {
            scopes = wanted.stream().sorted().distinct().toList();
            return this;
        }

        /** Asks for a lifetime in whole seconds. */
        public Builder lifetime(Duration wanted) {
            lifetime = wanted;
            return this;
        }

        /** Asks for a kind of token. */
        public Builder requestedTokenType(String type) {
            requestedTokenType = type;
            return this;
        }

        /** Proves who acts for the subject. */
        public Builder actor(String token, String type) {
            actorToken = token;
            actorTokenType = type;
            return this;
        }

        /** Says what the subject token's nonce must be. */
        public Builder nonce(String expected) {
            nonce = expected;
            return this;
        }

        /** Binds the token to a key, by its thumbprint (RFC 9449). */
        public Builder dpopThumbprint(String thumbprint) {
            dpopThumbprint = thumbprint;
            return this;
        }

        /**
         * Says the circumstances of a transaction, for a transaction token's {@code rctx}: members of JSON's types, at most 4096
         * bytes as JSON. A batch does not use them.
         */
        public Builder requestContext(Map<String, ?> members) {
            requestContext = JSONObjectUtils.toJSONString(members);
            return this;
        }

        /** Says the transaction itself, as {@link #requestContext}; for the token's {@code tctx}. */
        public Builder requestDetails(Map<String, ?> members) {
            requestDetails = JSONObjectUtils.toJSONString(members);
            return this;
        }

        /** Returns the request. */
        public ExchangeRequest build() {
            return new ExchangeRequest(this);
        }
    }
}

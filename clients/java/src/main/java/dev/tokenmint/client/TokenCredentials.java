package dev.tokenmint.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** Sends a token of a {@link TokenSource} with gRPC calls. */
final class TokenCredentials extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final TokenSource source;
    private final Supplier<String> subjectToken;
    private final String audience;
    private final List<String> scopes;
    private final boolean plaintext;

    TokenCredentials(
            TokenSource source, Supplier<String> subjectToken, String audience, String[] scopes, boolean plaintext) {
        this.source = source;
        this.subjectToken = subjectToken;
        this.audience = audience;
        this.scopes = List.of(scopes);
        this.plaintext = plaintext;
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
        if (!plaintext && request.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) {
            applier.fail(Status.UNAUTHENTICATED.withDescription("the connection has no TLS: a token is not sent over it"));
            return;
        }
        executor.execute(() -> {
            try {
                var asked = ExchangeRequest.of(subjectToken.get(), audience).scopes(scopes).build();
                Metadata headers = new Metadata();
                headers.put(AUTHORIZATION, source.get(asked).authorization());
                applier.apply(headers);
            } catch (CallException refused) {
                applier.fail(refused.code().toStatus().withDescription("no token: " + refused.reason()).withCause(refused));
            } catch (RuntimeException failed) {
                applier.fail(Status.UNAUTHENTICATED.withDescription("there is no token").withCause(failed));
            }
        });
    }
}

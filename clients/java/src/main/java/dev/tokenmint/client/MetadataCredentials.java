package dev.tokenmint.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.util.concurrent.Executor;

/** A client's proof as metadata, made anew for each attempt of a call. */
final class MetadataCredentials extends CallCredentials {
    private final ClientCredential credential;

    MetadataCredentials(ClientCredential credential) {
        this.credential = credential;
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
        executor.execute(() -> {
            try {
                Metadata headers = new Metadata();
                credential.metadata().forEach((name, value) ->
                        headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value));
                applier.apply(headers);
            } catch (IOException | RuntimeException failed) {
                applier.fail(Status.UNAUTHENTICATED.withDescription("the credential can't be had").withCause(failed));
            }
        });
    }
}

package dev.tokenmint.client;

import dev.tokenmint.v1.BatchExchangeTokensRequest;
import dev.tokenmint.v1.ExchangeTokenRequest;
import dev.tokenmint.v1.RevocationServiceGrpc;
import dev.tokenmint.v1.TokenExchangeServiceGrpc;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Calls tokenmint. Safe for concurrent use, meant to be made once, and closed at the end. */
public final class TokenmintClient implements AutoCloseable {
    /** How long a call may take, retries included, unless told otherwise. */
    public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(10);

    // gRPC retries UNAVAILABLE only, after the delay that the answer names (RetryInfo, which gRPC reads as
    // grpc-retry-pushback-ms) or else with growing delays. The numbers are doubles, as gRPC wants them.
    private static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
            "name", List.of(Map.of()),
            "retryPolicy", Map.of(
                    "maxAttempts", 5.0,
                    "initialBackoff", "0.2s",
                    "maxBackoff", "5s",
                    "backoffMultiplier", 2.0,
                    "retryableStatusCodes", List.of("UNAVAILABLE")))));

    private final ManagedChannel channel;
    private final TokenExchangeServiceGrpc.TokenExchangeServiceBlockingStub service;
    private final RevocationServiceGrpc.RevocationServiceStub revocations;
    private final Duration timeout;

    private TokenmintClient(Builder from) throws IOException {
        timeout = from.timeout;
        channel = Grpc.newChannelBuilder(from.target, from.channelCredentials())
                .enableRetry()
                .defaultServiceConfig(SERVICE_CONFIG)
                .build();
        var stub = TokenExchangeServiceGrpc.newBlockingStub(channel);
        service = from.credential == null ? stub : stub.withCallCredentials(new MetadataCredentials(from.credential));
        var watch = RevocationServiceGrpc.newStub(channel);
        revocations =
                from.credential == null ? watch : watch.withCallCredentials(new MetadataCredentials(from.credential));
    }

    /** Returns a builder of a client of the service at {@code target} (host:port, or another target of gRPC's). */
    public static Builder builder(String target) {
        return new Builder(target);
    }

    /**
     * Gets one token. Nothing is cached; a {@link TokenSource} does that.
     *
     * @throws CallException where it is refused
     */
    public Token exchange(ExchangeRequest request) {
        return exchange(request, timeout);
    }

    /** Gets one token within {@code limit}, retries included. */
    public Token exchange(ExchangeRequest request, Duration limit) {
        var asked = ExchangeTokenRequest.newBuilder()
                .setSubjectToken(request.subjectToken)
                .setSubjectTokenType(request.subjectTokenType)
                .setAudience(request.audience)
                .addAllResources(request.resources)
                .addAllScopes(request.scopes)
                .setRequestedTokenType(request.requestedTokenType)
                .setActorToken(request.actorToken)
                .setActorTokenType(request.actorTokenType)
                .setNonce(request.nonce)
                .setDpopJkt(request.dpopThumbprint)
                .setRequestContext(request.requestContext)
                .setRequestDetails(request.requestDetails)
                .setRequestId(UUID.randomUUID().toString()); // a retry that gRPC makes is the same request
        if (!request.lifetime.isZero()) {
            asked.setLifetime(proto(request.lifetime));
        }
        try {
            return Token.of(within(limit).exchangeToken(asked.build()));
        } catch (StatusRuntimeException failure) {
            throw CallException.of(failure);
        }
    }

    /**
     * Proves the subject token of {@code request} once and gets a token for each target, 1 to 16; the results are in the
     * order of the targets.
     *
     * @throws CallException where the request as a whole is refused
     */
    public List<BatchResult> exchangeBatch(ExchangeRequest request, List<Target> targets) {
        var asked = BatchExchangeTokensRequest.newBuilder()
                .setSubjectToken(request.subjectToken)
                .setSubjectTokenType(request.subjectTokenType)
                .setActorToken(request.actorToken)
                .setActorTokenType(request.actorTokenType)
                .setNonce(request.nonce)
                .setDpopJkt(request.dpopThumbprint)
                .setRequestId(UUID.randomUUID().toString());
        for (Target target : targets) {
            var one = asked.addTargetsBuilder().setAudience(target.audience()).addAllScopes(target.scopes());
            one.addAllResources(target.resources());
            if (!target.lifetime().isZero()) {
                one.setLifetime(proto(target.lifetime()));
            }
        }
        try {
            return within(timeout).batchExchangeTokens(asked.build()).getResultsList().stream()
                    .map(result -> result.hasToken()
                            ? new BatchResult.Minted(Token.of(result.getToken()))
                            : (BatchResult) new BatchResult.Refused(CallException.of(result.getError())))
                    .toList();
        } catch (StatusRuntimeException failure) {
            throw CallException.of(failure);
        }
    }

    /** Returns the generated stub, with the same connection, credential and retries, for what has no method here. */
    public TokenExchangeServiceGrpc.TokenExchangeServiceBlockingStub service() {
        return service;
    }

    /** Returns the stub of the stream of revocations. */
    RevocationServiceGrpc.RevocationServiceStub revocations() {
        return revocations;
    }

    private TokenExchangeServiceGrpc.TokenExchangeServiceBlockingStub within(Duration limit) {
        return service.withDeadlineAfter(limit.toNanos(), TimeUnit.NANOSECONDS);
    }

    private static com.google.protobuf.Duration proto(Duration duration) {
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(duration.getSeconds())
                .setNanos(duration.getNano())
                .build();
    }

    /** Ends the connection. */
    @Override
    public void close() {
        channel.shutdownNow();
    }

    /** Builds a client. */
    public static final class Builder {
        private final String target;
        private ClientCredential credential;
        private Path authorities;
        private Path certificate;
        private Path key;
        private boolean plaintext;
        private Duration timeout = DEFAULT_TIMEOUT;

        private Builder(String target) {
            this.target = Objects.requireNonNull(target);
        }

        /** Says how the client is proved. */
        public Builder credential(ClientCredential proof) {
            credential = proof;
            return this;
        }

        /** Proves the client with the certificate of a mutual TLS connection, from PEM files. */
        public Builder clientCertificate(Path certificateFile, Path keyFile) {
            certificate = certificateFile;
            key = keyFile;
            return this;
        }

        /** Trusts the authorities in a PEM file instead of the system's. */
        public Builder authorities(Path file) {
            authorities = file;
            return this;
        }

        /** Does without TLS: for loopback addresses only. */
        public Builder plaintext() {
            plaintext = true;
            return this;
        }

        /** Sets how long a call may take, retries included. */
        public Builder timeout(Duration limit) {
            timeout = limit;
            return this;
        }

        /**
         * Returns the client. It connects on first use.
         *
         * @throws IOException where a file can't be read
         * @throws IllegalArgumentException where the settings exclude one another
         */
        public TokenmintClient build() throws IOException {
            return new TokenmintClient(this);
        }

        private ChannelCredentials channelCredentials() throws IOException {
            if (plaintext) {
                if (!Loopback.is(URI.create("grpc://" + target).getHost())) {
                    throw new IllegalArgumentException("plaintext is for loopback only, not for " + target);
                }
                if (authorities != null || certificate != null) {
                    throw new IllegalArgumentException("plaintext and TLS settings exclude each other");
                }
                return InsecureChannelCredentials.create();
            }
            var tls = TlsChannelCredentials.newBuilder();
            if (authorities != null) {
                tls.trustManager(authorities.toFile());
            }
            if (certificate != null) {
                tls.keyManager(certificate.toFile(), key.toFile());
            }
            return tls.build();
        }
    }
}

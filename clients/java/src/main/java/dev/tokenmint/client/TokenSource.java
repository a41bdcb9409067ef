package dev.tokenmint.client;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Exchanges subject tokens and keeps the results where they belong, on the server. Safe for concurrent use.
 *
 * <p>A token is fresh until 70 to 85 % of its life, drawn at random for each, and usable until 10 s before its expiry. A
 * fresh one is answered from the store; a usable one too, while it is refreshed behind the answer; else the callers wait
 * for one exchange together. Failures are not kept.
 */
public final class TokenSource {
    /** How many tokens are kept at most, unless told otherwise. */
    public static final int DEFAULT_MAX_ENTRIES = 10_000;

    private static final double EARLIEST_REFRESH = 0.70;
    private static final double LATEST_REFRESH = 0.85;
    private static final Duration RESERVE = Duration.ofSeconds(10);
    private static final Duration RETRY_REFRESH = Duration.ofSeconds(5);

    // A thread for each exchange under way, and none while there is none: daemons, so that programs end.
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "tokenmint-exchange");
        thread.setDaemon(true);
        return thread;
    });

    private final Function<ExchangeRequest, Token> exchange;
    private final TokenStore store;
    private final Clock clock;
    private final Map<TokenStore.Key, Flight> flights = new HashMap<>(); // guarded by itself, as is `again`
    private final Map<TokenStore.Key, Instant> again = new HashMap<>(); // when a failed refresh may be tried again

    private static final class Flight {
        final CompletableFuture<Token> landed = new CompletableFuture<>();
        boolean forgotten;
    }

    private TokenSource(Builder from) {
        exchange = from.exchange;
        store = from.store;
        clock = from.clock;
    }

    /** Returns a source that gets its tokens with {@code client}. */
    public static TokenSource of(TokenmintClient client) {
        return builder(client).build();
    }

    /** Returns a builder of a source that gets its tokens with {@code client}. */
    public static Builder builder(TokenmintClient client) {
        return new Builder(client::exchange);
    }

    /** Returns a builder of a source that gets its tokens from a function, e.g. in tests of an application. */
    public static Builder builder(Function<ExchangeRequest, Token> exchange) {
        return new Builder(exchange);
    }

    /** Returns a source like this one that keeps its tokens in {@code other}, for instance in a user's session. */
    public TokenSource with(TokenStore other) {
        return new Builder(exchange).store(other).clock(clock).build();
    }

    /**
     * Returns a token for {@code audience} on behalf of whom {@code subjectToken} proves, with all scopes that the audience
     * grants, or with those named.
     *
     * @throws CallException where it is refused
     */
    public Token get(String subjectToken, String audience, String... scopes) {
        return get(ExchangeRequest.of(subjectToken, audience).scopes(List.of(scopes)).build());
    }

    /**
     * The same for further fields of the request, all of which tell tokens apart. A transaction token, which has a request
     * context and details, is of one request: each call gets a new one, and none is kept.
     */
    public Token get(ExchangeRequest request) {
        try {
            return getAsync(request).join();
        } catch (CompletionException failed) {
            if (failed.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw failed;
        }
    }

    /** The same without waiting. To cancel the future does not end an exchange that others wait for. */
    public CompletableFuture<Token> getAsync(ExchangeRequest request) {
        if (!request.isKept()) {
            return CompletableFuture.supplyAsync(() -> exchange.apply(request), THREADS);
        }
        TokenStore.Key key = keyOf(request);
        Instant now = clock.instant();
        TokenStore.Entry seen = store.get(key).orElse(null);
        if (!usable(seen, now)) {
            return fly(key, request, seen).copy();
        }
        if (!now.isBefore(seen.refreshAt()) && mayRefresh(key, now)) {
            fly(key, request, seen);
        }
        return CompletableFuture.completedFuture(seen.token());
    }

    private static boolean usable(TokenStore.Entry entry, Instant now) {
        return entry != null && now.isBefore(entry.token().expiresAt().minus(RESERVE));
    }

    /** Drops every token that was got for {@code subjectToken}, and keeps none that is being got: for signing out. */
    public void forget(String subjectToken) {
        String subject = digest(subjectToken);
        synchronized (flights) {
            flights.entrySet().removeIf(flying -> {
                flying.getValue().forgotten |= flying.getKey().subject().equals(subject);
                return flying.getValue().forgotten;
            });
            store.forget(subject);
        }
    }

    /** Returns the gRPC credentials that send the token. Connections without TLS are refused. */
    public io.grpc.CallCredentials callCredentials(Supplier<String> subjectToken, String audience, String... scopes) {
        return new TokenCredentials(this, subjectToken, audience, scopes, false);
    }

    /** The same over connections without TLS too: on loopback, or in a mesh that adds it. */
    public io.grpc.CallCredentials plaintextCallCredentials(
            Supplier<String> subjectToken, String audience, String... scopes) {
        return new TokenCredentials(this, subjectToken, audience, scopes, true);
    }

    private CompletableFuture<Token> fly(TokenStore.Key key, ExchangeRequest request, TokenStore.Entry seen) {
        Flight mine = new Flight();
        synchronized (flights) {
            Flight flying = flights.get(key);
            if (flying != null) {
                return flying.landed;
            }
            // A flight may have landed since the caller looked: its token is what was asked for.
            TokenStore.Entry kept = store.get(key).orElse(null);
            if (usable(kept, clock.instant()) && !kept.equals(seen)) {
                return CompletableFuture.completedFuture(kept.token());
            }
            flights.put(key, mine);
        }
        Instant began = clock.instant();
        CompletableFuture.supplyAsync(() -> exchange.apply(request), THREADS).whenComplete((token, failure) -> {
            ended(key, mine, began, token);
            if (token != null) {
                mine.landed.complete(token);
            } else {
                mine.landed.completeExceptionally(
                        failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure);
            }
        });
        return mine.landed;
    }

    private void ended(TokenStore.Key key, Flight flight, Instant began, Token token) {
        Instant now = clock.instant();
        synchronized (flights) {
            flights.remove(key, flight);
            again.values().removeIf(at -> at.isBefore(now));
            if (token == null) {
                again.put(key, now.plus(RETRY_REFRESH));
                return;
            }
            again.remove(key);
            if (!flight.forgotten) {
                double share = ThreadLocalRandom.current().nextDouble(EARLIEST_REFRESH, LATEST_REFRESH);
                long life = Duration.between(began, token.expiresAt()).toMillis();
                store.put(key, new TokenStore.Entry(token, began, began.plusMillis((long) (share * life))));
            }
        }
    }

    private boolean mayRefresh(TokenStore.Key key, Instant now) {
        synchronized (flights) {
            return !flights.containsKey(key) && !now.isBefore(again.getOrDefault(key, Instant.MIN));
        }
    }

    /**
     * Returns the key of a token in the cache. It is the same in every language (tests/clients/cache_keys.json). It holds no
     * token and names no session.
     */
    static TokenStore.Key keyOf(ExchangeRequest request) {
        var target = new StringBuilder();
        for (String part : List.of(
                request.audience,
                String.join(" ", request.resources),
                String.join(" ", request.scopes),
                request.subjectTokenType,
                request.requestedTokenType,
                Long.toString(request.lifetime.toMillis()),
                digest(request.actorToken),
                request.actorTokenType,
                request.nonce,
                request.dpopThumbprint)) {
            int length = part.getBytes(StandardCharsets.UTF_8).length;
            target.append(length).append(':').append(part); // the length, so that no two requests look alike
        }
        return new TokenStore.Key(digest(request.subjectToken), digest(target.toString()));
    }

    private static String digest(String text) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(sum);
        } catch (NoSuchAlgorithmException never) {
            throw new AssertionError("every Java has SHA-256", never);
        }
    }

    /** Builds a source. */
    public static final class Builder {
        private final Function<ExchangeRequest, Token> exchange;
        private TokenStore store = new MemoryTokenStore(DEFAULT_MAX_ENTRIES);
        private Clock clock = Clock.systemUTC();

        private Builder(Function<ExchangeRequest, Token> exchange) {
            this.exchange = exchange;
        }

        /** Bounds how many tokens are kept in memory. */
        public Builder maxEntries(int count) {
            store = new MemoryTokenStore(count);
            return this;
        }

        /** Keeps the tokens elsewhere. */
        public Builder store(TokenStore other) {
            store = other;
            return this;
        }

        /** Tells the time, for tests. */
        public Builder clock(Clock other) {
            clock = other;
            return this;
        }

        /** Returns the source. */
        public TokenSource build() {
            return new TokenSource(this);
        }
    }
}

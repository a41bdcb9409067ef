package dev.tokenmint.client;

import com.google.protobuf.ByteString;
import dev.tokenmint.v1.Revocation;
import dev.tokenmint.v1.RevocationServiceGrpc;
import dev.tokenmint.v1.WatchRevocationsRequest;
import dev.tokenmint.v1.WatchRevocationsResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/**
 * Follows what tokenmint revokes, as far as it concerns one audience, so that a {@link Verifier} refuses a revoked token
 * within a second and without a call. It begins with the first use, opens its stream again after a failure, and goes on
 * where it was. Safe for concurrent use; close it before its client.
 */
public final class Revocations implements AutoCloseable {
    /** How old the set may be, unless told otherwise. */
    public static final Duration DEFAULT_MAX_LAG = Duration.ofSeconds(30);

    private static final System.Logger LOG = System.getLogger("dev.tokenmint.client");
    private static final long FIRST = TimeUnit.SECONDS.toNanos(5); // that a verification waits for the first snapshot
    private static final long SILENCE = 10_000; // milliseconds without a message; the service sends one a second
    private static final long FIRST_PAUSE = 100; // milliseconds
    private static final long LONGEST_PAUSE = 5_000;
    private static final long PRUNE = TimeUnit.MINUTES.toNanos(1); // between searches for expired entries
    private static final Duration NEVER = ChronoUnit.FOREVER.getDuration();
    private static final int MOST = 2_000_000; // entries
    private static final int DIGEST = 16; // bytes
    private static final int DEPTH = 16; // actors of a token

    private record Entry(long validAfter, long expires) {}

    private final RevocationServiceGrpc.RevocationServiceStub service;
    private final String audience;
    private final Duration maxLag;
    private final boolean accept;
    private final Consumer<Duration> onLag;
    private final Clock clock;
    private final LongSupplier ticker;
    private final Map<ByteString, Entry> held = new ConcurrentHashMap<>();
    private final CountDownLatch complete = new CountDownLatch(1);
    private ScheduledExecutorService timer;
    private Context.CancellableContext stream;
    private ScheduledFuture<?> silence;
    private long startedAt;
    private int failures;
    private boolean closed;
    private volatile String position = "";
    private volatile Long current; // when the set was last known to be complete, by the ticker; null: never
    private volatile Long pruned; // when expired entries were dropped, by the ticker; null: never
    private volatile long told = Long.MAX_VALUE; // Unix seconds, the service's time; an older service does not tell it
    private volatile String failure = "";

    private Revocations(Builder from) {
        service = from.client.revocations();
        audience = from.audience;
        maxLag = from.maxLag;
        accept = from.accept;
        onLag = from.onLag;
        clock = from.clock;
        ticker = from.ticker;
    }

    /**
     * Returns a builder of the revocations that concern {@code audience}. The client's table in tokenmint's configuration
     * has the audience in {@code serves}.
     */
    public static Builder builder(TokenmintClient client, String audience) {
        return new Builder(client, audience);
    }

    /** Returns how long ago the set was last known to be complete; before the first snapshot it is very long. */
    public Duration lag() {
        Long since = current;
        return since == null ? NEVER : Duration.ofNanos(Math.max(0, ticker.getAsLong() - since));
    }

    /** Returns why the stream is away, or "" while it is open. */
    public String failure() {
        return failure;
    }

    /** Begins to follow, and waits for the first snapshot, until 5 s after the beginning. */
    public void start() {
        long wait;
        synchronized (this) {
            if (timer == null && !closed) {
                startedAt = System.nanoTime();
                timer = Executors.newSingleThreadScheduledExecutor(work -> {
                    Thread thread = new Thread(work, "tokenmint revocations");
                    thread.setDaemon(true);
                    return thread;
                });
                timer.execute(this::open);
            }
            wait = startedAt + FIRST - System.nanoTime();
        }
        if (complete.getCount() > 0 && wait > 0) {
            try {
                complete.await(wait, TimeUnit.NANOSECONDS);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Refuses a token with these verified claims, signed by this key, if it is revoked, or may be. */
    void check(Map<String, Object> claims, Instant issuedAt, String keyId) {
        if (covers(claims, issuedAt.getEpochSecond(), keyId)) {
            throw new VerificationException("REVOKED", "the token was revoked");
        }
        if (!accept && lag().compareTo(maxLag) > 0) {
            throw new VerificationException(
                    VerificationException.REVOCATIONS_UNAVAILABLE,
                    "it can't be told whether the token was revoked: the stream of revocations is away");
        }
    }

    private boolean covers(Map<String, Object> claims, long issuedAt, String keyId) {
        if (held.isEmpty()) {
            return false;
        }
        for (String name : namesOf(claims, keyId)) {
            Entry entry = held.get(digestOf(name));
            if (entry != null && (entry.validAfter == 0 || issuedAt <= entry.validAfter)) {
                return true;
            }
        }
        return false;
    }

    /** Returns every name by which a token can be revoked, each as KIND:NAME. */
    static List<String> namesOf(Map<String, Object> claims, String keyId) {
        List<String> names = new ArrayList<>();
        names.add("key:" + keyId);
        add(names, "token:", claims.get("jti"));
        add(names, "principal:", claims.get("sub"));
        add(names, "client:", claims.get("client_id"));
        add(names, "audience:", claims.get("aud"));
        if (claims.get("aud") instanceof List<?> audiences) {
            audiences.forEach(one -> add(names, "audience:", one));
        }
        if (claims.get("tm_lineage") instanceof List<?> ancestors) {
            ancestors.forEach(one -> add(names, "token:", one));
        }
        Object act = claims.get("act");
        for (int depth = 0; depth < DEPTH && act instanceof Map<?, ?> actor; depth++) { // RFC 8693 section 4.1
            if (!actor.containsKey("iss")) { // with an `iss` it is no principal of the service
                add(names, "principal:", actor.get("sub"));
            }
            act = actor.get("act");
        }
        return names;
    }

    private static void add(List<String> names, String kind, Object value) {
        if (value instanceof String text) {
            names.add(kind + text);
        }
    }

    /** Returns the digest by which the service names something. */
    static ByteString digestOf(String name) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256")
                    .digest(("tokenmint:revoked:" + name).getBytes(StandardCharsets.UTF_8));
            return ByteString.copyFrom(sum, 0, DIGEST);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private synchronized void open() {
        if (closed) {
            return;
        }
        stream = Context.current().withCancellation();
        var messages = new Messages(stream);
        listen(stream);
        var request = WatchRevocationsRequest.newBuilder().setAudience(audience).setPosition(position).build();
        stream.run(() -> service.watchRevocations(request, messages));
    }

    /** Cancels a stream that brings nothing for a while: its connection may be dead. */
    private synchronized void listen(Context.CancellableContext listened) {
        if (silence != null) {
            silence.cancel(false);
        }
        if (!closed) {
            silence = timer.schedule(() -> { listened.cancel(null); }, SILENCE, TimeUnit.MILLISECONDS);
        }
    }

    /** Returns the service's reason and message, or else only the name of gRPC's code: other texts vary by attempt. */
    private static String causeOf(Throwable error) {
        String code = Status.fromThrowable(error).getCode().name();
        if (!(error instanceof StatusRuntimeException failure)) {
            return code;
        }
        CallException refusal = CallException.of(failure);
        return refusal.reason().equals(code) ? code : refusal.reason() + ": " + refusal.getMessage();
    }

    private final class Messages implements StreamObserver<WatchRevocationsResponse> {
        private final Context.CancellableContext own;
        private boolean heard;

        private Messages(Context.CancellableContext context) {
            own = context;
        }

        @Override
        public void onNext(WatchRevocationsResponse message) {
            heard = true;
            listen(own);
            take(message);
        }

        @Override
        public void onError(Throwable error) {
            over(causeOf(error));
        }

        @Override
        public void onCompleted() {
            over("");
        }

        private void over(String cause) {
            own.close();
            synchronized (Revocations.this) {
                if (closed) {
                    return;
                }
                silence.cancel(false);
                failures = heard ? 0 : failures + 1;
                if (!cause.isEmpty()) {
                    if (!cause.equals(failure)) {
                        LOG.log(
                                System.Logger.Level.WARNING,
                                "the stream of revocations is away, and is opened again: {0}",
                                cause);
                    }
                    failure = cause;
                }
                long pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE << Math.min(failures, 10));
                pause = pause / 2 + ThreadLocalRandom.current().nextLong(pause / 2);
                try {
                    timer.schedule(Revocations.this::open, pause, TimeUnit.MILLISECONDS);
                } catch (RejectedExecutionException ending) {
                    return;
                }
            }
            onLag.accept(lag());
        }
    }

    /** Adds the revocations of a message. */
    void take(WatchRevocationsResponse message) {
        for (Revocation one : message.getRevocationsList()) {
            if (one.getDigest().size() != DIGEST) {
                continue;
            }
            if (held.size() >= MOST && !held.containsKey(one.getDigest())) {
                throw new IllegalStateException("too many revocations"); // gRPC ends the stream with it
            }
            held.merge(
                    one.getDigest(),
                    new Entry(one.getTokensValidAfter(), one.getExpireTime().getSeconds()),
                    (before, now) -> new Entry(
                            Math.max(before.validAfter, now.validAfter), Math.max(before.expires, now.expires)));
        }
        long now = ticker.getAsLong();
        if (!message.getPosition().isEmpty()) { // otherwise the snapshot has further messages
            long age = TimeUnit.SECONDS.toNanos(message.getAge().getSeconds()) + message.getAge().getNanos();
            long at = now - age;
            position = message.getPosition();
            current = current == null || at - current > 0 ? Long.valueOf(at) : current;
            failure = "";
            complete.countDown();
        }
        if (message.hasTime()) {
            told = message.getTime().getSeconds();
        }
        if (pruned == null || now - pruned >= PRUNE) {
            pruned = now;
            // A clock that is ahead for a while must not make it forget: set back, it accepts the tokens again.
            long expired = Math.min(clock.instant().getEpochSecond(), told);
            held.values().removeIf(entry -> entry.expires <= expired);
        }
        onLag.accept(lag());
    }

    int size() {
        return held.size();
    }

    /** Ends the stream. */
    @Override
    public synchronized void close() {
        closed = true;
        if (stream != null) {
            stream.cancel(null);
        }
        if (timer != null) {
            timer.shutdownNow();
        }
    }

    /** Builds revocations. */
    public static final class Builder {
        private final TokenmintClient client;
        private final String audience;
        private Duration maxLag = DEFAULT_MAX_LAG;
        private boolean accept;
        private Consumer<Duration> onLag = lag -> {};
        private Clock clock = Clock.systemUTC();
        private LongSupplier ticker = System::nanoTime;

        private Builder(TokenmintClient client, String audience) {
            if (audience.isEmpty()) {
                throw new IllegalArgumentException("revocations need an audience");
            }
            this.client = client;
            this.audience = audience;
        }

        /** Sets how old the set may be: beyond that no token is accepted (fail closed). */
        public Builder maxLag(Duration limit) {
            maxLag = limit;
            return this;
        }

        /** Fails open: a set that is too old, or that never came, refuses only what it holds. */
        public Builder acceptWhenLagging() {
            accept = true;
            return this;
        }

        /** Calls a function with the lag after each message and each failure, e.g. for a metric. It must not throw. */
        public Builder onLag(Consumer<Duration> call) {
            onLag = call;
            return this;
        }

        /** Tells the time at which entries expire, for tests. */
        public Builder clock(Clock other) {
            clock = other;
            return this;
        }

        /** Tells nanoseconds that never go back, for tests. */
        Builder ticker(LongSupplier nanoseconds) {
            ticker = nanoseconds;
            return this;
        }

        /** Returns the revocations. */
        public Revocations build() {
            return new Revocations(this);
        }
    }
}

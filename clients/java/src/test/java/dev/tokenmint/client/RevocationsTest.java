package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import dev.tokenmint.v1.Revocation;
import dev.tokenmint.v1.RevocationServiceGrpc;
import dev.tokenmint.v1.WatchRevocationsRequest;
import dev.tokenmint.v1.WatchRevocationsResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RevocationsTest {
    private static final String AUDIENCE = "https://orders.example";
    private static final Map<String, Object> CLAIMS = Map.of(
            "jti", "t3",
            "sub", "ada",
            "client_id", "web",
            "aud", AUDIENCE,
            "tm_lineage", List.of("t1", 7, "t2"),
            "act", Map.of(
                    "sub", "helper",
                    "act", Map.of("sub", "other", "iss", "https://idp.example", "act", Map.of("sub", "first"))));

    private final MovableClock clock = new MovableClock();

    private Revocations.Builder builder() throws Exception {
        var client = TokenmintClient.builder("127.0.0.1:1").plaintext().build();
        return Revocations.builder(client, AUDIENCE)
                .clock(clock)
                .ticker(() -> TimeUnit.SECONDS.toNanos(clock.instant().getEpochSecond()));
    }

    static WatchRevocationsResponse said(String position, String name, long after, long age) {
        var message = WatchRevocationsResponse.newBuilder().setPosition(position);
        message.getAgeBuilder().setSeconds(age);
        if (!name.isEmpty()) {
            Revocation.Builder one = message.addRevocationsBuilder();
            one.setDigest(Revocations.digestOf(name)).setTokensValidAfter(after);
            one.getExpireTimeBuilder().setSeconds(1_800_001_000);
        }
        return message.build();
    }

    private static String reason(Revocations set, Map<String, Object> claims, long issuedAt) {
        try {
            set.check(claims, Instant.ofEpochSecond(issuedAt), "k1");
        } catch (VerificationException refused) {
            return refused.reason();
        }
        return "";
    }

    @ParameterizedTest
    @CsvSource({
        "token:t3,0,true", "token:t1,0,true", "token:t2,0,true", "token:t4,0,false", "principal:ada,1000,true",
        "principal:ada,999,false", "principal:helper,1000,true", "principal:first,1000,true",
        "principal:other,1000,false", "client:web,1000,true", "client:ada,1000,false",
        "audience:https://orders.example,1000,true", "key:k1,0,true", "key:k2,0,false"
    })
    void aTokenIsRefusedByAnyOfItsNames(String name, long after, boolean refused) throws Exception {
        try (Revocations set = builder().build()) {
            set.take(said("0.1-0", name, after, 0));
            assertEquals(refused ? "REVOKED" : "", reason(set, CLAIMS, 1000));
        }
    }

    @Test
    void aSetThatIsTooOldRefusesOrAcceptsAsItIsTold() throws Exception {
        Map<String, Object> other = Map.of("jti", "t9");
        try (Revocations closed = builder().maxLag(Duration.ofSeconds(10)).build();
                Revocations open = builder().maxLag(Duration.ofSeconds(10)).acceptWhenLagging().build()) {
            for (Revocations set : List.of(closed, open)) {
                set.take(said("", "client:nobody", 1, 0));
            }
            assertEquals("REVOCATIONS_UNAVAILABLE", reason(closed, other, 1));
            assertEquals("", reason(open, other, 1));
            for (Revocations set : List.of(closed, open)) {
                set.take(said("0.1-0", "token:t1", 0, 4));
            }
            clock.advance(Duration.ofSeconds(6));
            assertEquals("", reason(closed, other, 1));
            clock.advance(Duration.ofSeconds(1));
            assertEquals("REVOCATIONS_UNAVAILABLE", reason(closed, other, 1));
            assertEquals("", reason(open, other, 1));
            assertEquals("REVOKED", reason(closed, CLAIMS, 1));
            assertEquals("REVOKED", reason(open, CLAIMS, 1));
            closed.take(said("0.1-0", "", 0, 30)); // of a replica that is away from the store
            assertEquals(Duration.ofSeconds(11), closed.lag());
        }
    }

    @Test
    void entriesMergeInAnyOrderAndExpire() throws Exception {
        try (Revocations set = builder().build()) {
            for (long after : new long[] {5, 9, 7}) {
                set.take(said("0.1-0", "client:web", after, 0));
            }
            assertEquals("REVOKED", reason(set, CLAIMS, 9));
            assertEquals("", reason(set, CLAIMS, 10));
            set.take(WatchRevocationsResponse.newBuilder()
                    .addRevocations(Revocation.newBuilder().setDigest(ByteString.copyFromUtf8("short")))
                    .build());
            assertEquals(1, set.size());
            clock.advance(Duration.ofSeconds(1000));
            set.take(said("0.1-0", "", 0, 0));
            assertEquals(0, set.size());
        }
    }

    @Test
    void aClockThatIsAheadForAWhileForgetsNothing() throws Exception {
        var client = TokenmintClient.builder("127.0.0.1:1").plaintext().build();
        var elapsed = new AtomicLong();
        try (Revocations set = Revocations.builder(client, AUDIENCE).clock(clock).ticker(elapsed::get).build()) {
            long ends = 1_800_001_000; // of the entry; the clock begins 1000 s before
            set.take(said("0.1-0", "token:t1", 0, 0).toBuilder().setTime(Timestamp.newBuilder().setSeconds(ends - 1000)).build());
            // how far its own clock is moved, and the service's time, before the end; 0: it is not told
            for (long[] step : new long[][] {{3600, 900}, {60, 0}, {-3460, 800}, {60, -3000}}) {
                advance(step[0], elapsed);
                var message = said("0.1-0", "", 0, 0).toBuilder();
                if (step[1] != 0) {
                    message.getTimeBuilder().setSeconds(ends - step[1]);
                }
                set.take(message.build());
                assertEquals("REVOKED", reason(set, CLAIMS, 1), () -> List.of(step[0], step[1]).toString());
            }
            advance(740, elapsed);
            set.take(said("0.1-0", "", 0, 0).toBuilder().setTime(Timestamp.newBuilder().setSeconds(ends)).build());
            assertEquals(0, set.size());
        }
    }

    private void advance(long seconds, AtomicLong elapsed) {
        clock.advance(Duration.ofSeconds(seconds));
        elapsed.addAndGet(TimeUnit.MINUTES.toNanos(1));
    }

    @Test
    void itGoesOnWhereItWasAfterAnEndAFailureAndARefusal() throws Exception {
        List<String> positions = new CopyOnWriteArrayList<>();
        CountDownLatch opened = new CountDownLatch(1);
        var service = new RevocationServiceGrpc.RevocationServiceImplBase() {
            @Override
            public void watchRevocations(
                    WatchRevocationsRequest request, StreamObserver<WatchRevocationsResponse> answers) {
                positions.add(request.getPosition());
                switch (positions.size()) {
                    case 1 -> {
                        answers.onNext(said("0.1-0", "token:a", 0, 0));
                        answers.onCompleted();
                    }
                    case 2 -> {
                        answers.onNext(said("", "token:b", 0, 0));
                        answers.onError(Status.INTERNAL.asRuntimeException());
                    }
                    case 3 -> answers.onError(Status.PERMISSION_DENIED.asRuntimeException());
                    default -> opened.countDown();
                }
            }
        };
        Server server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(service)
                .build()
                .start();
        List<Duration> lags = new CopyOnWriteArrayList<>();
        try (var client = TokenmintClient.builder("127.0.0.1:" + server.getPort()).plaintext().build();
                var set = Revocations.builder(client, AUDIENCE).onLag(lags::add).build()) {
            set.start();
            assertTrue(opened.await(20, TimeUnit.SECONDS));
            assertEquals(List.of("", "0.1-0", "0.1-0", "0.1-0"), positions);
            assertEquals("REVOKED", reason(set, Map.of("jti", "a"), 1));
            assertEquals("REVOKED", reason(set, Map.of("jti", "b"), 1));
            assertEquals("", reason(set, Map.of("jti", "c"), 1));
            assertEquals("PERMISSION_DENIED", set.failure());
            assertTrue(lags.size() > 0);
        } finally {
            server.shutdownNow();
        }
    }

    @Test
    void theyNeedAnAudience() {
        assertThrows(IllegalArgumentException.class, () -> Revocations.builder(null, ""));
    }
}

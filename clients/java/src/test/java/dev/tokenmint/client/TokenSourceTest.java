package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.nimbusds.jose.util.JSONArrayUtils;
import java.net.URI;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenSourceTest {
    private final MovableClock clock = new MovableClock();
    private final AtomicInteger exchanges = new AtomicInteger();
    private final MemoryTokenStore store = new MemoryTokenStore(100);
    private volatile RuntimeException failure;
    private volatile CountDownLatch gate = new CountDownLatch(0);
    private final TokenSource source = TokenSource.builder(this::mint).clock(clock).store(store).build();

    private Token mint(ExchangeRequest request) {
        int number = exchanges.incrementAndGet();
        try {
            assertTrue(gate.await(20, TimeUnit.SECONDS));
        } catch (InterruptedException ended) {
            throw new IllegalStateException(ended);
        }
        if (failure != null) {
            throw failure;
        }
        return token("" + number, clock.instant().plus(Duration.ofMinutes(10)));
    }

    private static Token token(String id, Instant expiry) {
        return new Token("canary", "Bearer", "", expiry, List.of(), "k", id, "ada");
    }

    private static void eventually(BooleanSupplier holds) {
        for (long limit = System.nanoTime() + 20_000_000_000L; !holds.getAsBoolean(); Thread.onSpinWait()) {
            assertTrue(System.nanoTime() < limit, "it did not come about");
        }
    }

    @Test
    void theKeyOfATokenIsTheSameInEveryLanguage() throws Exception {
        List<Object> rows = JSONArrayUtils.parse(Files.readString(Path.of("../../tests/clients/cache_keys.json")));
        assertFalse(rows.isEmpty());
        for (Object each : rows) {
            Map<?, ?> row = (Map<?, ?>) each;
            Map<?, ?> given = (Map<?, ?>) row.get("request");
            Map<?, ?> key = (Map<?, ?>) row.get("key");
            long lifetime = given.get("lifetime") instanceof Number number ? number.longValue() : 0;
            var request = ExchangeRequest.of(text(given, "subject_token"), text(given, "audience"))
                    .subjectTokenType(text(given, "subject_token_type"))
                    .resources(texts(given, "resources"))
                    .scopes(texts(given, "scopes"))
                    .lifetime(Duration.ofSeconds(lifetime))
                    .requestedTokenType(text(given, "requested_token_type"))
                    .actor(text(given, "actor_token"), text(given, "actor_token_type"))
                    .nonce(text(given, "nonce"))
                    .dpopThumbprint(text(given, "dpop_jkt"))
                    .build();
            var expected = new TokenStore.Key(text(key, "subject"), text(key, "target"));
            assertEquals(expected, TokenSource.keyOf(request), text(row, "case"));
        }
    }

    private static List<String> texts(Map<?, ?> row, String name) {
        return row.get(name) instanceof List<?> some ? some.stream().map(String.class::cast).toList() : List.of();
    }

    private static String text(Map<?, ?> row, String name) {
        return row.get(name) instanceof String value ? value : "";
    }

    @Test
    void tellsTokensApartBySubjectAudienceAndScopesInAnyOrder() {
        String first = source.get("s", "a", "read", "write").tokenId();
        assertEquals(first, source.get("s", "a", "write", "read", "read").tokenId());
        assertEquals("2", source.get("s", "a").tokenId());
        assertEquals("3", source.get("t", "a").tokenId());
        assertEquals("4", source.get("s", "b").tokenId());
    }

    @Test
    void eachCallGetsATransactionTokenOfItsOwn() {
        var details = ExchangeRequest.of("s", "a").requestDetails(Map.of()).build();
        var type = ExchangeRequest.of("s", "a").requestedTokenType(TxnTokenHeader.TOKEN_TYPE).build();
        var context = ExchangeRequest.of("s", "a").requestContext(Map.of("req_ip", "192.0.2.7")).build();
        for (ExchangeRequest request : List.of(details, details, type, type, context, context)) {
            source.get(request);
        }
        assertEquals(6, exchanges.get());
        assertEquals(0, store.size());
        failure = new VerificationException("REVOKED", "for the test");
        assertEquals("REVOKED", assertThrows(VerificationException.class, () -> source.get(context)).reason());
    }

    @Test
    void aContextThatJsonCanNotHoldIsRefusedBeforeTheCall() {
        var request = ExchangeRequest.of("s", "a");
        assertThrows(IllegalArgumentException.class, () -> request.requestContext(Map.of("load", Double.NaN)));
    }

    @Test
    void refreshesBehindTheAnswerBetween70And85Percent() {
        String first = source.get("s", "a").tokenId();
        clock.advance(Duration.ofSeconds(419));
        assertEquals(first, source.get("s", "a").tokenId());
        assertEquals(1, exchanges.get());
        clock.advance(Duration.ofSeconds(91));
        assertEquals(first, source.get("s", "a").tokenId());
        eventually(() -> !source.get("s", "a").tokenId().equals(first));
        assertEquals(2, exchanges.get());
    }

    /** A store in which, between a caller's look and what it makes of that, other callers come first. */
    private final class OvertakenStore implements TokenStore {
        private Runnable others = () -> {};

        @Override
        public Optional<Entry> get(Key key) {
            Optional<Entry> seen = store.get(key);
            Runnable first = others;
            others = () -> {};
            first.run();
            return seen;
        }

        @Override
        public void put(Key key, Entry entry) {
            store.put(key, entry);
        }

        @Override
        public void forget(String subject) {
            store.forget(subject);
        }
    }

    @Test
    void exchangesOnceWhereAnotherCallersFlightLandsAfterTheLookAtTheStore() {
        var overtaken = new OvertakenStore();
        TokenSource slow = source.with(overtaken);
        overtaken.others = () -> source.get("s", "a");
        assertEquals("1", slow.get("s", "a").tokenId());
        clock.advance(Duration.ofSeconds(511));
        overtaken.others = () -> eventually(() -> source.get("s", "a").tokenId().equals("2"));
        assertEquals("1", slow.get("s", "a").tokenId()); // usable, and refreshed by the others
        assertEquals("2", slow.get("s", "a").tokenId());
        assertEquals(2, exchanges.get());
    }

    @Test
    void keepsTheUsableTokenWhereARefreshFailsAndWaitsFiveSeconds() {
        String first = source.get("s", "a").tokenId();
        failure = new VerificationException("REVOKED", "for the test");
        clock.advance(Duration.ofSeconds(511));
        source.get("s", "a");
        eventually(() -> exchanges.get() == 2);
        for (int times = 0; times < 3; times++) {
            assertEquals(first, source.get("s", "a").tokenId());
        }
        assertEquals(2, exchanges.get());
        clock.advance(Duration.ofSeconds(79));
        assertEquals("REVOKED", assertThrows(VerificationException.class, () -> source.get("s", "a")).reason());
    }

    @Test
    void callersShareOneFlightAndOneWhoGoesAwayDoesNotEndIt() {
        gate = new CountDownLatch(1);
        var request = ExchangeRequest.of("s", "a").build();
        assertTrue(source.getAsync(request).cancel(true));
        List<CompletableFuture<Token>> calls = new ArrayList<>();
        for (int count = 0; count < 100; count++) {
            calls.add(source.getAsync(request));
        }
        gate.countDown();
        calls.forEach(call -> assertEquals("1", call.join().tokenId()));
        assertEquals(1, exchanges.get());
    }

    @Test
    void keepsNoForgottenTokenEvenWhereItArrivesLater() {
        gate = new CountDownLatch(1);
        var arriving = source.getAsync(ExchangeRequest.of("s", "a").build());
        source.forget("s");
        gate.countDown();
        arriving.join();
        assertEquals(0, store.size());
    }

    @Test
    void aFullStoreDropsTheExpiredFirstThenTheLeastRecentlyUsed() {
        var small = new MemoryTokenStore(2);
        Instant start = clock.instant();
        put(small, "long", start, 3600);
        put(small, "short", start, 60);
        put(small, "next", start.plusSeconds(60), 3600);
        assertTrue(has(small, "long") && !has(small, "short") && has(small, "next"));
        has(small, "long");
        put(small, "last", start.plusSeconds(120), 3600);
        assertTrue(has(small, "long") && !has(small, "next") && has(small, "last"));
    }

    private static void put(TokenStore store, String name, Instant at, long life) {
        store.put(new TokenStore.Key(name, ""), new TokenStore.Entry(token(name, at.plusSeconds(life)), at, at));
    }

    private static boolean has(TokenStore store, String name) {
        return store.get(new TokenStore.Key(name, "")).isPresent();
    }

    @Test
    void tokensPrintWithoutTheirValue() {
        Token token = source.get("s", "a");
        assertNotEquals("", token.toString());
        assertFalse((token + " " + List.of(token)).contains("canary"));
    }

    @ParameterizedTest
    @CsvSource({
        "127.0.0.1:1,true", "[::1]:1,true", "localhost:1,true", "10.0.0.1:1,false", "localhost.example:1,false"
    })
    void plaintextIsForLoopback(String target, boolean allowed) throws Exception {
        var builder = TokenmintClient.builder(target).credential(ClientCredential.publicClient("spa")).plaintext();
        if (allowed) {
            builder.build().close();
        } else {
            assertThrows(IllegalArgumentException.class, builder::build);
        }
    }

    @Test
    void tokensGoNeitherToOriginsWithoutTlsNorAlongWithRedirects() {
        for (String origin : List.of("http://orders.example", "orders", "ftp://orders.example")) {
            assertThrows(RuntimeException.class, () -> client(HttpClient.newHttpClient(), origin), origin);
        }
        var following = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.ALWAYS).build();
        assertThrows(IllegalArgumentException.class, () -> client(following, "https://orders.example"));
        var http = client(HttpClient.newHttpClient(), "https://orders.example");
        var elsewhere = java.net.http.HttpRequest.newBuilder(URI.create("https://orders.example.evil")).build();
        assertThrows(
                IllegalArgumentException.class,
                () -> http.send(elsewhere, java.net.http.HttpResponse.BodyHandlers.discarding()));
        assertEquals(0, exchanges.get());
    }

    private TokenHttpClient client(HttpClient http, String origin) {
        return new TokenHttpClient(http, source, () -> "s", "a", URI.create(origin));
    }
}

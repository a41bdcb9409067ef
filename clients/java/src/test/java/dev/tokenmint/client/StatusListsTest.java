package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class StatusListsTest {
    private static final String UNAVAILABLE = "STATUS_LIST_UNAVAILABLE";

    private record Fault(String name, Consumer<Publisher> spoil, String cause) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Fault claim(String name, String claim, Object value, String cause) {
        return new Fault(name, publisher -> publisher.claims.put(claim, value), cause);
    }

    private static Fault list(String name, Object lst, String cause) {
        return claim(name, "status_list", Map.of("bits", 1, "lst", lst), cause);
    }

    static List<Map<String, Object>> vectors() throws Exception {
        var document = JSONObjectUtils.parse(Files.readString(Path.of("../../tests/clients/status_list_vectors.json")));
        return List.of(JSONObjectUtils.getJSONObjectArray(document, "vectors"));
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void section4AndTheDraftsTestVectors(Map<String, Object> vector) throws Exception {
        StatusList list = StatusList.read(vector);
        Map<String, Object> statuses = JSONObjectUtils.getJSONObject(vector, "statuses");
        long size = (Long) vector.get("size");
        for (long index = 0; index < size; index++) {
            assertEquals(((Number) statuses.getOrDefault(Long.toString(index), 0)).intValue(), list.at(index));
        }
        for (long index : new long[] {size, -1, Long.MAX_VALUE, Long.MIN_VALUE}) {
            assertEquals(-1, list.at(index));
        }
    }

    static List<Fault> faults() {
        long now = new MovableClock().instant().getEpochSecond();
        return List.of(
                claim("another list", "sub", "https://tokens.example/status-lists/b", "it is another list"),
                claim("another issuer", "iss", "https://other.example", "it is not accepted: its issuer is another one"),
                claim("no iat", "iat", null, "iat is missing"),
                claim("no exp", "exp", null, "exp is missing"),
                claim("an exp that is a text", "exp", "tomorrow", "exp is missing or is not a time"),
                claim("no list", "status_list", null, "it has no status_list"),
                claim("expired", "exp", now, "it has expired"),
                claim("of the future", "iat", now + 31, "it was made in the future"),
                claim("a ttl of nothing", "ttl", 0, "its ttl is not a positive number"),
                claim("a ttl that is a text", "ttl", "60", "its ttl is not a positive number"),
                claim("three bits", "status_list", Publisher.list(3, 2), "has no bits or no lst"),
                claim("bits that are a text", "status_list", Map.of("bits", "1", "lst", Publisher.lst(2)), "has no bits or no lst"),
                list("a lst that is a number", 7, "has no bits or no lst"),
                list("no base64url", "!!!!", "not compressed as the draft says"),
                list("no ZLIB", "AAAA", "not compressed as the draft says"),
                list("nothing", "", "not compressed as the draft says"),
                list("cut off", Publisher.lst(2).substring(0, 8), "not compressed as the draft says"),
                list("more behind it", Publisher.lst(2) + "AAAA", "something behind it"),
                list("a bomb", Publisher.lst(new int[StatusList.MAX_SIZE + 1]), "more than 1048576 bytes"),
                new Fault("another typ", publisher -> publisher.header.put("typ", "at+jwt"), "typ is not accepted"),
                new Fault("crit", publisher -> publisher.header.put("crit", true), "crit"),
                new Fault("unknown key", publisher -> publisher.header.put("kid", "other"), "key is not in the key set"),
                new Fault("no JWT", publisher -> publisher.body = "<html>", "not a well-formed"),
                new Fault("too long", publisher -> publisher.body = "a".repeat((1 << 20) + 1), "longer than 1048576 bytes"),
                new Fault("not found", publisher -> publisher.status = 404, "the answer has status 404"),
                new Fault("an error", publisher -> publisher.status = 503, "the answer has status 503"),
                new Fault("a redirect", publisher -> publisher.status = 302, "the answer has status 302"),
                new Fault("unchanged", publisher -> publisher.status = 304, "the answer has status 304"));
    }

    @ParameterizedTest
    @MethodSource("faults")
    void section83AListThatIsNotGood(Fault fault) throws Exception {
        try (var publisher = new Publisher()) {
            fault.spoil().accept(publisher);
            Verifier closed = publisher.verifier(StatusLists.create());
            for (int turn = 0; turn < 3; turn++) { // once in a while
                String token = publisher.token(Publisher.place(0, publisher.uri()));
                var refused = assertThrows(VerificationException.class, () -> closed.verify(token));
                assertEquals(UNAVAILABLE, refused.reason());
                assertTrue(refused.getMessage().contains(fault.cause()), refused.getMessage());
                assertTrue(refused.isUnavailable());
            }
            assertEquals(1, publisher.asked.get());
            Verifier open = publisher.verifier(StatusLists.builder().acceptWhenUnavailable().build());
            assertEquals("", publisher.reason(open, 0));
        }
    }

    @Test
    void section62APlaceThatIsNone() throws Exception {
        try (var publisher = new Publisher()) {
            Verifier verifier = publisher.verifier(StatusLists.create());
            String uri = publisher.uri();
            List<Object> none = new ArrayList<>(List.of(
                    "x", Map.of(), Map.of("status_list", List.of()), Map.of("status_list", "x"), Publisher.place(-1, uri),
                    Publisher.place(0.5, uri), Publisher.place("0", uri), Publisher.place(true, uri), Publisher.place(0, null),
                    Publisher.place(0, "https://other.example/status-lists/a"), Publisher.place(0, uri + "?a"),
                    Publisher.place(0, uri + "/../x"), Publisher.place(0, publisher.url + ".evil.example/status-lists/a"),
                    Publisher.place(0, publisher.url + "/status-lists/"), Publisher.place(0, uri + "a".repeat(2000)),
                    Publisher.place(0, uri + "\n")));
            none.add(null);
            for (Object status : none) {
                assertEquals("CLAIM_REJECTED", publisher.reasonOf(verifier, status), String.valueOf(status));
            }
            assertEquals(0, publisher.asked.get());
        }
    }

    @Test
    void section7EveryStatusBut0IsRefusedAndSoIsAnIndexOutOfBounds() throws Exception {
        try (var publisher = new Publisher()) {
            Verifier verifier = publisher.verifier(StatusLists.create());
            Map<Long, String> reasons = new HashMap<>();
            for (long index : new long[] {0, 1, 7, 8, Long.MAX_VALUE}) {
                reasons.put(index, publisher.reason(verifier, index));
            }
            assertEquals(
                    Map.of(0L, "", 1L, "REVOKED", 7L, "", 8L, "CLAIM_REJECTED", Long.MAX_VALUE, "CLAIM_REJECTED"), reasons);
            publisher.claims.put("status_list", Publisher.list(2, 2 << 2)); // suspended
            assertEquals("REVOKED", publisher.reason(publisher.verifier(StatusLists.create()), 1));
        }
    }

    @Test
    void section137AListIsKeptForItsTtlAskedForByItsTagAndServesUntilItExpires() throws Exception {
        try (var publisher = new Publisher()) {
            Verifier verifier = publisher.verifier(StatusLists.create());
            long began = publisher.now();
            var steps = new Steps(publisher, verifier);
            steps.after(0, 0, "", 1);
            steps.after(59, 1, "REVOKED", 1);
            steps.after(2, 0, "", 2); // unchanged, by its tag
            assertEquals(1, publisher.matched.get());
            publisher.etag = "\"2\"";
            publisher.claims.put("iat", began - 15); // a replica that is behind
            publisher.claims.put("status_list", Publisher.list(1, 0));
            steps.after(61, 1, "REVOKED", 3);
            steps.after(9, 1, "REVOKED", 3);
            publisher.status = 503;
            steps.after(2, 0, "", 4);
            steps.after(9, 0, "", 4); // a failure waits
            steps.after(148, 1, "REVOKED", 5);
            steps.after(11, 0, UNAVAILABLE, 6);
            steps.after(0, 1, "REVOKED", 6); // the last list shows it
            publisher.status = 200;
            publisher.claims.putAll(Map.of(
                    "iat", began + 300, "exp", began + 600, "status_list", Publisher.list(1, 1)));
            steps.after(11, 0, "REVOKED", 7);
            steps.after(0, 1, "", 7);
            publisher.clock.advance(Duration.ofHours(-2)); // a clock that is set back asks anew
            assertEquals("", publisher.reason(verifier, 1));
        }
    }

    private record Steps(Publisher publisher, Verifier verifier) {
        void after(long seconds, long index, String reason, int asked) {
            publisher.clock.advance(Duration.ofSeconds(seconds));
            assertEquals(reason, publisher.reason(verifier, index));
            assertEquals(asked, publisher.asked.get());
        }
    }

    @Test
    void aTtlHasBounds() throws Exception {
        for (var bounds : Map.of(1e9, 3600L, 0.001, 1L).entrySet()) {
            try (var publisher = new Publisher()) {
                publisher.claims.putAll(Map.of("ttl", bounds.getKey(), "exp", publisher.now() + 1_000_000));
                Verifier verifier = publisher.verifier(StatusLists.create());
                var steps = new Steps(publisher, verifier);
                steps.after(0, 0, "", 1);
                steps.after(bounds.getValue() - 1, 0, "", 1);
                steps.after(1, 0, "", 2);
            }
        }
    }

    @Test
    void manyThatWaitCauseOneRequest() throws Exception {
        try (var publisher = new Publisher()) {
            Verifier verifier = publisher.verifier(StatusLists.create());
            var threads = Executors.newFixedThreadPool(20);
            Callable<String> one = () -> publisher.reason(verifier, 0);
            for (var answer : threads.invokeAll(Stream.generate(() -> one).limit(20).toList())) {
                assertEquals("", answer.get());
            }
            threads.shutdown();
            assertEquals(1, publisher.asked.get());
        }
    }

    @Test
    void aCallerThatIsInterruptedTakesNoListFromOthers() throws Exception {
        try (var publisher = new Publisher()) {
            Verifier verifier = publisher.verifier(StatusLists.create());
            publisher.reasonOf(verifier, null); // fetches the key set
            Thread.currentThread().interrupt();
            assertEquals(UNAVAILABLE, publisher.reason(verifier, 0));
            assertTrue(Thread.interrupted());
            assertEquals("", publisher.reason(verifier, 0));
        }
    }

    @Test
    void theListsThatWereNotUsedForTheLongestTimeMakeRoom() throws Exception {
        try (var publisher = new Publisher()) {
            StatusLists lists = StatusLists.create();
            Verifier verifier = publisher.verifier(lists);
            publisher.claims.put("status_list", Publisher.list(8, new int[StatusList.MAX_SIZE]));
            int most = StatusLists.MAX_SIZE / StatusList.MAX_SIZE;
            for (int number = 0; number < most + 5; number++) {
                publisher.reasonOf(verifier, Publisher.place(0, publisher.url + "/status-lists/large" + number));
            }
            assertEquals(most, lists.size());
            publisher.status = 503;
            for (int number = 0; number < StatusLists.MAX_LISTS + 5; number++) {
                publisher.reasonOf(verifier, Publisher.place(0, publisher.url + "/status-lists/none" + number));
            }
            assertEquals(StatusLists.MAX_LISTS, lists.size());
        }
    }

    @Test
    void aListIsNotFetchedWithoutTls() throws Exception {
        try (var publisher = new Publisher()) {
            String issuer = "http://tokens.example";
            var claims = Map.<String, Object>of("status", Publisher.place(0L, issuer + "/status-lists/a"));
            Verifier verifier = Verifier.builder(issuer, Publisher.AUDIENCE)
                    .keySetUrl(java.net.URI.create(publisher.url + "/.well-known/jwks.json"))
                    .build();
            var refused = assertThrows(
                    VerificationException.class, () -> StatusLists.create().check(claims, verifier));
            assertTrue(refused.getMessage().contains("without TLS"), refused.getMessage());
            assertFalse(refused.getMessage().contains("null"));
        }
    }
}

package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A protected resource (RFC 9728), and the proofs of its tokens' keys (RFC 9449, RFC 8705). */
class ProtectedResourceTest {
    private static final Instant NOW = Instant.parse("2026-11-30T12:00:00Z");

    private final Verifier verifier = Verifier.builder(BearerCases.ISSUER, BearerCases.AUDIENCE).build();

    private ProtectedResource.Builder builder(String resource) {
        return ProtectedResource.builder(verifier, resource);
    }

    @Test
    void rfc9728Section31ThePathGoesBehindTheWellKnownOne() {
        Map.of(
                        "https://api.example", "",
                        "https://api.example/", "",
                        "https://api.example/mcp", "/mcp",
                        "https://API.example/a/b/", "/a/b/",
                        "http://127.0.0.1:8000/mcp", "/mcp")
                .forEach((resource, path) -> {
                    var made = builder(resource).build();
                    assertEquals("/.well-known/oauth-protected-resource" + path, made.metadataPath(), resource);
                    assertTrue(made.metadataUrl().endsWith(made.metadataPath()), resource);
                });
    }

    @Test
    void rfc9728Section12AResourceIsAnHttpsUrlWithoutQueryAndFragment() {
        for (String resource : List.of(
                "http://api.example", "https://api.example/?a", "https://api.example/#a", "https://u@api.example", "api", "",
                "http://127.0.0.1.example/")) {
            assertThrows(IllegalArgumentException.class, () -> builder(resource).build(), resource);
        }
    }

    @Test
    void refusesOptionsThatDoNotFit() {
        String resource = "https://api.example";
        assertThrows(IllegalArgumentException.class, () -> builder(resource).withoutDpop().requireDpop().build());
        assertThrows(IllegalArgumentException.class, () -> builder(resource).replayMemory(0).build());
        assertThrows(IllegalArgumentException.class, () -> builder(resource).nonceKey(new byte[31]).build());
        assertThrows(IllegalArgumentException.class, () -> builder(resource).authorizationServers(List.of()));
    }

    @Test
    void rfc9449Section111AFullMemoryRefusesAndForgetsNothingThatCouldBeReplayed() {
        var memory = new ReplayMemory(2);
        use(memory, "a", 0, "");
        use(memory, "b", 10, "");
        use(memory, "c", 20, "UNAVAILABLE");
        use(memory, "a", 20, "PROOF_REJECTED");
        use(memory, "b", 20, "PROOF_REJECTED");
        use(memory, "c", 60, "");
        use(memory, "b", 69, "PROOF_REJECTED");
        use(memory, "b", 70, "");
        use(memory, "a", 71, "UNAVAILABLE");
    }

    private static void use(ReplayMemory memory, String name, long later, String reason) {
        Instant at = NOW.plusSeconds(later);
        var proof = new DpopProof("t", "", name, at.plusSeconds(60));
        if (reason.isEmpty()) {
            memory.use(proof, at);
        } else {
            assertEquals(reason, assertThrows(VerificationException.class, () -> memory.use(proof, at)).reason(), name);
        }
    }

    @Test
    void rfc3986Section62ComparesUrlsInTheirNormalForm() {
        Map.of(
                        "HTTPS://API.example:443", "https://api.example/",
                        "https://api.example/a/./b/../c?d#e", "https://api.example/a/c",
                        "https://api.example/%7Ea%2fb", "https://api.example/~a%2Fb",
                        "http://[::1]:80/", "http://[::1]/")
                .forEach((url, normal) -> assertEquals(normal, NormalUrl.of(url)));
        for (String url : List.of(
                "https://api.example@evil.example/", "https://user@api.example/", "https://api.example\\a", "https://é.example/",
                "ftp://api.example/", "api.example", "")) {
            assertNull(NormalUrl.of(url), url);
        }
        assertNull(NormalUrl.of(7L));
    }

    @Test
    void rfc9449Section9NoncesAreThoseOfThisKeyAndOfThisTime() {
        var nonces = new Nonces("k".repeat(32).getBytes(StandardCharsets.UTF_8));
        String made = nonces.at(NOW);
        assertTrue(nonces.accepts(made, NOW.plusSeconds(299)));
        assertFalse(nonces.accepts(made, NOW.plusSeconds(300)));
        assertFalse(nonces.accepts(made, NOW.minusSeconds(11)));
        assertFalse(new Nonces("o".repeat(32).getBytes(StandardCharsets.UTF_8)).accepts(made, NOW));
        assertFalse(nonces.accepts("é", NOW));
    }

    @Test
    void rfc8705Section3ATokenIsBoundToTheCertificateOfTheConnection() throws Exception {
        byte[] own = {1, 2, 3};
        try (var cases = new BearerCases()) {
            var resource = ProtectedResource.builder(cases.verifier(), "https://api.example").certificates().build();
            String token = cases.token("good", Map.of("cnf", Map.of("x5t#S256", DpopProof.hash(own))));
            assertNotNull(resource.verify(token, request(own)).confirmation());
            for (byte[] other : new byte[][] {{1, 2}, null}) {
                var refused = assertThrows(VerificationException.class, () -> resource.verify(token, request(other)));
                assertEquals(VerificationException.POSSESSION_NOT_PROVED, refused.reason());
            }
        }
        assertTrue(builder("https://api.example").certificates().build().metadata()
                .contains("\"tls_client_certificate_bound_access_tokens\":true"));
    }

    private static ProtectedResource.Request request(byte[] certificate) {
        return new ProtectedResource.Request(false, "GET", "/", List.of(), certificate);
    }
}

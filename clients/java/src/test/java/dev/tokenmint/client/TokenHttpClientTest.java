package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.nimbusds.jose.JOSEException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyPairGenerator;
import java.security.spec.ECGenParameterSpec;
import java.time.Clock;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** How tokens are presented, to a real service over HTTP: the type of a token decides the scheme (RFC 9449). */
class TokenHttpClientTest {
    private final List<String> schemes = new CopyOnWriteArrayList<>();
    private final List<String> proofs = new CopyOnWriteArrayList<>();
    private BearerCases cases;
    private HttpServer server;
    private URI base;
    private ProtectedResource resource;

    @BeforeEach
    void start() throws Exception {
        cases = new BearerCases(Clock.systemUTC());
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", this::serve);
        server.start();
        base = URI.create("http://127.0.0.1:" + server.getAddress().getPort());
        resource = ProtectedResource.builder(cases.builder().build(), base.toString()).nonceKey(new byte[32]).build();
    }

    @AfterEach
    void stop() {
        server.stop(0);
        cases.close();
    }

    /** Serves a request with a good token, and with a proof where the token is bound to a key. */
    private void serve(HttpExchange exchange) throws IOException {
        String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        String[] sent = exchange.getRequestHeaders().getFirst("Authorization").split(" ");
        List<String> proved = Objects.requireNonNullElse(exchange.getRequestHeaders().get("DPoP"), List.of());
        schemes.add(sent[0]);
        proofs.addAll(proved);
        int status = 200;
        String answer;
        try {
            String path = exchange.getRequestURI().getRawPath();
            var request = new ProtectedResource.Request(sent[0].equals("DPoP"), exchange.getRequestMethod(), path, proved, null);
            answer = resource.verify(sent[1], request).subject() + " " + body;
        } catch (VerificationException refused) {
            status = 401;
            answer = refused.reason();
            boolean isNonce = refused.reason().equals(VerificationException.NONCE_REQUIRED);
            exchange.getResponseHeaders().set("DPoP-Nonce", resource.nonce());
            exchange.getResponseHeaders()
                    .set("WWW-Authenticate", "DPoP error=\"" + (isNonce ? "use_dpop_nonce" : "invalid_token") + "\"");
        }
        byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    /** Returns a client of tokens that are bound where that is asked for, of the type that the test says. */
    private TokenHttpClient client(String tokenType) {
        var source = TokenSource.builder(request -> minted(request, tokenType)).build();
        return new TokenHttpClient(HttpClient.newHttpClient(), source, () -> "subject", BearerCases.AUDIENCE, base);
    }

    private Token minted(ExchangeRequest request, String tokenType) {
        boolean isBound = !request.dpopThumbprint.isEmpty();
        try {
            String value = cases.token("good", isBound ? Map.of("cnf", Map.of("jkt", request.dpopThumbprint)) : Map.of());
            String type = tokenType.isEmpty() ? (isBound ? "DPoP" : "Bearer") : tokenType;
            return new Token(value, type, "", Clock.systemUTC().instant().plusSeconds(600), List.of(), "k1", "t", "ada");
        } catch (JOSEException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private HttpRequest order(String path) {
        return HttpRequest.newBuilder(base.resolve(path)).POST(HttpRequest.BodyPublishers.ofString("order")).build();
    }

    private HttpResponse<String> send(TokenHttpClient client, String path) throws Exception {
        return client.send(order(path), HttpResponse.BodyHandlers.ofString());
    }

    @Test
    void rfc9449Section71ABoundTokenHasItsSchemeAndAProof() throws Exception {
        TokenHttpClient client = client("").withDpop(DpopKey.generate());
        for (String path : List.of("/a?b=1", "/a%2Fb")) {
            assertEquals("ada order", send(client, path).body());
        }
        assertEquals("ada order", client.sendAsync(order("/c"), HttpResponse.BodyHandlers.ofString()).join().body());
        assertEquals(List.of("DPoP", "DPoP", "DPoP", "DPoP"), schemes); // the first without the nonce (section 9)
        assertEquals(4, Set.copyOf(proofs).size());
        assertEquals(
                "ada order",
                client("").withDpop(DpopKey.generate())
                        .sendAsync(order("/d"), HttpResponse.BodyHandlers.ofString())
                        .join()
                        .body());
    }

    @Test
    void aBearerTokenHasNoProof() throws Exception {
        assertEquals("ada order", send(client(""), "/").body());
        // The service refuses a bound token as a bearer token (section 7.2), and the client does not guess.
        assertEquals(401, send(client("bearer").withDpop(DpopKey.generate()), "/").statusCode());
        assertEquals(List.of("Bearer", "Bearer"), schemes);
        assertEquals(List.of(), proofs);
    }

    @Test
    void aTokenThatCanNotBePresentedIsNotSent() {
        DpopKey key = DpopKey.generate();
        for (var row : List.of(client("DPoP"), client("N_A"), client("N_A").withDpop(key))) {
            var refused = assertThrows(IllegalStateException.class, () -> send(row, "/"));
            assertTrue(refused.getMessage().endsWith(", not as Bearer"), refused.getMessage());
            var later = row.sendAsync(order("/"), HttpResponse.BodyHandlers.ofString());
            assertInstanceOf(
                    IllegalStateException.class, assertThrows(CompletionException.class, later::join).getCause());
        }
        assertEquals(List.of(), schemes);
    }

    @Test
    void aKeyIsForP256AndDoesNotPrint() throws Exception {
        var pairs = KeyPairGenerator.getInstance("EC");
        pairs.initialize(new ECGenParameterSpec("secp256r1"));
        var pair = pairs.generateKeyPair();
        assertEquals(DpopKey.of(pair).thumbprint(), DpopKey.of(pair).thumbprint());
        assertEquals("DpopKey[" + DpopKey.of(pair).thumbprint() + "]", DpopKey.of(pair).toString());
        pairs.initialize(new ECGenParameterSpec("secp384r1"));
        var other = pairs.generateKeyPair();
        assertThrows(IllegalArgumentException.class, () -> DpopKey.of(other));
        var rsa = KeyPairGenerator.getInstance("RSA").generateKeyPair();
        assertThrows(IllegalArgumentException.class, () -> DpopKey.of(rsa));
        DpopKey key = DpopKey.generate();
        Set<String> made = new HashSet<>();
        for (int number = 0; number < 3; number++) {
            made.add(key.proof("GET", base, "t", ""));
        }
        assertEquals(3, made.size());
        assertNotEquals(key.thumbprint(), DpopKey.generate().thumbprint());
        assertFalse(key.toString().contains("\"d\""));
    }
}

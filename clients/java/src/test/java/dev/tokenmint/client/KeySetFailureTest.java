package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A verifier without keys names the address and the cause. */
class KeySetFailureTest {
    private final List<HttpServer> servers = new ArrayList<>();

    @AfterEach
    void stop() {
        servers.forEach(server -> server.stop(0));
    }

    private String answering(int status, String body) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        byte[] sent = body.getBytes(StandardCharsets.UTF_8);
        server.createContext("/", exchange -> {
            exchange.getResponseHeaders().set("Location", "https://elsewhere.example");
            exchange.sendResponseHeaders(status, sent.length == 0 ? -1 : sent.length);
            exchange.getResponseBody().write(sent);
            exchange.close();
        });
        server.start();
        servers.add(server);
        return "http://127.0.0.1:" + server.getAddress().getPort() + "/jwks.json";
    }

    /** Answers the beginning of a handshake in HTTP without TLS. */
    private static void answerInClear(ServerSocket plain) {
        try (var connection = plain.accept()) {
            connection.getOutputStream().write("HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            connection.getInputStream().readAllBytes();
        } catch (IOException gone) {
            return; // the client hangs up on an answer without TLS
        }
    }

    private static String failure(String address) throws Exception {
        var verifier = Verifier.builder(BearerCases.ISSUER, BearerCases.AUDIENCE)
                .keySetUrl(URI.create(address))
                .build();
        try (var cases = new BearerCases()) {
            String token = cases.token("good");
            var refused = assertThrows(VerificationException.class, () -> verifier.verify(token));
            assertEquals(VerificationException.KEY_SET_UNAVAILABLE, refused.reason());
            assertFalse(refused.getMessage().contains(token));
            return refused.getMessage();
        }
    }

    private static void names(String address, String cause) throws Exception {
        String message = failure(address);
        assertTrue(message.startsWith("the key set at " + address + " can't be fetched: "), message);
        assertTrue(message.contains(cause), message);
    }

    @Test
    void namesTheAddressAndTheCause() throws Exception {
        names("https://tokens.invalid/jwks.json", "the host name can't be resolved (DNS)"); // RFC 6761
        int closed;
        try (var socket = new ServerSocket(0)) {
            closed = socket.getLocalPort();
        }
        names("http://127.0.0.1:" + closed + "/jwks.json", "the connection was refused");
        try (var plain = new ServerSocket(0)) {
            var answers = new Thread(() -> answerInClear(plain));
            answers.start();
            names("https://127.0.0.1:" + plain.getLocalPort() + "/jwks.json", "TLS failed: ");
            answers.join();
        }
        names(answering(404, "no"), "the answer has status 404");
        names(answering(302, ""), "the answer has status 302");
        names(answering(200, "<html>"), "the answer is not JSON");
        names(answering(200, "[]"), "the answer is not a JSON Web Key Set (RFC 7517)");
        names(answering(200, "{}"), "the answer is not a JSON Web Key Set (RFC 7517)");
        names(answering(200, "{\"keys\": []}"), "the answer holds no usable key");
        names(answering(200, " ".repeat(1 << 20) + "{}"), "longer than 1048576 bytes");
    }

    @Test
    void namesTheAddressWithoutTheSecretsInIt() throws Exception {
        String address = answering(404, "no").replace("http://", "http://user:hunter2@") + "?key=hunter2#hunter2";
        assertFalse(failure(address).contains("hunter2"));
        var elsewhere = Verifier.builder(BearerCases.ISSUER, BearerCases.AUDIENCE)
                .keySetUrl(URI.create("http://user:hunter2@tokens.example/?key=hunter2"));
        var refused = assertThrows(IllegalArgumentException.class, elsewhere::build);
        assertTrue(refused.getMessage().contains("without TLS"));
        assertFalse(refused.getMessage().contains("hunter2"));
    }

    @Test
    void nothingSecretPrints() {
        var token = new Token("hunter2", "Bearer", "", java.time.Instant.EPOCH, List.of(), "k", "id", "ada");
        var request = ExchangeRequest.of("hunter2", "https://orders.example").actor("hunter2", "").nonce("hunter2");
        for (Object value : List.of(
                token,
                List.of(token),
                ClientCredential.secret("web", "hunter2"),
                request,
                request.build(),
                new BatchResult.Minted(token))) {
            assertFalse(value.toString().contains("hunter2"), value::toString);
        }
    }
}

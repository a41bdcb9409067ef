package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class VerifierTest {
    private static final String ISSUER = "https://tokens.example";
    private static final String AUDIENCE = "https://orders.example";

    private final MovableClock clock = new MovableClock();
    private final AtomicInteger fetches = new AtomicInteger();
    private volatile int status = 200;
    private ECKey key;
    private HttpServer server;
    private Verifier verifier;

    @BeforeEach
    void start() throws Exception {
        key = new ECKeyGenerator(Curve.P_256).keyID("k1").algorithm(JWSAlgorithm.ES256).keyUse(KeyUse.SIGNATURE).generate();
        byte[] body = new JWKSet(key.toPublicJWK()).toString().getBytes(StandardCharsets.UTF_8);
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            fetches.incrementAndGet();
            exchange.getResponseHeaders().set("Cache-Control", "max-age=60");
            exchange.getResponseHeaders().set("ETag", "\"1\"");
            boolean same = status == 200 && exchange.getRequestHeaders().containsKey("If-None-Match");
            exchange.sendResponseHeaders(same ? 304 : status, same ? -1 : body.length);
            if (!same) {
                exchange.getResponseBody().write(body);
            }
            exchange.close();
        });
        server.start();
        verifier = Verifier.builder(ISSUER, AUDIENCE)
                .keySetUrl(URI.create("http://127.0.0.1:" + server.getAddress().getPort()))
                .clock(clock)
                .build();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    private JWSHeader.Builder header() {
        return new JWSHeader.Builder(JWSAlgorithm.ES256).type(new JOSEObjectType("at+jwt")).keyID("k1");
    }

    private Date at(long seconds) {
        return Date.from(clock.instant().plusSeconds(seconds));
    }

    private JWTClaimsSet.Builder claims() {
        return new JWTClaimsSet.Builder()
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .subject("ada")
                .issueTime(at(0))
                .expirationTime(at(600))
                .claim("scope", "read write");
    }

    private String sign(JWSHeader.Builder header, JWTClaimsSet.Builder claims) throws Exception {
        SignedJWT token = new SignedJWT(header.build(), claims.build());
        token.sign(new ECDSASigner(key.toECPrivateKey(), Set.of()));
        return token.serialize();
    }

    private void refused(String reason, String token) {
        assertEquals(reason, assertThrows(VerificationException.class, () -> verifier.verify(token)).reason());
    }

    private void refused(String reason, JWTClaimsSet.Builder claims) throws Exception {
        refused(reason, sign(header(), claims));
    }

    @Test
    void returnsWhatAGoodTokenSays() throws Exception {
        VerifiedToken token = verifier.verify(sign(header(), claims().audience(List.of(AUDIENCE))));
        assertEquals("ada", token.subject());
        assertEquals(List.of("read", "write"), token.scopes());
        verifier.verify(sign(header().type(new JOSEObjectType("application/AT+JWT")), claims()));
        verifier.verify(sign(header(), claims().expirationTime(at(-29))));
    }

    @Test
    void saysWhyATokenIsRefused() throws Exception {
        refused("MALFORMED", "x".repeat(16 * 1024 + 1));
        refused("MALFORMED", "a.b");
        refused("MALFORMED", sign(header().criticalParams(Set.of("x")).customParam("x", 1), claims()));
        refused("UNSUPPORTED_TOKEN_TYPE", sign(header().type(JOSEObjectType.JWT), claims()));
        refused("UNKNOWN_KEY", sign(header().keyID("other"), claims()));
        refused("UNKNOWN_ISSUER", claims().issuer(ISSUER + "/"));
        refused("WRONG_AUDIENCE", claims().audience(AUDIENCE + ".evil"));
        refused("WRONG_AUDIENCE", claims().audience(List.of(AUDIENCE, "x")));
        refused("CLAIM_REJECTED", claims().audience((String) null));
        refused("CLAIM_REJECTED", claims().subject(""));
        refused("CLAIM_REJECTED", claims().expirationTime(null));
        refused("CLAIM_REJECTED", claims().issueTime(null));
        refused("EXPIRED", claims().expirationTime(at(-30)));
        refused("NOT_YET_VALID", claims().notBeforeTime(at(31)));
        refused("NOT_YET_VALID", claims().issueTime(at(31)));
        refused("POSSESSION_NOT_PROVED", claims().claim("cnf", Map.of("jkt", "x"))); // RFC 7800: no proof is checked
        String good = sign(header(), claims());
        String other = sign(header(), claims().subject("eve"));
        refused("BAD_SIGNATURE", good.substring(0, good.lastIndexOf('.')) + other.substring(other.lastIndexOf('.')));
    }

    @Test
    void takesNoSymmetricAlgorithmAndNoKeySetWithoutTls() {
        var builder = Verifier.builder(ISSUER, AUDIENCE);
        for (String name : List.of("HS256", "none", "es256")) {
            assertThrows(IllegalArgumentException.class, () -> builder.algorithms(List.of(name)), name);
        }
        builder.keySetUrl(URI.create("http://tokens.example/jwks"));
        assertThrows(IllegalArgumentException.class, builder::build);
    }

    @Test
    void keepsTheKeySetForItsAgeAndThroughAnOutage() throws Exception {
        String token = sign(header(), claims().expirationTime(at(86400)));
        verifyAfter(0, token, 1);
        verifyAfter(59, token, 1);
        verifyAfter(1, token, 2);
        status = 503;
        verifyAfter(61, token, 3);
        verifyAfter(3480, token, 4);
        clock.advance(Duration.ofMinutes(2));
        refused("KEY_SET_UNAVAILABLE", token);
        status = 200;
        verifyAfter(2, token, 6);
    }

    private void verifyAfter(long seconds, String token, int expected) {
        clock.advance(Duration.ofSeconds(seconds));
        assertEquals("ada", verifier.verify(token).subject());
        assertEquals(expected, fetches.get());
    }

    @Test
    void fetchesForUnknownKeysAtMostOnceInTenSeconds() throws Exception {
        for (int number = 0; number < 20; number++) {
            refused("UNKNOWN_KEY", sign(header().keyID("made-up-" + number), claims()));
        }
        assertEquals(2, fetches.get()); // the first one, and one for an unknown key
    }
}

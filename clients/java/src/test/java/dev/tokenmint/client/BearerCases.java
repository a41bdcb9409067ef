package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/** The cases of tests/clients/bearer.json, for any service behind the package's middleware, and the issuer of their tokens. */
final class BearerCases implements AutoCloseable {
    static final String ISSUER = "https://tokens.example";
    static final String AUDIENCE = "https://orders.example";

    private final Clock clock;
    private final Map<String, ECKey> keys = new HashMap<>();
    private final HttpServer server;
    private final TokenmintClient nobody = TokenmintClient.builder("127.0.0.1:1").plaintext().build();
    private final Revocations revocations = Revocations.builder(nobody, AUDIENCE).build(); // of a minute ago
    private volatile boolean revoked;
    private volatile boolean away;

    BearerCases() throws Exception {
        this(new MovableClock());
    }

    BearerCases(Clock clock) throws Exception {
        this.clock = clock;
        for (String name : List.of("k1", "revoked key", "unknown key")) {
            keys.put(name, new ECKeyGenerator(Curve.P_256)
                    .keyID(name).algorithm(JWSAlgorithm.ES256).keyUse(KeyUse.SIGNATURE).generate());
        }
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            List<JWK> set = Stream.of("k1", "revoked key")
                    .filter(name -> !(revoked && name.equals("revoked key")))
                    .<JWK>map(name -> keys.get(name).toPublicJWK())
                    .toList();
            byte[] body = new JWKSet(set).toString().getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Cache-Control", "max-age=60");
            exchange.sendResponseHeaders(away ? 503 : 200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        revocations.take(RevocationsTest.said("0.1-0", "", 0, 60));
    }

    private static Map<String, Object> document() throws Exception {
        return JSONObjectUtils.parse(Files.readString(Path.of("../../tests/clients/bearer.json")));
    }

    static List<Map<String, Object>> all() throws Exception {
        return Arrays.asList(JSONObjectUtils.getJSONObjectArray(document(), "cases"));
    }

    static String[] required() throws Exception {
        return JSONObjectUtils.getStringArray(document(), "requires");
    }

    Verifier verifier() {
        return builder().build();
    }

    /** Returns the verifier of a case. */
    Verifier verifier(Map<String, Object> row) {
        return "unavailable".equals(row.get("revocations")) ? builder().revocations(revocations).build() : verifier();
    }

    Verifier.Builder builder() {
        return Verifier.builder(ISSUER, AUDIENCE)
                .keySetUrl(URI.create("http://127.0.0.1:" + server.getAddress().getPort()))
                .clock(clock);
    }

    Clock clock() {
        return clock;
    }

    String token(String kind) throws JOSEException {
        return token(kind, Map.of());
    }

    String token(String kind, Map<String, Object> more) throws JOSEException {
        if (kind.equals("malformed")) {
            return "not-a-token";
        }
        ECKey key = keys.getOrDefault(kind, keys.get("k1"));
        var header = new JWSHeader.Builder(JWSAlgorithm.ES256).type(new JOSEObjectType("at+jwt")).keyID(key.getKeyID());
        var claims = new JWTClaimsSet.Builder()
                .issuer(kind.equals("wrong issuer") ? "https://others.example" : ISSUER)
                .audience(kind.equals("wrong audience") ? "https://others.example" : AUDIENCE)
                .subject("ada")
                .claim("scope", kind.equals("missing scope") ? "write" : "read")
                .issueTime(Date.from(clock.instant()))
                .expirationTime(Date.from(clock.instant().plusSeconds(kind.equals("expired") ? -60 : 600)));
        more.forEach(claims::claim);
        var token = new SignedJWT(header.build(), claims.build());
        token.sign(new ECDSASigner(key.toECPrivateKey(), Set.of()));
        return token.serialize();
    }

    /** Sends the request of a case to a service, and compares the answer with the table's. */
    void play(Map<String, Object> row, URI service) throws Exception {
        String kind = JSONObjectUtils.getString(row, "token");
        String token = kind == null ? "" : token(kind);
        judge(row, send(row, token, service), token);
    }

    /** Sends the request of a case with this token, and returns the answer. */
    HttpResponse<String> send(Map<String, Object> row, String token, URI service) throws Exception {
        boolean inQuery = "query".equals(row.get("place"));
        int times = token.isEmpty() || inQuery ? 0 : ((Number) row.getOrDefault("times", 1L)).intValue();
        List<String> headers = Collections.nCopies(times, row.getOrDefault("scheme", "Bearer") + " " + token);
        away = "unavailable".equals(row.get("keys"));
        if ("revoked key".equals(row.get("token"))) {
            assertEquals(200, get(service, headers).statusCode());
            revoked = true;
            ((MovableClock) clock).advance(Duration.ofSeconds(61)); // the set's age
        }
        return get(inQuery ? service.resolve("/?access_token=" + token) : service, headers);
    }

    static HttpResponse<String> get(URI address, List<String> authorizations) throws Exception {
        var request = HttpRequest.newBuilder(address);
        authorizations.forEach(value -> request.header("Authorization", value));
        return HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private static void judge(Map<String, Object> row, HttpResponse<String> answer, String token) throws Exception {
        int status = ((Number) row.get("status")).intValue();
        String challenge = answer.headers().firstValue("WWW-Authenticate").orElse("");
        assertEquals(status, answer.statusCode());
        assertTrue(token.isEmpty() || !(answer.body() + challenge).contains(token));
        if (status == 200) {
            assertEquals("ada", answer.body());
        } else if (status == 503) {
            assertEquals("", challenge);
            assertTrue(Integer.parseInt(answer.headers().firstValue("Retry-After").orElse("")) > 0);
            assertFalse(answer.body().contains("127.0.0.1"));
        } else if ("".equals(row.get("error"))) {
            assertEquals("Bearer", challenge); // RFC 6750 section 3.1: no code where no token was sent
        } else {
            String scope = status == 403 ? ", scope=\"" + String.join(" ", required()) + "\"" : "";
            String described = ", error_description=\"[ !#-\\[\\]-~]+\"";
            assertTrue(challenge.matches(".*" + described + ".*"), challenge);
            assertEquals("Bearer error=\"" + row.get("error") + "\"" + scope, challenge.replaceAll(described, ""));
        }
    }

    @Override
    public void close() {
        revocations.close();
        nobody.close();
        server.stop(0);
    }
}

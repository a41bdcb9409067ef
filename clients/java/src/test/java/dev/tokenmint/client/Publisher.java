package dev.tokenmint.client;

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.Payload;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.DeflaterOutputStream;

/** An issuer that publishes a key set and status lists, in which token 1 is revoked. */
final class Publisher implements AutoCloseable {
    static final String AUDIENCE = "https://orders.example";

    final MovableClock clock = new MovableClock();
    final AtomicInteger asked = new AtomicInteger();
    final AtomicInteger matched = new AtomicInteger();
    final Map<String, Object> claims = new HashMap<>();
    final Map<String, Object> header = new HashMap<>(Map.of("typ", "statuslist+jwt", "kid", "k1"));
    final String url;
    volatile String body = "";
    volatile String etag = "\"1\"";
    volatile int status = 200;
    private final ECKey key;
    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool();

    Publisher() throws Exception {
        key = new ECKeyGenerator(Curve.P_256).keyID("k1").algorithm(JWSAlgorithm.ES256).keyUse(KeyUse.SIGNATURE).generate();
        byte[] keys = new JWKSet(key.toPublicJWK()).toString().getBytes(StandardCharsets.UTF_8);
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setExecutor(threads);
        server.createContext("/.well-known/", exchange -> {
            exchange.getResponseHeaders().set("Cache-Control", "max-age=3600");
            exchange.sendResponseHeaders(200, keys.length);
            exchange.getResponseBody().write(keys);
            exchange.close();
        });
        server.createContext("/status-lists/", exchange -> {
            asked.incrementAndGet();
            exchange.getResponseHeaders().set("ETag", etag);
            exchange.getResponseHeaders().set("Location", "/elsewhere");
            if (status == 200 && etag.equals(exchange.getRequestHeaders().getFirst("If-None-Match"))) {
                matched.incrementAndGet();
                exchange.sendResponseHeaders(304, -1);
            } else {
                Map<String, Object> listed = new HashMap<>(claims);
                listed.putIfAbsent("sub", url() + exchange.getRequestURI());
                byte[] sent = (body.isEmpty() ? signed(header, listed) : body).getBytes(StandardCharsets.US_ASCII);
                exchange.sendResponseHeaders(status, status == 304 ? -1 : sent.length);
                if (status != 304) {
                    exchange.getResponseBody().write(sent);
                }
            }
            exchange.close();
        });
        server.start();
        url = url();
        long now = now();
        claims.putAll(Map.of("iss", url, "iat", now, "exp", now + 300, "ttl", 60, "status_list", list(1, 2)));
    }

    private String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    long now() {
        return clock.instant().getEpochSecond();
    }

    String uri() {
        return url + "/status-lists/AAAAAAAAAAAAAAAAAAAAAA";
    }

    static Map<String, Object> list(int bits, int... statuses) {
        return Map.of("bits", bits, "lst", lst(statuses));
    }

    static String lst(int... statuses) {
        byte[] bytes = new byte[statuses.length];
        for (int place = 0; place < statuses.length; place++) {
            bytes[place] = (byte) statuses[place];
        }
        var packed = new ByteArrayOutputStream();
        try (var deflater = new DeflaterOutputStream(packed)) {
            deflater.write(bytes);
        } catch (java.io.IOException impossible) {
            throw new IllegalStateException(impossible);
        }
        return Base64.getUrlEncoder().withoutPadding().encodeToString(packed.toByteArray());
    }

    private String signed(Map<String, Object> header, Map<String, Object> said) {
        try {
            var members = new JWSHeader.Builder(JWSAlgorithm.ES256)
                    .type(new JOSEObjectType((String) header.get("typ")))
                    .keyID((String) header.get("kid"));
            if (header.containsKey("crit")) {
                members.criticalParams(java.util.Set.of("x")).customParam("x", 1);
            }
            var made = new JWSObject(members.build(), new Payload(said));
            made.sign(new ECDSASigner(key.toECPrivateKey(), java.util.Set.of()));
            return made.serialize();
        } catch (com.nimbusds.jose.JOSEException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    Verifier verifier(StatusLists lists) {
        return Verifier.builder(url, AUDIENCE).clock(clock).statusLists(lists).build();
    }

    /** Returns a token with this claim `status`, or without it where that is null. */
    String token(Object status) {
        Map<String, Object> said = new HashMap<>(
                Map.of("iss", url, "aud", AUDIENCE, "sub", "ada", "iat", now(), "exp", now() + 1200));
        if (status != null) {
            said.put("status", status);
        }
        return signed(Map.of("typ", "at+jwt", "kid", "k1"), said);
    }

    static Map<String, Object> place(Object index, Object uri) {
        Map<String, Object> place = new HashMap<>();
        place.put("idx", index);
        place.put("uri", uri);
        return Map.of("status_list", place);
    }

    /** Returns why a verifier refuses a token with this claim `status`, or "". */
    String reasonOf(Verifier verifier, Object status) {
        try {
            verifier.verify(token(status));
        } catch (VerificationException refused) {
            return refused.reason();
        }
        return "";
    }

    String reason(Verifier verifier, long index) {
        return reasonOf(verifier, place(index, uri()));
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}

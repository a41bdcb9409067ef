package dev.tokenmint.client;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** GET requests whose answers are bounded in time and size. */
final class Fetch {
    static final Duration TIMEOUT = Duration.ofSeconds(5);
    private static final int MAX_SIZE = 1 << 20; // bytes
    private static final int MAX_SHOWN = 200; // characters of an address
    private static final System.Logger LOG = System.getLogger("dev.tokenmint.client");

    private Fetch() {}

    /**
     * An answer.
     *
     * @param status 200 or 304
     * @param headers all of them
     * @param body empty with 304
     */
    record Answer(int status, HttpHeaders headers, byte[] body) {}

    /** Tells whether an address has TLS, or is on loopback. */
    static boolean isSafe(URI address) {
        return "https".equals(address.getScheme())
                || ("http".equals(address.getScheme()) && Loopback.is(address.getHost()));
    }

    /** Fails where a client follows redirects: they would lead to another address than the one that was judged. */
    static void requireNoRedirects(HttpClient http) {
        if (http.followRedirects() != HttpClient.Redirect.NEVER) {
            throw new IllegalArgumentException("the key set's client follows redirects");
        }
    }

    /**
     * Returns an answer with status 200, or with 304 to a request with an {@code etag}.
     *
     * @param etag of the answer that is here, or ""
     * @throws IOException another status, an answer that is too long, or none in time
     */
    static Answer get(HttpClient http, URI address, String accept, String etag) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(address).timeout(TIMEOUT).header("Accept", accept);
        if (!etag.isEmpty()) {
            request.header("If-None-Match", etag);
        }
        HttpResponse<InputStream> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
        var limit = new AtomicBoolean();
        try (InputStream body = answer.body()) {
            CompletableFuture.delayedExecutor(TIMEOUT.toMillis(), TimeUnit.MILLISECONDS).execute(() -> close(body, limit));
            if (answer.statusCode() == 304 && !etag.isEmpty()) {
                return new Answer(304, answer.headers(), new byte[0]);
            }
            if (answer.statusCode() != 200) {
                throw new FetchFailure("the answer has status " + answer.statusCode());
            }
            byte[] text = body.readNBytes(MAX_SIZE + 1);
            if (text.length > MAX_SIZE) {
                throw new FetchFailure("the answer is longer than " + MAX_SIZE + " bytes");
            }
            return new Answer(200, answer.headers(), text);
        } catch (IOException failure) {
            if (limit.get()) {
                throw new FetchFailure("there was no answer within " + TIMEOUT.toSeconds() + " s");
            }
            throw failure;
        }
    }

    /** Ends an answer that drips: the request's own limit is over once its headers are there. */
    private static void close(InputStream body, AtomicBoolean limit) {
        try {
            limit.set(true);
            body.close();
        } catch (IOException closed) {
            LOG.log(System.Logger.Level.DEBUG, "the answer was closed already");
        }
    }

    /** Returns an address as messages show it: without user, query and fragment, which may hold a secret. */
    static String shown(URI address) {
        String port = address.getPort() < 0 ? "" : ":" + address.getPort();
        String text = address.getScheme() + "://" + address.getHost() + port + address.getRawPath();
        return text.substring(0, Math.min(text.length(), MAX_SHOWN));
    }
}

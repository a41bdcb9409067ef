package dev.tokenmint.client;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * Sends HTTP requests with a token to one origin, and refuses others: a token must not go to whom it is not for. The type of the
 * token decides how it is presented: as {@code Bearer}, or as {@code DPoP} with a proof. The client
 * underneath must not follow redirects, which it would with the token.
 */
public final class TokenHttpClient {
    private final HttpClient http;
    private final TokenSource source;
    private final Supplier<String> subjectToken;
    private final String audience;
    private final List<String> scopes;
    private final String origin;
    private final DpopKey dpop; // or null

    /**
     * A client of {@code origin}.
     *
     * @param http sends the requests
     * @param source has the tokens
     * @param subjectToken returns the subject token of the request that is being served
     * @param audience whom the tokens are for
     * @param origin where they are sent, {@code https://host}; without TLS on loopback only
     * @param scopes which ones; none for all that the audience grants
     * @throws IllegalArgumentException where the origin is none, has no TLS, or {@code http} follows redirects
     */
    public TokenHttpClient(
            HttpClient http, TokenSource source, Supplier<String> subjectToken, String audience, URI origin, String... scopes) {
        if (origin.getHost() == null
                || !(origin.getScheme().equals("https") || (origin.getScheme().equals("http") && Loopback.is(origin.getHost())))) {
            throw new IllegalArgumentException(origin + " is no origin with TLS: write https://host");
        }
        if (http.followRedirects() != HttpClient.Redirect.NEVER) {
            throw new IllegalArgumentException("the client follows redirects: it would send the token along");
        }
        this.http = http;
        this.source = Objects.requireNonNull(source);
        this.subjectToken = Objects.requireNonNull(subjectToken);
        this.audience = Objects.requireNonNull(audience);
        this.scopes = List.of(scopes);
        this.origin = originOf(origin);
        dpop = null;
    }

    private TokenHttpClient(TokenHttpClient other, DpopKey key) {
        http = other.http;
        source = other.source;
        subjectToken = other.subjectToken;
        audience = other.audience;
        scopes = other.scopes;
        origin = other.origin;
        dpop = key;
    }

    /** Returns a client like this one whose tokens are bound to a key, and whose requests have a proof of it (RFC 9449). */
    public TokenHttpClient withDpop(DpopKey key) {
        return new TokenHttpClient(this, Objects.requireNonNull(key));
    }

    /**
     * Sends a request with the token and waits for its answer.
     *
     * @throws CallException where there is no token
     * @throws IllegalStateException where the token can't be presented: it is of another type, or bound to a key that is not here
     */
    public <T> HttpResponse<T> send(HttpRequest request, HttpResponse.BodyHandler<T> handler)
            throws IOException, InterruptedException {
        check(request);
        Token token = source.get(wanted());
        HttpResponse<T> answer = http.send(authorized(request, token), handler);
        return hasToRepeat(answer) ? http.send(authorized(request, token), handler) : answer;
    }

    /** Sends a request with the token. */
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
        check(request);
        return source.getAsync(wanted())
                .thenCompose(token -> http.sendAsync(authorized(request, token), handler)
                        .thenCompose(answer -> hasToRepeat(answer)
                                ? http.sendAsync(authorized(request, token), handler)
                                : CompletableFuture.completedFuture(answer)));
    }

    private ExchangeRequest wanted() {
        var asked = ExchangeRequest.of(subjectToken.get(), audience).scopes(scopes);
        return (dpop == null ? asked : asked.dpopThumbprint(dpop.thumbprint())).build();
    }

    private void check(HttpRequest request) {
        if (!originOf(request.uri()).equals(origin)) {
            throw new IllegalArgumentException("the token is for " + origin + ", not for " + originOf(request.uri()));
        }
    }

    private boolean hasToRepeat(HttpResponse<?> answer) {
        return dpop != null && dpop.hasToRepeat(origin, answer);
    }

    /** Returns a request with the token: its type decides the scheme (RFC 9449 section 7.1). */
    private HttpRequest authorized(HttpRequest request, Token token) {
        var made = HttpRequest.newBuilder(
                request, (name, value) -> !name.equalsIgnoreCase("Authorization") && !name.equalsIgnoreCase("DPoP"));
        if (dpop == null || !token.tokenType().equalsIgnoreCase("DPoP")) {
            return made.setHeader("Authorization", token.authorization()).build();
        }
        return made.setHeader("Authorization", "DPoP " + token.value())
                .setHeader("DPoP", dpop.proofFor(request.method(), request.uri(), token.value(), origin))
                .build();
    }

    private static String originOf(URI uri) {
        int port = uri.getPort() != -1 ? uri.getPort() : uri.getScheme().equalsIgnoreCase("https") ? 443 : 80;
        return (uri.getScheme() + "://" + uri.getHost() + ":" + port).toLowerCase(Locale.ROOT);
    }
}

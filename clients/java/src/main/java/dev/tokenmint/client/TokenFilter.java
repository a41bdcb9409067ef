package dev.tokenmint.client;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * Lets HTTP requests with a good token through; {@link #token} tells what it says. Others are answered as RFC 6750 section
 * 3 says: 401, 403 where a scope is missing, 503 without a key set.
 */
public final class TokenFilter implements Filter {
    private static final String ATTRIBUTE = VerifiedToken.class.getName();

    private final Verifier verifier;
    private final List<String> scopes;

    /** A filter that asks for a good token with all of {@code scopes}. */
    public TokenFilter(Verifier verifier, String... scopes) {
        this.verifier = Objects.requireNonNull(verifier);
        this.scopes = List.of(scopes);
    }

    /** Returns the token of a request behind the filter. */
    public static VerifiedToken token(ServletRequest request) {
        return (VerifiedToken) request.getAttribute(ATTRIBUTE);
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        if (!(request instanceof HttpServletRequest asked) || !(response instanceof HttpServletResponse answer)) {
            throw new ServletException("the filter is for HTTP");
        }
        try {
            request.setAttribute(
                    ATTRIBUTE, Bearer.check(verifier, Collections.list(asked.getHeaders("Authorization")), scopes));
        } catch (VerificationException refused) {
            refuse(answer, refused.reason());
            return;
        }
        chain.doFilter(request, response);
    }

    private void refuse(HttpServletResponse answer, String reason) {
        switch (reason) {
            case VerificationException.KEY_SET_UNAVAILABLE -> answer.setStatus(503);
            case Bearer.SCOPE_DENIED -> challenge(
                    answer, 403, "Bearer error=\"insufficient_scope\", scope=\"" + String.join(" ", scopes) + "\"");
            case Bearer.MISSING -> challenge(answer, 401, "Bearer");
            default -> challenge(answer, 401, "Bearer error=\"invalid_token\"");
        }
    }

    private static void challenge(HttpServletResponse answer, int status, String value) {
        answer.setStatus(status);
        answer.setHeader("WWW-Authenticate", value);
    }
}

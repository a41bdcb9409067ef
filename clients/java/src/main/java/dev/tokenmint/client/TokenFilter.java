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
 * 3 says: 401, 400 with several Authorization headers, 403 where a scope is missing. Without a key set the answer is 503,
 * with Retry-After. A token in the query is not looked at.
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
            Bearer.Answer refusal = Bearer.Answer.to(refused, scopes);
            answer.setStatus(refusal.status());
            answer.setHeader(refusal.header(), refusal.value());
            return;
        }
        chain.doFilter(request, response);
    }
}

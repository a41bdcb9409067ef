package dev.tokenmint.client;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/**
 * Lets HTTP requests with a good token through; {@link #token} tells what it says. Others are answered as RFC 6750 section
 * 3 says: 401, 400 with several Authorization headers, 403 where a scope is missing. Without a key set the answer is 503,
 * with Retry-After. A token in the query is not looked at.
 */
public final class TokenFilter implements Filter {
    private static final String ATTRIBUTE = VerifiedToken.class.getName();

    private final Door door;

    /** A filter that asks for a good token with all of {@code scopes}. Tokens that are bound to a key are refused. */
    public TokenFilter(Verifier verifier, String... scopes) {
        door = new Door(verifier, null, scopes);
    }

    /** A filter that serves the metadata of a resource too, and checks the keys that tokens are bound to. */
    public TokenFilter(ProtectedResource resource, String... scopes) {
        door = new Door(resource.verifier, resource, scopes);
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
        VerifiedToken token = door.admit(asked, answer);
        if (token == null) {
            return;
        }
        request.setAttribute(ATTRIBUTE, token);
        chain.doFilter(request, response);
    }
}

package dev.tokenmint.client;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.springframework.security.authentication.AbstractAuthenticationToken;
import org.springframework.security.core.authority.SimpleGrantedAuthority;
import org.springframework.security.core.context.SecurityContextHolder;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * {@link TokenFilter} for a chain of Spring Security: the security context has the {@link VerifiedToken} as its principal, and
 * an authority {@code SCOPE_…} for each scope. Put it before {@code AuthorizationFilter}. It answers as {@link TokenFilter} does.
 */
public final class SpringTokenFilter extends OncePerRequestFilter {
    private final Door door;

    /** A filter that asks for a good token with all of {@code scopes}. Tokens that are bound to a key are refused. */
    public SpringTokenFilter(Verifier verifier, String... scopes) {
        door = new Door(verifier, null, scopes);
    }

    /** A filter that serves the metadata of a resource too, and checks the keys that tokens are bound to. */
    public SpringTokenFilter(ProtectedResource resource, String... scopes) {
        door = new Door(resource.verifier, resource, scopes);
    }

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        VerifiedToken token = door.admit(request, response);
        if (token == null) {
            return;
        }
        var context = SecurityContextHolder.createEmptyContext();
        context.setAuthentication(new Authenticated(token));
        SecurityContextHolder.setContext(context);
        try {
            chain.doFilter(request, response);
        } finally {
            SecurityContextHolder.clearContext();
        }
    }

    /** An authentication without credentials: nothing keeps the token itself. */
    private static final class Authenticated extends AbstractAuthenticationToken {
        private static final long serialVersionUID = 1L;

        private final VerifiedToken token;

        Authenticated(VerifiedToken token) {
            super(token.scopes().stream().map(scope -> new SimpleGrantedAuthority("SCOPE_" + scope)).toList());
            this.token = token;
            super.setAuthenticated(true);
        }

        @Override
        public Object getCredentials() {
            return null;
        }

        @Override
        public Object getPrincipal() {
            return token;
        }

        @Override
        public String getName() {
            return token.subject();
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Authenticated one && token.equals(one.token);
        }

        @Override
        public int hashCode() {
            return token.hashCode();
        }
    }
}

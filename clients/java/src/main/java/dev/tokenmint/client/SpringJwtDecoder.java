package dev.tokenmint.client;

import java.util.Map;
import java.util.Objects;
import org.springframework.http.HttpStatus;
import org.springframework.security.oauth2.core.OAuth2AuthenticationException;
import org.springframework.security.oauth2.jwt.BadJwtException;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtException;
import org.springframework.security.oauth2.jwt.MappedJwtClaimSetConverter;
import org.springframework.security.oauth2.server.resource.BearerTokenError;
import org.springframework.web.context.request.RequestContextHolder;
import org.springframework.web.context.request.ServletRequestAttributes;

/**
 * A {@link Verifier} as the decoder of Spring Security's resource server, with all of its rules and its revocations:
 * {@code http.oauth2ResourceServer(server -> server.jwt(jwt -> jwt.decoder(new SpringJwtDecoder(verifier))))}.
 *
 * <p>Tokens that are bound to a key are refused. With {@link Verifier.Builder#acceptBound} Spring Security checks the proofs of
 * those that are bound to a DPoP key, and the application checks all others.
 */
public final class SpringJwtDecoder implements JwtDecoder {
    private static final MappedJwtClaimSetConverter CLAIMS = MappedJwtClaimSetConverter.withDefaults(Map.of());

    private final Verifier verifier;

    /** A decoder of the tokens that {@code verifier} accepts. */
    public SpringJwtDecoder(Verifier verifier) {
        this.verifier = Objects.requireNonNull(verifier);
    }

    /**
     * Returns a verified token, its claims in the types that Spring's own decoder gives them.
     *
     * @throws BadJwtException where the token is refused: the resource server answers 401, {@code invalid_token}
     * @throws OAuth2AuthenticationException where key set, revocations or status list are not at hand: the resource server
     *     answers 503, which no {@link JwtException} would make it do. {@code Retry-After} needs Spring's {@code
     *     RequestContextFilter}, which Spring Boot has
     */
    @Override
    public Jwt decode(String token) {
        VerifiedToken verified;
        try {
            verified = verifier.verify(token);
        } catch (VerificationException refused) {
            if (refused.isUnavailable()) {
                throw unavailable(refused);
            }
            throw new BadJwtException(refused.getMessage(), refused);
        }
        try {
            return Jwt.withTokenValue(token)
                    .headers(headers -> headers.putAll(Signatures.header(token)))
                    .claims(claims -> claims.putAll(CLAIMS.convert(verified.claims())))
                    .build();
        } catch (RuntimeException unfit) { // of several kinds, e.g. where exp is before iat, or nbf is no time
            throw new BadJwtException("the token's claims do not fit Spring's Jwt", unfit);
        }
    }

    /** Its own message has the key set's address, which is not the caller's business: it is in the log. */
    private static OAuth2AuthenticationException unavailable(VerificationException cause) {
        if (RequestContextHolder.getRequestAttributes() instanceof ServletRequestAttributes served
                && served.getResponse() != null) {
            served.getResponse().setHeader("Retry-After", Door.RETRY_AFTER);
        }
        var error = new BearerTokenError(
                "temporarily_unavailable", HttpStatus.SERVICE_UNAVAILABLE, "tokens can not be verified now: try again", null);
        return new OAuth2AuthenticationException(error, cause);
    }
}

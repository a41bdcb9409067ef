package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jakarta.servlet.DispatcherType;
import java.net.URI;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpStatus;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.GrantedAuthority;
import org.springframework.security.oauth2.core.OAuth2AuthenticationException;
import org.springframework.security.oauth2.jwt.BadJwtException;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.server.resource.BearerTokenError;
import org.springframework.security.oauth2.server.resource.authentication.JwtAuthenticationToken;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The decoder, by itself and in the resource server of Spring Security, over real HTTP. */
class SpringJwtDecoderTest {
    private static final Map<String, Object> BOUND = Map.of("cnf", Map.of("jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"));

    @Configuration
    @EnableAutoConfiguration
    @RestController
    static class Application {
        @Bean
        SecurityFilterChain chain(HttpSecurity http, Verifier verifier) throws Exception {
            return http.oauth2ResourceServer(server -> server.jwt(jwt -> jwt.decoder(new SpringJwtDecoder(verifier))))
                    .authorizeHttpRequests(requests -> requests
                            .dispatcherTypeMatchers(DispatcherType.ERROR).permitAll()
                            .anyRequest().hasAuthority("SCOPE_read"))
                    .build();
        }

        @GetMapping("/")
        String whoami(JwtAuthenticationToken authentication) {
            var authorities = new TreeSet<>(authentication.getAuthorities().stream()
                    .map(GrantedAuthority::getAuthority)
                    .toList());
            return authentication.getName() + " " + authorities;
        }
    }

    /** Those of the table in which Spring's own filter reads the same token: of two headers it reads the first. */
    /** The cases without those about the header's form, which Spring reads itself. */
    static List<Map<String, Object>> cases() throws Exception {
        return BearerCases.all().stream()
                .filter(row -> !row.containsKey("times") && !"Bearer\t".equals(row.get("scheme")))
                .toList();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void springsResourceServerAnswersAsRfc6750Section3Says(Map<String, Object> row) throws Exception {
        try (var cases = new BearerCases(); var running = SpringTokenFilterTest.run(Application.class, cases.verifier(row))) {
            String token = row.get("token") instanceof String kind ? cases.token(kind) : "";
            var answer = cases.send(row, token, SpringTokenFilterTest.address(running));
            String challenge = answer.headers().firstValue("WWW-Authenticate").orElse("");
            int status = ((Number) row.get("status")).intValue();
            assertEquals(status, answer.statusCode());
            switch (status) {
                case 200 -> assertEquals("ada [FACTOR_BEARER, SCOPE_read]", answer.body());
                case 503 -> {
                    assertEquals("1", answer.headers().firstValue("Retry-After").orElse(""));
                    assertFalse(challenge.contains("invalid_token"), challenge);
                    assertFalse(answer.body().contains("127.0.0.1"));
                }
                default -> {
                    String error = (String) row.get("error");
                    assertTrue(challenge.startsWith(error.isEmpty() ? "Bearer" : "Bearer error=\"" + error + "\""), challenge);
                    assertEquals(error.isEmpty(), !challenge.contains("error="), challenge);
                }
            }
            assertTrue(token.isEmpty() || !(answer.body() + challenge).contains(token));
        }
    }

    @Test
    void rfc9449Section72ADpopBoundTokenIsRefusedAsABearerToken() throws Exception {
        try (var cases = new BearerCases()) {
            for (Verifier verifier : List.of(cases.verifier(), cases.builder().acceptBound().build())) {
                try (var running = SpringTokenFilterTest.run(Application.class, verifier)) {
                    for (String scheme : List.of("Bearer ", "DPoP ")) {
                        var header = List.of(scheme + cases.token("good", BOUND));
                        var answer = BearerCases.get(SpringTokenFilterTest.address(running), header);
                        assertEquals(401, answer.statusCode(), scheme);
                    }
                }
            }
        }
    }

    @Test
    void theTokenHasItsClaimsItsHeaderAndItsTimes() throws Exception {
        try (var cases = new BearerCases()) {
            Instant now = Instant.ofEpochSecond(cases.clock().instant().getEpochSecond());
            String token = cases.token("good", Map.of("act", Map.of("sub", "assistant"), "nbf", now.getEpochSecond(), "jti", "t1"));
            Jwt jwt = new SpringJwtDecoder(cases.verifier()).decode(token);
            assertEquals(token, jwt.getTokenValue());
            assertEquals(Map.of("alg", "ES256", "typ", "at+jwt", "kid", "k1"), jwt.getHeaders());
            assertEquals(BearerCases.ISSUER, jwt.getClaimAsString("iss"));
            assertEquals(URI.create(BearerCases.ISSUER).toURL(), jwt.getIssuer());
            assertEquals(List.of(BearerCases.AUDIENCE), jwt.getAudience());
            assertEquals("ada", jwt.getSubject());
            assertEquals("t1", jwt.getId());
            assertEquals("assistant", jwt.getClaimAsMap("act").get("sub"));
            assertEquals(List.of(now, now, now.plusSeconds(600)), List.of(jwt.getIssuedAt(), jwt.getNotBefore(), jwt.getExpiresAt()));
            assertEquals(now.plusSeconds(600), jwt.getClaims().get("exp"));
        }
    }

    @Test
    void aTokenThatIsRefusedIsBadAndOneThatCanNotBeJudgedIsNot() throws Exception {
        try (var cases = new BearerCases();
                var client = TokenmintClient.builder("127.0.0.1:1").plaintext().build();
                var revocations = Revocations.builder(client, BearerCases.AUDIENCE).clock(cases.clock()).build()) {
            var decoder = new SpringJwtDecoder(cases.builder().revocations(revocations).build());
            String revoked = cases.token("good", Map.of("jti", "t1"));
            revocations.take(RevocationsTest.said("", "client:nobody", 1, 0));
            var away = assertThrows(OAuth2AuthenticationException.class, () -> decoder.decode(revoked));
            assertEquals(HttpStatus.SERVICE_UNAVAILABLE, ((BearerTokenError) away.getError()).getHttpStatus());
            assertEquals("REVOCATIONS_UNAVAILABLE", ((VerificationException) away.getCause()).reason());
            assertFalse(away.getMessage().contains("127.0.0.1"));
            revocations.take(RevocationsTest.said("0.1-0", "token:t1", 0, 0));
            assertThrows(BadJwtException.class, () -> decoder.decode(revoked));
            assertEquals("t2", decoder.decode(cases.token("good", Map.of("jti", "t2"))).getId());
        }
    }

    @Test
    void signedClaimsThatSpringCanNotHoldAreABadToken() throws Exception {
        try (var cases = new BearerCases()) {
            var decoder = new SpringJwtDecoder(cases.verifier());
            long now = cases.clock().instant().getEpochSecond();
            for (Map<String, Object> claims : List.<Map<String, Object>>of(
                    Map.of("exp", now, "iat", now), Map.of("nbf", -1e300), Map.of("nbf", Long.MIN_VALUE), Map.of("exp", 1e300))) {
                String token = cases.token("good", claims);
                assertThrows(BadJwtException.class, () -> decoder.decode(token), claims.toString());
            }
        }
    }
}

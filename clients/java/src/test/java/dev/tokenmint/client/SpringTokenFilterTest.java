package dev.tokenmint.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.net.URI;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.access.intercept.AuthorizationFilter;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The filter in Spring Boot, over real HTTP: the table of cases of all languages (RFC 6750 section 3). */
class SpringTokenFilterTest {
    @Configuration
    @EnableAutoConfiguration
    @RestController
    static class Application {
        @Bean
        SecurityFilterChain chain(HttpSecurity http, Verifier verifier) throws Exception {
            return http.addFilterBefore(new SpringTokenFilter(verifier, BearerCases.required()), AuthorizationFilter.class)
                    .authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_read"))
                    .build();
        }

        @GetMapping("/")
        String whoami(@AuthenticationPrincipal VerifiedToken token) {
            return token.subject();
        }
    }

    @Configuration
    @EnableAutoConfiguration
    @RestController
    static class Resource {
        @Bean
        SecurityFilterChain chain(HttpSecurity http, Verifier verifier) throws Exception {
            var resource = ProtectedResource.builder(verifier, "https://api.example/mcp").build();
            return http.addFilterBefore(new SpringTokenFilter(resource, "read"), AuthorizationFilter.class)
                    .authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_read"))
                    .build();
        }

        /** Returns the subject of the authentication, after it was written and read again. */
        @GetMapping("/mcp")
        String whoami(Authentication authentication) throws Exception {
            var bytes = new ByteArrayOutputStream();
            try (var out = new ObjectOutputStream(bytes)) {
                out.writeObject(authentication);
            }
            try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
                var read = (Authentication) in.readObject();
                assertEquals(authentication, read);
                var token = (VerifiedToken) read.getPrincipal();
                return token.subject() + " by " + token.actor().get("sub");
            }
        }
    }

    @Test
    void rfc9728AnnouncesItselfAndItsAuthenticationIsSerialisable() throws Exception {
        try (var cases = new BearerCases(); var running = run(Resource.class, cases.verifier())) {
            URI service = address(running);
            var metadata = BearerCases.get(service.resolve("/.well-known/oauth-protected-resource/mcp"), List.of());
            assertEquals("https://api.example/mcp", JSONObjectUtils.parse(metadata.body()).get("resource"));
            var refused = BearerCases.get(service.resolve("/mcp"), List.of());
            String challenge = refused.headers().firstValue("WWW-Authenticate").orElse("");
            assertEquals(401, refused.statusCode());
            assertTrue(challenge.contains("resource_metadata=\"https://api.example/.well-known/oauth-protected-resource/mcp\""));
            String token = cases.token("good", Map.of("act", Map.of("sub", "assistant"), "list", List.of(1, "two", true)));
            var answer = BearerCases.get(service.resolve("/mcp"), List.of("Bearer " + token));
            assertEquals("ada by assistant", answer.body());
        }
    }

    static List<Map<String, Object>> cases() throws Exception {
        return BearerCases.all();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void answersAsRfc6750Section3Says(Map<String, Object> row) throws Exception {
        try (var cases = new BearerCases(); var running = run(Application.class, cases.verifier(row))) {
            cases.play(row, address(running));
        }
    }

    /** Starts an application on a free port, with the verifier as a bean. */
    static ConfigurableApplicationContext run(Class<?> application, Verifier verifier) {
        var spring = new SpringApplication(application);
        spring.addInitializers(context -> context.getBeanFactory().registerSingleton("verifier", verifier));
        return spring.run(
                "--server.port=0", "--server.address=127.0.0.1", "--spring.main.banner-mode=off", "--logging.level.root=error");
    }

    static URI address(ConfigurableApplicationContext running) {
        return URI.create("http://127.0.0.1:" + running.getEnvironment().getProperty("local.server.port") + "/");
    }
}

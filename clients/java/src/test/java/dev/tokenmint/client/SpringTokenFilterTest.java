package dev.tokenmint.client;

import java.net.URI;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
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

    static List<Map<String, Object>> cases() throws Exception {
        return BearerCases.all();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void answersAsRfc6750Section3Says(Map<String, Object> row) throws Exception {
        try (var cases = new BearerCases()) {
            var application = new SpringApplication(Application.class);
            application.addInitializers(context -> context.getBeanFactory().registerSingleton("verifier", cases.verifier()));
            try (var running = application.run(
                    "--server.port=0", "--server.address=127.0.0.1", "--spring.main.banner-mode=off", "--logging.level.root=error")) {
                cases.play(row, URI.create("http://127.0.0.1:" + running.getEnvironment().getProperty("local.server.port") + "/"));
            }
        }
    }
}

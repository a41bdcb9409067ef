import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import org.springframework.security.authentication.TestingAuthenticationToken;
import org.springframework.security.oauth2.client.JwtBearerOAuth2AuthorizedClientProvider;
import org.springframework.security.oauth2.client.OAuth2AuthorizationContext;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientProvider;
import org.springframework.security.oauth2.client.TokenExchangeOAuth2AuthorizedClientProvider;
import org.springframework.security.oauth2.client.endpoint.RestClientTokenExchangeTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.core.OAuth2AccessToken;
import org.springframework.security.oauth2.core.OAuth2Token;
import org.springframework.security.oauth2.jwt.Jwt;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/** Spring Security's clients, unchanged. A line of standard output is a row: client, flow, and token or refusal. */
final class Clients {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static JsonNode world;

  private Clients() {}

  public static void main(String[] arguments) throws Exception {
    world = JSON.readTree(Files.readString(Path.of(arguments[0])));
    String exchange = "Spring TokenExchangeOAuth2AuthorizedClientProvider";
    row(exchange, "token exchange, a JWT", () -> exchanged("web", jwt("user"), null));
    row(exchange, "token exchange, an access token", () -> exchanged("web", access("access"), null));
    row(exchange, "token exchange with an actor", () -> exchanged("web", jwt("user"), jwt("agent")));
    row(exchange, "token exchange with audience and resource", Clients::targeted);
    row("Spring JwtBearerOAuth2AuthorizedClientProvider", "ID-JAG, leg 2", Clients::granted);
  }

  private static OAuth2AuthorizedClient exchanged(String id, OAuth2Token subject, OAuth2Token actor) {
    TokenExchangeOAuth2AuthorizedClientProvider provider = new TokenExchangeOAuth2AuthorizedClientProvider();
    provider.setSubjectTokenResolver(context -> subject);
    if (actor != null) {
      provider.setActorTokenResolver(context -> actor);
    }
    return authorized(provider, registration(id, "home", AuthorizationGrantType.TOKEN_EXCHANGE, "read"));
  }

  /** Spring's way to add parameters: its customizer of the request. */
  private static OAuth2AuthorizedClient targeted() {
    RestClientTokenExchangeTokenResponseClient client = new RestClientTokenExchangeTokenResponseClient();
    client.setParametersCustomizer(parameters -> {
      parameters.add("audience", text("orders"));
      parameters.add("resource", text("orders") + "/api");
    });
    TokenExchangeOAuth2AuthorizedClientProvider provider = new TokenExchangeOAuth2AuthorizedClientProvider();
    provider.setAccessTokenResponseClient(client);
    provider.setSubjectTokenResolver(context -> jwt("user"));
    return authorized(provider, registration("web", "home", AuthorizationGrantType.TOKEN_EXCHANGE, "read"));
  }

  private static OAuth2AuthorizedClient granted() {
    JwtBearerOAuth2AuthorizedClientProvider provider = new JwtBearerOAuth2AuthorizedClientProvider();
    Function<OAuth2AuthorizationContext, Jwt> assertion = context -> jwt("id_jag_spring");
    provider.setJwtAssertionResolver(assertion);
    return authorized(provider, registration("mcp-client", "away", AuthorizationGrantType.JWT_BEARER, "tools.call"));
  }

  private static OAuth2AuthorizedClient authorized(OAuth2AuthorizedClientProvider provider, ClientRegistration of) {
    TestingAuthenticationToken principal = new TestingAuthenticationToken("ada", "none", "ROLE_USER");
    return provider.authorize(OAuth2AuthorizationContext.withClientRegistration(of).principal(principal).build());
  }

  private static ClientRegistration registration(String id, String server, AuthorizationGrantType grant, String scope) {
    return ClientRegistration.withRegistrationId(id).clientId(id).clientSecret(text("secret"))
        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC).authorizationGrantType(grant)
        .tokenUri(text(server) + "/oauth2/token").scope(scope).build();
  }

  private static Jwt jwt(String name) {
    Instant now = Instant.now();
    return Jwt.withTokenValue(text(name)).header("alg", "RS256").subject("ada").issuedAt(now).expiresAt(now.plusSeconds(60)).build();
  }

  private static OAuth2AccessToken access(String name) {
    Instant now = Instant.now();
    return new OAuth2AccessToken(OAuth2AccessToken.TokenType.BEARER, text(name), now, now.plusSeconds(60));
  }

  private static String text(String name) {
    return world.get(name).asString();
  }

  private static void row(String client, String flow, Supplier<OAuth2AuthorizedClient> run) {
    Map<String, Object> told = new LinkedHashMap<>(Map.of("client", client, "flow", flow));
    try {
      OAuth2AccessToken token = run.get().getAccessToken();
      told.put("token", token.getTokenValue());
      told.put("scope", String.join(" ", token.getScopes()));
    } catch (RuntimeException error) {
      told.put("error", error.toString());
    }
    System.out.println(JSON.writeValueAsString(told));
  }
}

import dev.tokenmint.client.ClientCredential;
import dev.tokenmint.client.TokenHttpClient;
import dev.tokenmint.client.TokenSource;
import dev.tokenmint.client.TokenmintClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.Map;

/** Calls a protected service on behalf of a user. */
public final class Caller {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> env = System.getenv();
        URI service = URI.create(env.get("SERVICE_URL"));
        try (TokenmintClient client = TokenmintClient.builder(env.get("TOKENMINT_TARGET"))
                .credential(ClientCredential.secret(env.get("TOKENMINT_CLIENT_ID"), env.get("TOKENMINT_CLIENT_SECRET")))
                .authorities(Path.of(env.get("TOKENMINT_CA_FILE")))
                .build()) {
            TokenSource source = TokenSource.of(client); // one for the whole program
            TokenHttpClient http = new TokenHttpClient(
                    HttpClient.newHttpClient(), source, () -> env.get("SUBJECT_TOKEN"), env.get("TOKENMINT_AUDIENCE"), service);
            System.out.println(http.send(HttpRequest.newBuilder(service).build(), BodyHandlers.ofString()).body());
        }
    }
}

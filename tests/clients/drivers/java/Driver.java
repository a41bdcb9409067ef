import com.nimbusds.jose.util.JSONObjectUtils;
import dev.tokenmint.client.BatchResult;
import dev.tokenmint.client.CallException;
import dev.tokenmint.client.ClientCredential;
import dev.tokenmint.client.ExchangeRequest;
import dev.tokenmint.client.ProtectedResource;
import dev.tokenmint.client.Revocations;
import dev.tokenmint.client.StatusLists;
import dev.tokenmint.client.Target;
import dev.tokenmint.client.Token;
import dev.tokenmint.client.TokenFilter;
import dev.tokenmint.client.TokenHttpClient;
import dev.tokenmint.client.TokenServerInterceptor;
import dev.tokenmint.client.TokenSource;
import dev.tokenmint.client.TokenmintClient;
import dev.tokenmint.client.TokenmintException;
import dev.tokenmint.client.TxnTokenHeader;
import dev.tokenmint.client.TxnTokenVerifier;
import dev.tokenmint.client.VerifiedToken;
import dev.tokenmint.client.Verifier;
import dev.tokenmint.v1.GetKeySetRequest;
import dev.tokenmint.v1.GetKeySetResponse;
import dev.tokenmint.v1.KeySetServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.logging.LogManager;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** The Java driver: tokenmint-client as an application uses it; the protocol is in ../../README.md. */
public final class Driver {
    private final Map<String, Object> configuration;
    private final TokenmintClient client;
    private final TokenSource source;
    private final Map<String, Verifier> verifiers = new HashMap<>();
    private final Map<String, Revocations> followed = new HashMap<>();
    private final Map<String, TxnTokenVerifier> domains = new HashMap<>();
    private final List<Runnable> stops = new ArrayList<>();
    private volatile Duration offset = Duration.ZERO;
    private volatile CompletableFuture<Void> gate = CompletableFuture.completedFuture(null); // before exchanges

    private final Clock clock = new Clock() {
        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Instant instant() {
            return Instant.now().plus(offset);
        }
    };

    private Driver(Map<String, Object> command) throws Exception {
        configuration = command;
        var builder = TokenmintClient.builder(text(command, "target"));
        if (command.containsKey("ca_file")) {
            builder.authorities(Path.of(text(command, "ca_file")));
        } else {
            builder.plaintext();
        }
        prove(builder, JSONObjectUtils.getJSONObject(command, "credential"));
        if (command.containsKey("timeout")) {
            builder.timeout(duration(command, "timeout"));
        }
        client = builder.build();
        var sources = TokenSource.builder(this::exchangeThroughGate).clock(clock);
        if (command.containsKey("max_entries")) {
            sources.maxEntries(((Number) command.get("max_entries")).intValue());
        }
        source = sources.build();
    }

    private Token exchangeThroughGate(ExchangeRequest request) {
        gate.join();
        return client.exchange(request);
    }

    private static void prove(TokenmintClient.Builder builder, Map<String, Object> given) throws Exception {
        switch (text(given, "kind")) {
            case "secret" -> builder.credential(ClientCredential.secret(text(given, "client_id"), text(given, "secret")));
            case "workload" -> builder.credential(
                    ClientCredential.workloadToken(text(given, "client_id"), Path.of(text(given, "token_file"))));
            case "certificate" -> builder.clientCertificate(
                    Path.of(text(given, "cert_file")), Path.of(text(given, "key_file")));
            case "assertion" -> builder.credential(ClientCredential.assertion(
                    text(given, "client_id"),
                    Path.of(text(given, "key_file")),
                    text(given, "key_id"),
                    text(given, "algorithm"),
                    text(given, "audience")));
            default -> builder.credential(ClientCredential.publicClient(text(given, "client_id")));
        }
    }

    private Verifier verifier(String audience) {
        return verifiers.computeIfAbsent(audience, name -> {
            var builder = Verifier.builder(text(configuration, "issuer"), name)
                    .keySetUrl(URI.create(text(configuration, "jwks_url")))
                    .clock(clock);
            if (Boolean.TRUE.equals(configuration.get("accept_bound"))) {
                builder.acceptBound();
            }
            if (configuration.containsKey("algorithms")) {
                builder.algorithms(texts(configuration, "algorithms"));
            }
            if (configuration.containsKey("token_type")) {
                builder.types(List.of(text(configuration, "token_type")));
            }
            if (configuration.containsKey("revocations")) {
                var revocations = Revocations.builder(client, name);
                if (text(configuration, "revocations").equals("accept")) {
                    revocations.acceptWhenLagging();
                }
                if (configuration.containsKey("max_lag")) {
                    revocations.maxLag(duration(configuration, "max_lag"));
                }
                Revocations built = revocations.build();
                followed.put(name, built);
                stops.add(built::close);
                builder.revocations(built);
            }
            if (configuration.containsKey("status_lists")) {
                var lists = StatusLists.builder();
                if (text(configuration, "status_lists").equals("accept")) {
                    lists.acceptWhenUnavailable();
                }
                builder.statusLists(lists.build());
            }
            return builder.build();
        });
    }

    private void close() {
        stops.forEach(Runnable::run);
        client.close();
    }

    private Map<String, Object> answer(Map<String, Object> command) throws Exception {
        return switch (text(command, "do")) {
            case "exchange" -> exchange(command);
            case "batch" -> batch(command);
            case "token" -> shown(token(command));
            case "concurrent" -> concurrent(command);
            case "advance" -> {
                offset = offset.plus(duration(command, "seconds"));
                yield Map.of();
            }
            case "verify" -> verify(command);
            case "lag" -> lag(text(command, "audience"));
            case "verify_txn" -> verifyTxn(command);
            case "txn_header" -> command.containsKey("values")
                    ? Map.of("token", TxnTokenHeader.received(texts(command, "values")))
                    : Map.of("name", TxnTokenHeader.NAME, "value", TxnTokenHeader.value(text(command, "token")));
            case "protect" -> protect(command);
            case "call_http" -> callHttp(command);
            case "call_grpc" -> callGrpc(command);
            default -> throw new IllegalArgumentException("unknown command");
        };
    }

    private Map<String, Object> verify(Map<String, Object> command) {
        VerifiedToken token = verifier(text(command, "audience")).verify(text(command, "token"));
        Map<String, Object> shown = new HashMap<>();
        shown.put("claims", token.claims());
        shown.put("actor", token.actor());
        shown.put("confirmation", token.confirmation());
        return shown;
    }

    private Map<String, Object> lag(String audience) {
        verifier(audience);
        followed.get(audience).start();
        Duration lag = followed.get(audience).lag();
        Map<String, Object> shown = new HashMap<>();
        shown.put("lag", lag.compareTo(Duration.ofDays(365)) < 0 ? lag.toMillis() / 1000.0 : null);
        shown.put("failure", followed.get(audience).failure());
        return shown;
    }

    private Map<String, Object> verifyTxn(Map<String, Object> command) {
        var verifier = domains.computeIfAbsent(
                text(command, "audience"),
                name -> TxnTokenVerifier.of(text(configuration, "issuer"), name, builder -> builder.keySetUrl(
                                URI.create(text(configuration, "jwks_url")))
                        .clock(clock)));
        var token = verifier.verify(text(command, "token"));
        return Map.of(
                "txn", token.txn(),
                "subject", token.subject(),
                "scopes", token.scopes(),
                "requester", token.requester(),
                "tctx", token.tctx(),
                "rctx", token.rctx(),
                "claims", token.claims());
    }

    private Map<String, Object> exchange(Map<String, Object> command) throws Exception {
        var request = transaction(command, ExchangeRequest.of(text(command, "subject_token"), text(command, "audience"))
                .resources(texts(command, "resources"))
                .scopes(texts(command, "scopes"))
                .lifetime(duration(command, "lifetime"))
                .nonce(text(command, "nonce"))
                .subjectTokenType(text(command, "subject_token_type")))
                .build();
        return shown(command.containsKey("timeout")
                ? client.exchange(request, duration(command, "timeout"))
                : client.exchange(request));
    }

    private Map<String, Object> batch(Map<String, Object> command) throws Exception {
        List<Target> targets = new ArrayList<>();
        for (Map<String, Object> one : JSONObjectUtils.getJSONObjectArray(command, "targets")) {
            targets.add(new Target(text(one, "audience"), texts(one, "scopes"), duration(one, "lifetime"), texts(one, "resources")));
        }
        List<Object> results = new ArrayList<>();
        var request = ExchangeRequest.of(text(command, "subject_token"), "").build();
        for (BatchResult result : client.exchangeBatch(request, targets)) {
            results.add(result instanceof BatchResult.Minted minted
                    ? Map.of("token", shown(minted.token()))
                    : Map.of("error", failed(((BatchResult.Refused) result).error())));
        }
        return Map.of("results", results);
    }

    private static ExchangeRequest.Builder transaction(Map<String, Object> command, ExchangeRequest.Builder request)
            throws Exception {
        if (command.containsKey("request_context")) {
            request.requestContext(JSONObjectUtils.getJSONObject(command, "request_context"));
        }
        if (command.containsKey("request_details")) {
            request.requestDetails(JSONObjectUtils.getJSONObject(command, "request_details"));
        }
        return request.requestedTokenType(text(command, "requested_token_type"));
    }

    private Token token(Map<String, Object> command) throws Exception {
        return source.get(transaction(command, ExchangeRequest.of(text(command, "subject_token"), text(command, "audience"))
                .resources(texts(command, "resources"))
                .scopes(texts(command, "scopes"))
                .actor(text(command, "actor_token"), text(command, "actor_token_type"))
                .dpopThumbprint(text(command, "dpop_jkt")))
                .build());
    }

    private Map<String, Object> concurrent(Map<String, Object> command) throws Exception {
        int count = ((Number) command.get("count")).intValue();
        var request = ExchangeRequest.of(text(command, "subject_token"), text(command, "audience"))
                .scopes(texts(command, "scopes"))
                .build();
        gate = new CompletableFuture<>(); // until all have asked
        List<CompletableFuture<Token>> calls = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            calls.add(source.getAsync(request));
        }
        gate.complete(null);
        Set<String> ids = new TreeSet<>();
        List<String> errors = new ArrayList<>();
        for (CompletableFuture<Token> call : calls) {
            try {
                ids.add(call.get().tokenId());
            } catch (ExecutionException refused) {
                errors.add(((TokenmintException) refused.getCause()).reason());
            }
        }
        return Map.of("token_ids", List.copyOf(ids), "errors", errors);
    }

    private Map<String, Object> protect(Map<String, Object> command) throws Exception {
        Verifier verifier = verifier(text(command, "audience"));
        Server calls = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), InsecureServerCredentials.create())
                .addService(new KeySetServiceGrpc.KeySetServiceImplBase() {
                    @Override
                    public void getKeySet(GetKeySetRequest request, StreamObserver<GetKeySetResponse> answers) {
                        String who = TokenServerInterceptor.current().subject();
                        answers.onNext(GetKeySetResponse.newBuilder().setEtag(who).build());
                        answers.onCompleted();
                    }
                })
                .intercept(new TokenServerInterceptor(verifier))
                .build()
                .start();
        Tomcat web = web(filter(verifier, command));
        stops.add(calls::shutdownNow);
        stops.add(() -> {
            try {
                web.stop();
                web.destroy();
            } catch (org.apache.catalina.LifecycleException failed) {
                throw new IllegalStateException(failed);
            }
        });
        return Map.of(
                "http", "http://127.0.0.1:" + web.getConnector().getLocalPort(), "grpc", "127.0.0.1:" + calls.getPort());
    }

    private static TokenFilter filter(Verifier verifier, Map<String, Object> command) {
        String[] scopes = texts(command, "scopes").toArray(new String[0]);
        if (!command.containsKey("resource")) {
            return new TokenFilter(verifier, scopes);
        }
        var resource = ProtectedResource.builder(verifier, text(command, "resource"))
                .authorizationServers(List.of("https://login.example"))
                .scopesSupported(List.of(scopes));
        if (Boolean.TRUE.equals(command.get("require_dpop"))) {
            resource.requireDpop();
        }
        if (command.containsKey("nonce_key")) {
            resource.nonceKey(text(command, "nonce_key").getBytes(StandardCharsets.UTF_8));
        }
        return new TokenFilter(resource.build(), scopes);
    }

    private static Tomcat web(TokenFilter tokens) throws Exception {
        var filter = new FilterDef();
        filter.setFilterName("tokens");
        filter.setFilter(tokens);
        var everywhere = new FilterMap();
        everywhere.setFilterName("tokens");
        everywhere.addURLPattern("/*");
        var tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("driver").toString());
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        var context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "whoami", new HttpServlet() {
            @Override
            protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
                response.getWriter().print(TokenFilter.token(request).subject());
            }
        }).addMapping("/");
        context.addFilterDef(filter);
        context.addFilterMap(everywhere);
        tomcat.start();
        return tomcat;
    }

    private Map<String, Object> callHttp(Map<String, Object> command) throws Exception {
        URI address = URI.create(text(command, "url"));
        var request = HttpRequest.newBuilder(address).build();
        var plain = HttpClient.newHttpClient();
        HttpResponse<String> answer = command.containsKey("subject_token")
                ? new TokenHttpClient(
                                plain, source, () -> text(command, "subject_token"), text(command, "audience"), address)
                        .send(request, HttpResponse.BodyHandlers.ofString())
                : plain.send(request, HttpResponse.BodyHandlers.ofString());
        return Map.of(
                "status", answer.statusCode(),
                "body", answer.body(),
                "www_authenticate", answer.headers().firstValue("WWW-Authenticate").orElse(""));
    }

    private Map<String, Object> callGrpc(Map<String, Object> command) {
        ManagedChannel channel =
                Grpc.newChannelBuilder(text(command, "target"), InsecureChannelCredentials.create()).build();
        try {
            var stub = KeySetServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS);
            if (command.containsKey("subject_token")) {
                stub = stub.withCallCredentials(source.plaintextCallCredentials(
                        () -> text(command, "subject_token"), text(command, "audience")));
            }
            return Map.of("code", "OK", "body", stub.getKeySet(GetKeySetRequest.getDefaultInstance()).getEtag());
        } catch (StatusRuntimeException refused) {
            return Map.of("code", refused.getStatus().getCode().name(), "body", "");
        } finally {
            channel.shutdownNow();
        }
    }

    private static Map<String, Object> shown(Token token) {
        return Map.of(
                "token", token.value(),
                "token_id", token.tokenId(),
                "key_id", token.keyId(),
                "subject", token.subject(),
                "scopes", token.scopes(),
                "expires_at", token.expiresAt().getEpochSecond());
    }

    private static Map<String, Object> failed(TokenmintException error) {
        Map<String, Object> shown = new HashMap<>();
        shown.put("code", "");
        shown.put("reason", error.reason());
        shown.put("message", error.getMessage());
        shown.put("retry_after", null);
        shown.put("violations", List.of());
        if (error instanceof CallException call) {
            shown.put("code", call.code().name());
            shown.put("retry_after", call.retryAfter().map(delay -> delay.toMillis() / 1000.0).orElse(null));
            shown.put("violations", call.violations().stream().map(CallException.Violation::field).toList());
        }
        return shown;
    }

    private static String text(Map<String, Object> command, String name) {
        return (String) command.getOrDefault(name, "");
    }

    private static List<String> texts(Map<String, Object> command, String name) {
        return command.get(name) instanceof List<?> list ? list.stream().map(String.class::cast).toList() : List.of();
    }

    private static Duration duration(Map<String, Object> command, String name) {
        return command.get(name) instanceof Number number
                ? Duration.ofMillis(Math.round(number.doubleValue() * 1000))
                : Duration.ZERO;
    }

    public static void main(String[] arguments) throws IOException {
        LogManager.getLogManager().reset(); // Tomcat is talkative
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Driver current = null;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> answer;
            try {
                Map<String, Object> command = JSONObjectUtils.parse(line);
                if (text(command, "do").equals("configure")) {
                    if (current != null) {
                        current.close();
                    }
                    current = new Driver(command);
                    answer = Map.of("ok", Map.of());
                } else {
                    answer = Map.of("ok", current.answer(command));
                }
            } catch (TokenmintException refused) {
                answer = Map.of("error", failed(refused));
            } catch (Exception failure) {
                failure.printStackTrace();
                answer = Map.of("failure", failure.toString());
            }
            out.println(JSONObjectUtils.toJSONString(answer));
        }
        if (current != null) {
            current.close();
        }
    }
}

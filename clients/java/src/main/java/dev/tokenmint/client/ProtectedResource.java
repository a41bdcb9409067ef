package dev.tokenmint.client;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.net.URI;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * A protected resource that clients discover (RFC 9728), and whose tokens may be bound to a key (RFC 9449, RFC 8705). Safe for
 * concurrent use, meant to be made once. {@link TokenFilter} and {@link SpringTokenFilter} take it.
 */
public final class ProtectedResource {
    private static final String WELL_KNOWN = "/.well-known/oauth-protected-resource";

    final Verifier verifier;
    final boolean dpop;
    final boolean requireDpop;
    private final String origin;
    private final String path;
    private final Map<String, Object> metadata = new LinkedHashMap<>();
    private final ReplayMemory used;
    private final Nonces nonces;

    private ProtectedResource(Builder from) {
        verifier = from.verifier;
        dpop = from.dpop;
        requireDpop = from.requireDpop;
        String normal = NormalUrl.of(from.resource);
        if (normal == null || from.resource.contains("?") || from.resource.contains("#")) {
            throw new IllegalArgumentException("a resource is an absolute URL without user, query and fragment");
        }
        if (!normal.startsWith("https:") && !Loopback.is(URI.create(from.resource).getHost())) {
            throw new IllegalArgumentException("a resource is an https URL (http is for loopback only)");
        }
        if (requireDpop && !dpop) {
            throw new IllegalArgumentException("a resource can't require DPoP without it");
        }
        origin = normal.substring(0, normal.indexOf('/', "https://".length()));
        int start = from.resource.indexOf('/', "https://".length());
        path = WELL_KNOWN + (start < 0 || start == from.resource.length() - 1 ? "" : from.resource.substring(start));
        used = new ReplayMemory(from.replayMemory);
        nonces = from.nonceKey == null ? null : new Nonces(from.nonceKey);
        metadata.put("resource", from.resource);
        metadata.put("authorization_servers", from.authorizationServers);
        putUnlessEmpty("scopes_supported", from.scopesSupported);
        metadata.put("bearer_methods_supported", List.of("header"));
        putUnlessEmpty("resource_name", from.name.isEmpty() ? List.of() : from.name);
        putUnlessEmpty("resource_documentation", from.documentation.isEmpty() ? List.of() : from.documentation);
        putUnlessEmpty("dpop_signing_alg_values_supported", dpop ? DpopProof.ALGORITHMS : List.of());
        putUnlessEmpty("dpop_bound_access_tokens_required", requireDpop ? true : List.of());
        putUnlessEmpty("tls_client_certificate_bound_access_tokens", from.certificates ? true : List.of());
    }

    private void putUnlessEmpty(String name, Object value) {
        if (!List.of().equals(value)) {
            metadata.put(name, value);
        }
    }

    /**
     * Returns a builder of a resource whose tokens {@code verifier} accepts.
     *
     * @param verifier proves the tokens
     * @param resource the resource identifier: the URL that clients know the service by, without query and fragment. Its origin
     *     counts as that of all requests, for any Host header
     */
    public static Builder builder(Verifier verifier, String resource) {
        return new Builder(Objects.requireNonNull(verifier), Objects.requireNonNull(resource));
    }

    /** Returns where the metadata are: the well-known path in front of the identifier's own (RFC 9728 section 3.1). */
    public String metadataPath() {
        return path;
    }

    /** Returns the same, as clients know it. */
    public String metadataUrl() {
        return origin + path;
    }

    /** Returns the metadata (RFC 9728 section 2) as JSON. */
    public String metadata() {
        return JSONObjectUtils.toJSONString(metadata);
    }

    /**
     * The proofs of a key that came with one request.
     *
     * @param isDpop whether the token came with the scheme {@code DPoP}, and not {@code Bearer}
     * @param method the request's
     * @param path percent-encoded, without the query
     * @param proofs the values of its {@code DPoP} headers
     * @param certificate of the client's connection in DER, or null
     */
    public record Request(boolean isDpop, String method, String path, List<String> proofs, byte[] certificate) {}

    /**
     * Returns what a token says whose sender holds the keys that it is bound to. The filters call it; so can code for another
     * framework.
     *
     * @throws VerificationException where the token or the proof is refused, or nothing can be said of them
     */
    public VerifiedToken verify(String token, Request request) {
        return verifier.verify(token, verified -> prove(verified, token, request));
    }

    private void prove(VerifiedToken verified, String token, Request request) {
        Map<String, Object> bound = verified.confirmation();
        boolean byKey = bound != null && bound.containsKey("jkt");
        boolean byCertificate = bound != null && bound.containsKey("x5t#S256");
        if (bound != null && !byKey && !byCertificate) {
            throw unproved("the token is bound to a key in a way that is not checked here");
        }
        if (byKey && !dpop) {
            throw unproved("the token is bound to a DPoP key, and proofs are not checked here");
        }
        if (byKey && !request.isDpop()) { // RFC 9449 section 7.2
            throw unproved("the token is bound to a DPoP key, and has to be sent with the scheme DPoP");
        }
        if (request.isDpop() && !byKey) {
            throw unproved("the token is not bound to a DPoP key, and has to be sent with the scheme Bearer");
        }
        if (requireDpop && !byKey) {
            throw unproved("the token is not bound to a DPoP key, which is required here");
        }
        if (byCertificate
                && (request.certificate() == null
                        || !DpopProof.same(bound.get("x5t#S256"), DpopProof.hash(request.certificate())))) {
            throw unproved("the token is bound to another certificate than the connection's");
        }
        if (byKey) {
            proveKey(token, bound.get("jkt"), request);
        }
    }

    private void proveKey(String token, Object jkt, Request request) {
        if (request.proofs().size() != 1) {
            throw DpopProof.rejected("is missing, or there are several DPoP headers");
        }
        var now = verifier.now();
        DpopProof proof = DpopProof.read(request.proofs().get(0), request.method(), origin + request.path(), token, now);
        if (!DpopProof.same(jkt, proof.thumbprint())) {
            throw unproved("the DPoP proof is by another key than the token's");
        }
        if (nonces != null && !nonces.accepts(proof.nonce(), now)) {
            throw new VerificationException(
                    VerificationException.NONCE_REQUIRED, "the DPoP proof needs the nonce of this answer");
        }
        used.use(proof, now);
    }

    /** Returns the nonce that proofs need from now on, or null where they need none. */
    String nonce() {
        return nonces == null ? null : nonces.at(verifier.now());
    }

    private static VerificationException unproved(String message) {
        return new VerificationException(VerificationException.POSSESSION_NOT_PROVED, message);
    }

    /** Builds a resource. */
    public static final class Builder {
        private static final int REPLAY_MEMORY = 100_000; // proofs, of some 200 bytes each

        private final Verifier verifier;
        private final String resource;
        private List<String> authorizationServers;
        private List<String> scopesSupported = List.of();
        private String name = "";
        private String documentation = "";
        private boolean dpop = true;
        private boolean requireDpop;
        private boolean certificates;
        private byte[] nonceKey;
        private int replayMemory = REPLAY_MEMORY;

        private Builder(Verifier verifier, String resource) {
            this.verifier = verifier;
            this.resource = resource;
            authorizationServers = List.of(verifier.issuer());
        }

        /** Names the issuers whose tokens it accepts, instead of the verifier's. */
        public Builder authorizationServers(List<String> issuers) {
            if (issuers.isEmpty()) {
                throw new IllegalArgumentException("a resource has at least one authorization server");
            }
            authorizationServers = List.copyOf(issuers);
            return this;
        }

        /** Names scopes that clients may ask for. */
        public Builder scopesSupported(List<String> scopes) {
            scopesSupported = List.copyOf(scopes);
            return this;
        }

        /** Names it for people. */
        public Builder name(String text) {
            name = text;
            return this;
        }

        /** Names a URL for developers. */
        public Builder documentation(String url) {
            documentation = url;
            return this;
        }

        /** Refuses tokens that are bound to a DPoP key. */
        public Builder withoutDpop() {
            dpop = false;
            return this;
        }

        /** Refuses tokens that are not bound to a DPoP key. */
        public Builder requireDpop() {
            requireDpop = true;
            return this;
        }

        /** Requires a nonce of this service in proofs, by a secret of 32 bytes or more, the same in all replicas. */
        public Builder nonceKey(byte[] secret) {
            nonceKey = secret.clone();
            return this;
        }

        /** Announces that tokens may be bound to the client's certificate (RFC 8705 section 3.3). */
        public Builder certificates() {
            certificates = true;
            return this;
        }

        /** Sets how many proofs are remembered, for a minute, instead of 100,000. Each process remembers its own. */
        public Builder replayMemory(int proofs) {
            replayMemory = proofs;
            return this;
        }

        /** Returns the resource. */
        public ProtectedResource build() {
            return new ProtectedResource(this);
        }
    }
}

package dev.tokenmint.client;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/** The rules of a protected HTTP service, and its answers to requests that break them. */
final class Door {
    private static final String METHODS = "GET, HEAD, OPTIONS";
    static final String RETRY_AFTER = "1"; // seconds after which a verifier asks for its keys again

    private final Verifier verifier;
    private final ProtectedResource resource; // or null
    private final List<String> scopes;

    Door(Verifier verifier, ProtectedResource resource, String... scopes) {
        this.verifier = Objects.requireNonNull(verifier);
        this.resource = resource;
        this.scopes = List.of(scopes);
    }

    /** Returns the token of a request, or null where the request was answered. */
    VerifiedToken admit(HttpServletRequest request, HttpServletResponse response) throws IOException {
        if (resource != null && resource.metadataPath().equals(request.getRequestURI())) {
            giveMetadata(request.getMethod(), response);
            return null;
        }
        boolean takesDpop = resource != null && resource.dpop;
        Bearer.Presented sent = null;
        try {
            sent = Bearer.presented(Collections.list(request.getHeaders("Authorization")), takesDpop);
            VerifiedToken token = resource == null
                    ? verifier.verify(sent.token())
                    : resource.verify(sent.token(), proofs(request, sent));
            return Bearer.require(token, scopes);
        } catch (VerificationException refused) {
            boolean isDpop = sent != null
                    ? sent.isDpop()
                    : takesDpop && Bearer.isScheme("DPoP", Objects.requireNonNullElse(request.getHeader("Authorization"), ""));
            refuse(response, refused, isDpop);
            return null;
        }
    }

    private static ProtectedResource.Request proofs(HttpServletRequest request, Bearer.Presented sent) {
        return new ProtectedResource.Request(
                sent.isDpop(),
                request.getMethod(),
                request.getRequestURI(),
                Collections.list(request.getHeaders("DPoP")),
                certificate(request));
    }

    private static byte[] certificate(HttpServletRequest request) {
        Object chain = request.getAttribute("jakarta.servlet.request.X509Certificate");
        if (!(chain instanceof X509Certificate[] certificates) || certificates.length == 0) {
            return null;
        }
        try {
            return certificates[0].getEncoded();
        } catch (CertificateEncodingException impossible) {
            throw new IllegalStateException(impossible); // it came encoded
        }
    }

    private void giveMetadata(String method, HttpServletResponse response) throws IOException {
        switch (method) {
            case "GET", "HEAD" -> {
                response.setHeader("Access-Control-Allow-Origin", "*"); // applications in a browser read it too
                response.setHeader("Cache-Control", "max-age=3600");
                response.setContentType("application/json");
                response.getOutputStream().write(resource.metadata().getBytes(java.nio.charset.StandardCharsets.UTF_8));
            }
            case "OPTIONS" -> {
                response.setHeader("Access-Control-Allow-Origin", "*");
                response.setHeader("Access-Control-Allow-Methods", METHODS);
                response.setHeader("Access-Control-Allow-Headers", "*");
                response.setStatus(204);
            }
            default -> {
                response.setHeader("Allow", METHODS);
                response.setStatus(405);
            }
        }
    }

    /** Answers as RFC 6750 section 3 and RFC 9449 section 7.1 say. */
    private void refuse(HttpServletResponse response, VerificationException refused, boolean isDpop) {
        if (refused.isUnavailable()) {
            // The message has the key set's address, which is not the caller's business: it is in the log.
            response.setStatus(503);
            response.setHeader("Retry-After", RETRY_AFTER);
            return;
        }
        String message = refused.getMessage();
        switch (refused.reason()) {
            case Bearer.MISSING -> answer(response, 401, challenge(isDpop, "", ""));
            case Bearer.SEVERAL -> answer(response, 400, challenge(isDpop, "invalid_request", message));
            case Bearer.SCOPE_DENIED -> answer(response, 403, challenge(isDpop, "insufficient_scope", message));
            default -> {
                String error = switch (refused.reason()) {
                    case VerificationException.PROOF_REJECTED -> "invalid_dpop_proof";
                    case VerificationException.NONCE_REQUIRED -> "use_dpop_nonce";
                    default -> "invalid_token";
                };
                if (isDpop && resource.nonce() != null) {
                    response.setHeader("DPoP-Nonce", resource.nonce());
                }
                answer(response, 401, challenge(isDpop, error, message));
            }
        }
    }

    private static void answer(HttpServletResponse response, int status, String challenge) {
        response.setStatus(status);
        response.setHeader("WWW-Authenticate", challenge);
    }

    /** Returns {@code WWW-Authenticate}: the schemes that are accepted; of a request with DPoP this one alone. */
    private String challenge(boolean isDpop, String error, String description) {
        List<String> members = new ArrayList<>();
        if (!error.isEmpty()) {
            members.add("error=\"" + error + "\"");
            members.add("error_description=\"" + description + "\"");
        }
        boolean announced = resource != null && !error.equals("invalid_request");
        if (!scopes.isEmpty() && (announced || error.equals("insufficient_scope"))) {
            members.add("scope=\"" + String.join(" ", scopes) + "\"");
        }
        if (resource != null) {
            members.add("resource_metadata=\"" + resource.metadataUrl() + "\"");
        }
        String bearer = ("Bearer " + String.join(", ", members)).strip();
        String algorithms = "algs=\"" + String.join(" ", DpopProof.ALGORITHMS) + "\"";
        if (isDpop || (resource != null && resource.requireDpop)) {
            members.add(algorithms);
            return "DPoP " + String.join(", ", members);
        }
        return resource != null && resource.dpop ? bearer + ", DPoP " + algorithms : bearer;
    }
}

package dev.tokenmint.client;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * Lets gRPC calls with a good token through; {@link #current()} tells what it says. Others end with UNAUTHENTICATED,
 * PERMISSION_DENIED where a scope is missing, or UNAVAILABLE without a key set or revocations.
 */
public final class TokenServerInterceptor implements ServerInterceptor {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final Context.Key<VerifiedToken> TOKEN = Context.key("tokenmint-token");

    private final Verifier verifier;
    private final Set<String> scopes;
    private final Set<String> publicServices;

    /** An interceptor that asks for a good token. */
    public TokenServerInterceptor(Verifier verifier) {
        this(verifier, List.of(), List.of());
    }

    /**
     * An interceptor.
     *
     * @param verifier proves the tokens
     * @param scopes all of which a token must grant
     * @param publicServices full names of services that need no token, e.g. {@code grpc.health.v1.Health}
     */
    public TokenServerInterceptor(Verifier verifier, Collection<String> scopes, Collection<String> publicServices) {
        this.verifier = Objects.requireNonNull(verifier);
        this.scopes = Set.copyOf(scopes);
        this.publicServices = Set.copyOf(publicServices);
    }

    /** Returns the token of the call that is being served, or null for a service without protection. */
    public static VerifiedToken current() {
        return TOKEN.get();
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        if (publicServices.contains(Objects.requireNonNullElse(call.getMethodDescriptor().getServiceName(), ""))) {
            return next.startCall(call, headers);
        }
        List<String> authorizations = new ArrayList<>();
        Iterable<String> sent = headers.getAll(AUTHORIZATION);
        if (sent != null) {
            sent.forEach(authorizations::add);
        }
        try {
            VerifiedToken token = Bearer.check(verifier, authorizations, scopes);
            return Contexts.interceptCall(Context.current().withValue(TOKEN, token), call, headers, next);
        } catch (VerificationException refused) {
            refuse(call, refused);
            return new ServerCall.Listener<>() {};
        }
    }

    private static void refuse(ServerCall<?, ?> call, VerificationException refused) {
        Status status;
        if (refused.isUnavailable()) {
            boolean isKeySet = refused.reason().equals(VerificationException.KEY_SET_UNAVAILABLE);
            String away = isKeySet ? "the key set is" : "revocations are";
            status = Status.UNAVAILABLE.withDescription(away + " not at hand: retry later");
        } else if (refused.reason().equals(Bearer.SCOPE_DENIED)) {
            status = Status.PERMISSION_DENIED.withDescription("the call's token lacks a scope");
        } else {
            status = Status.UNAUTHENTICATED.withDescription("the call has no token that is accepted here");
        }
        var answer = com.google.rpc.Status.newBuilder()
                .setCode(status.getCode().value())
                .setMessage(status.getDescription());
        if (!refused.reason().equals(Bearer.MISSING)) {
            answer.addDetails(Any.pack(ErrorInfo.newBuilder()
                    .setDomain("tokenmint.dev")
                    .setReason(refused.reason())
                    .build()));
        }
        call.close(status, StatusProto.toStatusRuntimeException(answer.build()).getTrailers());
    }
}

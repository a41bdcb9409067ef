package dev.tokenmint.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The service refused a call, or it could not be reached. */
public final class CallException extends TokenmintException {
    /** One thing wrong with a request: the field's path, and what was expected of it. */
    public record Violation(String field, String description) implements java.io.Serializable {}

    private static final long serialVersionUID = 1L;
    private static final String DOMAIN = "tokenmint.dev";

    private final Status.Code code;
    private final transient Details details;

    /** What an answer says beside its code and message. */
    private record Details(
            String reason, Map<String, String> metadata, Duration retryAfter, List<Violation> violations) {}

    private CallException(com.google.rpc.Status status, Details details, Throwable cause) {
        super(details.reason(), status.getMessage(), cause);
        this.code = Status.fromCodeValue(status.getCode()).getCode();
        this.details = details;
    }

    static CallException of(StatusRuntimeException failure) {
        com.google.rpc.Status status = StatusProto.fromThrowable(failure);
        if (status == null) {
            status = com.google.rpc.Status.newBuilder().setCode(failure.getStatus().getCode().value()).build();
        }
        return new CallException(status, read(status), failure);
    }

    static CallException of(com.google.rpc.Status status) {
        return new CallException(status, read(status), null);
    }

    private static Details read(com.google.rpc.Status status) {
        String reason = Status.fromCodeValue(status.getCode()).getCode().name();
        Map<String, String> metadata = Map.of();
        Duration retryAfter = null;
        List<Violation> violations = List.of();
        try {
            for (Any detail : status.getDetailsList()) {
                if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getDomain().equals(DOMAIN)) {
                    reason = detail.unpack(ErrorInfo.class).getReason();
                    metadata = Map.copyOf(detail.unpack(ErrorInfo.class).getMetadataMap());
                } else if (detail.is(RetryInfo.class)) {
                    var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                    retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
                } else if (detail.is(BadRequest.class)) {
                    violations = detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                            .map(found -> new Violation(found.getField(), found.getDescription()))
                            .toList();
                }
            }
        } catch (InvalidProtocolBufferException unreadable) {
            // The code and what was read so far stand: they are all that is known.
        }
        return new Details(reason, metadata, retryAfter, violations);
    }

    /** Returns the gRPC code of the answer. */
    public Status.Code code() {
        return code;
    }

    /** Returns when to try again, where the answer says so. */
    public Optional<Duration> retryAfter() {
        return details == null ? Optional.empty() : Optional.ofNullable(details.retryAfter());
    }

    /** Returns everything that was wrong with the request. */
    public List<Violation> violations() {
        return details == null ? List.of() : details.violations();
    }

    /** Returns further stable keys and values. */
    public Map<String, String> metadata() {
        return details == null ? Map.of() : details.metadata();
    }
}

package dev.tokenmint.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Turns tokens that somebody else signed into tokens that tokenmint signed
 * (RFC 8693), and answers questions about the tokens it minted.
 * Every method needs an authenticated client: by the metadata keys
 * `tokenmint-client-id` and `tokenmint-client-secret`, by
 * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
 * the certificate of the connection. One credential at a time; two are none.
 * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
 * domain `tokenmint.dev` and a stable `reason`.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class TokenExchangeServiceGrpc {

  private TokenExchangeServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tokenmint.v1.TokenExchangeService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ExchangeTokenRequest,
      dev.tokenmint.v1.ExchangeTokenResponse> getExchangeTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ExchangeToken",
      requestType = dev.tokenmint.v1.ExchangeTokenRequest.class,
      responseType = dev.tokenmint.v1.ExchangeTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ExchangeTokenRequest,
      dev.tokenmint.v1.ExchangeTokenResponse> getExchangeTokenMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ExchangeTokenRequest, dev.tokenmint.v1.ExchangeTokenResponse> getExchangeTokenMethod;
    if ((getExchangeTokenMethod = TokenExchangeServiceGrpc.getExchangeTokenMethod) == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        if ((getExchangeTokenMethod = TokenExchangeServiceGrpc.getExchangeTokenMethod) == null) {
          TokenExchangeServiceGrpc.getExchangeTokenMethod = getExchangeTokenMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ExchangeTokenRequest, dev.tokenmint.v1.ExchangeTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ExchangeToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ExchangeTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ExchangeTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenExchangeServiceMethodDescriptorSupplier("ExchangeToken"))
              .build();
        }
      }
    }
    return getExchangeTokenMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.BatchExchangeTokensRequest,
      dev.tokenmint.v1.BatchExchangeTokensResponse> getBatchExchangeTokensMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchExchangeTokens",
      requestType = dev.tokenmint.v1.BatchExchangeTokensRequest.class,
      responseType = dev.tokenmint.v1.BatchExchangeTokensResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.BatchExchangeTokensRequest,
      dev.tokenmint.v1.BatchExchangeTokensResponse> getBatchExchangeTokensMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.BatchExchangeTokensRequest, dev.tokenmint.v1.BatchExchangeTokensResponse> getBatchExchangeTokensMethod;
    if ((getBatchExchangeTokensMethod = TokenExchangeServiceGrpc.getBatchExchangeTokensMethod) == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        if ((getBatchExchangeTokensMethod = TokenExchangeServiceGrpc.getBatchExchangeTokensMethod) == null) {
          TokenExchangeServiceGrpc.getBatchExchangeTokensMethod = getBatchExchangeTokensMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.BatchExchangeTokensRequest, dev.tokenmint.v1.BatchExchangeTokensResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchExchangeTokens"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.BatchExchangeTokensRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.BatchExchangeTokensResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenExchangeServiceMethodDescriptorSupplier("BatchExchangeTokens"))
              .build();
        }
      }
    }
    return getBatchExchangeTokensMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ExplainExchangeRequest,
      dev.tokenmint.v1.ExplainExchangeResponse> getExplainExchangeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ExplainExchange",
      requestType = dev.tokenmint.v1.ExplainExchangeRequest.class,
      responseType = dev.tokenmint.v1.ExplainExchangeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ExplainExchangeRequest,
      dev.tokenmint.v1.ExplainExchangeResponse> getExplainExchangeMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ExplainExchangeRequest, dev.tokenmint.v1.ExplainExchangeResponse> getExplainExchangeMethod;
    if ((getExplainExchangeMethod = TokenExchangeServiceGrpc.getExplainExchangeMethod) == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        if ((getExplainExchangeMethod = TokenExchangeServiceGrpc.getExplainExchangeMethod) == null) {
          TokenExchangeServiceGrpc.getExplainExchangeMethod = getExplainExchangeMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ExplainExchangeRequest, dev.tokenmint.v1.ExplainExchangeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ExplainExchange"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ExplainExchangeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ExplainExchangeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenExchangeServiceMethodDescriptorSupplier("ExplainExchange"))
              .build();
        }
      }
    }
    return getExplainExchangeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.IntrospectTokenRequest,
      dev.tokenmint.v1.IntrospectTokenResponse> getIntrospectTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "IntrospectToken",
      requestType = dev.tokenmint.v1.IntrospectTokenRequest.class,
      responseType = dev.tokenmint.v1.IntrospectTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.IntrospectTokenRequest,
      dev.tokenmint.v1.IntrospectTokenResponse> getIntrospectTokenMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.IntrospectTokenRequest, dev.tokenmint.v1.IntrospectTokenResponse> getIntrospectTokenMethod;
    if ((getIntrospectTokenMethod = TokenExchangeServiceGrpc.getIntrospectTokenMethod) == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        if ((getIntrospectTokenMethod = TokenExchangeServiceGrpc.getIntrospectTokenMethod) == null) {
          TokenExchangeServiceGrpc.getIntrospectTokenMethod = getIntrospectTokenMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.IntrospectTokenRequest, dev.tokenmint.v1.IntrospectTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "IntrospectToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.IntrospectTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.IntrospectTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenExchangeServiceMethodDescriptorSupplier("IntrospectToken"))
              .build();
        }
      }
    }
    return getIntrospectTokenMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeTokenRequest,
      dev.tokenmint.v1.RevokeTokenResponse> getRevokeTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RevokeToken",
      requestType = dev.tokenmint.v1.RevokeTokenRequest.class,
      responseType = dev.tokenmint.v1.RevokeTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeTokenRequest,
      dev.tokenmint.v1.RevokeTokenResponse> getRevokeTokenMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeTokenRequest, dev.tokenmint.v1.RevokeTokenResponse> getRevokeTokenMethod;
    if ((getRevokeTokenMethod = TokenExchangeServiceGrpc.getRevokeTokenMethod) == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        if ((getRevokeTokenMethod = TokenExchangeServiceGrpc.getRevokeTokenMethod) == null) {
          TokenExchangeServiceGrpc.getRevokeTokenMethod = getRevokeTokenMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.RevokeTokenRequest, dev.tokenmint.v1.RevokeTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RevokeToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokeTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokeTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenExchangeServiceMethodDescriptorSupplier("RevokeToken"))
              .build();
        }
      }
    }
    return getRevokeTokenMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static TokenExchangeServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceStub>() {
        @java.lang.Override
        public TokenExchangeServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenExchangeServiceStub(channel, callOptions);
        }
      };
    return TokenExchangeServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static TokenExchangeServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceBlockingV2Stub>() {
        @java.lang.Override
        public TokenExchangeServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenExchangeServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return TokenExchangeServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static TokenExchangeServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceBlockingStub>() {
        @java.lang.Override
        public TokenExchangeServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenExchangeServiceBlockingStub(channel, callOptions);
        }
      };
    return TokenExchangeServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static TokenExchangeServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenExchangeServiceFutureStub>() {
        @java.lang.Override
        public TokenExchangeServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenExchangeServiceFutureStub(channel, callOptions);
        }
      };
    return TokenExchangeServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     * </pre>
     */
    default void exchangeToken(dev.tokenmint.v1.ExchangeTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExchangeTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getExchangeTokenMethod(), responseObserver);
    }

    /**
     * <pre>
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     * Not idempotent. Fails as ExchangeToken does.
     * </pre>
     */
    default void batchExchangeTokens(dev.tokenmint.v1.BatchExchangeTokensRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.BatchExchangeTokensResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchExchangeTokensMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     * </pre>
     */
    default void explainExchange(dev.tokenmint.v1.ExplainExchangeRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExplainExchangeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getExplainExchangeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     * </pre>
     */
    default void introspectToken(dev.tokenmint.v1.IntrospectTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.IntrospectTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getIntrospectTokenMethod(), responseObserver);
    }

    /**
     * <pre>
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     * </pre>
     */
    default void revokeToken(dev.tokenmint.v1.RevokeTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRevokeTokenMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service TokenExchangeService.
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public static abstract class TokenExchangeServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return TokenExchangeServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service TokenExchangeService.
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public static final class TokenExchangeServiceStub
      extends io.grpc.stub.AbstractAsyncStub<TokenExchangeServiceStub> {
    private TokenExchangeServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenExchangeServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenExchangeServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     * </pre>
     */
    public void exchangeToken(dev.tokenmint.v1.ExchangeTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExchangeTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getExchangeTokenMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     * Not idempotent. Fails as ExchangeToken does.
     * </pre>
     */
    public void batchExchangeTokens(dev.tokenmint.v1.BatchExchangeTokensRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.BatchExchangeTokensResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchExchangeTokensMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     * </pre>
     */
    public void explainExchange(dev.tokenmint.v1.ExplainExchangeRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExplainExchangeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getExplainExchangeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     * </pre>
     */
    public void introspectToken(dev.tokenmint.v1.IntrospectTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.IntrospectTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getIntrospectTokenMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     * </pre>
     */
    public void revokeToken(dev.tokenmint.v1.RevokeTokenRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRevokeTokenMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service TokenExchangeService.
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public static final class TokenExchangeServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<TokenExchangeServiceBlockingV2Stub> {
    private TokenExchangeServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenExchangeServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenExchangeServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     * </pre>
     */
    public dev.tokenmint.v1.ExchangeTokenResponse exchangeToken(dev.tokenmint.v1.ExchangeTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getExchangeTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     * Not idempotent. Fails as ExchangeToken does.
     * </pre>
     */
    public dev.tokenmint.v1.BatchExchangeTokensResponse batchExchangeTokens(dev.tokenmint.v1.BatchExchangeTokensRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getBatchExchangeTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     * </pre>
     */
    public dev.tokenmint.v1.ExplainExchangeResponse explainExchange(dev.tokenmint.v1.ExplainExchangeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getExplainExchangeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     * </pre>
     */
    public dev.tokenmint.v1.IntrospectTokenResponse introspectToken(dev.tokenmint.v1.IntrospectTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getIntrospectTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     * </pre>
     */
    public dev.tokenmint.v1.RevokeTokenResponse revokeToken(dev.tokenmint.v1.RevokeTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRevokeTokenMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service TokenExchangeService.
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public static final class TokenExchangeServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<TokenExchangeServiceBlockingStub> {
    private TokenExchangeServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenExchangeServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenExchangeServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     * </pre>
     */
    public dev.tokenmint.v1.ExchangeTokenResponse exchangeToken(dev.tokenmint.v1.ExchangeTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getExchangeTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     * Not idempotent. Fails as ExchangeToken does.
     * </pre>
     */
    public dev.tokenmint.v1.BatchExchangeTokensResponse batchExchangeTokens(dev.tokenmint.v1.BatchExchangeTokensRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchExchangeTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     * </pre>
     */
    public dev.tokenmint.v1.ExplainExchangeResponse explainExchange(dev.tokenmint.v1.ExplainExchangeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getExplainExchangeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     * </pre>
     */
    public dev.tokenmint.v1.IntrospectTokenResponse introspectToken(dev.tokenmint.v1.IntrospectTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getIntrospectTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     * </pre>
     */
    public dev.tokenmint.v1.RevokeTokenResponse revokeToken(dev.tokenmint.v1.RevokeTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRevokeTokenMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service TokenExchangeService.
   * <pre>
   * Turns tokens that somebody else signed into tokens that tokenmint signed
   * (RFC 8693), and answers questions about the tokens it minted.
   * Every method needs an authenticated client: by the metadata keys
   * `tokenmint-client-id` and `tokenmint-client-secret`, by
   * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
   * the certificate of the connection. One credential at a time; two are none.
   * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
   * domain `tokenmint.dev` and a stable `reason`.
   * </pre>
   */
  public static final class TokenExchangeServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<TokenExchangeServiceFutureStub> {
    private TokenExchangeServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenExchangeServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenExchangeServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ExchangeTokenResponse> exchangeToken(
        dev.tokenmint.v1.ExchangeTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getExchangeTokenMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     * Not idempotent. Fails as ExchangeToken does.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.BatchExchangeTokensResponse> batchExchangeTokens(
        dev.tokenmint.v1.BatchExchangeTokensRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchExchangeTokensMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ExplainExchangeResponse> explainExchange(
        dev.tokenmint.v1.ExplainExchangeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getExplainExchangeMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.IntrospectTokenResponse> introspectToken(
        dev.tokenmint.v1.IntrospectTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getIntrospectTokenMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.RevokeTokenResponse> revokeToken(
        dev.tokenmint.v1.RevokeTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRevokeTokenMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_EXCHANGE_TOKEN = 0;
  private static final int METHODID_BATCH_EXCHANGE_TOKENS = 1;
  private static final int METHODID_EXPLAIN_EXCHANGE = 2;
  private static final int METHODID_INTROSPECT_TOKEN = 3;
  private static final int METHODID_REVOKE_TOKEN = 4;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_EXCHANGE_TOKEN:
          serviceImpl.exchangeToken((dev.tokenmint.v1.ExchangeTokenRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExchangeTokenResponse>) responseObserver);
          break;
        case METHODID_BATCH_EXCHANGE_TOKENS:
          serviceImpl.batchExchangeTokens((dev.tokenmint.v1.BatchExchangeTokensRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.BatchExchangeTokensResponse>) responseObserver);
          break;
        case METHODID_EXPLAIN_EXCHANGE:
          serviceImpl.explainExchange((dev.tokenmint.v1.ExplainExchangeRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ExplainExchangeResponse>) responseObserver);
          break;
        case METHODID_INTROSPECT_TOKEN:
          serviceImpl.introspectToken((dev.tokenmint.v1.IntrospectTokenRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.IntrospectTokenResponse>) responseObserver);
          break;
        case METHODID_REVOKE_TOKEN:
          serviceImpl.revokeToken((dev.tokenmint.v1.RevokeTokenRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeTokenResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getExchangeTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ExchangeTokenRequest,
              dev.tokenmint.v1.ExchangeTokenResponse>(
                service, METHODID_EXCHANGE_TOKEN)))
        .addMethod(
          getBatchExchangeTokensMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.BatchExchangeTokensRequest,
              dev.tokenmint.v1.BatchExchangeTokensResponse>(
                service, METHODID_BATCH_EXCHANGE_TOKENS)))
        .addMethod(
          getExplainExchangeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ExplainExchangeRequest,
              dev.tokenmint.v1.ExplainExchangeResponse>(
                service, METHODID_EXPLAIN_EXCHANGE)))
        .addMethod(
          getIntrospectTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.IntrospectTokenRequest,
              dev.tokenmint.v1.IntrospectTokenResponse>(
                service, METHODID_INTROSPECT_TOKEN)))
        .addMethod(
          getRevokeTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.RevokeTokenRequest,
              dev.tokenmint.v1.RevokeTokenResponse>(
                service, METHODID_REVOKE_TOKEN)))
        .build();
  }

  private static abstract class TokenExchangeServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    TokenExchangeServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.tokenmint.v1.TokenExchangeServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("TokenExchangeService");
    }
  }

  private static final class TokenExchangeServiceFileDescriptorSupplier
      extends TokenExchangeServiceBaseDescriptorSupplier {
    TokenExchangeServiceFileDescriptorSupplier() {}
  }

  private static final class TokenExchangeServiceMethodDescriptorSupplier
      extends TokenExchangeServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    TokenExchangeServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (TokenExchangeServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new TokenExchangeServiceFileDescriptorSupplier())
              .addMethod(getExchangeTokenMethod())
              .addMethod(getBatchExchangeTokensMethod())
              .addMethod(getExplainExchangeMethod())
              .addMethod(getIntrospectTokenMethod())
              .addMethod(getRevokeTokenMethod())
              .build();
        }
      }
    }
    return result;
  }
}

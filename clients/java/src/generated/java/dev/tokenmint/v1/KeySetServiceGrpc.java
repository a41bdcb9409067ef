package dev.tokenmint.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Publishes the keys that verify minted tokens. Public: needs no credentials.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class KeySetServiceGrpc {

  private KeySetServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tokenmint.v1.KeySetService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeySetRequest,
      dev.tokenmint.v1.GetKeySetResponse> getGetKeySetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetKeySet",
      requestType = dev.tokenmint.v1.GetKeySetRequest.class,
      responseType = dev.tokenmint.v1.GetKeySetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeySetRequest,
      dev.tokenmint.v1.GetKeySetResponse> getGetKeySetMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeySetRequest, dev.tokenmint.v1.GetKeySetResponse> getGetKeySetMethod;
    if ((getGetKeySetMethod = KeySetServiceGrpc.getGetKeySetMethod) == null) {
      synchronized (KeySetServiceGrpc.class) {
        if ((getGetKeySetMethod = KeySetServiceGrpc.getGetKeySetMethod) == null) {
          KeySetServiceGrpc.getGetKeySetMethod = getGetKeySetMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.GetKeySetRequest, dev.tokenmint.v1.GetKeySetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetKeySet"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetKeySetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetKeySetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeySetServiceMethodDescriptorSupplier("GetKeySet"))
              .build();
        }
      }
    }
    return getGetKeySetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.WatchKeySetRequest,
      dev.tokenmint.v1.WatchKeySetResponse> getWatchKeySetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchKeySet",
      requestType = dev.tokenmint.v1.WatchKeySetRequest.class,
      responseType = dev.tokenmint.v1.WatchKeySetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.WatchKeySetRequest,
      dev.tokenmint.v1.WatchKeySetResponse> getWatchKeySetMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.WatchKeySetRequest, dev.tokenmint.v1.WatchKeySetResponse> getWatchKeySetMethod;
    if ((getWatchKeySetMethod = KeySetServiceGrpc.getWatchKeySetMethod) == null) {
      synchronized (KeySetServiceGrpc.class) {
        if ((getWatchKeySetMethod = KeySetServiceGrpc.getWatchKeySetMethod) == null) {
          KeySetServiceGrpc.getWatchKeySetMethod = getWatchKeySetMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.WatchKeySetRequest, dev.tokenmint.v1.WatchKeySetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchKeySet"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.WatchKeySetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.WatchKeySetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeySetServiceMethodDescriptorSupplier("WatchKeySet"))
              .build();
        }
      }
    }
    return getWatchKeySetMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static KeySetServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeySetServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeySetServiceStub>() {
        @java.lang.Override
        public KeySetServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeySetServiceStub(channel, callOptions);
        }
      };
    return KeySetServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static KeySetServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeySetServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeySetServiceBlockingV2Stub>() {
        @java.lang.Override
        public KeySetServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeySetServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return KeySetServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static KeySetServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeySetServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeySetServiceBlockingStub>() {
        @java.lang.Override
        public KeySetServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeySetServiceBlockingStub(channel, callOptions);
        }
      };
    return KeySetServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static KeySetServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeySetServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeySetServiceFutureStub>() {
        @java.lang.Override
        public KeySetServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeySetServiceFutureStub(channel, callOptions);
        }
      };
    return KeySetServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     * </pre>
     */
    default void getKeySet(dev.tokenmint.v1.GetKeySetRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeySetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetKeySetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     * </pre>
     */
    default void watchKeySet(dev.tokenmint.v1.WatchKeySetRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.WatchKeySetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchKeySetMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service KeySetService.
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public static abstract class KeySetServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return KeySetServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service KeySetService.
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public static final class KeySetServiceStub
      extends io.grpc.stub.AbstractAsyncStub<KeySetServiceStub> {
    private KeySetServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeySetServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeySetServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     * </pre>
     */
    public void getKeySet(dev.tokenmint.v1.GetKeySetRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeySetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetKeySetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     * </pre>
     */
    public void watchKeySet(dev.tokenmint.v1.WatchKeySetRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.WatchKeySetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchKeySetMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service KeySetService.
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public static final class KeySetServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<KeySetServiceBlockingV2Stub> {
    private KeySetServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeySetServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeySetServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     * </pre>
     */
    public dev.tokenmint.v1.GetKeySetResponse getKeySet(dev.tokenmint.v1.GetKeySetRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetKeySetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.tokenmint.v1.WatchKeySetResponse>
        watchKeySet(dev.tokenmint.v1.WatchKeySetRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchKeySetMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service KeySetService.
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public static final class KeySetServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<KeySetServiceBlockingStub> {
    private KeySetServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeySetServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeySetServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     * </pre>
     */
    public dev.tokenmint.v1.GetKeySetResponse getKeySet(dev.tokenmint.v1.GetKeySetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetKeySetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     * </pre>
     */
    public java.util.Iterator<dev.tokenmint.v1.WatchKeySetResponse> watchKeySet(
        dev.tokenmint.v1.WatchKeySetRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchKeySetMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service KeySetService.
   * <pre>
   * Publishes the keys that verify minted tokens. Public: needs no credentials.
   * </pre>
   */
  public static final class KeySetServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<KeySetServiceFutureStub> {
    private KeySetServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeySetServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeySetServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.GetKeySetResponse> getKeySet(
        dev.tokenmint.v1.GetKeySetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetKeySetMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_KEY_SET = 0;
  private static final int METHODID_WATCH_KEY_SET = 1;

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
        case METHODID_GET_KEY_SET:
          serviceImpl.getKeySet((dev.tokenmint.v1.GetKeySetRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeySetResponse>) responseObserver);
          break;
        case METHODID_WATCH_KEY_SET:
          serviceImpl.watchKeySet((dev.tokenmint.v1.WatchKeySetRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.WatchKeySetResponse>) responseObserver);
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
          getGetKeySetMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.GetKeySetRequest,
              dev.tokenmint.v1.GetKeySetResponse>(
                service, METHODID_GET_KEY_SET)))
        .addMethod(
          getWatchKeySetMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.tokenmint.v1.WatchKeySetRequest,
              dev.tokenmint.v1.WatchKeySetResponse>(
                service, METHODID_WATCH_KEY_SET)))
        .build();
  }

  private static abstract class KeySetServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    KeySetServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.tokenmint.v1.KeySetServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("KeySetService");
    }
  }

  private static final class KeySetServiceFileDescriptorSupplier
      extends KeySetServiceBaseDescriptorSupplier {
    KeySetServiceFileDescriptorSupplier() {}
  }

  private static final class KeySetServiceMethodDescriptorSupplier
      extends KeySetServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    KeySetServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (KeySetServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new KeySetServiceFileDescriptorSupplier())
              .addMethod(getGetKeySetMethod())
              .addMethod(getWatchKeySetMethod())
              .build();
        }
      }
    }
    return result;
  }
}

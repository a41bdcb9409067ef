package dev.tokenmint.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Lets operators look at the providers whose tokens are accepted. Served on the
 * operators' listener. Reading needs the viewer role, refreshing the operator
 * role. What is told of key sets is what the answering replica knows.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ProviderAdminServiceGrpc {

  private ProviderAdminServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tokenmint.v1.ProviderAdminService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProvidersRequest,
      dev.tokenmint.v1.ListProvidersResponse> getListProvidersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListProviders",
      requestType = dev.tokenmint.v1.ListProvidersRequest.class,
      responseType = dev.tokenmint.v1.ListProvidersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProvidersRequest,
      dev.tokenmint.v1.ListProvidersResponse> getListProvidersMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProvidersRequest, dev.tokenmint.v1.ListProvidersResponse> getListProvidersMethod;
    if ((getListProvidersMethod = ProviderAdminServiceGrpc.getListProvidersMethod) == null) {
      synchronized (ProviderAdminServiceGrpc.class) {
        if ((getListProvidersMethod = ProviderAdminServiceGrpc.getListProvidersMethod) == null) {
          ProviderAdminServiceGrpc.getListProvidersMethod = getListProvidersMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ListProvidersRequest, dev.tokenmint.v1.ListProvidersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListProviders"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListProvidersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListProvidersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProviderAdminServiceMethodDescriptorSupplier("ListProviders"))
              .build();
        }
      }
    }
    return getListProvidersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProviderRequest,
      dev.tokenmint.v1.GetProviderResponse> getGetProviderMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetProvider",
      requestType = dev.tokenmint.v1.GetProviderRequest.class,
      responseType = dev.tokenmint.v1.GetProviderResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProviderRequest,
      dev.tokenmint.v1.GetProviderResponse> getGetProviderMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProviderRequest, dev.tokenmint.v1.GetProviderResponse> getGetProviderMethod;
    if ((getGetProviderMethod = ProviderAdminServiceGrpc.getGetProviderMethod) == null) {
      synchronized (ProviderAdminServiceGrpc.class) {
        if ((getGetProviderMethod = ProviderAdminServiceGrpc.getGetProviderMethod) == null) {
          ProviderAdminServiceGrpc.getGetProviderMethod = getGetProviderMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.GetProviderRequest, dev.tokenmint.v1.GetProviderResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetProvider"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetProviderRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetProviderResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProviderAdminServiceMethodDescriptorSupplier("GetProvider"))
              .build();
        }
      }
    }
    return getGetProviderMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.RefreshProviderKeysRequest,
      dev.tokenmint.v1.RefreshProviderKeysResponse> getRefreshProviderKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RefreshProviderKeys",
      requestType = dev.tokenmint.v1.RefreshProviderKeysRequest.class,
      responseType = dev.tokenmint.v1.RefreshProviderKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.RefreshProviderKeysRequest,
      dev.tokenmint.v1.RefreshProviderKeysResponse> getRefreshProviderKeysMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.RefreshProviderKeysRequest, dev.tokenmint.v1.RefreshProviderKeysResponse> getRefreshProviderKeysMethod;
    if ((getRefreshProviderKeysMethod = ProviderAdminServiceGrpc.getRefreshProviderKeysMethod) == null) {
      synchronized (ProviderAdminServiceGrpc.class) {
        if ((getRefreshProviderKeysMethod = ProviderAdminServiceGrpc.getRefreshProviderKeysMethod) == null) {
          ProviderAdminServiceGrpc.getRefreshProviderKeysMethod = getRefreshProviderKeysMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.RefreshProviderKeysRequest, dev.tokenmint.v1.RefreshProviderKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RefreshProviderKeys"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RefreshProviderKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RefreshProviderKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProviderAdminServiceMethodDescriptorSupplier("RefreshProviderKeys"))
              .build();
        }
      }
    }
    return getRefreshProviderKeysMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ProviderAdminServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceStub>() {
        @java.lang.Override
        public ProviderAdminServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProviderAdminServiceStub(channel, callOptions);
        }
      };
    return ProviderAdminServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ProviderAdminServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceBlockingV2Stub>() {
        @java.lang.Override
        public ProviderAdminServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProviderAdminServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ProviderAdminServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ProviderAdminServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceBlockingStub>() {
        @java.lang.Override
        public ProviderAdminServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProviderAdminServiceBlockingStub(channel, callOptions);
        }
      };
    return ProviderAdminServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ProviderAdminServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProviderAdminServiceFutureStub>() {
        @java.lang.Override
        public ProviderAdminServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProviderAdminServiceFutureStub(channel, callOptions);
        }
      };
    return ProviderAdminServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Lists the configured providers by name.
     * Idempotent.
     * </pre>
     */
    default void listProviders(dev.tokenmint.v1.ListProvidersRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProvidersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListProvidersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns one provider. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    default void getProvider(dev.tokenmint.v1.GetProviderRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProviderResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetProviderMethod(), responseObserver);
    }

    /**
     * <pre>
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     * Idempotent.
     * </pre>
     */
    default void refreshProviderKeys(dev.tokenmint.v1.RefreshProviderKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RefreshProviderKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRefreshProviderKeysMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ProviderAdminService.
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public static abstract class ProviderAdminServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ProviderAdminServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ProviderAdminService.
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public static final class ProviderAdminServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ProviderAdminServiceStub> {
    private ProviderAdminServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProviderAdminServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProviderAdminServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the configured providers by name.
     * Idempotent.
     * </pre>
     */
    public void listProviders(dev.tokenmint.v1.ListProvidersRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProvidersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListProvidersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns one provider. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public void getProvider(dev.tokenmint.v1.GetProviderRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProviderResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetProviderMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     * Idempotent.
     * </pre>
     */
    public void refreshProviderKeys(dev.tokenmint.v1.RefreshProviderKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RefreshProviderKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRefreshProviderKeysMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ProviderAdminService.
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public static final class ProviderAdminServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ProviderAdminServiceBlockingV2Stub> {
    private ProviderAdminServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProviderAdminServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProviderAdminServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the configured providers by name.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListProvidersResponse listProviders(dev.tokenmint.v1.ListProvidersRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListProvidersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one provider. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetProviderResponse getProvider(dev.tokenmint.v1.GetProviderRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetProviderMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.RefreshProviderKeysResponse refreshProviderKeys(dev.tokenmint.v1.RefreshProviderKeysRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRefreshProviderKeysMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ProviderAdminService.
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public static final class ProviderAdminServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ProviderAdminServiceBlockingStub> {
    private ProviderAdminServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProviderAdminServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProviderAdminServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the configured providers by name.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListProvidersResponse listProviders(dev.tokenmint.v1.ListProvidersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListProvidersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one provider. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetProviderResponse getProvider(dev.tokenmint.v1.GetProviderRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetProviderMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.RefreshProviderKeysResponse refreshProviderKeys(dev.tokenmint.v1.RefreshProviderKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRefreshProviderKeysMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ProviderAdminService.
   * <pre>
   * Lets operators look at the providers whose tokens are accepted. Served on the
   * operators' listener. Reading needs the viewer role, refreshing the operator
   * role. What is told of key sets is what the answering replica knows.
   * </pre>
   */
  public static final class ProviderAdminServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ProviderAdminServiceFutureStub> {
    private ProviderAdminServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProviderAdminServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProviderAdminServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the configured providers by name.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ListProvidersResponse> listProviders(
        dev.tokenmint.v1.ListProvidersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListProvidersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns one provider. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.GetProviderResponse> getProvider(
        dev.tokenmint.v1.GetProviderRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetProviderMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.RefreshProviderKeysResponse> refreshProviderKeys(
        dev.tokenmint.v1.RefreshProviderKeysRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRefreshProviderKeysMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_PROVIDERS = 0;
  private static final int METHODID_GET_PROVIDER = 1;
  private static final int METHODID_REFRESH_PROVIDER_KEYS = 2;

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
        case METHODID_LIST_PROVIDERS:
          serviceImpl.listProviders((dev.tokenmint.v1.ListProvidersRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProvidersResponse>) responseObserver);
          break;
        case METHODID_GET_PROVIDER:
          serviceImpl.getProvider((dev.tokenmint.v1.GetProviderRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProviderResponse>) responseObserver);
          break;
        case METHODID_REFRESH_PROVIDER_KEYS:
          serviceImpl.refreshProviderKeys((dev.tokenmint.v1.RefreshProviderKeysRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.RefreshProviderKeysResponse>) responseObserver);
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
          getListProvidersMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ListProvidersRequest,
              dev.tokenmint.v1.ListProvidersResponse>(
                service, METHODID_LIST_PROVIDERS)))
        .addMethod(
          getGetProviderMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.GetProviderRequest,
              dev.tokenmint.v1.GetProviderResponse>(
                service, METHODID_GET_PROVIDER)))
        .addMethod(
          getRefreshProviderKeysMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.RefreshProviderKeysRequest,
              dev.tokenmint.v1.RefreshProviderKeysResponse>(
                service, METHODID_REFRESH_PROVIDER_KEYS)))
        .build();
  }

  private static abstract class ProviderAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ProviderAdminServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.tokenmint.v1.ProviderAdminServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ProviderAdminService");
    }
  }

  private static final class ProviderAdminServiceFileDescriptorSupplier
      extends ProviderAdminServiceBaseDescriptorSupplier {
    ProviderAdminServiceFileDescriptorSupplier() {}
  }

  private static final class ProviderAdminServiceMethodDescriptorSupplier
      extends ProviderAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ProviderAdminServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ProviderAdminServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ProviderAdminServiceFileDescriptorSupplier())
              .addMethod(getListProvidersMethod())
              .addMethod(getGetProviderMethod())
              .addMethod(getRefreshProviderKeysMethod())
              .build();
        }
      }
    }
    return result;
  }
}

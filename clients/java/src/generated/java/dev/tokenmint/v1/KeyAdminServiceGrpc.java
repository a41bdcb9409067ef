package dev.tokenmint.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Lets operators look at the signing keys and move them through their life.
 * Served on the operators' listener. Reading needs the viewer role, preparing,
 * activating and rotating the operator role, forcing and revoking the security
 * role. An answer means that the change is durable.
 * Changes fail with ABORTED where another change came first (read again and
 * retry), with FAILED_PRECONDITION where the key's state or the schedule does
 * not allow them, and with UNAVAILABLE where the store can't be reached or
 * could not confirm the write: then the outcome is unknown and a retry is safe.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class KeyAdminServiceGrpc {

  private KeyAdminServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tokenmint.v1.KeyAdminService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ListSigningKeysRequest,
      dev.tokenmint.v1.ListSigningKeysResponse> getListSigningKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListSigningKeys",
      requestType = dev.tokenmint.v1.ListSigningKeysRequest.class,
      responseType = dev.tokenmint.v1.ListSigningKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ListSigningKeysRequest,
      dev.tokenmint.v1.ListSigningKeysResponse> getListSigningKeysMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ListSigningKeysRequest, dev.tokenmint.v1.ListSigningKeysResponse> getListSigningKeysMethod;
    if ((getListSigningKeysMethod = KeyAdminServiceGrpc.getListSigningKeysMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getListSigningKeysMethod = KeyAdminServiceGrpc.getListSigningKeysMethod) == null) {
          KeyAdminServiceGrpc.getListSigningKeysMethod = getListSigningKeysMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ListSigningKeysRequest, dev.tokenmint.v1.ListSigningKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListSigningKeys"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListSigningKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListSigningKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("ListSigningKeys"))
              .build();
        }
      }
    }
    return getListSigningKeysMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.GetSigningKeyRequest,
      dev.tokenmint.v1.GetSigningKeyResponse> getGetSigningKeyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetSigningKey",
      requestType = dev.tokenmint.v1.GetSigningKeyRequest.class,
      responseType = dev.tokenmint.v1.GetSigningKeyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.GetSigningKeyRequest,
      dev.tokenmint.v1.GetSigningKeyResponse> getGetSigningKeyMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.GetSigningKeyRequest, dev.tokenmint.v1.GetSigningKeyResponse> getGetSigningKeyMethod;
    if ((getGetSigningKeyMethod = KeyAdminServiceGrpc.getGetSigningKeyMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getGetSigningKeyMethod = KeyAdminServiceGrpc.getGetSigningKeyMethod) == null) {
          KeyAdminServiceGrpc.getGetSigningKeyMethod = getGetSigningKeyMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.GetSigningKeyRequest, dev.tokenmint.v1.GetSigningKeyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetSigningKey"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetSigningKeyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetSigningKeyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("GetSigningKey"))
              .build();
        }
      }
    }
    return getGetSigningKeyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.PrepareSigningKeyRequest,
      dev.tokenmint.v1.PrepareSigningKeyResponse> getPrepareSigningKeyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PrepareSigningKey",
      requestType = dev.tokenmint.v1.PrepareSigningKeyRequest.class,
      responseType = dev.tokenmint.v1.PrepareSigningKeyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.PrepareSigningKeyRequest,
      dev.tokenmint.v1.PrepareSigningKeyResponse> getPrepareSigningKeyMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.PrepareSigningKeyRequest, dev.tokenmint.v1.PrepareSigningKeyResponse> getPrepareSigningKeyMethod;
    if ((getPrepareSigningKeyMethod = KeyAdminServiceGrpc.getPrepareSigningKeyMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getPrepareSigningKeyMethod = KeyAdminServiceGrpc.getPrepareSigningKeyMethod) == null) {
          KeyAdminServiceGrpc.getPrepareSigningKeyMethod = getPrepareSigningKeyMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.PrepareSigningKeyRequest, dev.tokenmint.v1.PrepareSigningKeyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PrepareSigningKey"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.PrepareSigningKeyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.PrepareSigningKeyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("PrepareSigningKey"))
              .build();
        }
      }
    }
    return getPrepareSigningKeyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ActivateSigningKeyRequest,
      dev.tokenmint.v1.ActivateSigningKeyResponse> getActivateSigningKeyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ActivateSigningKey",
      requestType = dev.tokenmint.v1.ActivateSigningKeyRequest.class,
      responseType = dev.tokenmint.v1.ActivateSigningKeyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ActivateSigningKeyRequest,
      dev.tokenmint.v1.ActivateSigningKeyResponse> getActivateSigningKeyMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ActivateSigningKeyRequest, dev.tokenmint.v1.ActivateSigningKeyResponse> getActivateSigningKeyMethod;
    if ((getActivateSigningKeyMethod = KeyAdminServiceGrpc.getActivateSigningKeyMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getActivateSigningKeyMethod = KeyAdminServiceGrpc.getActivateSigningKeyMethod) == null) {
          KeyAdminServiceGrpc.getActivateSigningKeyMethod = getActivateSigningKeyMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ActivateSigningKeyRequest, dev.tokenmint.v1.ActivateSigningKeyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ActivateSigningKey"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ActivateSigningKeyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ActivateSigningKeyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("ActivateSigningKey"))
              .build();
        }
      }
    }
    return getActivateSigningKeyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.RotateSigningKeyRequest,
      dev.tokenmint.v1.RotateSigningKeyResponse> getRotateSigningKeyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RotateSigningKey",
      requestType = dev.tokenmint.v1.RotateSigningKeyRequest.class,
      responseType = dev.tokenmint.v1.RotateSigningKeyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.RotateSigningKeyRequest,
      dev.tokenmint.v1.RotateSigningKeyResponse> getRotateSigningKeyMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.RotateSigningKeyRequest, dev.tokenmint.v1.RotateSigningKeyResponse> getRotateSigningKeyMethod;
    if ((getRotateSigningKeyMethod = KeyAdminServiceGrpc.getRotateSigningKeyMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getRotateSigningKeyMethod = KeyAdminServiceGrpc.getRotateSigningKeyMethod) == null) {
          KeyAdminServiceGrpc.getRotateSigningKeyMethod = getRotateSigningKeyMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.RotateSigningKeyRequest, dev.tokenmint.v1.RotateSigningKeyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RotateSigningKey"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RotateSigningKeyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RotateSigningKeyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("RotateSigningKey"))
              .build();
        }
      }
    }
    return getRotateSigningKeyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeSigningKeyRequest,
      dev.tokenmint.v1.RevokeSigningKeyResponse> getRevokeSigningKeyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RevokeSigningKey",
      requestType = dev.tokenmint.v1.RevokeSigningKeyRequest.class,
      responseType = dev.tokenmint.v1.RevokeSigningKeyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeSigningKeyRequest,
      dev.tokenmint.v1.RevokeSigningKeyResponse> getRevokeSigningKeyMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokeSigningKeyRequest, dev.tokenmint.v1.RevokeSigningKeyResponse> getRevokeSigningKeyMethod;
    if ((getRevokeSigningKeyMethod = KeyAdminServiceGrpc.getRevokeSigningKeyMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getRevokeSigningKeyMethod = KeyAdminServiceGrpc.getRevokeSigningKeyMethod) == null) {
          KeyAdminServiceGrpc.getRevokeSigningKeyMethod = getRevokeSigningKeyMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.RevokeSigningKeyRequest, dev.tokenmint.v1.RevokeSigningKeyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RevokeSigningKey"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokeSigningKeyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokeSigningKeyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("RevokeSigningKey"))
              .build();
        }
      }
    }
    return getRevokeSigningKeyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ResealSigningKeysRequest,
      dev.tokenmint.v1.ResealSigningKeysResponse> getResealSigningKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResealSigningKeys",
      requestType = dev.tokenmint.v1.ResealSigningKeysRequest.class,
      responseType = dev.tokenmint.v1.ResealSigningKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ResealSigningKeysRequest,
      dev.tokenmint.v1.ResealSigningKeysResponse> getResealSigningKeysMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ResealSigningKeysRequest, dev.tokenmint.v1.ResealSigningKeysResponse> getResealSigningKeysMethod;
    if ((getResealSigningKeysMethod = KeyAdminServiceGrpc.getResealSigningKeysMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getResealSigningKeysMethod = KeyAdminServiceGrpc.getResealSigningKeysMethod) == null) {
          KeyAdminServiceGrpc.getResealSigningKeysMethod = getResealSigningKeysMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ResealSigningKeysRequest, dev.tokenmint.v1.ResealSigningKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResealSigningKeys"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ResealSigningKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ResealSigningKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("ResealSigningKeys"))
              .build();
        }
      }
    }
    return getResealSigningKeysMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeyRingStatusRequest,
      dev.tokenmint.v1.GetKeyRingStatusResponse> getGetKeyRingStatusMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetKeyRingStatus",
      requestType = dev.tokenmint.v1.GetKeyRingStatusRequest.class,
      responseType = dev.tokenmint.v1.GetKeyRingStatusResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeyRingStatusRequest,
      dev.tokenmint.v1.GetKeyRingStatusResponse> getGetKeyRingStatusMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.GetKeyRingStatusRequest, dev.tokenmint.v1.GetKeyRingStatusResponse> getGetKeyRingStatusMethod;
    if ((getGetKeyRingStatusMethod = KeyAdminServiceGrpc.getGetKeyRingStatusMethod) == null) {
      synchronized (KeyAdminServiceGrpc.class) {
        if ((getGetKeyRingStatusMethod = KeyAdminServiceGrpc.getGetKeyRingStatusMethod) == null) {
          KeyAdminServiceGrpc.getGetKeyRingStatusMethod = getGetKeyRingStatusMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.GetKeyRingStatusRequest, dev.tokenmint.v1.GetKeyRingStatusResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetKeyRingStatus"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetKeyRingStatusRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetKeyRingStatusResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyAdminServiceMethodDescriptorSupplier("GetKeyRingStatus"))
              .build();
        }
      }
    }
    return getGetKeyRingStatusMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static KeyAdminServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceStub>() {
        @java.lang.Override
        public KeyAdminServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyAdminServiceStub(channel, callOptions);
        }
      };
    return KeyAdminServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static KeyAdminServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceBlockingV2Stub>() {
        @java.lang.Override
        public KeyAdminServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyAdminServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return KeyAdminServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static KeyAdminServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceBlockingStub>() {
        @java.lang.Override
        public KeyAdminServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyAdminServiceBlockingStub(channel, callOptions);
        }
      };
    return KeyAdminServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static KeyAdminServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyAdminServiceFutureStub>() {
        @java.lang.Override
        public KeyAdminServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyAdminServiceFutureStub(channel, callOptions);
        }
      };
    return KeyAdminServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Lists the keys, newest first within each algorithm.
     * Idempotent.
     * </pre>
     */
    default void listSigningKeys(dev.tokenmint.v1.ListSigningKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListSigningKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListSigningKeysMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns one key. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    default void getSigningKey(dev.tokenmint.v1.GetSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetSigningKeyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetSigningKeyMethod(), responseObserver);
    }

    /**
     * <pre>
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     * Idempotent.
     * </pre>
     */
    default void prepareSigningKey(dev.tokenmint.v1.PrepareSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.PrepareSigningKeyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPrepareSigningKeyMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     * Idempotent: activating the active key changes nothing.
     * </pre>
     */
    default void activateSigningKey(dev.tokenmint.v1.ActivateSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ActivateSigningKeyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getActivateSigningKeyMethod(), responseObserver);
    }

    /**
     * <pre>
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     * Not idempotent.
     * </pre>
     */
    default void rotateSigningKey(dev.tokenmint.v1.RotateSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RotateSigningKeyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRotateSigningKeyMethod(), responseObserver);
    }

    /**
     * <pre>
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     * Idempotent: revoking a revoked key changes nothing.
     * </pre>
     */
    default void revokeSigningKey(dev.tokenmint.v1.RevokeSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeSigningKeyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRevokeSigningKeyMethod(), responseObserver);
    }

    /**
     * <pre>
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     * Idempotent.
     * </pre>
     */
    default void resealSigningKeys(dev.tokenmint.v1.ResealSigningKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ResealSigningKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResealSigningKeysMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     * Idempotent.
     * </pre>
     */
    default void getKeyRingStatus(dev.tokenmint.v1.GetKeyRingStatusRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeyRingStatusResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetKeyRingStatusMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service KeyAdminService.
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public static abstract class KeyAdminServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return KeyAdminServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service KeyAdminService.
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public static final class KeyAdminServiceStub
      extends io.grpc.stub.AbstractAsyncStub<KeyAdminServiceStub> {
    private KeyAdminServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyAdminServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyAdminServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the keys, newest first within each algorithm.
     * Idempotent.
     * </pre>
     */
    public void listSigningKeys(dev.tokenmint.v1.ListSigningKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListSigningKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListSigningKeysMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns one key. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public void getSigningKey(dev.tokenmint.v1.GetSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetSigningKeyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetSigningKeyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     * Idempotent.
     * </pre>
     */
    public void prepareSigningKey(dev.tokenmint.v1.PrepareSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.PrepareSigningKeyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPrepareSigningKeyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     * Idempotent: activating the active key changes nothing.
     * </pre>
     */
    public void activateSigningKey(dev.tokenmint.v1.ActivateSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ActivateSigningKeyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getActivateSigningKeyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     * Not idempotent.
     * </pre>
     */
    public void rotateSigningKey(dev.tokenmint.v1.RotateSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RotateSigningKeyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRotateSigningKeyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     * Idempotent: revoking a revoked key changes nothing.
     * </pre>
     */
    public void revokeSigningKey(dev.tokenmint.v1.RevokeSigningKeyRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeSigningKeyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRevokeSigningKeyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     * Idempotent.
     * </pre>
     */
    public void resealSigningKeys(dev.tokenmint.v1.ResealSigningKeysRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ResealSigningKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResealSigningKeysMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     * Idempotent.
     * </pre>
     */
    public void getKeyRingStatus(dev.tokenmint.v1.GetKeyRingStatusRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeyRingStatusResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetKeyRingStatusMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service KeyAdminService.
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public static final class KeyAdminServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<KeyAdminServiceBlockingV2Stub> {
    private KeyAdminServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyAdminServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyAdminServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the keys, newest first within each algorithm.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListSigningKeysResponse listSigningKeys(dev.tokenmint.v1.ListSigningKeysRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListSigningKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one key. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetSigningKeyResponse getSigningKey(dev.tokenmint.v1.GetSigningKeyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.PrepareSigningKeyResponse prepareSigningKey(dev.tokenmint.v1.PrepareSigningKeyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPrepareSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     * Idempotent: activating the active key changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.ActivateSigningKeyResponse activateSigningKey(dev.tokenmint.v1.ActivateSigningKeyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getActivateSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     * Not idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.RotateSigningKeyResponse rotateSigningKey(dev.tokenmint.v1.RotateSigningKeyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRotateSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     * Idempotent: revoking a revoked key changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.RevokeSigningKeyResponse revokeSigningKey(dev.tokenmint.v1.RevokeSigningKeyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRevokeSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ResealSigningKeysResponse resealSigningKeys(dev.tokenmint.v1.ResealSigningKeysRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResealSigningKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetKeyRingStatusResponse getKeyRingStatus(dev.tokenmint.v1.GetKeyRingStatusRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetKeyRingStatusMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service KeyAdminService.
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public static final class KeyAdminServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<KeyAdminServiceBlockingStub> {
    private KeyAdminServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyAdminServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyAdminServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the keys, newest first within each algorithm.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListSigningKeysResponse listSigningKeys(dev.tokenmint.v1.ListSigningKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListSigningKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one key. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetSigningKeyResponse getSigningKey(dev.tokenmint.v1.GetSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.PrepareSigningKeyResponse prepareSigningKey(dev.tokenmint.v1.PrepareSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPrepareSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     * Idempotent: activating the active key changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.ActivateSigningKeyResponse activateSigningKey(dev.tokenmint.v1.ActivateSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getActivateSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     * Not idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.RotateSigningKeyResponse rotateSigningKey(dev.tokenmint.v1.RotateSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRotateSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     * Idempotent: revoking a revoked key changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.RevokeSigningKeyResponse revokeSigningKey(dev.tokenmint.v1.RevokeSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRevokeSigningKeyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ResealSigningKeysResponse resealSigningKeys(dev.tokenmint.v1.ResealSigningKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResealSigningKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetKeyRingStatusResponse getKeyRingStatus(dev.tokenmint.v1.GetKeyRingStatusRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetKeyRingStatusMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service KeyAdminService.
   * <pre>
   * Lets operators look at the signing keys and move them through their life.
   * Served on the operators' listener. Reading needs the viewer role, preparing,
   * activating and rotating the operator role, forcing and revoking the security
   * role. An answer means that the change is durable.
   * Changes fail with ABORTED where another change came first (read again and
   * retry), with FAILED_PRECONDITION where the key's state or the schedule does
   * not allow them, and with UNAVAILABLE where the store can't be reached or
   * could not confirm the write: then the outcome is unknown and a retry is safe.
   * </pre>
   */
  public static final class KeyAdminServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<KeyAdminServiceFutureStub> {
    private KeyAdminServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyAdminServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyAdminServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists the keys, newest first within each algorithm.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ListSigningKeysResponse> listSigningKeys(
        dev.tokenmint.v1.ListSigningKeysRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListSigningKeysMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns one key. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.GetSigningKeyResponse> getSigningKey(
        dev.tokenmint.v1.GetSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetSigningKeyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.PrepareSigningKeyResponse> prepareSigningKey(
        dev.tokenmint.v1.PrepareSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPrepareSigningKeyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     * Idempotent: activating the active key changes nothing.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ActivateSigningKeyResponse> activateSigningKey(
        dev.tokenmint.v1.ActivateSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getActivateSigningKeyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     * Not idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.RotateSigningKeyResponse> rotateSigningKey(
        dev.tokenmint.v1.RotateSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRotateSigningKeyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     * Idempotent: revoking a revoked key changes nothing.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.RevokeSigningKeyResponse> revokeSigningKey(
        dev.tokenmint.v1.RevokeSigningKeyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRevokeSigningKeyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ResealSigningKeysResponse> resealSigningKeys(
        dev.tokenmint.v1.ResealSigningKeysRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResealSigningKeysMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.GetKeyRingStatusResponse> getKeyRingStatus(
        dev.tokenmint.v1.GetKeyRingStatusRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetKeyRingStatusMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_SIGNING_KEYS = 0;
  private static final int METHODID_GET_SIGNING_KEY = 1;
  private static final int METHODID_PREPARE_SIGNING_KEY = 2;
  private static final int METHODID_ACTIVATE_SIGNING_KEY = 3;
  private static final int METHODID_ROTATE_SIGNING_KEY = 4;
  private static final int METHODID_REVOKE_SIGNING_KEY = 5;
  private static final int METHODID_RESEAL_SIGNING_KEYS = 6;
  private static final int METHODID_GET_KEY_RING_STATUS = 7;

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
        case METHODID_LIST_SIGNING_KEYS:
          serviceImpl.listSigningKeys((dev.tokenmint.v1.ListSigningKeysRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListSigningKeysResponse>) responseObserver);
          break;
        case METHODID_GET_SIGNING_KEY:
          serviceImpl.getSigningKey((dev.tokenmint.v1.GetSigningKeyRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetSigningKeyResponse>) responseObserver);
          break;
        case METHODID_PREPARE_SIGNING_KEY:
          serviceImpl.prepareSigningKey((dev.tokenmint.v1.PrepareSigningKeyRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.PrepareSigningKeyResponse>) responseObserver);
          break;
        case METHODID_ACTIVATE_SIGNING_KEY:
          serviceImpl.activateSigningKey((dev.tokenmint.v1.ActivateSigningKeyRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ActivateSigningKeyResponse>) responseObserver);
          break;
        case METHODID_ROTATE_SIGNING_KEY:
          serviceImpl.rotateSigningKey((dev.tokenmint.v1.RotateSigningKeyRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.RotateSigningKeyResponse>) responseObserver);
          break;
        case METHODID_REVOKE_SIGNING_KEY:
          serviceImpl.revokeSigningKey((dev.tokenmint.v1.RevokeSigningKeyRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokeSigningKeyResponse>) responseObserver);
          break;
        case METHODID_RESEAL_SIGNING_KEYS:
          serviceImpl.resealSigningKeys((dev.tokenmint.v1.ResealSigningKeysRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ResealSigningKeysResponse>) responseObserver);
          break;
        case METHODID_GET_KEY_RING_STATUS:
          serviceImpl.getKeyRingStatus((dev.tokenmint.v1.GetKeyRingStatusRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetKeyRingStatusResponse>) responseObserver);
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
          getListSigningKeysMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ListSigningKeysRequest,
              dev.tokenmint.v1.ListSigningKeysResponse>(
                service, METHODID_LIST_SIGNING_KEYS)))
        .addMethod(
          getGetSigningKeyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.GetSigningKeyRequest,
              dev.tokenmint.v1.GetSigningKeyResponse>(
                service, METHODID_GET_SIGNING_KEY)))
        .addMethod(
          getPrepareSigningKeyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.PrepareSigningKeyRequest,
              dev.tokenmint.v1.PrepareSigningKeyResponse>(
                service, METHODID_PREPARE_SIGNING_KEY)))
        .addMethod(
          getActivateSigningKeyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ActivateSigningKeyRequest,
              dev.tokenmint.v1.ActivateSigningKeyResponse>(
                service, METHODID_ACTIVATE_SIGNING_KEY)))
        .addMethod(
          getRotateSigningKeyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.RotateSigningKeyRequest,
              dev.tokenmint.v1.RotateSigningKeyResponse>(
                service, METHODID_ROTATE_SIGNING_KEY)))
        .addMethod(
          getRevokeSigningKeyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.RevokeSigningKeyRequest,
              dev.tokenmint.v1.RevokeSigningKeyResponse>(
                service, METHODID_REVOKE_SIGNING_KEY)))
        .addMethod(
          getResealSigningKeysMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ResealSigningKeysRequest,
              dev.tokenmint.v1.ResealSigningKeysResponse>(
                service, METHODID_RESEAL_SIGNING_KEYS)))
        .addMethod(
          getGetKeyRingStatusMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.GetKeyRingStatusRequest,
              dev.tokenmint.v1.GetKeyRingStatusResponse>(
                service, METHODID_GET_KEY_RING_STATUS)))
        .build();
  }

  private static abstract class KeyAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    KeyAdminServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.tokenmint.v1.KeyAdminServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("KeyAdminService");
    }
  }

  private static final class KeyAdminServiceFileDescriptorSupplier
      extends KeyAdminServiceBaseDescriptorSupplier {
    KeyAdminServiceFileDescriptorSupplier() {}
  }

  private static final class KeyAdminServiceMethodDescriptorSupplier
      extends KeyAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    KeyAdminServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (KeyAdminServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new KeyAdminServiceFileDescriptorSupplier())
              .addMethod(getListSigningKeysMethod())
              .addMethod(getGetSigningKeyMethod())
              .addMethod(getPrepareSigningKeyMethod())
              .addMethod(getActivateSigningKeyMethod())
              .addMethod(getRotateSigningKeyMethod())
              .addMethod(getRevokeSigningKeyMethod())
              .addMethod(getResealSigningKeysMethod())
              .addMethod(getGetKeyRingStatusMethod())
              .build();
        }
      }
    }
    return result;
  }
}

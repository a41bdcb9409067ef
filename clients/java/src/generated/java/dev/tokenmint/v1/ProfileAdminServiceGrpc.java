package dev.tokenmint.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Lets operators keep the profiles that minted tokens are enriched from.
 * Served on the operators' listener. Reading needs the viewer role, changing
 * the operator role, RevokePrincipalTokens the security role. An answer means
 * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
 * means that it may or may not be: a retry is safe.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ProfileAdminServiceGrpc {

  private ProfileAdminServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tokenmint.v1.ProfileAdminService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProfileRequest,
      dev.tokenmint.v1.GetProfileResponse> getGetProfileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetProfile",
      requestType = dev.tokenmint.v1.GetProfileRequest.class,
      responseType = dev.tokenmint.v1.GetProfileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProfileRequest,
      dev.tokenmint.v1.GetProfileResponse> getGetProfileMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.GetProfileRequest, dev.tokenmint.v1.GetProfileResponse> getGetProfileMethod;
    if ((getGetProfileMethod = ProfileAdminServiceGrpc.getGetProfileMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getGetProfileMethod = ProfileAdminServiceGrpc.getGetProfileMethod) == null) {
          ProfileAdminServiceGrpc.getGetProfileMethod = getGetProfileMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.GetProfileRequest, dev.tokenmint.v1.GetProfileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetProfile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetProfileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.GetProfileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("GetProfile"))
              .build();
        }
      }
    }
    return getGetProfileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.CreateProfileRequest,
      dev.tokenmint.v1.CreateProfileResponse> getCreateProfileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateProfile",
      requestType = dev.tokenmint.v1.CreateProfileRequest.class,
      responseType = dev.tokenmint.v1.CreateProfileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.CreateProfileRequest,
      dev.tokenmint.v1.CreateProfileResponse> getCreateProfileMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.CreateProfileRequest, dev.tokenmint.v1.CreateProfileResponse> getCreateProfileMethod;
    if ((getCreateProfileMethod = ProfileAdminServiceGrpc.getCreateProfileMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getCreateProfileMethod = ProfileAdminServiceGrpc.getCreateProfileMethod) == null) {
          ProfileAdminServiceGrpc.getCreateProfileMethod = getCreateProfileMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.CreateProfileRequest, dev.tokenmint.v1.CreateProfileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateProfile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.CreateProfileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.CreateProfileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("CreateProfile"))
              .build();
        }
      }
    }
    return getCreateProfileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.UpdateProfileRequest,
      dev.tokenmint.v1.UpdateProfileResponse> getUpdateProfileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UpdateProfile",
      requestType = dev.tokenmint.v1.UpdateProfileRequest.class,
      responseType = dev.tokenmint.v1.UpdateProfileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.UpdateProfileRequest,
      dev.tokenmint.v1.UpdateProfileResponse> getUpdateProfileMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.UpdateProfileRequest, dev.tokenmint.v1.UpdateProfileResponse> getUpdateProfileMethod;
    if ((getUpdateProfileMethod = ProfileAdminServiceGrpc.getUpdateProfileMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getUpdateProfileMethod = ProfileAdminServiceGrpc.getUpdateProfileMethod) == null) {
          ProfileAdminServiceGrpc.getUpdateProfileMethod = getUpdateProfileMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.UpdateProfileRequest, dev.tokenmint.v1.UpdateProfileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UpdateProfile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.UpdateProfileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.UpdateProfileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("UpdateProfile"))
              .build();
        }
      }
    }
    return getUpdateProfileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.DeleteProfileRequest,
      dev.tokenmint.v1.DeleteProfileResponse> getDeleteProfileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteProfile",
      requestType = dev.tokenmint.v1.DeleteProfileRequest.class,
      responseType = dev.tokenmint.v1.DeleteProfileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.DeleteProfileRequest,
      dev.tokenmint.v1.DeleteProfileResponse> getDeleteProfileMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.DeleteProfileRequest, dev.tokenmint.v1.DeleteProfileResponse> getDeleteProfileMethod;
    if ((getDeleteProfileMethod = ProfileAdminServiceGrpc.getDeleteProfileMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getDeleteProfileMethod = ProfileAdminServiceGrpc.getDeleteProfileMethod) == null) {
          ProfileAdminServiceGrpc.getDeleteProfileMethod = getDeleteProfileMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.DeleteProfileRequest, dev.tokenmint.v1.DeleteProfileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteProfile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.DeleteProfileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.DeleteProfileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("DeleteProfile"))
              .build();
        }
      }
    }
    return getDeleteProfileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProfilesRequest,
      dev.tokenmint.v1.ListProfilesResponse> getListProfilesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListProfiles",
      requestType = dev.tokenmint.v1.ListProfilesRequest.class,
      responseType = dev.tokenmint.v1.ListProfilesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProfilesRequest,
      dev.tokenmint.v1.ListProfilesResponse> getListProfilesMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ListProfilesRequest, dev.tokenmint.v1.ListProfilesResponse> getListProfilesMethod;
    if ((getListProfilesMethod = ProfileAdminServiceGrpc.getListProfilesMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getListProfilesMethod = ProfileAdminServiceGrpc.getListProfilesMethod) == null) {
          ProfileAdminServiceGrpc.getListProfilesMethod = getListProfilesMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ListProfilesRequest, dev.tokenmint.v1.ListProfilesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListProfiles"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListProfilesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ListProfilesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("ListProfiles"))
              .build();
        }
      }
    }
    return getListProfilesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.LinkIdentityRequest,
      dev.tokenmint.v1.LinkIdentityResponse> getLinkIdentityMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "LinkIdentity",
      requestType = dev.tokenmint.v1.LinkIdentityRequest.class,
      responseType = dev.tokenmint.v1.LinkIdentityResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.LinkIdentityRequest,
      dev.tokenmint.v1.LinkIdentityResponse> getLinkIdentityMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.LinkIdentityRequest, dev.tokenmint.v1.LinkIdentityResponse> getLinkIdentityMethod;
    if ((getLinkIdentityMethod = ProfileAdminServiceGrpc.getLinkIdentityMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getLinkIdentityMethod = ProfileAdminServiceGrpc.getLinkIdentityMethod) == null) {
          ProfileAdminServiceGrpc.getLinkIdentityMethod = getLinkIdentityMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.LinkIdentityRequest, dev.tokenmint.v1.LinkIdentityResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "LinkIdentity"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.LinkIdentityRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.LinkIdentityResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("LinkIdentity"))
              .build();
        }
      }
    }
    return getLinkIdentityMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.UnlinkIdentityRequest,
      dev.tokenmint.v1.UnlinkIdentityResponse> getUnlinkIdentityMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UnlinkIdentity",
      requestType = dev.tokenmint.v1.UnlinkIdentityRequest.class,
      responseType = dev.tokenmint.v1.UnlinkIdentityResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.UnlinkIdentityRequest,
      dev.tokenmint.v1.UnlinkIdentityResponse> getUnlinkIdentityMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.UnlinkIdentityRequest, dev.tokenmint.v1.UnlinkIdentityResponse> getUnlinkIdentityMethod;
    if ((getUnlinkIdentityMethod = ProfileAdminServiceGrpc.getUnlinkIdentityMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getUnlinkIdentityMethod = ProfileAdminServiceGrpc.getUnlinkIdentityMethod) == null) {
          ProfileAdminServiceGrpc.getUnlinkIdentityMethod = getUnlinkIdentityMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.UnlinkIdentityRequest, dev.tokenmint.v1.UnlinkIdentityResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UnlinkIdentity"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.UnlinkIdentityRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.UnlinkIdentityResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("UnlinkIdentity"))
              .build();
        }
      }
    }
    return getUnlinkIdentityMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokePrincipalTokensRequest,
      dev.tokenmint.v1.RevokePrincipalTokensResponse> getRevokePrincipalTokensMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RevokePrincipalTokens",
      requestType = dev.tokenmint.v1.RevokePrincipalTokensRequest.class,
      responseType = dev.tokenmint.v1.RevokePrincipalTokensResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokePrincipalTokensRequest,
      dev.tokenmint.v1.RevokePrincipalTokensResponse> getRevokePrincipalTokensMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.RevokePrincipalTokensRequest, dev.tokenmint.v1.RevokePrincipalTokensResponse> getRevokePrincipalTokensMethod;
    if ((getRevokePrincipalTokensMethod = ProfileAdminServiceGrpc.getRevokePrincipalTokensMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getRevokePrincipalTokensMethod = ProfileAdminServiceGrpc.getRevokePrincipalTokensMethod) == null) {
          ProfileAdminServiceGrpc.getRevokePrincipalTokensMethod = getRevokePrincipalTokensMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.RevokePrincipalTokensRequest, dev.tokenmint.v1.RevokePrincipalTokensResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RevokePrincipalTokens"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokePrincipalTokensRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.RevokePrincipalTokensResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("RevokePrincipalTokens"))
              .build();
        }
      }
    }
    return getRevokePrincipalTokensMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.tokenmint.v1.ImportProfilesRequest,
      dev.tokenmint.v1.ImportProfilesResponse> getImportProfilesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ImportProfiles",
      requestType = dev.tokenmint.v1.ImportProfilesRequest.class,
      responseType = dev.tokenmint.v1.ImportProfilesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.tokenmint.v1.ImportProfilesRequest,
      dev.tokenmint.v1.ImportProfilesResponse> getImportProfilesMethod() {
    io.grpc.MethodDescriptor<dev.tokenmint.v1.ImportProfilesRequest, dev.tokenmint.v1.ImportProfilesResponse> getImportProfilesMethod;
    if ((getImportProfilesMethod = ProfileAdminServiceGrpc.getImportProfilesMethod) == null) {
      synchronized (ProfileAdminServiceGrpc.class) {
        if ((getImportProfilesMethod = ProfileAdminServiceGrpc.getImportProfilesMethod) == null) {
          ProfileAdminServiceGrpc.getImportProfilesMethod = getImportProfilesMethod =
              io.grpc.MethodDescriptor.<dev.tokenmint.v1.ImportProfilesRequest, dev.tokenmint.v1.ImportProfilesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ImportProfiles"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ImportProfilesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.tokenmint.v1.ImportProfilesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ProfileAdminServiceMethodDescriptorSupplier("ImportProfiles"))
              .build();
        }
      }
    }
    return getImportProfilesMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ProfileAdminServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceStub>() {
        @java.lang.Override
        public ProfileAdminServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProfileAdminServiceStub(channel, callOptions);
        }
      };
    return ProfileAdminServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ProfileAdminServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceBlockingV2Stub>() {
        @java.lang.Override
        public ProfileAdminServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProfileAdminServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ProfileAdminServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ProfileAdminServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceBlockingStub>() {
        @java.lang.Override
        public ProfileAdminServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProfileAdminServiceBlockingStub(channel, callOptions);
        }
      };
    return ProfileAdminServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ProfileAdminServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ProfileAdminServiceFutureStub>() {
        @java.lang.Override
        public ProfileAdminServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ProfileAdminServiceFutureStub(channel, callOptions);
        }
      };
    return ProfileAdminServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    default void getProfile(dev.tokenmint.v1.GetProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProfileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetProfileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted, unless `replace_deleted` is set.
     * Not idempotent.
     * </pre>
     */
    default void createProfile(dev.tokenmint.v1.CreateProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.CreateProfileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateProfileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     * Idempotent with an etag.
     * </pre>
     */
    default void updateProfile(dev.tokenmint.v1.UpdateProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.UpdateProfileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUpdateProfileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     * Idempotent: deleting a deleted profile changes nothing.
     * </pre>
     */
    default void deleteProfile(dev.tokenmint.v1.DeleteProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.DeleteProfileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteProfileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     * Idempotent.
     * </pre>
     */
    default void listProfiles(dev.tokenmint.v1.ListProfilesRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProfilesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListProfilesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal.
     * Idempotent.
     * </pre>
     */
    default void linkIdentity(dev.tokenmint.v1.LinkIdentityRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.LinkIdentityResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getLinkIdentityMethod(), responseObserver);
    }

    /**
     * <pre>
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    default void unlinkIdentity(dev.tokenmint.v1.UnlinkIdentityRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.UnlinkIdentityResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUnlinkIdentityMethod(), responseObserver);
    }

    /**
     * <pre>
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     * Idempotent in effect; a later call moves the second forward.
     * </pre>
     */
    default void revokePrincipalTokens(dev.tokenmint.v1.RevokePrincipalTokensRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokePrincipalTokensResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRevokePrincipalTokensMethod(), responseObserver);
    }

    /**
     * <pre>
     * Creates or replaces profiles one by one as they arrive, and answers when
     * the stream ends. One refused profile does not fail the others. Deleted
     * principals stay deleted.
     * Idempotent.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.tokenmint.v1.ImportProfilesRequest> importProfiles(
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ImportProfilesResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getImportProfilesMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ProfileAdminService.
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public static abstract class ProfileAdminServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ProfileAdminServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ProfileAdminService.
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public static final class ProfileAdminServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ProfileAdminServiceStub> {
    private ProfileAdminServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProfileAdminServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProfileAdminServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public void getProfile(dev.tokenmint.v1.GetProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProfileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetProfileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted, unless `replace_deleted` is set.
     * Not idempotent.
     * </pre>
     */
    public void createProfile(dev.tokenmint.v1.CreateProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.CreateProfileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateProfileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     * Idempotent with an etag.
     * </pre>
     */
    public void updateProfile(dev.tokenmint.v1.UpdateProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.UpdateProfileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUpdateProfileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     * Idempotent: deleting a deleted profile changes nothing.
     * </pre>
     */
    public void deleteProfile(dev.tokenmint.v1.DeleteProfileRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.DeleteProfileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteProfileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     * Idempotent.
     * </pre>
     */
    public void listProfiles(dev.tokenmint.v1.ListProfilesRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProfilesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListProfilesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal.
     * Idempotent.
     * </pre>
     */
    public void linkIdentity(dev.tokenmint.v1.LinkIdentityRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.LinkIdentityResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getLinkIdentityMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public void unlinkIdentity(dev.tokenmint.v1.UnlinkIdentityRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.UnlinkIdentityResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUnlinkIdentityMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     * Idempotent in effect; a later call moves the second forward.
     * </pre>
     */
    public void revokePrincipalTokens(dev.tokenmint.v1.RevokePrincipalTokensRequest request,
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokePrincipalTokensResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRevokePrincipalTokensMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Creates or replaces profiles one by one as they arrive, and answers when
     * the stream ends. One refused profile does not fail the others. Deleted
     * principals stay deleted.
     * Idempotent.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.tokenmint.v1.ImportProfilesRequest> importProfiles(
        io.grpc.stub.StreamObserver<dev.tokenmint.v1.ImportProfilesResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getImportProfilesMethod(), getCallOptions()), responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ProfileAdminService.
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public static final class ProfileAdminServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ProfileAdminServiceBlockingV2Stub> {
    private ProfileAdminServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProfileAdminServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProfileAdminServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetProfileResponse getProfile(dev.tokenmint.v1.GetProfileRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted, unless `replace_deleted` is set.
     * Not idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.CreateProfileResponse createProfile(dev.tokenmint.v1.CreateProfileRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     * Idempotent with an etag.
     * </pre>
     */
    public dev.tokenmint.v1.UpdateProfileResponse updateProfile(dev.tokenmint.v1.UpdateProfileRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUpdateProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     * Idempotent: deleting a deleted profile changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.DeleteProfileResponse deleteProfile(dev.tokenmint.v1.DeleteProfileRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListProfilesResponse listProfiles(dev.tokenmint.v1.ListProfilesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListProfilesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.LinkIdentityResponse linkIdentity(dev.tokenmint.v1.LinkIdentityRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getLinkIdentityMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.UnlinkIdentityResponse unlinkIdentity(dev.tokenmint.v1.UnlinkIdentityRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUnlinkIdentityMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     * Idempotent in effect; a later call moves the second forward.
     * </pre>
     */
    public dev.tokenmint.v1.RevokePrincipalTokensResponse revokePrincipalTokens(dev.tokenmint.v1.RevokePrincipalTokensRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRevokePrincipalTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Creates or replaces profiles one by one as they arrive, and answers when
     * the stream ends. One refused profile does not fail the others. Deleted
     * principals stay deleted.
     * Idempotent.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.tokenmint.v1.ImportProfilesRequest, dev.tokenmint.v1.ImportProfilesResponse>
        importProfiles() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getImportProfilesMethod(), getCallOptions());
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ProfileAdminService.
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public static final class ProfileAdminServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ProfileAdminServiceBlockingStub> {
    private ProfileAdminServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProfileAdminServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProfileAdminServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.GetProfileResponse getProfile(dev.tokenmint.v1.GetProfileRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted, unless `replace_deleted` is set.
     * Not idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.CreateProfileResponse createProfile(dev.tokenmint.v1.CreateProfileRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     * Idempotent with an etag.
     * </pre>
     */
    public dev.tokenmint.v1.UpdateProfileResponse updateProfile(dev.tokenmint.v1.UpdateProfileRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUpdateProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     * Idempotent: deleting a deleted profile changes nothing.
     * </pre>
     */
    public dev.tokenmint.v1.DeleteProfileResponse deleteProfile(dev.tokenmint.v1.DeleteProfileRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteProfileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.ListProfilesResponse listProfiles(dev.tokenmint.v1.ListProfilesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListProfilesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.LinkIdentityResponse linkIdentity(dev.tokenmint.v1.LinkIdentityRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getLinkIdentityMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public dev.tokenmint.v1.UnlinkIdentityResponse unlinkIdentity(dev.tokenmint.v1.UnlinkIdentityRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUnlinkIdentityMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     * Idempotent in effect; a later call moves the second forward.
     * </pre>
     */
    public dev.tokenmint.v1.RevokePrincipalTokensResponse revokePrincipalTokens(dev.tokenmint.v1.RevokePrincipalTokensRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRevokePrincipalTokensMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ProfileAdminService.
   * <pre>
   * Lets operators keep the profiles that minted tokens are enriched from.
   * Served on the operators' listener. Reading needs the viewer role, changing
   * the operator role, RevokePrincipalTokens the security role. An answer means
   * that the change is durable; UNAVAILABLE with the reason `OUTCOME_UNKNOWN`
   * means that it may or may not be: a retry is safe.
   * </pre>
   */
  public static final class ProfileAdminServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ProfileAdminServiceFutureStub> {
    private ProfileAdminServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ProfileAdminServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ProfileAdminServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.GetProfileResponse> getProfile(
        dev.tokenmint.v1.GetProfileRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetProfileMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted, unless `replace_deleted` is set.
     * Not idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.CreateProfileResponse> createProfile(
        dev.tokenmint.v1.CreateProfileRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateProfileMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     * Idempotent with an etag.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.UpdateProfileResponse> updateProfile(
        dev.tokenmint.v1.UpdateProfileRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUpdateProfileMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     * Idempotent: deleting a deleted profile changes nothing.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.DeleteProfileResponse> deleteProfile(
        dev.tokenmint.v1.DeleteProfileRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteProfileMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.ListProfilesResponse> listProfiles(
        dev.tokenmint.v1.ListProfilesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListProfilesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.LinkIdentityResponse> linkIdentity(
        dev.tokenmint.v1.LinkIdentityRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getLinkIdentityMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     * Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.UnlinkIdentityResponse> unlinkIdentity(
        dev.tokenmint.v1.UnlinkIdentityRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUnlinkIdentityMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     * Idempotent in effect; a later call moves the second forward.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.tokenmint.v1.RevokePrincipalTokensResponse> revokePrincipalTokens(
        dev.tokenmint.v1.RevokePrincipalTokensRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRevokePrincipalTokensMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_PROFILE = 0;
  private static final int METHODID_CREATE_PROFILE = 1;
  private static final int METHODID_UPDATE_PROFILE = 2;
  private static final int METHODID_DELETE_PROFILE = 3;
  private static final int METHODID_LIST_PROFILES = 4;
  private static final int METHODID_LINK_IDENTITY = 5;
  private static final int METHODID_UNLINK_IDENTITY = 6;
  private static final int METHODID_REVOKE_PRINCIPAL_TOKENS = 7;
  private static final int METHODID_IMPORT_PROFILES = 8;

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
        case METHODID_GET_PROFILE:
          serviceImpl.getProfile((dev.tokenmint.v1.GetProfileRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.GetProfileResponse>) responseObserver);
          break;
        case METHODID_CREATE_PROFILE:
          serviceImpl.createProfile((dev.tokenmint.v1.CreateProfileRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.CreateProfileResponse>) responseObserver);
          break;
        case METHODID_UPDATE_PROFILE:
          serviceImpl.updateProfile((dev.tokenmint.v1.UpdateProfileRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.UpdateProfileResponse>) responseObserver);
          break;
        case METHODID_DELETE_PROFILE:
          serviceImpl.deleteProfile((dev.tokenmint.v1.DeleteProfileRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.DeleteProfileResponse>) responseObserver);
          break;
        case METHODID_LIST_PROFILES:
          serviceImpl.listProfiles((dev.tokenmint.v1.ListProfilesRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ListProfilesResponse>) responseObserver);
          break;
        case METHODID_LINK_IDENTITY:
          serviceImpl.linkIdentity((dev.tokenmint.v1.LinkIdentityRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.LinkIdentityResponse>) responseObserver);
          break;
        case METHODID_UNLINK_IDENTITY:
          serviceImpl.unlinkIdentity((dev.tokenmint.v1.UnlinkIdentityRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.UnlinkIdentityResponse>) responseObserver);
          break;
        case METHODID_REVOKE_PRINCIPAL_TOKENS:
          serviceImpl.revokePrincipalTokens((dev.tokenmint.v1.RevokePrincipalTokensRequest) request,
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.RevokePrincipalTokensResponse>) responseObserver);
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
        case METHODID_IMPORT_PROFILES:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.importProfiles(
              (io.grpc.stub.StreamObserver<dev.tokenmint.v1.ImportProfilesResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getGetProfileMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.GetProfileRequest,
              dev.tokenmint.v1.GetProfileResponse>(
                service, METHODID_GET_PROFILE)))
        .addMethod(
          getCreateProfileMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.CreateProfileRequest,
              dev.tokenmint.v1.CreateProfileResponse>(
                service, METHODID_CREATE_PROFILE)))
        .addMethod(
          getUpdateProfileMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.UpdateProfileRequest,
              dev.tokenmint.v1.UpdateProfileResponse>(
                service, METHODID_UPDATE_PROFILE)))
        .addMethod(
          getDeleteProfileMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.DeleteProfileRequest,
              dev.tokenmint.v1.DeleteProfileResponse>(
                service, METHODID_DELETE_PROFILE)))
        .addMethod(
          getListProfilesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.ListProfilesRequest,
              dev.tokenmint.v1.ListProfilesResponse>(
                service, METHODID_LIST_PROFILES)))
        .addMethod(
          getLinkIdentityMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.LinkIdentityRequest,
              dev.tokenmint.v1.LinkIdentityResponse>(
                service, METHODID_LINK_IDENTITY)))
        .addMethod(
          getUnlinkIdentityMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.UnlinkIdentityRequest,
              dev.tokenmint.v1.UnlinkIdentityResponse>(
                service, METHODID_UNLINK_IDENTITY)))
        .addMethod(
          getRevokePrincipalTokensMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.tokenmint.v1.RevokePrincipalTokensRequest,
              dev.tokenmint.v1.RevokePrincipalTokensResponse>(
                service, METHODID_REVOKE_PRINCIPAL_TOKENS)))
        .addMethod(
          getImportProfilesMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              dev.tokenmint.v1.ImportProfilesRequest,
              dev.tokenmint.v1.ImportProfilesResponse>(
                service, METHODID_IMPORT_PROFILES)))
        .build();
  }

  private static abstract class ProfileAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ProfileAdminServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.tokenmint.v1.ProfileAdminServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ProfileAdminService");
    }
  }

  private static final class ProfileAdminServiceFileDescriptorSupplier
      extends ProfileAdminServiceBaseDescriptorSupplier {
    ProfileAdminServiceFileDescriptorSupplier() {}
  }

  private static final class ProfileAdminServiceMethodDescriptorSupplier
      extends ProfileAdminServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ProfileAdminServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ProfileAdminServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ProfileAdminServiceFileDescriptorSupplier())
              .addMethod(getGetProfileMethod())
              .addMethod(getCreateProfileMethod())
              .addMethod(getUpdateProfileMethod())
              .addMethod(getDeleteProfileMethod())
              .addMethod(getListProfilesMethod())
              .addMethod(getLinkIdentityMethod())
              .addMethod(getUnlinkIdentityMethod())
              .addMethod(getRevokePrincipalTokensMethod())
              .addMethod(getImportProfilesMethod())
              .build();
        }
      }
    }
    return result;
  }
}

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Duration } from "../../google/protobuf/duration.js";
import { SigningKey } from "./signing_key.js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/key_admin_service.proto";
/** Asks for the keys. */
export interface ListSigningKeysRequest {
    /** At most this many keys, 1 to 1000. Default: 100. */
    pageSize: number;
    /** The `next_page_token` of the answer before. Default: the first page. */
    pageToken: string;
}
/** A page of keys. */
export interface ListSigningKeysResponse {
    /** The keys. */
    signingKeys: SigningKey[];
    /** Asks for the next page; empty on the last. */
    nextPageToken: string;
}
/** Asks for one key. */
export interface GetSigningKeyRequest {
    /** The key's id. Required. */
    keyId: string;
}
/** One key. */
export interface GetSigningKeyResponse {
    /** The key. */
    signingKey: SigningKey | undefined;
}
/** Asks for a prepared key. */
export interface PrepareSigningKeyRequest {
    /**
     * A configured algorithm, e.g. `ES256`. Default: the only configured one;
     * required where there are several.
     */
    algorithm: string;
}
/** The prepared key. */
export interface PrepareSigningKeyResponse {
    /** The key. */
    signingKey: SigningKey | undefined;
}
/** Asks for a key to become active. */
export interface ActivateSigningKeyRequest {
    /** The prepared key's id. Required. */
    keyId: string;
    /**
     * Activates before the publish-ahead time has passed: verifiers that have
     * not fetched the key set since may refuse tokens until they do. Needs the
     * security role.
     */
    force: boolean;
    /** The `etag` that the change was decided on. Default: not compared. */
    etag: string;
}
/** The key after activation. */
export interface ActivateSigningKeyResponse {
    /** The key, now active. */
    signingKey: SigningKey | undefined;
    /**
     * For how long from now verifiers may still miss the key. Zero unless
     * forced.
     */
    verifiersMayMiss: Duration | undefined;
}
/** Asks for a rotation. */
export interface RotateSigningKeyRequest {
    /** As in PrepareSigningKeyRequest. */
    algorithm: string;
    /** As in ActivateSigningKeyRequest. */
    force: boolean;
    /** As in ActivateSigningKeyRequest. */
    etag: string;
}
/** The keys after a rotation. */
export interface RotateSigningKeyResponse {
    /** The key that signs now. */
    activeKey: SigningKey | undefined;
    /** The key prepared to follow it. */
    preparedKey: SigningKey | undefined;
    /** The key that signed before, now retiring. Unset where there was none. */
    retiringKey: SigningKey | undefined;
    /** As in ActivateSigningKeyResponse. */
    verifiersMayMiss: Duration | undefined;
}
/** Asks for a revocation. */
export interface RevokeSigningKeyRequest {
    /** The key's id. Required. */
    keyId: string;
    /** Why, for the record, 1 to 200 characters. Required. */
    reason: string;
    /** As in ActivateSigningKeyRequest. */
    etag: string;
    /**
     * Revokes the prepared key of the same algorithm too, for where the store
     * itself may have leaked: a fresh key signs then, as soon as every replica
     * publishes it.
     */
    withPrepared: boolean;
}
/** The keys after a revocation. */
export interface RevokeSigningKeyResponse {
    /** The key, now revoked. */
    signingKey: SigningKey | undefined;
    /** The key that signs now for the same algorithm. */
    activeKey: SigningKey | undefined;
    /**
     * For how long from now verifiers that cache may go on accepting tokens of
     * the revoked key.
     */
    verifiersMayAccept: Duration | undefined;
    /** For how long from now verifiers may still miss the key that signs now. */
    verifiersMayMiss: Duration | undefined;
    /**
     * For how long from now a replica that was not heard of may go on signing
     * with the revoked key. Zero where all have stopped.
     */
    replicasMaySign: Duration | undefined;
}
/** Asks for the private keys to be sealed anew. */
export interface ResealSigningKeysRequest {
}
/** What was sealed anew. */
export interface ResealSigningKeysResponse {
    /** The keys that were sealed under another key-encryption key before. */
    signingKeys: SigningKey[];
    /**
     * Names the key-encryption key that all are sealed under now; says nothing
     * about it.
     */
    encryptionKeyId: string;
}
/** Asks how far the ring has got. */
export interface GetKeyRingStatusRequest {
}
/** How far the ring has got. */
export interface GetKeyRingStatusResponse {
    /** The generation that this replica serves. */
    generation: bigint;
    /**
     * The live replicas. One that has not confirmed the ring for the replica lag
     * signs nothing and is not among them.
     */
    replicas: KeyRingReplica[];
    /**
     * Who fetched the key set lately, those that miss a prepared key first. At
     * most 1000.
     */
    verifiers: KeySetVerifier[];
}
/** A process that signs with the ring. */
export interface KeyRingReplica {
    /** Its id, new with each start. */
    replica: string;
    /** The generation that it serves. */
    generation: bigint;
}
/** Somebody who fetched the key set. */
export interface KeySetVerifier {
    /** The address that the request came from: of a proxy, where there is one. */
    address: string;
    /** What it calls itself (User-Agent), at most 100 characters. */
    agent: string;
    /** When it last asked, to within a minute. */
    lastFetchTime: Date | undefined;
    /** The generation of the newest set that it fetched. */
    generation: bigint;
    /** Ids of the prepared keys that it has not fetched yet. */
    missingKeyIds: string[];
}
export declare const ListSigningKeysRequest: MessageFns<ListSigningKeysRequest>;
export declare const ListSigningKeysResponse: MessageFns<ListSigningKeysResponse>;
export declare const GetSigningKeyRequest: MessageFns<GetSigningKeyRequest>;
export declare const GetSigningKeyResponse: MessageFns<GetSigningKeyResponse>;
export declare const PrepareSigningKeyRequest: MessageFns<PrepareSigningKeyRequest>;
export declare const PrepareSigningKeyResponse: MessageFns<PrepareSigningKeyResponse>;
export declare const ActivateSigningKeyRequest: MessageFns<ActivateSigningKeyRequest>;
export declare const ActivateSigningKeyResponse: MessageFns<ActivateSigningKeyResponse>;
export declare const RotateSigningKeyRequest: MessageFns<RotateSigningKeyRequest>;
export declare const RotateSigningKeyResponse: MessageFns<RotateSigningKeyResponse>;
export declare const RevokeSigningKeyRequest: MessageFns<RevokeSigningKeyRequest>;
export declare const RevokeSigningKeyResponse: MessageFns<RevokeSigningKeyResponse>;
export declare const ResealSigningKeysRequest: MessageFns<ResealSigningKeysRequest>;
export declare const ResealSigningKeysResponse: MessageFns<ResealSigningKeysResponse>;
export declare const GetKeyRingStatusRequest: MessageFns<GetKeyRingStatusRequest>;
export declare const GetKeyRingStatusResponse: MessageFns<GetKeyRingStatusResponse>;
export declare const KeyRingReplica: MessageFns<KeyRingReplica>;
export declare const KeySetVerifier: MessageFns<KeySetVerifier>;
/**
 * Lets operators look at the signing keys and move them through their life.
 * Served on the operators' listener. Reading needs the viewer role, preparing,
 * activating and rotating the operator role, forcing and revoking the security
 * role. An answer means that the change is durable.
 *
 * Changes fail with ABORTED where another change came first (read again and
 * retry), with FAILED_PRECONDITION where the key's state or the schedule does
 * not allow them, and with UNAVAILABLE where the store can't be reached or
 * could not confirm the write: then the outcome is unknown and a retry is safe.
 */
export type KeyAdminServiceService = typeof KeyAdminServiceService;
export declare const KeyAdminServiceService: {
    /**
     * Lists the keys, newest first within each algorithm.
     *
     * Idempotent.
     */
    readonly listSigningKeys: {
        readonly path: "/tokenmint.v1.KeyAdminService/ListSigningKeys";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ListSigningKeysRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ListSigningKeysRequest;
        readonly responseSerialize: (value: ListSigningKeysResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ListSigningKeysResponse;
    };
    /**
     * Returns one key. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    readonly getSigningKey: {
        readonly path: "/tokenmint.v1.KeyAdminService/GetSigningKey";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetSigningKeyRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetSigningKeyRequest;
        readonly responseSerialize: (value: GetSigningKeyResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetSigningKeyResponse;
    };
    /**
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     *
     * Idempotent.
     */
    readonly prepareSigningKey: {
        readonly path: "/tokenmint.v1.KeyAdminService/PrepareSigningKey";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: PrepareSigningKeyRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => PrepareSigningKeyRequest;
        readonly responseSerialize: (value: PrepareSigningKeyResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => PrepareSigningKeyResponse;
    };
    /**
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     *
     * Idempotent: activating the active key changes nothing.
     */
    readonly activateSigningKey: {
        readonly path: "/tokenmint.v1.KeyAdminService/ActivateSigningKey";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ActivateSigningKeyRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ActivateSigningKeyRequest;
        readonly responseSerialize: (value: ActivateSigningKeyResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ActivateSigningKeyResponse;
    };
    /**
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     *
     * Not idempotent.
     */
    readonly rotateSigningKey: {
        readonly path: "/tokenmint.v1.KeyAdminService/RotateSigningKey";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: RotateSigningKeyRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => RotateSigningKeyRequest;
        readonly responseSerialize: (value: RotateSigningKeyResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => RotateSigningKeyResponse;
    };
    /**
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     *
     * Idempotent: revoking a revoked key changes nothing.
     */
    readonly revokeSigningKey: {
        readonly path: "/tokenmint.v1.KeyAdminService/RevokeSigningKey";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: RevokeSigningKeyRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => RevokeSigningKeyRequest;
        readonly responseSerialize: (value: RevokeSigningKeyResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => RevokeSigningKeyResponse;
    };
    /**
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     *
     * Idempotent.
     */
    readonly resealSigningKeys: {
        readonly path: "/tokenmint.v1.KeyAdminService/ResealSigningKeys";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ResealSigningKeysRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ResealSigningKeysRequest;
        readonly responseSerialize: (value: ResealSigningKeysResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ResealSigningKeysResponse;
    };
    /**
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     *
     * Idempotent.
     */
    readonly getKeyRingStatus: {
        readonly path: "/tokenmint.v1.KeyAdminService/GetKeyRingStatus";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetKeyRingStatusRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetKeyRingStatusRequest;
        readonly responseSerialize: (value: GetKeyRingStatusResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetKeyRingStatusResponse;
    };
};
export interface KeyAdminServiceServer extends UntypedServiceImplementation {
    /**
     * Lists the keys, newest first within each algorithm.
     *
     * Idempotent.
     */
    listSigningKeys: handleUnaryCall<ListSigningKeysRequest, ListSigningKeysResponse>;
    /**
     * Returns one key. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getSigningKey: handleUnaryCall<GetSigningKeyRequest, GetSigningKeyResponse>;
    /**
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     *
     * Idempotent.
     */
    prepareSigningKey: handleUnaryCall<PrepareSigningKeyRequest, PrepareSigningKeyResponse>;
    /**
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     *
     * Idempotent: activating the active key changes nothing.
     */
    activateSigningKey: handleUnaryCall<ActivateSigningKeyRequest, ActivateSigningKeyResponse>;
    /**
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     *
     * Not idempotent.
     */
    rotateSigningKey: handleUnaryCall<RotateSigningKeyRequest, RotateSigningKeyResponse>;
    /**
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     *
     * Idempotent: revoking a revoked key changes nothing.
     */
    revokeSigningKey: handleUnaryCall<RevokeSigningKeyRequest, RevokeSigningKeyResponse>;
    /**
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     *
     * Idempotent.
     */
    resealSigningKeys: handleUnaryCall<ResealSigningKeysRequest, ResealSigningKeysResponse>;
    /**
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     *
     * Idempotent.
     */
    getKeyRingStatus: handleUnaryCall<GetKeyRingStatusRequest, GetKeyRingStatusResponse>;
}
export interface KeyAdminServiceClient extends Client {
    /**
     * Lists the keys, newest first within each algorithm.
     *
     * Idempotent.
     */
    listSigningKeys(request: ListSigningKeysRequest, callback: (error: ServiceError | null, response: ListSigningKeysResponse) => void): ClientUnaryCall;
    listSigningKeys(request: ListSigningKeysRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ListSigningKeysResponse) => void): ClientUnaryCall;
    listSigningKeys(request: ListSigningKeysRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ListSigningKeysResponse) => void): ClientUnaryCall;
    /**
     * Returns one key. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getSigningKey(request: GetSigningKeyRequest, callback: (error: ServiceError | null, response: GetSigningKeyResponse) => void): ClientUnaryCall;
    getSigningKey(request: GetSigningKeyRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetSigningKeyResponse) => void): ClientUnaryCall;
    getSigningKey(request: GetSigningKeyRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetSigningKeyResponse) => void): ClientUnaryCall;
    /**
     * Publishes a fresh prepared key for an algorithm that has none. Where there
     * is one already it is returned as it is.
     *
     * Idempotent.
     */
    prepareSigningKey(request: PrepareSigningKeyRequest, callback: (error: ServiceError | null, response: PrepareSigningKeyResponse) => void): ClientUnaryCall;
    prepareSigningKey(request: PrepareSigningKeyRequest, metadata: Metadata, callback: (error: ServiceError | null, response: PrepareSigningKeyResponse) => void): ClientUnaryCall;
    prepareSigningKey(request: PrepareSigningKeyRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: PrepareSigningKeyResponse) => void): ClientUnaryCall;
    /**
     * Lets a prepared key sign; the key that signed so far begins to retire. Fails with
     * FAILED_PRECONDITION, saying from when it will be allowed, while the key
     * has been published for less than the publish-ahead time, unless forced.
     *
     * Idempotent: activating the active key changes nothing.
     */
    activateSigningKey(request: ActivateSigningKeyRequest, callback: (error: ServiceError | null, response: ActivateSigningKeyResponse) => void): ClientUnaryCall;
    activateSigningKey(request: ActivateSigningKeyRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ActivateSigningKeyResponse) => void): ClientUnaryCall;
    activateSigningKey(request: ActivateSigningKeyRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ActivateSigningKeyResponse) => void): ClientUnaryCall;
    /**
     * Activates the prepared key of an algorithm and prepares the next one, in
     * one step. Fails as ActivateSigningKey does.
     *
     * Not idempotent.
     */
    rotateSigningKey(request: RotateSigningKeyRequest, callback: (error: ServiceError | null, response: RotateSigningKeyResponse) => void): ClientUnaryCall;
    rotateSigningKey(request: RotateSigningKeyRequest, metadata: Metadata, callback: (error: ServiceError | null, response: RotateSigningKeyResponse) => void): ClientUnaryCall;
    rotateSigningKey(request: RotateSigningKeyRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: RotateSigningKeyResponse) => void): ClientUnaryCall;
    /**
     * Takes a key out of use and out of the key set at once. Where it was the
     * active one, the prepared one signs from then on and a fresh one is
     * prepared.
     *
     * Idempotent: revoking a revoked key changes nothing.
     */
    revokeSigningKey(request: RevokeSigningKeyRequest, callback: (error: ServiceError | null, response: RevokeSigningKeyResponse) => void): ClientUnaryCall;
    revokeSigningKey(request: RevokeSigningKeyRequest, metadata: Metadata, callback: (error: ServiceError | null, response: RevokeSigningKeyResponse) => void): ClientUnaryCall;
    revokeSigningKey(request: RevokeSigningKeyRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: RevokeSigningKeyResponse) => void): ClientUnaryCall;
    /**
     * Seals every private key in the store under the key-encryption key that is
     * configured first. Changes nothing where one of them can't be opened. Needs
     * the security role.
     *
     * Idempotent.
     */
    resealSigningKeys(request: ResealSigningKeysRequest, callback: (error: ServiceError | null, response: ResealSigningKeysResponse) => void): ClientUnaryCall;
    resealSigningKeys(request: ResealSigningKeysRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ResealSigningKeysResponse) => void): ClientUnaryCall;
    resealSigningKeys(request: ResealSigningKeysRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ResealSigningKeysResponse) => void): ClientUnaryCall;
    /**
     * Returns how far the ring has got: which replicas serve which generation,
     * and which verifiers have fetched the prepared keys. Fails with UNAVAILABLE.
     *
     * Idempotent.
     */
    getKeyRingStatus(request: GetKeyRingStatusRequest, callback: (error: ServiceError | null, response: GetKeyRingStatusResponse) => void): ClientUnaryCall;
    getKeyRingStatus(request: GetKeyRingStatusRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetKeyRingStatusResponse) => void): ClientUnaryCall;
    getKeyRingStatus(request: GetKeyRingStatusRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetKeyRingStatusResponse) => void): ClientUnaryCall;
}
export declare const KeyAdminServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): KeyAdminServiceClient;
    service: typeof KeyAdminServiceService;
    serviceName: string;
};
type Builtin = Date | Function | Uint8Array | string | number | boolean | bigint | undefined;
export type DeepPartial<T> = T extends bigint ? string | number | bigint : T extends Builtin ? T : T extends globalThis.Array<infer U> ? globalThis.Array<DeepPartial<U>> : T extends ReadonlyArray<infer U> ? ReadonlyArray<DeepPartial<U>> : T extends {
    $case: string;
    value: unknown;
} ? {
    $case: T["$case"];
    value?: DeepPartial<T["value"]>;
} : T extends {} ? {
    [K in keyof T]?: DeepPartial<T[K]>;
} : Partial<T>;
export interface MessageFns<T> {
    encode(message: T, writer?: BinaryWriter): BinaryWriter;
    decode(input: BinaryReader | Uint8Array, length?: number): T;
    create(base?: DeepPartial<T>): T;
    fromPartial(object: DeepPartial<T>): T;
}
export {};

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientReadableStream, type ClientUnaryCall, type handleServerStreamingCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Duration } from "../../google/protobuf/duration.js";
import { JsonWebKey } from "./json_web_key.js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/key_set_service.proto";
/** Asks for the current key set. */
export interface GetKeySetRequest {
}
/** The current key set. */
export interface GetKeySetResponse {
    /** The published keys: prepared, active and retiring ones. */
    keys: JsonWebKey[];
    /**
     * The same as a JSON Web Key Set (RFC 7517 section 5), byte for byte what
     * the HTTP endpoint serves.
     */
    jwksJson: string;
    /** A strong validator of `jwks_json`, without quotes. */
    etag: string;
    /** For how long the set may be cached. */
    maxAge: Duration | undefined;
}
/** Asks to be told of the key set and its changes. */
export interface WatchKeySetRequest {
}
/** The key set as it is now. */
export interface WatchKeySetResponse {
    /** As in GetKeySetResponse. */
    keys: JsonWebKey[];
    /** As in GetKeySetResponse. */
    jwksJson: string;
    /** As in GetKeySetResponse. */
    etag: string;
    /** As in GetKeySetResponse. */
    maxAge: Duration | undefined;
}
export declare const GetKeySetRequest: MessageFns<GetKeySetRequest>;
export declare const GetKeySetResponse: MessageFns<GetKeySetResponse>;
export declare const WatchKeySetRequest: MessageFns<WatchKeySetRequest>;
export declare const WatchKeySetResponse: MessageFns<WatchKeySetResponse>;
/** Publishes the keys that verify minted tokens. Public: needs no credentials. */
export type KeySetServiceService = typeof KeySetServiceService;
export declare const KeySetServiceService: {
    /**
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     *
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     */
    readonly getKeySet: {
        readonly path: "/tokenmint.v1.KeySetService/GetKeySet";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetKeySetRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetKeySetRequest;
        readonly responseSerialize: (value: GetKeySetResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetKeySetResponse;
    };
    /**
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     *
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     */
    readonly watchKeySet: {
        readonly path: "/tokenmint.v1.KeySetService/WatchKeySet";
        readonly requestStream: false;
        readonly responseStream: true;
        readonly requestSerialize: (value: WatchKeySetRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => WatchKeySetRequest;
        readonly responseSerialize: (value: WatchKeySetResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => WatchKeySetResponse;
    };
};
export interface KeySetServiceServer extends UntypedServiceImplementation {
    /**
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     *
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     */
    getKeySet: handleUnaryCall<GetKeySetRequest, GetKeySetResponse>;
    /**
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     *
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     */
    watchKeySet: handleServerStreamingCall<WatchKeySetRequest, WatchKeySetResponse>;
}
export interface KeySetServiceClient extends Client {
    /**
     * Returns the current key set, the same that `/.well-known/jwks.json` serves.
     *
     * Idempotent. Fails with UNAVAILABLE where no confirmed key set is at hand.
     */
    getKeySet(request: GetKeySetRequest, callback: (error: ServiceError | null, response: GetKeySetResponse) => void): ClientUnaryCall;
    getKeySet(request: GetKeySetRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetKeySetResponse) => void): ClientUnaryCall;
    getKeySet(request: GetKeySetRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetKeySetResponse) => void): ClientUnaryCall;
    /**
     * Sends the current key set at once and then each change of it, until the
     * stream's maximum age (default 1 h), after which the server ends it with OK
     * and the client calls again.
     *
     * Idempotent. Fails with RESOURCE_EXHAUSTED over the limit of streams (in
     * all, and per peer) and with UNAVAILABLE.
     */
    watchKeySet(request: WatchKeySetRequest, options?: Partial<CallOptions>): ClientReadableStream<WatchKeySetResponse>;
    watchKeySet(request: WatchKeySetRequest, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<WatchKeySetResponse>;
}
export declare const KeySetServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): KeySetServiceClient;
    service: typeof KeySetServiceService;
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

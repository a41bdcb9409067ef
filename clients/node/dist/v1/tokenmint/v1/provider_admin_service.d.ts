import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/provider_admin_service.proto";
/** A provider and how its keys are. */
export interface Provider {
    /** The configured name. */
    name: string;
    /** The exact issuer, or the template of a multi-tenant one. */
    issuer: string;
    /** The audiences that its tokens must be for. */
    audiences: string[];
    /** The accepted JWS algorithms. */
    algorithms: string[];
    /**
     * Where its keys come from: a URL without the values of its query, the path
     * of a file, or `pinned`.
     */
    keySource: string;
    /** The ids of the keys at hand. */
    keyIds: string[];
    /** When its keys were last fetched with success. Unset before the first time. */
    fetchTime: Date | undefined;
    /** Until when they count as fresh. */
    freshUntilTime: Date | undefined;
    /** When they stop being trusted unless a fetch succeeds before. */
    trustedUntilTime: Date | undefined;
    /** What was wrong with the last failed fetch; empty after a success. */
    lastError: string;
    /** When that was. */
    lastErrorTime: Date | undefined;
}
/** Asks for the providers. */
export interface ListProvidersRequest {
    /** At most this many providers, 1 to 1000. Default: 100. */
    pageSize: number;
    /** The `next_page_token` of the answer before. Default: the first page. */
    pageToken: string;
}
/** A page of providers. */
export interface ListProvidersResponse {
    /** The providers. */
    providers: Provider[];
    /** Asks for the next page; empty on the last. */
    nextPageToken: string;
}
/** Asks for one provider. */
export interface GetProviderRequest {
    /** The configured name. Required. */
    provider: string;
}
/** One provider. */
export interface GetProviderResponse {
    /** The provider. */
    provider: Provider | undefined;
}
/** Asks for a fetch of a provider's keys. */
export interface RefreshProviderKeysRequest {
    /** The configured name. Required. */
    provider: string;
}
/** The provider after the fetch. */
export interface RefreshProviderKeysResponse {
    /** The provider. */
    provider: Provider | undefined;
}
export declare const Provider: MessageFns<Provider>;
export declare const ListProvidersRequest: MessageFns<ListProvidersRequest>;
export declare const ListProvidersResponse: MessageFns<ListProvidersResponse>;
export declare const GetProviderRequest: MessageFns<GetProviderRequest>;
export declare const GetProviderResponse: MessageFns<GetProviderResponse>;
export declare const RefreshProviderKeysRequest: MessageFns<RefreshProviderKeysRequest>;
export declare const RefreshProviderKeysResponse: MessageFns<RefreshProviderKeysResponse>;
/**
 * Lets operators look at the providers whose tokens are accepted. Served on the
 * operators' listener. Reading needs the viewer role, refreshing the operator
 * role. What is told of key sets is what the answering replica knows.
 */
export type ProviderAdminServiceService = typeof ProviderAdminServiceService;
export declare const ProviderAdminServiceService: {
    /**
     * Lists the configured providers by name.
     *
     * Idempotent.
     */
    readonly listProviders: {
        readonly path: "/tokenmint.v1.ProviderAdminService/ListProviders";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ListProvidersRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ListProvidersRequest;
        readonly responseSerialize: (value: ListProvidersResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ListProvidersResponse;
    };
    /**
     * Returns one provider. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    readonly getProvider: {
        readonly path: "/tokenmint.v1.ProviderAdminService/GetProvider";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetProviderRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetProviderRequest;
        readonly responseSerialize: (value: GetProviderResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetProviderResponse;
    };
    /**
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     *
     * Idempotent.
     */
    readonly refreshProviderKeys: {
        readonly path: "/tokenmint.v1.ProviderAdminService/RefreshProviderKeys";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: RefreshProviderKeysRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => RefreshProviderKeysRequest;
        readonly responseSerialize: (value: RefreshProviderKeysResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => RefreshProviderKeysResponse;
    };
};
export interface ProviderAdminServiceServer extends UntypedServiceImplementation {
    /**
     * Lists the configured providers by name.
     *
     * Idempotent.
     */
    listProviders: handleUnaryCall<ListProvidersRequest, ListProvidersResponse>;
    /**
     * Returns one provider. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getProvider: handleUnaryCall<GetProviderRequest, GetProviderResponse>;
    /**
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     *
     * Idempotent.
     */
    refreshProviderKeys: handleUnaryCall<RefreshProviderKeysRequest, RefreshProviderKeysResponse>;
}
export interface ProviderAdminServiceClient extends Client {
    /**
     * Lists the configured providers by name.
     *
     * Idempotent.
     */
    listProviders(request: ListProvidersRequest, callback: (error: ServiceError | null, response: ListProvidersResponse) => void): ClientUnaryCall;
    listProviders(request: ListProvidersRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ListProvidersResponse) => void): ClientUnaryCall;
    listProviders(request: ListProvidersRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ListProvidersResponse) => void): ClientUnaryCall;
    /**
     * Returns one provider. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getProvider(request: GetProviderRequest, callback: (error: ServiceError | null, response: GetProviderResponse) => void): ClientUnaryCall;
    getProvider(request: GetProviderRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetProviderResponse) => void): ClientUnaryCall;
    getProvider(request: GetProviderRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetProviderResponse) => void): ClientUnaryCall;
    /**
     * Fetches the provider's key set now, on the answering replica, and returns
     * what came of it. Fails with NOT_FOUND, and with UNAVAILABLE where the
     * provider does not answer; the last good set is kept then.
     *
     * Idempotent.
     */
    refreshProviderKeys(request: RefreshProviderKeysRequest, callback: (error: ServiceError | null, response: RefreshProviderKeysResponse) => void): ClientUnaryCall;
    refreshProviderKeys(request: RefreshProviderKeysRequest, metadata: Metadata, callback: (error: ServiceError | null, response: RefreshProviderKeysResponse) => void): ClientUnaryCall;
    refreshProviderKeys(request: RefreshProviderKeysRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: RefreshProviderKeysResponse) => void): ClientUnaryCall;
}
export declare const ProviderAdminServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): ProviderAdminServiceClient;
    service: typeof ProviderAdminServiceService;
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

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/audit_admin_service.proto";
/** A stream of the trail. */
export declare enum AuditStream {
    /** AUDIT_STREAM_UNSPECIFIED - Means AUDIT_STREAM_EXCHANGES. */
    AUDIT_STREAM_UNSPECIFIED = 0,
    /** AUDIT_STREAM_EXCHANGES - Calls of clients: exchanges, introspection, revocation. */
    AUDIT_STREAM_EXCHANGES = 1,
    /** AUDIT_STREAM_ADMIN - Operators' actions. */
    AUDIT_STREAM_ADMIN = 2,
    UNRECOGNIZED = -1
}
/** Asks for a page of events. */
export interface ListAuditEventsRequest {
    /** The stream. */
    stream: AuditStream;
    /**
     * The `next_position` of an answer: the page begins after it. Default: the
     * page has the newest events, or begins at `start_time`.
     */
    position: string;
    /**
     * The page begins with the first event that was stored at this time or
     * later, by the store's clock. Not allowed together with `position`.
     */
    startTime: Date | undefined;
    /** At most this many events, 1 to 1000. Default: 100. */
    pageSize: number;
    /**
     * At most this many bytes of events, 1 KiB to 1 MiB. A page has one event
     * even where that is longer. Default: 256 KiB.
     */
    pageBytes: number;
}
/** A page of events. */
export interface ListAuditEventsResponse {
    /** The events, oldest first. */
    events: AuditEvent[];
    /** Asks for the events after these. Always set. */
    nextPosition: string;
    /** Whether there are later events already. */
    hasMore: boolean;
    /**
     * Whether the stream dropped events between `position` and this page, since
     * it is full, or was removed.
     */
    hasGap: boolean;
}
/** An event of the trail. */
export interface AuditEvent {
    /** Its position, in the form of `next_position`. */
    position: string;
    /**
     * The event as one JSON object, as in the log: `kind`, `method`, `outcome`,
     * `caller`, `reason`, `time` and others. Empty where the entry of the stream
     * is not one that tokenmint wrote.
     */
    eventJson: string;
}
export declare const ListAuditEventsRequest: MessageFns<ListAuditEventsRequest>;
export declare const ListAuditEventsResponse: MessageFns<ListAuditEventsResponse>;
export declare const AuditEvent: MessageFns<AuditEvent>;
/**
 * Lets operators read the audit trail in the store. Served on the operators'
 * listener. Needs the viewer role.
 */
export type AuditAdminServiceService = typeof AuditAdminServiceService;
export declare const AuditAdminServiceService: {
    /**
     * Returns a page of events of one stream, in their order. To follow the
     * stream, a caller repeats the call with the `next_position` of the answer
     * before.
     *
     * Idempotent. Fails with UNAVAILABLE where the store can't be reached.
     */
    readonly listAuditEvents: {
        readonly path: "/tokenmint.v1.AuditAdminService/ListAuditEvents";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ListAuditEventsRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ListAuditEventsRequest;
        readonly responseSerialize: (value: ListAuditEventsResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ListAuditEventsResponse;
    };
};
export interface AuditAdminServiceServer extends UntypedServiceImplementation {
    /**
     * Returns a page of events of one stream, in their order. To follow the
     * stream, a caller repeats the call with the `next_position` of the answer
     * before.
     *
     * Idempotent. Fails with UNAVAILABLE where the store can't be reached.
     */
    listAuditEvents: handleUnaryCall<ListAuditEventsRequest, ListAuditEventsResponse>;
}
export interface AuditAdminServiceClient extends Client {
    /**
     * Returns a page of events of one stream, in their order. To follow the
     * stream, a caller repeats the call with the `next_position` of the answer
     * before.
     *
     * Idempotent. Fails with UNAVAILABLE where the store can't be reached.
     */
    listAuditEvents(request: ListAuditEventsRequest, callback: (error: ServiceError | null, response: ListAuditEventsResponse) => void): ClientUnaryCall;
    listAuditEvents(request: ListAuditEventsRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ListAuditEventsResponse) => void): ClientUnaryCall;
    listAuditEvents(request: ListAuditEventsRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ListAuditEventsResponse) => void): ClientUnaryCall;
}
export declare const AuditAdminServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): AuditAdminServiceClient;
    service: typeof AuditAdminServiceService;
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

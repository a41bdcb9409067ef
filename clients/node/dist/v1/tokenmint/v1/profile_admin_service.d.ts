import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type ClientWritableStream, type handleClientStreamingCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Identity, Profile } from "./profile.js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/profile_admin_service.proto";
/** Asks for one profile. Exactly one of the two is given. */
export interface GetProfileRequest {
    /** Whose profile. */
    selector: //
    /** The profile of this principal. */
    {
        $case: "principal";
        value: string;
    } | //
    /** The profile of the principal that this identity is linked to. */
    {
        $case: "identity";
        value: Identity;
    } | undefined;
}
/** One profile. */
export interface GetProfileResponse {
    /** The profile. */
    profile: Profile | undefined;
}
/** A profile to create. */
export interface CreateProfileRequest {
    /** The profile; times and etag are ignored. */
    profile: Profile | undefined;
    /** Lets a deleted principal, and erased identities, come back. */
    replaceDeleted: boolean;
}
/** The created profile. */
export interface CreateProfileResponse {
    /** The profile. */
    profile: Profile | undefined;
    /** Providers in its identities that are not configured. */
    unknownProviders: string[];
}
/** A change to a profile. */
export interface UpdateProfileRequest {
    /** The principal, the new values and, optionally, the etag. */
    profile: Profile | undefined;
    /** Which fields change: `disabled`, `claims`, `roles`. Required. */
    updateMask: string[] | undefined;
}
/** The changed profile. */
export interface UpdateProfileResponse {
    /** The profile. */
    profile: Profile | undefined;
}
/** A profile to delete. */
export interface DeleteProfileRequest {
    /** Whose profile. Required. */
    principal: string;
    /** The etag that the deletion was decided on. Default: not compared. */
    etag: string;
}
/** Nothing more to say. */
export interface DeleteProfileResponse {
}
/** Asks for a page of profiles. */
export interface ListProfilesRequest {
    /**
     * About this many profiles, 1 to 1000. Default: 100. A page may hold fewer
     * or, since the store lists in batches, somewhat more.
     */
    pageSize: number;
    /** The `next_page_token` of the answer before. Default: the first page. */
    pageToken: string;
}
/** A page of profiles. */
export interface ListProfilesResponse {
    /** The profiles; deleted ones are left out. */
    profiles: Profile[];
    /**
     * Asks for the next page; empty on the last. A page may be empty and still
     * have a next one.
     */
    nextPageToken: string;
}
/** An identity to link. */
export interface LinkIdentityRequest {
    /** The principal. Required. */
    principal: string;
    /** The identity. Required. */
    identity: Identity | undefined;
}
/** The profile with the identity. */
export interface LinkIdentityResponse {
    /** The profile. */
    profile: Profile | undefined;
    /** The identity's provider, if it is not configured. */
    unknownProviders: string[];
}
/** An identity to unlink. */
export interface UnlinkIdentityRequest {
    /** The principal. Required. */
    principal: string;
    /** The identity. Required. */
    identity: Identity | undefined;
}
/** The profile without the identity. */
export interface UnlinkIdentityResponse {
    /** The profile. */
    profile: Profile | undefined;
}
/** Whose tokens to revoke. */
export interface RevokePrincipalTokensRequest {
    /** The principal. Required. */
    principal: string;
}
/** From when tokens are accepted again. */
export interface RevokePrincipalTokensResponse {
    /** The second in or before which nothing issued is accepted. */
    tokensValidAfterTime: Date | undefined;
}
/** Profiles of an import: one, or several in one message. */
export interface ImportProfilesRequest {
    /** The profile; times and etag are ignored. */
    profile: Profile | undefined;
    /** Several profiles, in place of `profile`. */
    profiles: Profile[];
    /**
     * Checks the profiles against the store and changes nothing. Counts only in
     * the first message of a stream.
     */
    validateOnly: boolean;
}
/** What became of an import. */
export interface ImportProfilesResponse {
    /** How many profiles were created. */
    createdCount: bigint;
    /** How many profiles were replaced. */
    updatedCount: bigint;
    /** How many profiles were refused. */
    failedCount: bigint;
    /** The first 100 refusals. */
    failures: ImportFailure[];
    /**
     * Providers in identities that are not configured, at most 20: a mistake, or
     * configured later. Their profiles were imported.
     */
    unknownProviders: string[];
}
/** A refused profile of an import. */
export interface ImportFailure {
    /** The position among the profiles of the stream, from 0. */
    index: bigint;
    /** The principal, as it was sent. */
    principal: string;
    /** The stable reason, as in `ErrorInfo.reason`. */
    reason: string;
    /** What was wrong, for people. */
    message: string;
}
/** Whom to erase. */
export interface EraseProfileRequest {
    /** The principal. Required. */
    principal: string;
    /**
     * Leaves nothing that refuses the person: with a later sign-in an audience's
     * `on_missing_profile` decides as for somebody new. The same in every call.
     */
    allowReturn: boolean;
    /** The `next_page_token` of the answer before. Default: begin. */
    pageToken: string;
}
/** What one step erased. */
export interface EraseProfileResponse {
    /**
     * Whether there was a profile, a tombstone or the keyed hash of an earlier
     * erasure. Told by the first step.
     */
    found: boolean;
    /** How many identities were erased. */
    identitiesCount: bigint;
    /** How many reference tokens were erased. */
    tokensCount: bigint;
    /** Asks for the next step; empty at the end. */
    nextPageToken: string;
    /** How long audit records, which name the principal, stay in the store. */
    auditRetention: AuditRetention | undefined;
}
/**
 * The size of the audit streams: the oldest events make room for new ones. The
 * log and backups have a retention of their own.
 */
export interface AuditRetention {
    /** The events of exchanges that are kept. */
    exchangeEvents: bigint;
    /** The bytes of these. */
    exchangeBytes: bigint;
    /** The events of operators' actions that are kept. */
    adminEvents: bigint;
    /** The bytes of these. */
    adminBytes: bigint;
}
export declare const GetProfileRequest: MessageFns<GetProfileRequest>;
export declare const GetProfileResponse: MessageFns<GetProfileResponse>;
export declare const CreateProfileRequest: MessageFns<CreateProfileRequest>;
export declare const CreateProfileResponse: MessageFns<CreateProfileResponse>;
export declare const UpdateProfileRequest: MessageFns<UpdateProfileRequest>;
export declare const UpdateProfileResponse: MessageFns<UpdateProfileResponse>;
export declare const DeleteProfileRequest: MessageFns<DeleteProfileRequest>;
export declare const DeleteProfileResponse: MessageFns<DeleteProfileResponse>;
export declare const ListProfilesRequest: MessageFns<ListProfilesRequest>;
export declare const ListProfilesResponse: MessageFns<ListProfilesResponse>;
export declare const LinkIdentityRequest: MessageFns<LinkIdentityRequest>;
export declare const LinkIdentityResponse: MessageFns<LinkIdentityResponse>;
export declare const UnlinkIdentityRequest: MessageFns<UnlinkIdentityRequest>;
export declare const UnlinkIdentityResponse: MessageFns<UnlinkIdentityResponse>;
export declare const RevokePrincipalTokensRequest: MessageFns<RevokePrincipalTokensRequest>;
export declare const RevokePrincipalTokensResponse: MessageFns<RevokePrincipalTokensResponse>;
export declare const ImportProfilesRequest: MessageFns<ImportProfilesRequest>;
export declare const ImportProfilesResponse: MessageFns<ImportProfilesResponse>;
export declare const ImportFailure: MessageFns<ImportFailure>;
export declare const EraseProfileRequest: MessageFns<EraseProfileRequest>;
export declare const EraseProfileResponse: MessageFns<EraseProfileResponse>;
export declare const AuditRetention: MessageFns<AuditRetention>;
/**
 * Lets operators keep the profiles that minted tokens are enriched from.
 * Served on the operators' listener. Reading needs the viewer role, changing
 * the operator role, RevokePrincipalTokens and EraseProfile the security role.
 * An answer means that the change is durable; UNAVAILABLE with the reason
 * `OUTCOME_UNKNOWN` means that it may or may not be: a retry is safe.
 */
export type ProfileAdminServiceService = typeof ProfileAdminServiceService;
export declare const ProfileAdminServiceService: {
    /**
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    readonly getProfile: {
        readonly path: "/tokenmint.v1.ProfileAdminService/GetProfile";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetProfileRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetProfileRequest;
        readonly responseSerialize: (value: GetProfileResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetProfileResponse;
    };
    /**
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted or an identity was erased, unless `replace_deleted` is
     * set.
     *
     * Not idempotent.
     */
    readonly createProfile: {
        readonly path: "/tokenmint.v1.ProfileAdminService/CreateProfile";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: CreateProfileRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => CreateProfileRequest;
        readonly responseSerialize: (value: CreateProfileResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => CreateProfileResponse;
    };
    /**
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     *
     * Idempotent with an etag.
     */
    readonly updateProfile: {
        readonly path: "/tokenmint.v1.ProfileAdminService/UpdateProfile";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: UpdateProfileRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => UpdateProfileRequest;
        readonly responseSerialize: (value: UpdateProfileResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => UpdateProfileResponse;
    };
    /**
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     *
     * Idempotent: deleting a deleted profile changes nothing.
     */
    readonly deleteProfile: {
        readonly path: "/tokenmint.v1.ProfileAdminService/DeleteProfile";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: DeleteProfileRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => DeleteProfileRequest;
        readonly responseSerialize: (value: DeleteProfileResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => DeleteProfileResponse;
    };
    /**
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     *
     * Idempotent.
     */
    readonly listProfiles: {
        readonly path: "/tokenmint.v1.ProfileAdminService/ListProfiles";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ListProfilesRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ListProfilesRequest;
        readonly responseSerialize: (value: ListProfilesResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ListProfilesResponse;
    };
    /**
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal, and with
     * FAILED_PRECONDITION where it was erased.
     *
     * Idempotent.
     */
    readonly linkIdentity: {
        readonly path: "/tokenmint.v1.ProfileAdminService/LinkIdentity";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: LinkIdentityRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => LinkIdentityRequest;
        readonly responseSerialize: (value: LinkIdentityResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => LinkIdentityResponse;
    };
    /**
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    readonly unlinkIdentity: {
        readonly path: "/tokenmint.v1.ProfileAdminService/UnlinkIdentity";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: UnlinkIdentityRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => UnlinkIdentityRequest;
        readonly responseSerialize: (value: UnlinkIdentityResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => UnlinkIdentityResponse;
    };
    /**
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     *
     * Idempotent in effect; a later call moves the second forward.
     */
    readonly revokePrincipalTokens: {
        readonly path: "/tokenmint.v1.ProfileAdminService/RevokePrincipalTokens";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: RevokePrincipalTokensRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => RevokePrincipalTokensRequest;
        readonly responseSerialize: (value: RevokePrincipalTokensResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => RevokePrincipalTokensResponse;
    };
    /**
     * Creates or replaces profiles in batches as they arrive, each confirmed
     * once, and answers when the stream ends: what the answer counts is durable.
     * One refused profile does not fail the others. Identities are added to those
     * of a profile, none is taken. Deleted and erased principals, and erased
     * identities under whichever principal, stay refused.
     *
     * A stream that fails may have been imported in part. Idempotent: send all of
     * it again.
     */
    readonly importProfiles: {
        readonly path: "/tokenmint.v1.ProfileAdminService/ImportProfiles";
        readonly requestStream: true;
        readonly responseStream: false;
        readonly requestSerialize: (value: ImportProfilesRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ImportProfilesRequest;
        readonly responseSerialize: (value: ImportProfilesResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ImportProfilesResponse;
    };
    /**
     * Erases a person: the profile or its tombstone, the identities, and the
     * reference tokens that name the principal as subject or actor. A keyed hash
     * of the principal and of each identity is left, by which both stay refused,
     * unless `allow_return` is set. Audit records stay as long as the answer
     * says. Signed tokens can't be erased; without `allow_return` this service no
     * longer accepts them.
     *
     * Fails with FAILED_PRECONDITION where a person that was erased before shall
     * be allowed to return: CreateProfile with `replace_deleted` does that.
     *
     * The first call refuses the person; the whole store is searched after it, in
     * steps. Call again with `next_page_token` until that is empty.
     *
     * Idempotent: without a page token it begins again.
     */
    readonly eraseProfile: {
        readonly path: "/tokenmint.v1.ProfileAdminService/EraseProfile";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: EraseProfileRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => EraseProfileRequest;
        readonly responseSerialize: (value: EraseProfileResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => EraseProfileResponse;
    };
};
export interface ProfileAdminServiceServer extends UntypedServiceImplementation {
    /**
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getProfile: handleUnaryCall<GetProfileRequest, GetProfileResponse>;
    /**
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted or an identity was erased, unless `replace_deleted` is
     * set.
     *
     * Not idempotent.
     */
    createProfile: handleUnaryCall<CreateProfileRequest, CreateProfileResponse>;
    /**
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     *
     * Idempotent with an etag.
     */
    updateProfile: handleUnaryCall<UpdateProfileRequest, UpdateProfileResponse>;
    /**
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     *
     * Idempotent: deleting a deleted profile changes nothing.
     */
    deleteProfile: handleUnaryCall<DeleteProfileRequest, DeleteProfileResponse>;
    /**
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     *
     * Idempotent.
     */
    listProfiles: handleUnaryCall<ListProfilesRequest, ListProfilesResponse>;
    /**
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal, and with
     * FAILED_PRECONDITION where it was erased.
     *
     * Idempotent.
     */
    linkIdentity: handleUnaryCall<LinkIdentityRequest, LinkIdentityResponse>;
    /**
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    unlinkIdentity: handleUnaryCall<UnlinkIdentityRequest, UnlinkIdentityResponse>;
    /**
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     *
     * Idempotent in effect; a later call moves the second forward.
     */
    revokePrincipalTokens: handleUnaryCall<RevokePrincipalTokensRequest, RevokePrincipalTokensResponse>;
    /**
     * Creates or replaces profiles in batches as they arrive, each confirmed
     * once, and answers when the stream ends: what the answer counts is durable.
     * One refused profile does not fail the others. Identities are added to those
     * of a profile, none is taken. Deleted and erased principals, and erased
     * identities under whichever principal, stay refused.
     *
     * A stream that fails may have been imported in part. Idempotent: send all of
     * it again.
     */
    importProfiles: handleClientStreamingCall<ImportProfilesRequest, ImportProfilesResponse>;
    /**
     * Erases a person: the profile or its tombstone, the identities, and the
     * reference tokens that name the principal as subject or actor. A keyed hash
     * of the principal and of each identity is left, by which both stay refused,
     * unless `allow_return` is set. Audit records stay as long as the answer
     * says. Signed tokens can't be erased; without `allow_return` this service no
     * longer accepts them.
     *
     * Fails with FAILED_PRECONDITION where a person that was erased before shall
     * be allowed to return: CreateProfile with `replace_deleted` does that.
     *
     * The first call refuses the person; the whole store is searched after it, in
     * steps. Call again with `next_page_token` until that is empty.
     *
     * Idempotent: without a page token it begins again.
     */
    eraseProfile: handleUnaryCall<EraseProfileRequest, EraseProfileResponse>;
}
export interface ProfileAdminServiceClient extends Client {
    /**
     * Returns one profile, by principal or by identity. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    getProfile(request: GetProfileRequest, callback: (error: ServiceError | null, response: GetProfileResponse) => void): ClientUnaryCall;
    getProfile(request: GetProfileRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetProfileResponse) => void): ClientUnaryCall;
    getProfile(request: GetProfileRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetProfileResponse) => void): ClientUnaryCall;
    /**
     * Creates a profile. Fails with ALREADY_EXISTS where the principal has one
     * or an identity belongs to another, and with FAILED_PRECONDITION where the
     * principal was deleted or an identity was erased, unless `replace_deleted` is
     * set.
     *
     * Not idempotent.
     */
    createProfile(request: CreateProfileRequest, callback: (error: ServiceError | null, response: CreateProfileResponse) => void): ClientUnaryCall;
    createProfile(request: CreateProfileRequest, metadata: Metadata, callback: (error: ServiceError | null, response: CreateProfileResponse) => void): ClientUnaryCall;
    createProfile(request: CreateProfileRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: CreateProfileResponse) => void): ClientUnaryCall;
    /**
     * Changes the fields of a profile that `update_mask` names. Fails with
     * NOT_FOUND, and with ABORTED where `profile.etag` is given and not current.
     *
     * Idempotent with an etag.
     */
    updateProfile(request: UpdateProfileRequest, callback: (error: ServiceError | null, response: UpdateProfileResponse) => void): ClientUnaryCall;
    updateProfile(request: UpdateProfileRequest, metadata: Metadata, callback: (error: ServiceError | null, response: UpdateProfileResponse) => void): ClientUnaryCall;
    updateProfile(request: UpdateProfileRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: UpdateProfileResponse) => void): ClientUnaryCall;
    /**
     * Deletes a profile. Its principal and identities stay refused: what is left
     * is a tombstone that just-in-time creation can't pass. Fails with NOT_FOUND
     * and ABORTED.
     *
     * Idempotent: deleting a deleted profile changes nothing.
     */
    deleteProfile(request: DeleteProfileRequest, callback: (error: ServiceError | null, response: DeleteProfileResponse) => void): ClientUnaryCall;
    deleteProfile(request: DeleteProfileRequest, metadata: Metadata, callback: (error: ServiceError | null, response: DeleteProfileResponse) => void): ClientUnaryCall;
    deleteProfile(request: DeleteProfileRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: DeleteProfileResponse) => void): ClientUnaryCall;
    /**
     * Lists profiles, in no particular order; one that exists throughout is
     * listed at least once, and may be listed twice across pages.
     *
     * Idempotent.
     */
    listProfiles(request: ListProfilesRequest, callback: (error: ServiceError | null, response: ListProfilesResponse) => void): ClientUnaryCall;
    listProfiles(request: ListProfilesRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ListProfilesResponse) => void): ClientUnaryCall;
    listProfiles(request: ListProfilesRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ListProfilesResponse) => void): ClientUnaryCall;
    /**
     * Makes an identity resolve to a principal. Fails with NOT_FOUND, and with
     * ALREADY_EXISTS where it belongs to another principal, and with
     * FAILED_PRECONDITION where it was erased.
     *
     * Idempotent.
     */
    linkIdentity(request: LinkIdentityRequest, callback: (error: ServiceError | null, response: LinkIdentityResponse) => void): ClientUnaryCall;
    linkIdentity(request: LinkIdentityRequest, metadata: Metadata, callback: (error: ServiceError | null, response: LinkIdentityResponse) => void): ClientUnaryCall;
    linkIdentity(request: LinkIdentityRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: LinkIdentityResponse) => void): ClientUnaryCall;
    /**
     * Takes an identity from a principal. The identity is refused from then on,
     * until it is linked again. Fails with NOT_FOUND.
     *
     * Idempotent.
     */
    unlinkIdentity(request: UnlinkIdentityRequest, callback: (error: ServiceError | null, response: UnlinkIdentityResponse) => void): ClientUnaryCall;
    unlinkIdentity(request: UnlinkIdentityRequest, metadata: Metadata, callback: (error: ServiceError | null, response: UnlinkIdentityResponse) => void): ClientUnaryCall;
    unlinkIdentity(request: UnlinkIdentityRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: UnlinkIdentityResponse) => void): ClientUnaryCall;
    /**
     * Refuses every token of the principal, ours or a provider's, that was
     * issued in or before this second (by the store's clock).
     *
     * Idempotent in effect; a later call moves the second forward.
     */
    revokePrincipalTokens(request: RevokePrincipalTokensRequest, callback: (error: ServiceError | null, response: RevokePrincipalTokensResponse) => void): ClientUnaryCall;
    revokePrincipalTokens(request: RevokePrincipalTokensRequest, metadata: Metadata, callback: (error: ServiceError | null, response: RevokePrincipalTokensResponse) => void): ClientUnaryCall;
    revokePrincipalTokens(request: RevokePrincipalTokensRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: RevokePrincipalTokensResponse) => void): ClientUnaryCall;
    /**
     * Creates or replaces profiles in batches as they arrive, each confirmed
     * once, and answers when the stream ends: what the answer counts is durable.
     * One refused profile does not fail the others. Identities are added to those
     * of a profile, none is taken. Deleted and erased principals, and erased
     * identities under whichever principal, stay refused.
     *
     * A stream that fails may have been imported in part. Idempotent: send all of
     * it again.
     */
    importProfiles(callback: (error: ServiceError | null, response: ImportProfilesResponse) => void): ClientWritableStream<ImportProfilesRequest>;
    importProfiles(metadata: Metadata, callback: (error: ServiceError | null, response: ImportProfilesResponse) => void): ClientWritableStream<ImportProfilesRequest>;
    importProfiles(options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ImportProfilesResponse) => void): ClientWritableStream<ImportProfilesRequest>;
    importProfiles(metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ImportProfilesResponse) => void): ClientWritableStream<ImportProfilesRequest>;
    /**
     * Erases a person: the profile or its tombstone, the identities, and the
     * reference tokens that name the principal as subject or actor. A keyed hash
     * of the principal and of each identity is left, by which both stay refused,
     * unless `allow_return` is set. Audit records stay as long as the answer
     * says. Signed tokens can't be erased; without `allow_return` this service no
     * longer accepts them.
     *
     * Fails with FAILED_PRECONDITION where a person that was erased before shall
     * be allowed to return: CreateProfile with `replace_deleted` does that.
     *
     * The first call refuses the person; the whole store is searched after it, in
     * steps. Call again with `next_page_token` until that is empty.
     *
     * Idempotent: without a page token it begins again.
     */
    eraseProfile(request: EraseProfileRequest, callback: (error: ServiceError | null, response: EraseProfileResponse) => void): ClientUnaryCall;
    eraseProfile(request: EraseProfileRequest, metadata: Metadata, callback: (error: ServiceError | null, response: EraseProfileResponse) => void): ClientUnaryCall;
    eraseProfile(request: EraseProfileRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: EraseProfileResponse) => void): ClientUnaryCall;
}
export declare const ProfileAdminServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): ProfileAdminServiceClient;
    service: typeof ProfileAdminServiceService;
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

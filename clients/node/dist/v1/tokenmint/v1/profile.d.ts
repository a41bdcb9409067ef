import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/profile.proto";
/**
 * What the service knows of a principal: the truth that minted tokens are
 * enriched from.
 */
export interface Profile {
    /**
     * The principal, the `sub` of minted tokens: 1 to 128 characters of
     * `A-Z a-z 0-9 . _ : @ -`. Immutable.
     */
    principal: string;
    /**
     * The identities at providers that are this principal, at most 32. Changed by
     * LinkIdentity and UnlinkIdentity only.
     */
    identities: Identity[];
    /** Whether exchanges for this principal are refused. */
    disabled: boolean;
    /**
     * Claims to enrich tokens with; at most 16 KiB as JSON, at most 8 levels
     * deep. Reserved claim names (RFC 7519, RFC 8693, tokenmint) are refused.
     */
    claims: {
        [key: string]: any;
    } | undefined;
    /** Roles, at most 64 of at most 128 characters each. */
    roles: string[];
    /**
     * Nothing issued in or before this second is accepted for the principal.
     * Changed by RevokePrincipalTokens only.
     */
    tokensValidAfterTime: Date | undefined;
    /** When the profile was created. */
    createTime: Date | undefined;
    /** When the profile was last changed. */
    updateTime: Date | undefined;
    /** A validator of this version of the profile. */
    etag: string;
}
/** A principal as one provider names it. */
export interface Identity {
    /** The configured provider's name, e.g. `google`. */
    provider: string;
    /**
     * The provider's name for the principal, at most 2048 bytes: `sub`; for
     * Entra ID `{tid}/{oid}`, for Firebase with tenants `{tenant}/{sub}`, for
     * Kubernetes `{sub}/{uid}` of the service account, or what the provider's
     * `subject_claims` say.
     */
    subject: string;
}
export declare const Profile: MessageFns<Profile>;
export declare const Identity: MessageFns<Identity>;
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

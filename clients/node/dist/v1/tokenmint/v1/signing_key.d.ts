import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { JsonWebKey } from "./json_web_key.js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/signing_key.proto";
/**
 * A key of the ring, as operators see it. The private half never leaves the
 * service.
 */
export interface SigningKey {
    /** The resource name, `signingKeys/{key_id}`. */
    name: string;
    /** The `kid`: the RFC 7638 SHA-256 thumbprint of the public key. */
    keyId: string;
    /** The JWS algorithm, e.g. `ES256`. */
    algorithm: string;
    /** Where the key is in its life. */
    state: SigningKey_State;
    /** When the key was generated. */
    createTime: Date | undefined;
    /** When the key was first published. */
    publishTime: Date | undefined;
    /** When the key began to sign; for a prepared key, when it may without force. */
    activateTime: Date | undefined;
    /** When the key stopped signing. */
    retireTime: Date | undefined;
    /** When the key leaves the key set, or left it. */
    deleteTime: Date | undefined;
    /** When the key was revoked. */
    revokeTime: Date | undefined;
    /** The public key. */
    publicJwk: JsonWebKey | undefined;
    /** A validator of the whole ring as of this answer. */
    etag: string;
    /** Why the key was revoked, as the operator put it. */
    revokeReason: string;
    /** When a prepared key begins to sign by itself. Unset for others. */
    plannedTime: Date | undefined;
    /** What holds the private half: `local`, `pkcs11` or `aws-kms`. */
    signer: string;
    /** The generation of the ring that first published the key. */
    publishGeneration: bigint;
    /**
     * When an active key stops signing, as planned: its successor begins then.
     * Unset for others, and without a successor.
     */
    plannedRetireTime: Date | undefined;
    /**
     * When an active key leaves the key set, as planned. Unset for others, and
     * without a successor.
     */
    plannedDeleteTime: Date | undefined;
}
/** Where a key is in its life. A key only ever moves forward. */
export declare enum SigningKey_State {
    /** STATE_UNSPECIFIED - Never sent. */
    STATE_UNSPECIFIED = 0,
    /** STATE_PREPARED - Published, signs nothing yet. */
    STATE_PREPARED = 1,
    /** STATE_ACTIVE - Published, signs. One key per algorithm. */
    STATE_ACTIVE = 2,
    /** STATE_RETIRING - Published, signs nothing any more; its private half is destroyed. */
    STATE_RETIRING = 3,
    /** STATE_RETIRED - No longer published, kept as a record. */
    STATE_RETIRED = 4,
    /** STATE_REVOKED - Unpublished at once, its private half destroyed. */
    STATE_REVOKED = 5,
    UNRECOGNIZED = -1
}
export declare const SigningKey: MessageFns<SigningKey>;
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

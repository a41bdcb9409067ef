import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/json_web_key.proto";
/** A public key (RFC 7517, RFC 7518 section 6). */
export interface JsonWebKey {
    /** The key id: the RFC 7638 SHA-256 thumbprint of the key. */
    kid: string;
    /** The key type: `EC`, `RSA` or `OKP`. */
    kty: string;
    /** The one algorithm that the key is used with, e.g. `ES256`. */
    alg: string;
    /** The use of the key, always `sig`. */
    use: string;
    /** The curve of an EC or OKP key. */
    crv: string;
    /** The x coordinate of an EC key or the public key of an OKP one, base64url. */
    x: string;
    /** The y coordinate of an EC key, base64url. */
    y: string;
    /** The modulus of an RSA key, base64url. */
    n: string;
    /** The public exponent of an RSA key, base64url. */
    e: string;
}
export declare const JsonWebKey: MessageFns<JsonWebKey>;
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

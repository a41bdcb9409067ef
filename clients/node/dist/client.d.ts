import { type ChannelOptions } from "@grpc/grpc-js";
import type { Certificate, Credential } from "./credentials.js";
import { type TokenmintError } from "./errors.js";
/** A token that tokenmint minted. */
export interface Token {
    /** The token itself, a secret. Printed and as JSON, the token is without it. */
    readonly value: string;
    /** Unix seconds. */
    readonly expiresAt: number;
    /** The principal that it is about, its `sub`. */
    readonly subject: string;
    readonly scopes: readonly string[];
    /** Its `jti`. */
    readonly tokenId: string;
    /** The `kid` of the key that signed it. */
    readonly keyId: string;
    /** How it is presented (RFC 8693 section 2.2.1). */
    readonly tokenType: string;
}
export interface ClientOptions {
    /** Tokenmint's gRPC listener, `host:port`. */
    readonly target: string;
    /** What proves this client. */
    readonly credential: Credential;
    /** The authorities of tokenmint's certificate, in PEM. Default: those that Node knows. */
    readonly ca?: string | Buffer;
    /** A client certificate for a `credential` of another kind (mutual TLS). */
    readonly certificate?: Certificate;
    /** Speak without TLS, to a loopback address. */
    readonly plaintext?: boolean;
    /** Seconds for a call with all its retries. Default: 10. */
    readonly timeout?: number;
    /** Further options of the gRPC channel. */
    readonly channelOptions?: ChannelOptions;
}
export interface TargetOptions {
    /** Default: all that the audience grants this client. */
    readonly scopes?: readonly string[];
    /** Whole seconds. Default: as the audience is configured. */
    readonly lifetime?: number;
}
export interface SubjectOptions {
    /** A URN of RFC 8693 section 3. Default: an ID token. */
    readonly subjectTokenType?: string;
    /** What the subject token's `nonce` has to be. Default: not compared. */
    readonly nonce?: string;
    /** Seconds for this call with all its retries. */
    readonly timeout?: number;
}
export interface ExchangeOptions extends TargetOptions, SubjectOptions {
    /** A URN of RFC 8693 section 3. Default: as the audience is configured. */
    readonly requestedTokenType?: string;
}
/** One of the artefacts of a batch. */
export interface Target extends TargetOptions {
    readonly audience: string;
}
/** A token, or why there is none. */
export type BatchResult = {
    readonly token: Token;
} | {
    readonly error: TokenmintError;
};
/** Exchanges tokens. Close it in the end. */
export declare class Client {
    #private;
    /** @throws RangeError where plaintext is asked for beyond loopback. */
    constructor(options: ClientOptions);
    /**
     * Exchanges a subject token for one token for an audience. Nothing is cached.
     *
     * @throws TokenmintError, see its subclasses.
     */
    exchange(subjectToken: string, audience: string, options?: ExchangeOptions): Promise<Token>;
    /**
     * Exchanges a subject token for one token for each of at most 16 targets, in their order. A refused target does not
     * fail the others.
     *
     * @throws TokenmintError where the subject token, the client or the whole request was refused.
     */
    exchangeBatch(subjectToken: string, targets: readonly Target[], options?: SubjectOptions): Promise<BatchResult[]>;
    /** Closes the connection. */
    close(): void;
}

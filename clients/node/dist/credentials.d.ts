import { type KeyLike } from "jose";
/** A client certificate and its key, in PEM. */
export interface Certificate {
    readonly cert: string | Buffer;
    readonly key: string | Buffer;
}
/** What proves this client. */
export interface Credential {
    /** Returns what one attempt of a call carries. */
    metadata(): Promise<Readonly<Record<string, string>>>;
    /** The client's side of mutual TLS. */
    readonly certificate?: Certificate;
}
/** A secret that `tokenmint clients new-secret` made, or a function that returns the current one. */
export declare function clientSecret(clientId: string, secret: string | (() => string)): Credential;
export interface ClientAssertionOptions {
    /** The private key: PKCS#8 in PEM, or as `jose` knows it. */
    readonly key: string | KeyLike;
    /** The `kid` under which tokenmint knows its public half. */
    readonly keyId: string;
    /** Tokenmint's issuer. */
    readonly audience: string;
    /** What the key signs with. Default: ES256. */
    readonly algorithm?: string;
}
/** A private key of this client's own (RFC 7523): each attempt carries a fresh assertion, which counts once. */
export declare function clientAssertion(clientId: string, options: ClientAssertionOptions): Credential;
/** A token of the platform that this runs on: a file that is read for each attempt, or a function that returns it. */
export declare function workloadToken(source: {
    file: string;
} | (() => Promise<string>), clientId?: string): Credential;
/** The certificate of a mutual TLS connection. */
export declare function clientCertificate(certificate: Certificate): Credential;
/** Nothing but a name, for audiences that take public clients. */
export declare function publicClient(clientId: string): Credential;

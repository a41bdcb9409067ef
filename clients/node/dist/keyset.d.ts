import { type KeyLike } from "jose";
/** A public key and what it is used with. */
export interface Key {
    readonly key: KeyLike | Uint8Array;
    readonly algorithm: string;
}
/** Tokenmint's public keys: kept, asked for again, followed when they rotate. */
export declare class KeySet {
    #private;
    /** @throws RangeError where the set would be fetched without TLS from another machine. */
    constructor(url: string, algorithms: ReadonlySet<string>);
    /** Returns a key, after a request where one is due. @throws KeySetUnavailable, TokenRejected (UNKNOWN_KEY). */
    key(keyId: string, now: number): Promise<Key>;
}

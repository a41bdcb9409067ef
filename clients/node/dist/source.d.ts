import type { Client, Token } from "./client.js";
/** A token and when to refresh it. Plain data, so that a session can hold it. */
export interface Entry {
    readonly token: Token;
    /** Unix seconds from which on a use begins a refresh. */
    readonly refreshAt: number;
}
/** Keeps entries. What it returns is believed, so nobody else may write to it. */
export interface TokenStore {
    get(key: string): Entry | undefined;
    put(key: string, entry: Entry, now: number): void;
    /** Drops the entries whose keys begin with `prefix`. */
    forget(prefix: string): void;
}
/** Keeps entries in this process: the least recently used goes first, what has expired goes before it. */
export declare class MemoryStore implements TokenStore {
    #private;
    /** @throws RangeError where `maxEntries` is less than 1. */
    constructor(maxEntries?: number);
    get size(): number;
    get(key: string): Entry | undefined;
    put(key: string, entry: Entry, now: number): void;
    forget(prefix: string): void;
}
/** A session that can hold a value, such as that of `express-session`. */
export interface Session {
    tokenmint?: Record<string, Entry>;
}
/**
 * Keeps entries in the session of a web application, so that they end with it. The session is one that is kept on the
 * server: one that travels in a cookie, even a signed one, would show the tokens to the browser.
 */
export declare class SessionStore implements TokenStore {
    #private;
    constructor(session: object, maxEntries?: number);
    get(key: string): Entry | undefined;
    put(key: string, entry: Entry, now: number): void;
    forget(prefix: string): void;
}
export interface TokenSourceOptions {
    /** Keeps the tokens. Default: 10,000 of them, in memory. */
    readonly store?: TokenStore;
    /** Returns Unix seconds. */
    readonly clock?: () => number;
    /** Returns a number between 0 and 1. */
    readonly jitter?: () => number;
}
export interface GetOptions {
    /** Default: all that the audience grants this client. */
    readonly scopes?: readonly string[];
    /** A URN of RFC 8693 section 3. Default: an ID token. */
    readonly subjectTokenType?: string;
    /** Keeps the token, e.g. a `SessionStore`. Default: the source's own. */
    readonly store?: TokenStore;
}
/**
 * Exchanges subject tokens and keeps what comes of it.
 *
 * A token is handed out from the store while it is fresh. After 70 to 85 % of its life the next use begins a refresh in
 * the background and gets the token that is there; once that has expired, callers wait. There is one exchange at a
 * time for one (subject token, audience, scopes) and all callers. Failures are not kept.
 */
export declare class TokenSource {
    #private;
    constructor(client: Client, options?: TokenSourceOptions);
    /**
     * Returns a token for an audience on behalf of the subject.
     *
     * @throws TokenmintError where there is no usable token and none could be had.
     */
    get(subjectToken: string, audience: string, options?: GetOptions): Promise<Token>;
    /** Drops the tokens of a subject token: for when somebody signs out. */
    forget(subjectToken: string, store?: TokenStore): void;
}

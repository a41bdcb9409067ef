import { type SubjectToken } from "./bearer.js";
import type { TokenSource } from "./source.js";
export interface TokenFetchOptions {
    /** Default: all that the audience grants this client. */
    readonly scopes?: readonly string[];
    /** What does the requests. Default: Node's `fetch`, which drops the token where a redirect leads to another origin. */
    readonly fetch?: typeof fetch;
}
/**
 * Returns a `fetch` whose requests carry the token. It rejects with a `TokenmintError` where no token can be had.
 *
 * Give it only to code that calls the service that the audience names.
 */
export declare function tokenFetch(source: TokenSource, subjectToken: SubjectToken, audience: string, options?: TokenFetchOptions): typeof fetch;

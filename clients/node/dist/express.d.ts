import type { IncomingMessage, ServerResponse } from "node:http";
import type { VerifiedToken, Verifier } from "./verifier.js";
export interface MiddlewareOptions {
    /** What each request needs. */
    readonly scopes?: readonly string[];
}
/** Middleware of Express and of everything else that passes Node's own requests on. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;
/** Returns the verified token of a request that is being served. @throws RangeError where it has none. */
export declare function tokenOf(request: IncomingMessage): VerifiedToken;
/**
 * Returns middleware that serves a request only with a good token; `tokenOf(request)` and `request.auth` return it.
 *
 * Others are answered as RFC 6750 section 3 says: 401, 400 with several `Authorization` headers, 403 where a scope is
 * missing. Without keys the answer is 503, with `Retry-After`. A token in the query is not looked at.
 */
export declare function requireToken(verifier: Verifier, options?: MiddlewareOptions): Middleware;

import { type CallCredentials, type Interceptor, Metadata, type ServerInterceptor } from "@grpc/grpc-js";
import { type SubjectToken } from "./bearer.js";
import type { GetOptions, TokenSource } from "./source.js";
import type { VerifiedToken, Verifier } from "./verifier.js";
/** Returns call credentials, for a TLS channel (`credentials.combineChannelCredentials`) or a single call. */
export declare function callCredentials(source: TokenSource, subjectToken: SubjectToken, audience: string, options?: GetOptions): CallCredentials;
/** Returns a client interceptor that adds the token to each call. Over TLS, prefer call credentials. */
export declare function tokenInterceptor(source: TokenSource, subjectToken: SubjectToken, audience: string, options?: GetOptions): Interceptor;
/** Returns the verified token of a call that is being served, by its metadata. @throws RangeError where it has none. */
export declare function tokenOf(call: {
    readonly metadata: Metadata;
}): VerifiedToken;
export interface ServerInterceptorOptions {
    /** What each call needs. */
    readonly scopes?: readonly string[];
    /** Full names of methods that need no token, e.g. `/grpc.health.v1.Health/Check`. */
    readonly public?: readonly string[];
}
/** Returns a server interceptor that serves a call only with a good token; `tokenOf(call)` returns it to the method. */
export declare function verifyingInterceptor(verifier: Verifier, options?: ServerInterceptorOptions): ServerInterceptor;

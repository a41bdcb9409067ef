import type { VerifiedToken } from "./verifier.js";
/** On whose behalf a call is made: a fixed subject token, or a function that returns the one of the current request. */
export type SubjectToken = string | (() => string);
/** Returns the subject token that counts now. */
export declare function current(subjectToken: SubjectToken): string;
/** Returns the bearer token of an `Authorization` header (RFC 6750 section 2.1). */
export declare function bearerToken(header: string | undefined): string | undefined;
/** Returns the scopes that a call needs and the token does not have. */
export declare function missingScopes(token: VerifiedToken, scopes: readonly string[]): string[];
/** The answer while there are no keys: the address of the key set is not the caller's business. */
export declare const UNAVAILABLE = "tokens can't be verified at the moment: try again";

import type { VerifiedToken } from "./verifier.js";

/** On whose behalf a call is made: a fixed subject token, or a function that returns the one of the current request. */
export type SubjectToken = string | (() => string);

/** Returns the subject token that counts now. */
export function current(subjectToken: SubjectToken): string {
  return typeof subjectToken === "string" ? subjectToken : subjectToken();
}

/** Returns the bearer token of an `Authorization` header (RFC 6750 section 2.1). */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +([^\s,]+) *$/i.exec(header ?? "")?.[1];
}

/** Returns the scopes that a call needs and the token does not have. */
export function missingScopes(token: VerifiedToken, scopes: readonly string[]): string[] {
  return scopes.filter((scope) => !token.scopes.has(scope));
}

/** The answer while there are no keys: the address of the key set is not the caller's business. */
export const UNAVAILABLE = "tokens can't be verified at the moment: try again";

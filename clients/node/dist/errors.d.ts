import { type Metadata } from "@grpc/grpc-js";
import { Status } from "./v1/google/rpc/status.js";
/** What is known of a failed call. */
export interface Failure {
    readonly message: string;
    readonly reason: string;
    readonly code: string;
    readonly retryAfter: number | undefined;
    readonly violations: Readonly<Record<string, string>>;
}
/** A call to tokenmint failed. */
export declare class TokenmintError extends Error {
    /** `ErrorInfo.reason` of the answer, e.g. `EXPIRED`; where it has none, the gRPC code's name. Branch on it. */
    readonly reason: string;
    /** The gRPC code's name, e.g. `UNAUTHENTICATED`. */
    readonly code: string;
    /** Seconds after which a retry makes sense. */
    readonly retryAfter: number | undefined;
    /** The fields of the request that were refused, with what was expected of each. */
    readonly violations: Readonly<Record<string, string>>;
    constructor(failure: Failure);
}
/** The request can't be meant: `violations` lists every field that is wrong. */
export declare class InvalidRequest extends TokenmintError {
}
/** The subject token was not proved: the user has to sign in again, or the caller sent the wrong token. */
export declare class SubjectTokenRejected extends TokenmintError {
}
/** This client was not proved: its credential is wrong. */
export declare class CallerUnauthenticated extends TokenmintError {
}
/** The policy does not allow this exchange. */
export declare class AccessDenied extends TokenmintError {
}
/** Too many calls: `retryAfter` says when to come back. */
export declare class RateLimited extends TokenmintError {
}
/** Tokenmint, or something that it needs, can't be reached; the retries were used up. */
export declare class Unavailable extends TokenmintError {
}
/** There was no answer within the time that the call was given. */
export declare class DeadlineExceeded extends TokenmintError {
}
/** Why a token was not accepted. */
export type VerificationReason = "MALFORMED" | "UNSUPPORTED_TOKEN_TYPE" | "ALGORITHM_NOT_ALLOWED" | "UNKNOWN_KEY" | "BAD_SIGNATURE" | "EXPIRED" | "NOT_YET_VALID" | "UNKNOWN_ISSUER" | "WRONG_AUDIENCE" | "CLAIM_REJECTED" | "KEY_SET_UNAVAILABLE";
/** A token was not accepted. The message holds no token. */
export declare class VerificationError extends Error {
    readonly reason: VerificationReason;
    constructor(reason: VerificationReason, message: string);
}
/** The token is not good: its sender needs another one. */
export declare class TokenRejected extends VerificationError {
}
/** Nothing can be said of the token: the keys that it would be verified with can't be fetched. */
export declare class KeySetUnavailable extends VerificationError {
    constructor(message: string);
}
/** Returns the error for a failed call. */
export declare function fromServiceError(error: {
    code: number;
    details: string;
    metadata: Metadata | undefined;
}): TokenmintError;
/** Returns the error for a status, e.g. of one target of a batch. */
export declare function fromStatus(status: Status): TokenmintError;

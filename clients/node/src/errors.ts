import { status as Code, type Metadata } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "./v1/google/rpc/error_details.js";
import { Status } from "./v1/google/rpc/status.js";

const DOMAIN = "tokenmint.dev";
const DETAILS_KEY = "grpc-status-details-bin";

/** What is known of a failed call. */
export interface Failure {
  readonly message: string;
  readonly reason: string;
  readonly code: string;
  readonly retryAfter: number | undefined;
  readonly violations: Readonly<Record<string, string>>;
}

/** A call to tokenmint failed. */
export class TokenmintError extends Error {
  /** `ErrorInfo.reason` of the answer, e.g. `EXPIRED`; where it has none, the gRPC code's name. Branch on it. */
  readonly reason: string;
  /** The gRPC code's name, e.g. `UNAUTHENTICATED`. */
  readonly code: string;
  /** Seconds after which a retry makes sense. */
  readonly retryAfter: number | undefined;
  /** The fields of the request that were refused, with what was expected of each. */
  readonly violations: Readonly<Record<string, string>>;

  constructor(failure: Failure) {
    super(failure.message);
    this.name = new.target.name;
    this.reason = failure.reason;
    this.code = failure.code;
    this.retryAfter = failure.retryAfter;
    this.violations = failure.violations;
  }
}

/** The request can't be meant: `violations` lists every field that is wrong. */
export class InvalidRequest extends TokenmintError {}
/** The subject token was not proved: the user has to sign in again, or the caller sent the wrong token. */
export class SubjectTokenRejected extends TokenmintError {}
/** This client was not proved: its credential is wrong. */
export class CallerUnauthenticated extends TokenmintError {}
/** The policy does not allow this exchange. */
export class AccessDenied extends TokenmintError {}
/** Too many calls: `retryAfter` says when to come back. */
export class RateLimited extends TokenmintError {}
/** Tokenmint, or something that it needs, can't be reached; the retries were used up. */
export class Unavailable extends TokenmintError {}
/** There was no answer within the time that the call was given. */
export class DeadlineExceeded extends TokenmintError {}

const KINDS: Readonly<Record<string, typeof TokenmintError>> = {
  INVALID_ARGUMENT: InvalidRequest,
  UNAUTHENTICATED: SubjectTokenRejected,
  PERMISSION_DENIED: AccessDenied,
  RESOURCE_EXHAUSTED: RateLimited,
  UNAVAILABLE: Unavailable,
  DEADLINE_EXCEEDED: DeadlineExceeded,
};

/** Why a token was not accepted. */
export type VerificationReason =
  | "MALFORMED"
  | "UNSUPPORTED_TOKEN_TYPE"
  | "ALGORITHM_NOT_ALLOWED"
  | "UNKNOWN_KEY"
  | "BAD_SIGNATURE"
  | "EXPIRED"
  | "NOT_YET_VALID"
  | "UNKNOWN_ISSUER"
  | "WRONG_AUDIENCE"
  | "CLAIM_REJECTED"
  | "POSSESSION_NOT_PROVED"
  | "PROOF_REJECTED"
  | "NONCE_REQUIRED"
  | "REVOKED"
  | "KEY_SET_UNAVAILABLE"
  | "REVOCATIONS_UNAVAILABLE"
  | "STATUS_LIST_UNAVAILABLE"
  | "UNAVAILABLE";

/** A token was not accepted. The message holds no token. */
export class VerificationError extends Error {
  readonly reason: VerificationReason;

  constructor(reason: VerificationReason, message: string) {
    super(message);
    this.name = new.target.name;
    this.reason = reason;
  }
}

/** The token is not good: its sender needs another one. */
export class TokenRejected extends VerificationError {}

/** Nothing can be said of the token: the keys that it would be verified with can't be fetched. */
export class KeySetUnavailable extends VerificationError {
  constructor(message: string, reason: VerificationReason = "KEY_SET_UNAVAILABLE") {
    super(reason, message);
  }
}

/** Nothing can be said of the token: whether it was revoked is not known, and the verifier is to refuse it then. */
export class RevocationsUnavailable extends KeySetUnavailable {
  constructor(message: string) {
    super(message, "REVOCATIONS_UNAVAILABLE");
  }
}

/** Nothing can be said of the token: the list that tells whether it was revoked can't be had. */
export class StatusListUnavailable extends KeySetUnavailable {
  constructor(message: string) {
    super(message, "STATUS_LIST_UNAVAILABLE");
  }
}

/** Nothing can be said of the token: its proof can't be remembered, and a forgotten one could be replayed. */
export class ReplayMemoryFull extends VerificationError {
  constructor() {
    super("UNAVAILABLE", "too many proofs within a minute: none can be remembered");
  }
}

/** Returns the error for a failed call. */
export function fromServiceError(error: { code: number; details: string; metadata: Metadata | undefined }): TokenmintError {
  const plain: Status = { code: error.code, message: error.details, details: [] };
  const sent = error.metadata?.get(DETAILS_KEY)[0];
  if (!(sent instanceof Uint8Array)) return fromStatus(plain);
  const detailed = Status.decode(sent);
  return fromStatus(detailed.code === error.code ? detailed : plain); // what a proxy made of it does not count
}

/** Returns the error for a status, e.g. of one target of a batch. */
export function fromStatus(status: Status): TokenmintError {
  const code = Code[status.code] ?? "UNKNOWN";
  let reason: string = code;
  let retryAfter: number | undefined;
  const violations: Record<string, string> = {};
  for (const { typeUrl, value } of status.details) {
    const kind = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    if (kind === "google.rpc.ErrorInfo") {
      const info = ErrorInfo.decode(value);
      if (info.domain === DOMAIN) reason = info.reason;
    } else if (kind === "google.rpc.RetryInfo") {
      const delay = RetryInfo.decode(value).retryDelay;
      if (delay !== undefined) retryAfter = Number(delay.seconds) + delay.nanos / 1e9;
    } else if (kind === "google.rpc.BadRequest") {
      for (const { field, description } of BadRequest.decode(value).fieldViolations) violations[field] = description;
    }
  }
  const Kind = reason === "CALLER_UNAUTHENTICATED" ? CallerUnauthenticated : (KINDS[code] ?? TokenmintError);
  return new Kind({ message: status.message, reason, code, retryAfter, violations });
}

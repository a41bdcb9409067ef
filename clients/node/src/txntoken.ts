/**
 * Transaction tokens (draft-ietf-oauth-transaction-tokens): the header that carries them, and their verification.
 *
 * A workload verifies the token of its request for its trust domain, and sends the same text on with its own requests. A
 * transaction token authenticates nobody: it says which transaction a request belongs to.
 */
import { TokenRejected } from "./errors.js";
import { type VerifiedToken, Verifier, type VerifierOptions } from "./verifier.js";

/** The HTTP header (section 12.1). `Authorization` carries other tokens. */
export const TXN_TOKEN_HEADER = "Txn-Token";
/** The type, for `requestedTokenType`. */
export const TXN_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:txn_token";
const TYP = "txntoken+jwt";
const MAX_TOKEN_LENGTH = 16 * 1024;
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** What a verified transaction token says. Only a verifier makes one. */
export interface TransactionToken {
  /** The id of the transaction. */
  readonly txn: string;
  /** The principal of the transaction. */
  readonly subject: string;
  /** Its purpose. */
  readonly scopes: ReadonlySet<string>;
  /** The workload that requested the token. */
  readonly requester: string;
  /** The transaction context: the same for all workloads of the transaction. */
  readonly tctx: Readonly<Record<string, unknown>>;
  /** The request context. */
  readonly rctx: Readonly<Record<string, unknown>>;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** All of its claims. */
  readonly claims: VerifiedToken["claims"];
}

/**
 * Returns the header to send a token with: the token of one's own request, unchanged, or a new one.
 *
 * @throws TokenRejected where the text is no token.
 */
export function txnTokenHeaders(token: string): Record<string, string> {
  return { [TXN_TOKEN_HEADER]: one(token) };
}

/**
 * Returns the token of a request, from Node's `request.headersDistinct`, or from the standard's `Headers`, which joins
 * several values to a text that is no token.
 *
 * @throws TokenRejected where there is none, or more than one.
 */
export function receivedTxnToken(headers: Headers | NodeJS.Dict<string[]>): string {
  const joined = headers instanceof Headers ? headers.get(TXN_TOKEN_HEADER) : undefined;
  const distinct = headers instanceof Headers ? [] : (headers[TXN_TOKEN_HEADER.toLowerCase()] ?? []);
  const values = typeof joined === "string" ? [joined] : distinct;
  const [value] = values;
  if (value === undefined || values.length !== 1) {
    throw new TokenRejected("MALFORMED", `the request has ${String(values.length)} Txn-Token headers, and exactly one is expected`);
  }
  return one(value);
}

/** Verifies transaction tokens of one trust domain, offline. */
export class TxnTokenVerifier {
  readonly #verifier: Verifier;

  /** `audience` is the trust domain of this workload, exactly as it is configured. */
  constructor(options: Omit<VerifierOptions, "tokenType">) {
    this.#verifier = new Verifier({ ...options, tokenType: TYP });
  }

  /**
   * Returns what a token says.
   *
   * @throws TokenRejected where it is not good, KeySetUnavailable where the keys can't be fetched.
   */
  async verify(token: string): Promise<TransactionToken> {
    const { subject, scopes, expiresAt, claims } = await this.#verifier.verify(token);
    text(claims["scope"], "scope");
    return {
      txn: text(claims["txn"], "txn"),
      subject,
      scopes,
      requester: text(claims["req_wl"], "req_wl"),
      tctx: object(claims["tctx"], "tctx"),
      rctx: object(claims["rctx"], "rctx"),
      expiresAt,
      claims,
    };
  }
}

function one(token: string): string {
  if (token.length > MAX_TOKEN_LENGTH || !COMPACT.test(token)) {
    throw new TokenRejected("MALFORMED", "the Txn-Token is not one compact JWS");
  }
  return token;
}

function text(value: unknown, name: string): string {
  if (typeof value !== "string" || value.trim() === "") {
    throw new TokenRejected("CLAIM_REJECTED", `the transaction token's ${name} is missing, or is not a text`);
  }
  return value;
}

function object(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TokenRejected("CLAIM_REJECTED", `the transaction token's ${name} is not an object`);
  }
  return value as Record<string, unknown>;
}

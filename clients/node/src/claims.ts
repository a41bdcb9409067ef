import { compactVerify, errors } from "jose";
import { TokenRejected, type VerificationReason } from "./errors.js";
import type { Key } from "./keyset.js";
import type { JsonObject, VerifiedToken } from "./verifier.js";

const MAX_TOKEN_LENGTH = 16 * 1024;
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/; // a token with the algorithm `none` has no signature

/** The values that a token is compared with. */
export interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: ReadonlySet<string>;
  /** Values of `typ` as `mediaType` returns them. */
  readonly types: ReadonlySet<string>;
  /** Seconds that the clocks may differ. */
  readonly leeway: number;
}

/** Returns a `typ` in lower case, without the prefix that may be left out (RFC 7515 section 4.1.9). */
export function mediaType(name: string): string {
  return name.toLowerCase().replace(/^application\//, "");
}

/** Returns a JSON object of a part of a compact JWS, or undefined where it is none. */
export function jsonPart(text: string | Uint8Array): JsonObject | undefined {
  try {
    const bytes = typeof text === "string" ? Buffer.from(text, "base64url") : text;
    const found: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isObject(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns the header of a compact JWS, or undefined where the text is none. */
export function headerOf(token: string): JsonObject | undefined {
  return COMPACT.test(token) ? jsonPart(token.slice(0, token.indexOf("."))) : undefined;
}

/** Reads the header of a token of which nothing is believed yet. */
export function readHeader(
  token: string,
  expected: Expected,
  most = MAX_TOKEN_LENGTH,
): { keyId: string; algorithm: string } {
  if (token.length > most) throw rejected("MALFORMED", "the token is too long");
  const header = headerOf(token);
  if (header === undefined) throw rejected("MALFORMED", "the token is not a well-formed compact JWS");
  const { alg, typ, kid } = header;
  if (typeof alg !== "string" || !expected.algorithms.has(alg)) {
    throw rejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted");
  }
  if (typeof typ !== "string" || !expected.types.has(mediaType(typ))) {
    throw rejected("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted");
  }
  if ("crit" in header || typeof kid !== "string" || kid === "") {
    throw rejected("MALFORMED", "the token's header has a crit, or no kid");
  }
  return { keyId: kid, algorithm: alg };
}

/** Returns the claims of a token that `key` signed. */
export async function readClaims(token: string, key: Key, algorithm: string): Promise<JsonObject> {
  if (key.algorithm !== algorithm) throw rejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not its key's");
  let payload: Uint8Array;
  try {
    payload = (await compactVerify(token, key.key, { algorithms: [algorithm] })).payload;
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      throw rejected("BAD_SIGNATURE", "the token's signature does not verify");
    }
    throw rejected("MALFORMED", "the token is not a well-formed compact JWS");
  }
  const claims = jsonPart(payload);
  if (claims === undefined) throw rejected("MALFORMED", "the token is not a well-formed JWT");
  return claims;
}

/** Returns what a token says, except whether its sender holds the key that it is bound to. */
export function checkClaims(claims: JsonObject, expected: Expected, now: number): VerifiedToken {
  const issuer = text(claims, "iss");
  const subject = text(claims, "sub");
  const audiences: unknown = typeof claims["aud"] === "string" ? [claims["aud"]] : claims["aud"];
  if (issuer === "" || subject === "" || !Array.isArray(audiences)) {
    throw rejected("CLAIM_REJECTED", "the token lacks iss, sub or aud");
  }
  const issuedAt = time(claims, "iat");
  const expiresAt = time(claims, "exp");
  const notBefore = "nbf" in claims ? time(claims, "nbf") : issuedAt;
  const token: VerifiedToken = {
    subject,
    clientId: text(claims, "client_id"),
    scopes: new Set(text(claims, "scope").split(" ").filter((one) => one !== "")),
    issuedAt,
    expiresAt,
    tokenId: text(claims, "jti"),
    actor: object(claims, "act"),
    confirmation: object(claims, "cnf"),
    claims,
  };
  if (issuer !== expected.issuer) throw rejected("UNKNOWN_ISSUER", "the token's issuer is another one");
  // One audience, as tokenmint mints them: another service that accepts the token could send it on to this one.
  if (audiences.length !== 1 || audiences[0] !== expected.audience) {
    throw rejected("WRONG_AUDIENCE", "the token was issued for another audience, or for several");
  }
  if (now >= expiresAt + expected.leeway) throw rejected("EXPIRED", "the token has expired");
  if (Math.max(issuedAt, notBefore) > now + expected.leeway) {
    throw rejected("NOT_YET_VALID", "the token is not valid yet: compare the clocks");
  }
  return token;
}

function text(claims: JsonObject, name: string): string {
  const value = name in claims ? claims[name] : "";
  if (typeof value !== "string") throw rejected("CLAIM_REJECTED", `the token's ${name} is not a text`);
  return value;
}

function time(claims: JsonObject, name: string): number {
  const value = claims[name];
  if (typeof value !== "number" || !Number.isFinite(value)) throw rejected("CLAIM_REJECTED", `the token's ${name} is missing or is not a time`);
  return value;
}

function object(claims: JsonObject, name: string): JsonObject | undefined {
  if (!(name in claims)) return undefined;
  const value = claims[name];
  if (!isObject(value)) throw rejected("CLAIM_REJECTED", `the token's ${name} is not an object`);
  return value;
}

function rejected(reason: VerificationReason, message: string): TokenRejected {
  return new TokenRejected(reason, message);
}

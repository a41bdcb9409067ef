import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { calculateJwkThumbprint, compactVerify, importJWK, type JWK } from "jose";
import { headerOf, isObject, jsonPart, mediaType } from "./claims.js";
import { ReplayMemoryFull, TokenRejected } from "./errors.js";
import { rsaBits } from "./keyset.js";

/** What proofs may be signed with: none is symmetric. */
export const PROOF_ALGORITHMS: readonly string[] = ["ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA"];
const MAX_AGE = 60; // seconds after its iat in which a proof is accepted
const MAX_AHEAD = 10; // seconds by which the sender's clock may be fast
const MAX_PROOF_LENGTH = 8 * 1024;
const MAX_ID = 255; // characters of a jti
const RSA_BITS = [2048, 4096] as const; // larger ones are cheap to make and expensive to check
const NONCE_AGE = 300; // seconds for which a nonce is accepted
const MIN_NONCE_KEY = 32; // bytes
const NONCE_TIME = 8; // bytes
const NONCE_TAG = 16; // bytes
const URI = /^[!#-;=?-[\]_a-z~]{1,2048}$/i; // the characters of RFC 3986 section 2
const HTTP_URL = /^(https?):\/\/([^/?#@]+)((?:\/[^?#]*)?)(?:\?[^#]*)?(?:#.*)?$/i;
const KEY_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ["crv", "kty", "x", "y"],
  RSA: ["e", "kty", "n"],
  OKP: ["crv", "kty", "x"],
};
const SECRET_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** A proof whose signature, method, URL, age and token hash are good. Not yet whether it is new. */
export interface Proof {
  readonly thumbprint: string;
  readonly nonce: string;
  readonly replayId: string;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/** Checks a proof for one request (RFC 9449 section 4.3). @throws TokenRejected (PROOF_REJECTED). */
export async function readProof(
  proof: string,
  request: { readonly method: string; readonly url: string; readonly token: string },
  now: number,
): Promise<Proof> {
  const header = proof.length > MAX_PROOF_LENGTH ? undefined : headerOf(proof);
  if (header === undefined) throw rejected("is not a well-formed compact JWS");
  const { typ, alg, jwk } = header;
  if (typeof typ !== "string" || mediaType(typ) !== "dpop+jwt") throw rejected("has another typ than dpop+jwt");
  if (typeof alg !== "string" || !PROOF_ALGORITHMS.includes(alg)) {
    throw rejected(`has an alg that is none of ${PROOF_ALGORITHMS.join(", ")}`);
  }
  if ("crit" in header) throw rejected("has a crit");
  const key = publicKey(jwk);
  let payload: Uint8Array;
  try {
    payload = (await compactVerify(proof, await importJWK(key, alg), { algorithms: [alg] })).payload;
  } catch {
    throw rejected("has a signature that its jwk does not verify");
  }
  const claims = jsonPart(payload);
  if (claims === undefined) throw rejected("is not a well-formed JWT");
  const { jti, htm, htu, iat, ath, nonce = "" } = claims;
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_ID) {
    throw rejected(`has no jti of 1 to ${String(MAX_ID)} characters`);
  }
  if (htm !== request.method) throw rejected("is for another method (htm)");
  const here = normalUrl(request.url);
  if (here === undefined || normalUrl(htu) !== here) throw rejected("is for another URL (htu)");
  if (typeof iat !== "number" || !Number.isFinite(iat)) throw rejected("has no iat that is a time");
  if (iat > now + MAX_AHEAD) throw rejected("has an iat in the future: compare the clocks");
  if (now >= iat + MAX_AGE) {
    throw rejected(`is older than ${String(MAX_AGE)} s: make a new one for each request`);
  }
  if (!same(ath, hashOf(request.token))) throw rejected("is for another access token (ath)");
  if (typeof nonce !== "string") throw rejected("has a nonce that is not a text");
  const thumbprint = await calculateJwkThumbprint(key, "sha256");
  return { thumbprint, nonce, replayId: hashOf(`${thumbprint}\0${jti}`), expiresAt: iat + MAX_AGE };
}

/** Returns the public members of a `jwk`, and nothing else. */
function publicKey(jwk: unknown): JWK {
  const names = isObject(jwk) && typeof jwk["kty"] === "string" ? KEY_MEMBERS[jwk["kty"]] : undefined;
  if (!isObject(jwk) || names === undefined || names.some((name) => typeof jwk[name] !== "string")) {
    throw rejected("has no public jwk");
  }
  if (SECRET_MEMBERS.some((name) => name in jwk)) throw rejected("has a jwk that is not public");
  const key = { kty: jwk["kty"] as string, ...Object.fromEntries(names.map((name) => [name, jwk[name]])) } as JWK;
  if (key.kty === "RSA" && (rsaBits(key) < RSA_BITS[0] || rsaBits(key) > RSA_BITS[1])) {
    throw rejected(`has an RSA key that is not of ${RSA_BITS.join(" to ")} bits`);
  }
  return key;
}

/** Remembers the proofs that were used, until they would be too old. Each process has its own. */
export class ReplayMemory {
  readonly #used = new Map<string, number>(); // in the order of their use
  readonly #size: number;

  /** @throws RangeError where there is no room for one. */
  constructor(size: number) {
    if (!(size >= 1)) throw new RangeError("replayMemory: expected 1 or more");
    this.#size = size;
  }

  /** Uses a proof up. @throws TokenRejected where it was used before, ReplayMemoryFull where there is no room for it. */
  use(proof: Proof, now: number): void {
    const expiresAt = this.#used.get(proof.replayId);
    if (expiresAt !== undefined && now < expiresAt) throw rejected("was used before: make a new one for each request");
    this.#used.delete(proof.replayId);
    if (this.#used.size >= this.#size) this.#dropOld(now);
    if (this.#used.size >= this.#size) throw new ReplayMemoryFull();
    this.#used.set(proof.replayId, proof.expiresAt);
  }

  #dropOld(now: number): void {
    // A proof expires at most MAX_AGE + MAX_AHEAD later, so the old ones are in front.
    for (const [replayId, expiresAt] of this.#used) {
      if (now < expiresAt) return;
      this.#used.delete(replayId);
    }
  }
}

/** Nonces of this service (RFC 9449 section 9): a time and its HMAC, so that nothing has to be remembered. */
export class Nonces {
  readonly #key: Uint8Array;

  /** @throws RangeError where the key is too short. */
  constructor(key: Uint8Array) {
    if (key.byteLength < MIN_NONCE_KEY) throw new RangeError(`nonceKey: expected ${String(MIN_NONCE_KEY)} bytes or more`);
    this.#key = key;
  }

  /** Returns a nonce for proofs that are made from now on. */
  make(now: number): string {
    const time = Buffer.alloc(NONCE_TIME);
    time.writeBigUInt64BE(BigInt(Math.floor(now)));
    return Buffer.concat([time, this.#tag(time)]).toString("base64url");
  }

  /** Tells whether a nonce is one of these, and not too old. */
  accepts(nonce: string, now: number): boolean {
    const content = Buffer.from(nonce, "base64url");
    if (content.byteLength !== NONCE_TIME + NONCE_TAG) return false;
    const time = content.subarray(0, NONCE_TIME);
    if (!timingSafeEqual(content.subarray(NONCE_TIME), this.#tag(time))) return false;
    const made = Number(time.readBigUInt64BE());
    return now - NONCE_AGE < made && made <= now + MAX_AHEAD;
  }

  #tag(time: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update("tokenmint dpop nonce").update(time).digest().subarray(0, NONCE_TAG);
  }
}

/** Returns the base64url of a SHA-256. */
export function hashOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("base64url");
}

/** Compares in constant time. */
export function same(given: unknown, expected: string): boolean {
  if (typeof given !== "string") return false;
  const [one, other] = [Buffer.from(given), Buffer.from(expected)];
  return one.byteLength === other.byteLength && timingSafeEqual(one, other);
}

/**
 * Returns scheme, authority and path in their normal form (RFC 3986 sections 6.2.2 and 6.2.3), or undefined where it is not an
 * absolute http or https URL, or has a user.
 */
export function normalUrl(url: unknown): string | undefined {
  if (typeof url !== "string" || !URI.test(url)) return undefined;
  const parts = HTTP_URL.exec(url);
  if (parts === null) return undefined;
  const [, scheme = "", authority = "", path = ""] = parts;
  const port = scheme.toLowerCase() === "https" ? /:(443)?$/ : /:(80)?$/;
  const plain = path.replace(/%[0-9a-f]{2}/gi, (sequence) => {
    const character = String.fromCharCode(Number.parseInt(sequence.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : sequence.toUpperCase();
  });
  return `${scheme.toLowerCase()}://${authority.toLowerCase().replace(port, "")}${withoutDots(plain)}`;
}

/** Removes the segments "." and ".." (RFC 3986 section 5.2.4). */
function withoutDots(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/").slice(1);
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
  }
  const ends = [".", ".."].includes(segments.at(-1) ?? "") && kept.length > 0 ? "/" : "";
  return `/${kept.join("/")}${ends}`;
}

function rejected(fault: string): TokenRejected {
  return new TokenRejected("PROOF_REJECTED", `the DPoP proof ${fault}`);
}

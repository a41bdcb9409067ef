import { importJWK, type JWK, type KeyLike } from "jose";
import { causeOf, keySetUrl, shown, timeLimit } from "./cause.js";
import { KeySetUnavailable, TokenRejected } from "./errors.js";

const COOLDOWN = 10; // seconds between two requests for unknown keys, for any kids that strangers send
const RETRY = 1; // seconds after a request that failed
const DEFAULT_AGE = 300; // seconds that a set without Cache-Control is kept
const MIN_AGE = 1; // seconds that any set is kept, at least
const MAX_AGE = 3600; // … and at most
const MAX_STALE = 3600; // seconds after its age for which a set serves while no other can be had
const MAX_BYTES = 1024 * 1024;
const MAX_KEYS = 100;
const MAX_ENTRIES = 2000; // of a set that are looked at
const MIN_RSA_BITS = 2048; // RFC 7518 section 3.3

/** What tokens can be signed with: a shared secret would let a verifier mint. */
export const ASYMMETRIC: ReadonlySet<string> = new Set([
  "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA",
]);

/** A public key and what it is used with. */
export interface Key {
  readonly key: KeyLike | Uint8Array;
  readonly algorithm: string;
}

/** Tokenmint's public keys: kept, asked for again, followed when they rotate. */
export class KeySet {
  readonly #url: string;
  readonly #clock: () => number;
  #keys: ReadonlyMap<string, Key> | undefined;
  #etag: string | null = null;
  #freshUntil = 0;
  #lookedAt: number | undefined; // when a request for an unknown key ended
  #failedAt: number | undefined; // when the last request failed, if it did
  #flight: Promise<void> | undefined;
  #failure = "it has not been fetched yet";

  /** @throws RangeError where the set would be fetched without TLS from another machine. */
  constructor(url: string, clock: () => number) {
    this.#url = keySetUrl(url);
    this.#clock = clock;
  }

  /** Returns a key, after a request where one is due. @throws KeySetUnavailable, TokenRejected (UNKNOWN_KEY). */
  async key(keyId: string, now: number): Promise<Key> {
    if (this.#flight === undefined && this.#due(keyId, now)) {
      this.#flight = this.#fetch(keyId, now).finally(() => {
        this.#flight = undefined;
      });
    }
    if (this.#flight !== undefined && this.#waits(keyId, now)) await this.#flight;
    if (this.#keys === undefined || now >= this.#freshUntil + MAX_STALE) {
      throw new KeySetUnavailable(`the key set at ${shown(this.#url)} can't be fetched: ${this.#failure}`);
    }
    const found = this.#keys.get(keyId);
    if (found === undefined) throw new TokenRejected("UNKNOWN_KEY", "the token's key is not in the key set");
    return found;
  }

  #isFresh(now: number): boolean {
    return this.#keys !== undefined && now < this.#freshUntil;
  }

  #due(keyId: string, now: number): boolean {
    if (within(this.#failedAt, now, RETRY)) return false;
    if (!this.#isFresh(now)) return true;
    return this.#keys?.has(keyId) !== true && !within(this.#lookedAt, now, COOLDOWN);
  }

  /** Whether the key needs the request under way. A set that is too old serves without waiting while requests fail. */
  #waits(keyId: string, now: number): boolean {
    if (this.#keys?.has(keyId) !== true || now >= this.#freshUntil + MAX_STALE) return true;
    return !this.#isFresh(now) && this.#failedAt === undefined;
  }

  /** Takes in a new set. An answer that is not good changes nothing: what is there serves for a while. */
  async #fetch(keyId: string, now: number): Promise<void> {
    const headers = new Headers({ Accept: "application/jwk-set+json, application/json" });
    if (this.#etag !== null) headers.set("If-None-Match", this.#etag);
    try {
      const response = await get(this.#url, headers);
      if (response.status !== 304 || this.#keys === undefined) {
        const text = await body(response);
        if (response.status !== 200) throw new KeySetUnavailable(`the answer has status ${String(response.status)}`);
        const keys = await parse(text);
        this.#ended(keyId);
        this.#keys = keys;
        this.#etag = response.headers.get("ETag");
      }
      this.#failedAt = undefined;
      this.#freshUntil = now + age(response.headers);
    } catch (error) {
      this.#ended(keyId);
      this.#failedAt = this.#clock();
      this.#failure = causeOf(error);
      process.emitWarning(`the key set at ${shown(this.#url)} can't be fetched: ${this.#failure}`, "TokenmintWarning");
    }
  }

  #ended(keyId: string): void {
    const now = this.#clock();
    if (this.#isFresh(now) && this.#keys?.has(keyId) !== true) this.#lookedAt = now;
  }
}

function within(since: number | undefined, now: number, seconds: number): boolean {
  return since !== undefined && since <= now && now < since + seconds;
}

/** Sends a request. `fetch` refuses addresses with a user, which go into a header instead. */
async function get(address: string, headers: Headers): Promise<Response> {
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") {
    const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.set("Authorization", `Basic ${Buffer.from(user).toString("base64")}`);
    url.username = url.password = "";
  }
  return await fetch(url, { headers, signal: timeLimit(), redirect: "manual" });
}

/** Returns the text of an answer. @throws KeySetUnavailable where it is too long. */
export async function body(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new KeySetUnavailable(`the answer is longer than ${String(MAX_BYTES)} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Returns the public keys that verify signatures, by their ids; of several with one id the first. */
async function parse(text: string): Promise<Map<string, Key>> {
  let document: { keys?: unknown } | null;
  try {
    document = JSON.parse(text) as { keys?: unknown } | null;
  } catch {
    throw new KeySetUnavailable("the answer is not JSON");
  }
  if (!Array.isArray(document?.keys)) throw new KeySetUnavailable("the answer is not a JSON Web Key Set (RFC 7517)");
  const keys = new Map<string, Key>();
  for (const member of (document.keys as (JWK | null)[]).slice(0, MAX_ENTRIES)) {
    if (keys.size === MAX_KEYS) break; // those that can't be used take no place of one that can
    if (typeof member?.kid !== "string" || typeof member.alg !== "string" || keys.has(member.kid)) continue;
    if (!ASYMMETRIC.has(member.alg) || "d" in member || (member.use ?? "sig") !== "sig" || rsaBits(member) < MIN_RSA_BITS) {
      continue;
    }
    try {
      keys.set(member.kid, { key: await importJWK(member, member.alg), algorithm: member.alg });
    } catch {
      continue; // a key that can't be read is a key that is not there
    }
  }
  if (keys.size === 0) throw new KeySetUnavailable("the answer holds no usable key");
  return keys;
}

/** Returns the size of an RSA key, or infinity for a key of another kind. */
export function rsaBits(key: JWK): number {
  if (key.kty !== "RSA") return Infinity;
  const modulus = BigInt(`0x0${Buffer.from(key.n ?? "", "base64url").toString("hex")}`);
  return modulus.toString(2).length;
}

/** Returns for how many seconds an answer may be kept (RFC 9111 section 4.2). */
function age(headers: Headers): number {
  let stated = DEFAULT_AGE;
  for (const directive of (headers.get("Cache-Control") ?? "").toLowerCase().split(",")) {
    const [name, value = ""] = directive.trim().split("=", 2);
    if (name === "no-store" || name === "no-cache") return MIN_AGE;
    if (name === "max-age") stated = seconds(value.replaceAll('"', ""), stated);
  }
  return Math.min(MAX_AGE, Math.max(MIN_AGE, stated - seconds(headers.get("Age") ?? "", 0)));
}

function seconds(text: string, otherwise: number): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : otherwise;
}

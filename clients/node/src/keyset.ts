import { importJWK, type JWK, type KeyLike } from "jose";
import { causeOf, keySetUrl, shown, timeLimit } from "./cause.js";
import { KeySetUnavailable, TokenRejected } from "./errors.js";

const COOLDOWN = 10; // seconds between two requests, for any kids that strangers send
const DEFAULT_AGE = 300; // seconds that a set without Cache-Control is kept
const MAX_AGE = 3600; // seconds that any set is kept
const MAX_STALE = 3600; // seconds after its age for which a set serves while no other can be had
const MAX_BYTES = 1024 * 1024;

/** A public key and what it is used with. */
export interface Key {
  readonly key: KeyLike | Uint8Array;
  readonly algorithm: string;
}

/** Tokenmint's public keys: kept, asked for again, followed when they rotate. */
export class KeySet {
  readonly #url: string;
  readonly #algorithms: ReadonlySet<string>;
  #keys: ReadonlyMap<string, Key> | undefined;
  #etag: string | null = null;
  #freshUntil = 0;
  #askedAt: number | undefined;
  #flight: Promise<void> | undefined;
  #failure = "it has not been fetched yet";

  /** @throws RangeError where the set would be fetched without TLS from another machine. */
  constructor(url: string, algorithms: ReadonlySet<string>) {
    this.#url = keySetUrl(url);
    this.#algorithms = algorithms;
  }

  /** Returns a key, after a request where one is due. @throws KeySetUnavailable, TokenRejected (UNKNOWN_KEY). */
  async key(keyId: string, now: number): Promise<Key> {
    if (this.#flight === undefined && this.#due(keyId, now)) {
      this.#flight = this.#fetch(now).finally(() => {
        this.#flight = undefined;
      });
    }
    const serves = this.#keys?.has(keyId) === true && now < this.#freshUntil;
    if (this.#flight !== undefined && !serves) await this.#flight;
    if (this.#keys === undefined || now >= this.#freshUntil + MAX_STALE) {
      throw new KeySetUnavailable(`the key set at ${shown(this.#url)} can't be fetched: ${this.#failure}`);
    }
    const found = this.#keys.get(keyId);
    if (found === undefined) throw new TokenRejected("UNKNOWN_KEY", "the token's key is not in the key set");
    return found;
  }

  #due(keyId: string, now: number): boolean {
    if (this.#askedAt !== undefined && this.#askedAt <= now && now < this.#askedAt + COOLDOWN) return false;
    return this.#keys === undefined || now >= this.#freshUntil || !this.#keys.has(keyId);
  }

  /** Takes in a new set. An answer that is not good changes nothing: what is there serves for a while. */
  async #fetch(now: number): Promise<void> {
    this.#askedAt = now;
    const headers = new Headers({ Accept: "application/jwk-set+json, application/json" });
    if (this.#etag !== null) headers.set("If-None-Match", this.#etag);
    try {
      const response = await get(this.#url, headers);
      if (response.status === 304 && this.#keys !== undefined) {
        this.#freshUntil = now + age(response.headers);
        return;
      }
      const text = await body(response);
      if (response.status !== 200) throw new KeySetUnavailable(`the answer has status ${String(response.status)}`);
      const keys = await parse(text, this.#algorithms);
      if (keys.size === 0) throw new KeySetUnavailable("the answer holds no usable key");
      this.#keys = keys;
      this.#etag = response.headers.get("ETag");
      this.#freshUntil = now + age(response.headers);
    } catch (error) {
      this.#failure = causeOf(error);
      process.emitWarning(`the key set at ${shown(this.#url)} can't be fetched: ${this.#failure}`, "TokenmintWarning");
    }
  }
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

async function parse(text: string, algorithms: ReadonlySet<string>): Promise<Map<string, Key>> {
  let document: { keys?: unknown } | null;
  try {
    document = JSON.parse(text) as { keys?: unknown } | null;
  } catch {
    throw new KeySetUnavailable("the answer is not JSON");
  }
  if (!Array.isArray(document?.keys)) throw new KeySetUnavailable("the answer is not a JSON Web Key Set (RFC 7517)");
  const keys = new Map<string, Key>();
  for (const member of document.keys as (JWK | null)[]) {
    if (typeof member?.kid !== "string" || typeof member.alg !== "string" || !algorithms.has(member.alg)) continue;
    if (member.kty === "oct" || (member.use !== undefined && member.use !== "sig")) continue;
    try {
      keys.set(member.kid, { key: await importJWK(member, member.alg), algorithm: member.alg });
    } catch {
      continue; // a key that can't be read is a key that is not there
    }
  }
  return keys;
}

/** Returns for how many seconds an answer may be kept (RFC 9111 section 4.2). */
function age(headers: Headers): number {
  const control = (headers.get("Cache-Control") ?? "").toLowerCase();
  if (control.includes("no-store") || control.includes("no-cache")) return 0;
  const found = /(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])/.exec(control)?.[1];
  const spent = /^\d{1,9}$/.exec(headers.get("Age") ?? "")?.[0];
  return Math.min(MAX_AGE, Math.max(0, (found === undefined ? DEFAULT_AGE : Number(found)) - Number(spent ?? 0)));
}

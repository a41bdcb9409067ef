import { inflateSync } from "node:zlib";
import { causeOf, keySetUrl, shown, timeLimit } from "./cause.js";
import { KeySetUnavailable, StatusListUnavailable, TokenRejected } from "./errors.js";
import { body } from "./keyset.js";
import type { JsonObject } from "./verifier.js";

export const LIST_TYPE = "statuslist+jwt";
export const MAX_LIST_LENGTH = 1024 * 1024;
const PATH = "/status-lists/";
const COOLDOWN = 10; // seconds between two requests for a list that can't be had, or is not newer
const DEFAULT_TTL = 300; // seconds that a list without `ttl` is kept
const MAX_TTL = 3600; // seconds that any list is kept
const MIN_TTL = 1;
const MAX_LISTS = 1000;
const MAX_SIZE = 64 * 1024 * 1024; // bytes of all lists
const MAX_STATUSES = 1024 * 1024; // bytes of one list
const MAX_URI = 1024; // characters
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Returns the claims of a status list whose signature, `typ` and `iss` are good. */
export type VerifyList = (token: string) => Promise<JsonObject>;

export interface StatusListsOptions {
  /**
   * `refuse` (the default): a token whose list can't be had is not accepted (fail closed). `accept`: it is, unless the
   * last list shows it as revoked (fail open).
   */
  readonly whenUnavailable?: "refuse" | "accept";
}

/** The statuses of a list (Token Status List, draft 20, section 4). */
export interface Statuses {
  readonly bits: number;
  readonly bytes: Uint8Array;
}

interface Entry {
  statuses: Statuses | undefined;
  etag: string | null;
  issuedAt: number;
  expiresAt: number;
  ttl: number;
  freshUntil: number;
  askedAt: number | undefined;
  failure: string;
  flight: Promise<void> | undefined;
}

/**
 * Whether a token was revoked, for services that can't keep a stream open: give it to a verifier as `revocations`. It
 * fetches the list that a token names, verifies it, keeps it, and looks the token up. Verifiers of one issuer may share it.
 */
export class StatusLists {
  readonly #closed: boolean;
  readonly #held = new Map<string, Entry>();

  constructor(options: StatusListsOptions = {}) {
    this.#closed = (options.whenUnavailable ?? "refuse") === "refuse";
  }

  /** The number of lists that are kept. */
  get size(): number {
    return this.#held.size;
  }

  /**
   * Refuses a token that its list shows as revoked.
   *
   * @throws TokenRejected where it is revoked, or names no list of the issuer; StatusListUnavailable where the list can't
   * be had.
   */
  async check(claims: JsonObject, issuer: string, now: number, verify: VerifyList): Promise<void> {
    const { uri, index } = placeOf(claims, issuer);
    const entry = this.#entry(uri);
    if (entry.flight === undefined && due(entry, now)) {
      entry.flight = fetchList(uri, entry, now, verify).finally(() => {
        entry.flight = undefined;
      });
    }
    if (entry.flight !== undefined && now >= entry.expiresAt) await entry.flight;
    const available = now < entry.expiresAt;
    if (entry.statuses !== undefined) {
      const status = statusAt(entry.statuses, index);
      if (status === undefined) {
        throw new TokenRejected("CLAIM_REJECTED", "the token's status list does not have its index");
      }
      if (status !== 0) throw new TokenRejected("REVOKED", "the token was revoked, or suspended");
    }
    if (!available && this.#closed) {
      throw new StatusListUnavailable(`the status list at ${shown(uri)} can't be fetched: ${entry.failure}`);
    }
  }

  /** Returns the entry of a list; the lists that were not used for the longest time make room. */
  #entry(uri: string): Entry {
    const entry = this.#held.get(uri) ?? empty();
    this.#held.delete(uri);
    this.#held.set(uri, entry);
    let size = 0;
    for (const one of this.#held.values()) size += one.statuses?.bytes.byteLength ?? 0;
    for (const [oldest, one] of this.#held) {
      if (this.#held.size <= MAX_LISTS && (this.#held.size === 1 || size <= MAX_SIZE)) break;
      this.#held.delete(oldest);
      size -= one.statuses?.bytes.byteLength ?? 0;
    }
    return entry;
  }
}

function empty(): Entry {
  return {
    statuses: undefined, etag: null, issuedAt: -Infinity, expiresAt: -Infinity, ttl: 0, freshUntil: -Infinity,
    askedAt: undefined, failure: "it has not been fetched yet", flight: undefined,
  };
}

/** Returns the status at an index (section 4.1); undefined where the list does not have it. */
export function statusAt({ bits, bytes }: Statuses, index: number): number | undefined {
  const place = index * bits;
  const byte = bytes[Math.floor(place / 8)];
  return byte === undefined ? undefined : (byte >> place % 8) & ((1 << bits) - 1);
}

/** Returns the statuses of a `status_list` (section 4.2). @throws Error where it is none. */
export function statusesOf(member: unknown): Statuses {
  const { bits, lst } = (member ?? {}) as { bits?: unknown; lst?: unknown };
  if (typeof bits !== "number" || ![1, 2, 4, 8].includes(bits) || typeof lst !== "string") {
    throw new KeySetUnavailable("its status_list has no bits or no lst");
  }
  if (!/^[A-Za-z0-9_-]+={0,2}$/.test(lst)) throw new KeySetUnavailable("its lst is not base64url");
  try {
    return { bits, bytes: inflateSync(Buffer.from(lst, "base64url"), { maxOutputLength: MAX_STATUSES }) };
  } catch {
    throw new KeySetUnavailable("its lst is too long, or not compressed as the draft says");
  }
}

/** Returns the place that a token names (section 6.2). @throws TokenRejected where there is none below its issuer. */
export function placeOf(claims: JsonObject, issuer: string): { uri: string; index: number } {
  const status = claims["status"] as { status_list?: { idx?: unknown; uri?: unknown } | null } | null | undefined;
  const { idx, uri } = status?.status_list ?? {};
  if (typeof idx !== "number" || !Number.isSafeInteger(idx) || idx < 0 || typeof uri !== "string") {
    throw new TokenRejected("CLAIM_REJECTED", "the token has no place in a status list");
  }
  const below = issuer.replace(/\/+$/, "") + PATH;
  if (uri.length > MAX_URI || !uri.startsWith(below) || !NAME.test(uri.slice(below.length))) {
    throw new TokenRejected("CLAIM_REJECTED", "the token's status list is not one of its issuer's");
  }
  return { uri, index: idx };
}

function due(entry: Entry, now: number): boolean {
  const wait = entry.ttl > 0 ? Math.min(COOLDOWN, entry.ttl) : COOLDOWN;
  const waits = entry.askedAt !== undefined && entry.askedAt <= now && now < entry.askedAt + wait;
  return now >= entry.freshUntil && !waits;
}

/** Takes in a list. An answer that is not good changes nothing: what is there serves until it expires. */
async function fetchList(uri: string, entry: Entry, now: number, verify: VerifyList): Promise<void> {
  entry.askedAt = now;
  const headers = new Headers({ Accept: `application/${LIST_TYPE}` });
  const usable = entry.etag !== null && now < entry.expiresAt;
  if (usable && entry.etag !== null) headers.set("If-None-Match", entry.etag);
  try {
    const response = await fetch(keySetUrl(uri), { headers, signal: timeLimit(), redirect: "manual" });
    if (response.status === 304 && usable) {
      entry.freshUntil = now + entry.ttl;
      return;
    }
    const text = await body(response);
    if (response.status !== 200) throw new KeySetUnavailable(`the answer has status ${String(response.status)}`);
    take(entry, await verify(text), uri, response.headers.get("ETag"), now);
  } catch (error) {
    entry.failure = error instanceof TokenRejected ? `it is not accepted: ${error.message}` : causeOf(error);
    process.emitWarning(`the status list at ${shown(uri)} can't be used: ${entry.failure}`, "TokenmintWarning");
  }
}

/** Takes in the claims of a list (section 8.3). @throws KeySetUnavailable where they are not good. */
function take(entry: Entry, claims: JsonObject, uri: string, etag: string | null, now: number): void {
  const { sub, iat, exp, ttl = DEFAULT_TTL } = claims;
  if (sub !== uri) throw new KeySetUnavailable("it is another list");
  if (typeof iat !== "number" || typeof exp !== "number") throw new KeySetUnavailable("it has no iat or no exp");
  if (now >= exp) throw new KeySetUnavailable("it has expired: compare the clocks");
  if (typeof ttl !== "number" || !(ttl > 0)) throw new KeySetUnavailable("its ttl is not a positive number");
  const statuses = statusesOf(claims["status_list"]);
  const keep = Math.min(MAX_TTL, Math.max(MIN_TTL, ttl));
  if (iat < entry.issuedAt) {
    entry.freshUntil = now + Math.min(keep, COOLDOWN); // of a replica that is behind
    return;
  }
  const freshUntil = Math.min(now + keep, exp);
  Object.assign(entry, { statuses, etag, ttl: keep, issuedAt: iat, expiresAt: exp, freshUntil });
}

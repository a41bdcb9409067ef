import { createHash } from "node:crypto";
import type { Client, ExchangeOptions, Token } from "./client.js";
import { TXN_TOKEN_TYPE } from "./txntoken.js";
import { unprinted } from "./unprinted.js";

const REFRESH_FROM = 0.7; // the share of a token's life after which it is refreshed, drawn at random …
const REFRESH_TO = 0.85; // … up to this one
const MARGIN = 10; // seconds before its expiry from which on a token is not handed out
const RETRY_REFRESH = 5; // seconds between attempts to refresh

/** A token and when to refresh it. Plain data, so that a session can hold it. */
export interface Entry {
  readonly token: Token;
  /** Unix seconds from which on a use begins a refresh. */
  readonly refreshAt: number;
}

/** Keeps entries. What it returns is believed, so nobody else may write to it. */
export interface TokenStore {
  get(key: string): Entry | undefined;
  put(key: string, entry: Entry, now: number): void;
  /** Drops the entries whose keys begin with `prefix`. */
  forget(prefix: string): void;
}

/** Keeps entries in this process: the least recently used goes first, what has expired goes before it. */
export class MemoryStore implements TokenStore {
  readonly #entries = new Map<string, Entry>(); // in the order of their use
  readonly #maxEntries: number;

  /** @throws RangeError where `maxEntries` is less than 1. */
  constructor(maxEntries = 10_000) {
    if (!(maxEntries >= 1)) throw new RangeError("maxEntries: expected 1 or more");
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  put(key: string, entry: Entry, now: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= this.#maxEntries) return;
    for (const [other, kept] of this.#entries) if (!usable(kept, now)) this.#entries.delete(other);
    for (const other of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries) return;
      this.#entries.delete(other);
    }
  }

  forget(prefix: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(prefix)) this.#entries.delete(key);
  }
}

/** A session that can hold a value, such as that of `express-session`. */
export interface Session {
  tokenmint?: Record<string, Entry>;
}

/**
 * Keeps entries in the session of a web application, so that they end with it. The session is one that is kept on the
 * server: one that travels in a cookie, even a signed one, would show the tokens to the browser.
 */
export class SessionStore implements TokenStore {
  readonly #session: Session;
  readonly #maxEntries: number;

  constructor(session: object, maxEntries = 16) {
    this.#session = session;
    this.#maxEntries = maxEntries;
  }

  get(key: string): Entry | undefined {
    return this.#session.tokenmint?.[key];
  }

  put(key: string, entry: Entry, now: number): void {
    const kept = Object.entries(this.#session.tokenmint ?? {}).filter(([name, one]) => name !== key && usable(one, now));
    this.#session.tokenmint = Object.fromEntries([...kept, [key, entry] as const].slice(-this.#maxEntries));
  }

  forget(prefix: string): void {
    const kept = Object.entries(this.#session.tokenmint ?? {}).filter(([name]) => !name.startsWith(prefix));
    this.#session.tokenmint = Object.fromEntries(kept);
  }
}

export interface TokenSourceOptions {
  /** Keeps the tokens. Default: 10,000 of them, in memory. */
  readonly store?: TokenStore;
  /** Returns Unix seconds. */
  readonly clock?: () => number;
  /** Returns a number between 0 and 1. */
  readonly jitter?: () => number;
}

/** Fields of an exchange, all of which tell tokens apart, except the timeout. */
export interface GetOptions extends ExchangeOptions {
  /** Keeps the token, e.g. a `SessionStore`. Default: the source's own. */
  readonly store?: TokenStore;
}

/**
 * Exchanges subject tokens and keeps what comes of it.
 *
 * A token is handed out from the store while it is fresh. After 70 to 85 % of its life the next use begins a refresh in
 * the background and gets the token that is there; once that has expired, callers wait. There is one exchange at a
 * time for one key and all callers. Failures are not kept. The key is the SHA-256 of the subject token and of all else
 * that is asked for: audience, scopes, actor, binding. It is never the session's.
 */
export class TokenSource {
  readonly #client: Client;
  readonly #store: TokenStore;
  readonly #clock: () => number;
  readonly #jitter: () => number;
  readonly #flights = new Map<TokenStore, Map<string, Promise<Token>>>();

  constructor(client: Client, options: TokenSourceOptions = {}) {
    this.#client = client;
    this.#store = options.store ?? new MemoryStore();
    this.#clock = options.clock ?? (() => Date.now() / 1000);
    this.#jitter = options.jitter ?? Math.random;
  }

  /**
   * Returns a token for an audience on behalf of the subject. A transaction token, which has `requestContext` and
   * `requestDetails`, is of one request: each call gets a new one, and none is kept.
   *
   * @throws TokenmintError where there is no usable token and none could be had.
   */
  async get(subjectToken: string, audience: string, options: GetOptions = {}): Promise<Token> {
    const { store = this.#store, ...request } = options;
    if (!isKept(request)) return this.#client.exchange(subjectToken, audience, request);
    const key = keyOf(subjectToken, audience, request);
    const now = this.#clock();
    const found = store.get(key);
    if (found !== undefined && now < found.refreshAt) return unprinted(found.token);
    const serves = found !== undefined && usable(found, now);
    let flight = this.#flights.get(store)?.get(key);
    if (flight === undefined) {
      if (serves) store.put(key, { token: found.token, refreshAt: now + RETRY_REFRESH }, now);
      flight = this.#fly(store, key, () => this.#client.exchange(subjectToken, audience, request));
    }
    if (!serves) return unprinted(await flight);
    flight.catch(() => undefined); // in the background nobody is told; the next use tries again
    return unprinted(found.token);
  }

  /** Drops the tokens of a subject token: for when somebody signs out. */
  forget(subjectToken: string, store: TokenStore = this.#store): void {
    const prefix = `${hash(subjectToken)}.`;
    store.forget(prefix);
    const flights = this.#flights.get(store);
    for (const key of flights?.keys() ?? []) if (key.startsWith(prefix)) flights?.delete(key); // its token is not kept
  }

  #fly(store: TokenStore, key: string, exchange: () => Promise<Token>): Promise<Token> {
    const flights = this.#flights.get(store) ?? new Map<string, Promise<Token>>();
    this.#flights.set(store, flights);
    const run = async (): Promise<Token> => {
      try {
        const token = await exchange();
        if (flights.get(key) === flight) store.put(key, this.#entry(token), this.#clock());
        return token;
      } finally {
        if (flights.get(key) === flight) flights.delete(key);
        if (flights.size === 0) this.#flights.delete(store);
      }
    };
    const flight = run();
    flights.set(key, flight);
    return flight;
  }

  #entry(token: Token): Entry {
    const now = this.#clock();
    const share = REFRESH_FROM + (REFRESH_TO - REFRESH_FROM) * this.#jitter();
    return { token: { ...token }, refreshAt: now + Math.max(0, token.expiresAt - now) * share };
  }
}

/**
 * Returns the key of a token in the cache: SHA-256 of the subject token, and of all else that is asked for. It is the same
 * in every language (tests/clients/cache_keys.json). It holds no token and names no session.
 */
export function keyOf(subjectToken: string, audience: string, options: ExchangeOptions): string {
  const parts = [
    audience,
    [...new Set(options.resources)].sort().join(" "), // a URI has no space in it
    [...new Set(options.scopes)].sort().join(" "),
    options.subjectTokenType ?? "",
    options.requestedTokenType ?? "",
    String(Math.round((options.lifetime ?? 0) * 1000)),
    hash(options.actorToken ?? ""),
    options.actorTokenType ?? "",
    options.nonce ?? "",
    options.dpopThumbprint ?? "",
  ];
  // Each with its length, so that no two requests look alike.
  return `${hash(subjectToken)}.${hash(parts.map((part) => `${String(Buffer.byteLength(part))}:${part}`).join(""))}`;
}

/** Tells whether a token may be handed out again. A transaction token belongs to one request, with its context. */
function isKept(options: ExchangeOptions): boolean {
  if (options.requestContext !== undefined || options.requestDetails !== undefined) return false;
  return options.requestedTokenType !== TXN_TOKEN_TYPE;
}

function usable(entry: Entry, now: number): boolean {
  return now < entry.token.expiresAt - MARGIN;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

import { createHash } from "node:crypto";
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import type { JWTPayload } from "jose";
import type { Client } from "./client.js";
import { fromServiceError, RevocationsUnavailable, TokenRejected } from "./errors.js";
import type { WatchRevocationsResponse } from "./v1/tokenmint/v1/revocation_service.js";

const MAX_LAG = 30; // seconds
const FIRST = 5; // seconds that a verification waits for the first snapshot
const SILENCE = 10; // seconds without a message after which the stream is opened anew; the service sends one a second
const FIRST_PAUSE = 0.1; // seconds before an attempt after a failure; doubles up to ...
const LONGEST_PAUSE = 5;
const PRUNE = 60; // seconds between searches for expired entries
const MOST = 2_000_000; // entries
const DIGEST = 16; // bytes
const DEPTH = 16; // actors of a token

export interface RevocationsOptions {
  /** How tokenmint is reached. Its table in tokenmint's configuration has the audience in `serves`. */
  readonly client: Client;
  /** This service's audience, exactly as it is configured. */
  readonly audience: string;
  /** Seconds for which the set may be out of date. Default: 30. */
  readonly maxLag?: number;
  /**
   * `refuse`: with an older set, or none, no token is accepted (fail closed); `accept`: tokens are compared with the last
   * set (fail open). Default: `refuse`.
   */
  readonly whenLagging?: "refuse" | "accept";
  /** Is called with the lag in seconds after each message and each failure, e.g. for a metric. */
  readonly onLag?: (lag: number) => void;
  /** Returns Unix seconds. */
  readonly clock?: () => number;
  /** Returns seconds that never go back. */
  readonly monotonic?: () => number;
}

/**
 * Follows what tokenmint revokes, as far as it concerns one audience, so that a verifier refuses a revoked token within a
 * second and without a call. It begins with the first use, opens its stream again after a failure, and goes on where it
 * was. Close it in the end.
 */
export class Revocations {
  readonly #client: Client;
  readonly #audience: string;
  readonly #maxLag: number;
  readonly #accept: boolean;
  readonly #onLag: ((lag: number) => void) | undefined;
  readonly #clock: () => number;
  readonly #monotonic: () => number;
  readonly #held = new Map<string, { validAfter: number; expires: number }>();
  #position = "";
  #current = -Infinity;
  #prunedAt = -Infinity;
  #serviceTime = Infinity; // an older service does not tell it
  #failure = "";
  #failures = 0;
  #startedAt: number | undefined;
  #closed = false;
  #stream: ClientReadableStream<WatchRevocationsResponse> | undefined;
  #pause: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #complete!: () => void;
  readonly #begun = new Promise<void>((resolve) => { this.#complete = resolve; });
  #isComplete = false;

  constructor(options: RevocationsOptions) {
    this.#client = options.client;
    this.#audience = options.audience;
    this.#maxLag = options.maxLag ?? MAX_LAG;
    this.#accept = options.whenLagging === "accept";
    this.#onLag = options.onLag;
    this.#clock = options.clock ?? (() => Date.now() / 1000);
    this.#monotonic = options.monotonic ?? (() => performance.now() / 1000);
  }

  /** How many revocations are held. */
  get size(): number {
    return this.#held.size;
  }

  /** Seconds since the set was last known to be complete; infinite before the first snapshot. */
  get lag(): number {
    return Math.max(0, this.#monotonic() - this.#current);
  }

  /** Why the stream is away, or `""` while it is open. */
  get failure(): string {
    return this.#failure;
  }

  /** Begins to follow, and waits for the first snapshot, until 5 s after the beginning. */
  async start(): Promise<void> {
    if (this.#startedAt === undefined) {
      this.#startedAt = performance.now() / 1000;
      this.#open();
    }
    const wait = this.#startedAt + FIRST - performance.now() / 1000;
    if (this.#isComplete || wait <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, wait * 1000); });
    await Promise.race([this.#begun, late]);
    clearTimeout(timer);
  }

  /**
   * Refuses a token, given its verified claims and the `kid` of the key that verified it.
   *
   * @throws TokenRejected where it is revoked, RevocationsUnavailable where the set is too old to tell.
   */
  check(claims: Readonly<JWTPayload>, keyId: string): void {
    if (this.#covers(claims, keyId)) throw new TokenRejected("REVOKED", "the token was revoked");
    if (!this.#accept && this.lag > this.#maxLag) {
      throw new RevocationsUnavailable(
        "it can't be told whether the token was revoked: the stream of revocations is away",
      );
    }
  }

  /** Ends the stream. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#pause);
    clearTimeout(this.#silence);
    this.#stream?.cancel();
  }

  /** Adds the revocations of a message. */
  take(message: WatchRevocationsResponse): void {
    for (const one of message.revocations) {
      if (one.digest.length !== DIGEST) continue;
      const name = Buffer.from(one.digest).toString("latin1");
      const before = this.#held.get(name);
      if (before === undefined && this.#held.size >= MOST) throw new Error("too many revocations");
      this.#held.set(name, {
        validAfter: Math.max(Number(one.tokensValidAfter), before?.validAfter ?? 0),
        expires: Math.max((one.expireTime?.getTime() ?? 0) / 1000, before?.expires ?? 0),
      });
    }
    const now = this.#monotonic();
    if (message.position !== "") { // otherwise the snapshot has further messages
      const age = message.age === undefined ? 0 : Number(message.age.seconds) + message.age.nanos / 1e9;
      this.#position = message.position;
      this.#current = Math.max(this.#current, now - age);
      this.#failure = "";
      this.#isComplete = true;
      this.#complete();
    }
    if (message.time !== undefined) this.#serviceTime = message.time.getTime() / 1000;
    if (now - this.#prunedAt >= PRUNE) {
      this.#prunedAt = now;
      // A clock that is ahead for a while must not make it forget: set back, it accepts the tokens again.
      const expired = Math.min(this.#clock(), this.#serviceTime);
      for (const [name, entry] of this.#held) if (entry.expires <= expired) this.#held.delete(name);
    }
    this.#tell();
  }

  #covers(claims: Readonly<JWTPayload>, keyId: string): boolean {
    if (this.#held.size === 0) return false;
    const issuedAt = Math.floor(claims.iat ?? 0);
    return namesOf(claims, keyId).some((name) => {
      const entry = this.#held.get(digestOf(name));
      return entry !== undefined && (entry.validAfter === 0 || issuedAt <= entry.validAfter);
    });
  }

  #open(): void {
    let heard = false;
    let over = false;
    const ended = (failure: string): void => {
      if (over || this.#closed) return;
      over = true;
      clearTimeout(this.#silence);
      this.#failures = heard ? 0 : this.#failures + 1;
      if (failure !== "") {
        if (failure !== this.#failure) {
          console.warn(`tokenmint: the stream of revocations is away, and is opened again: ${failure}`);
        }
        this.#failure = failure;
      }
      this.#tell();
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(this.#failures, 10));
      this.#pause = setTimeout(() => { this.#open(); }, pause * 1000 * (0.5 + Math.random() / 2));
    };
    this.#client.watchRevocations({ audience: this.#audience, position: this.#position }).then(
      (stream) => {
        if (this.#closed) {
          stream.cancel();
          return;
        }
        this.#stream = stream;
        const listen = (): void => {
          clearTimeout(this.#silence);
          this.#silence = setTimeout(() => { stream.cancel(); }, SILENCE * 1000); // its connection may be dead
        };
        listen();
        stream.on("data", (message: WatchRevocationsResponse) => {
          heard = true;
          listen();
          try {
            this.take(message);
          } catch (error) {
            stream.cancel();
            ended(String(error));
          }
        });
        stream.on("error", (error: ServiceError) => { ended(causeOf(error)); });
        stream.on("end", () => { ended(""); });
      },
      () => { ended("NO_CREDENTIAL"); },
    );
  }

  #tell(): void {
    try {
      this.#onLag?.(this.lag);
    } catch (error) {
      console.warn("tokenmint: onLag failed:", error instanceof Error ? error.name : "");
    }
  }
}

/** Every name by which a token can be revoked, each as KIND:NAME. */
export function namesOf(claims: Readonly<JWTPayload>, keyId: string): string[] {
  const names = [`key:${keyId}`];
  const add = (kind: string, value: unknown): void => {
    if (typeof value === "string") names.push(`${kind}:${value}`);
  };
  add("token", claims.jti);
  add("principal", claims.sub);
  add("client", claims["client_id"]);
  for (const audience of Array.isArray(claims.aud) ? claims.aud : [claims.aud]) add("audience", audience);
  const lineage: unknown = claims["tm_lineage"];
  if (Array.isArray(lineage)) for (const ancestor of lineage) add("token", ancestor);
  let act: unknown = claims["act"];
  for (let depth = 0; depth < DEPTH && typeof act === "object" && act !== null; depth++) {
    const actor = act as Readonly<Record<string, unknown>>; // RFC 8693 section 4.1
    if (!("iss" in actor)) add("principal", actor["sub"]); // with an `iss` it is no principal of the service
    act = actor["act"];
  }
  return names;
}

/** The digest by which the service names something. */
export function digestOf(name: string): string {
  return createHash("sha256").update(`tokenmint:revoked:${name}`).digest().subarray(0, DIGEST).toString("latin1");
}

/** The service's reason and message, or else only the name of gRPC's code: other texts vary by attempt. */
function causeOf(error: ServiceError): string {
  const { reason, code, message } = fromServiceError(error);
  return reason === code ? code : `${reason}: ${message}`;
}

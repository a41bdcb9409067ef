import { checkClaims, type Expected, mediaType, readClaims, readHeader } from "./claims.js";
import { TokenRejected } from "./errors.js";
import { ASYMMETRIC, KeySet } from "./keyset.js";
import type { Revocations } from "./revocations.js";
import { LIST_TYPE, MAX_LIST_LENGTH, StatusLists } from "./statuslists.js";

const LEEWAY = 30; // seconds that clocks may differ
const JWKS_PATH = "/.well-known/jwks.json";

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What a verified token says. Only a verifier makes one. */
export interface VerifiedToken {
  readonly subject: string;
  /** Who asked for it, or `""`. */
  readonly clientId: string;
  readonly scopes: ReadonlySet<string>;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Its `jti`, or `""`. */
  readonly tokenId: string;
  /** The party that acts for the subject, its `act` (RFC 8693 section 4.1). Earlier ones are nested in it. */
  readonly actor: JsonObject | undefined;
  /** The key that the token is bound to, its `cnf` (RFC 7800). */
  readonly confirmation: JsonObject | undefined;
  /** All of its claims. */
  readonly claims: JsonObject;
}

export interface VerifierOptions {
  /** Tokenmint's issuer, exactly as it is configured. */
  readonly issuer: string;
  /** This service's audience, exactly as it is configured. A token for several is refused. */
  readonly audience: string;
  /** What tokens may be signed with; asymmetric ones only. Default: ES256. */
  readonly algorithms?: readonly string[];
  /** The `typ` that a token's header has to have, or several to choose from. Default: `at+jwt` (RFC 9068 section 2.1). */
  readonly tokenType?: string | readonly string[];
  /** Where the keys are. Default: below the issuer. */
  readonly jwksUrl?: string;
  /** Seconds that the clocks may differ. Default: 30. */
  readonly leeway?: number;
  /**
   * Accept tokens that are bound to a key (`cnf`, RFC 7800) without a proof: the application itself checks it. Without a
   * proof such a token is refused by default.
   */
  readonly acceptBound?: boolean;
  /** Returns Unix seconds. */
  readonly clock?: () => number;
  /**
   * What was revoked, for the same audience: by the stream, or by the lists that tokens name. Default: a token is accepted
   * until it expires.
   */
  readonly revocations?: Revocations | StatusLists;
}

/** A check that the sender of a token holds the key that it is bound to, such as `ProtectedResource.possession` returns. */
export interface Possession {
  /** @throws VerificationError where it does not. */
  check(sent: string, token: VerifiedToken, now: number): Promise<void>;
}

/** Verifies tokens for one audience, offline: it fetches the key set when that is due. */
export class Verifier {
  readonly #expected: Expected;
  readonly #acceptBound: boolean;
  readonly #clock: () => number;
  readonly #keys: KeySet;
  readonly #revocations: Revocations | StatusLists | undefined;

  /** @throws RangeError where issuer or audience is missing, an algorithm is not asymmetric, or the key set has no TLS. */
  constructor(options: VerifierOptions) {
    const { issuer, audience, algorithms = ["ES256"], tokenType = "at+jwt" } = options;
    if (issuer === "" || audience === "") throw new RangeError("issuer and audience: both are required");
    if (algorithms.length === 0 || algorithms.some((name) => !ASYMMETRIC.has(name))) {
      throw new RangeError(`algorithms: expected some of ${[...ASYMMETRIC].join(", ")}`);
    }
    const types = new Set((typeof tokenType === "string" ? [tokenType] : tokenType).map(mediaType));
    if (types.size === 0) throw new RangeError("tokenType: expected at least one");
    this.#expected = { issuer, audience, algorithms: new Set(algorithms), types, leeway: options.leeway ?? LEEWAY };
    this.#acceptBound = options.acceptBound ?? false;
    this.#clock = options.clock ?? (() => Date.now() / 1000);
    this.#revocations = options.revocations;
    this.#keys = new KeySet(options.jwksUrl ?? issuer.replace(/\/$/, "") + JWKS_PATH, this.#clock);
  }

  /** Tokenmint's issuer. */
  get issuer(): string {
    return this.#expected.issuer;
  }

  /** This service's audience. */
  get audience(): string {
    return this.#expected.audience;
  }

  /** Returns Unix seconds, as the verifier reckons. */
  now(): number {
    return this.#clock();
  }

  /**
   * Returns what a token says. `possession` checks the key of a bound token; the middleware does it.
   *
   * @throws TokenRejected where it is not good, KeySetUnavailable where the keys can't be fetched,
   * RevocationsUnavailable or StatusListUnavailable where it can't be told whether it was revoked.
   */
  async verify(sent: string, possession?: Possession): Promise<VerifiedToken> {
    const { keyId, algorithm } = readHeader(sent, this.#expected);
    const now = this.#clock();
    const key = await this.#keys.key(keyId, now);
    const token = checkClaims(await readClaims(sent, key, algorithm), this.#expected, now);
    if (possession !== undefined) await possession.check(sent, token, now);
    else if (token.confirmation !== undefined && !this.#acceptBound) {
      throw new TokenRejected(
        "POSSESSION_NOT_PROVED",
        "the token is bound to a key, and no proof of the key is checked here",
      );
    }
    if (this.#revocations instanceof StatusLists) {
      await this.#revocations.check(token.claims, this.issuer, now, (list) => this.#list(list, now));
    } else if (this.#revocations !== undefined) {
      await this.#revocations.start();
      this.#revocations.check(token.claims, keyId);
    }
    return token;
  }

  /** Returns the claims of a status list that a key of the issuer signed. */
  async #list(text: string, now: number): Promise<JsonObject> {
    const { keyId, algorithm } = readHeader(text, { ...this.#expected, types: new Set([LIST_TYPE]) }, MAX_LIST_LENGTH);
    const claims = await readClaims(text, await this.#keys.key(keyId, now), algorithm);
    if (claims["iss"] !== this.issuer) throw new TokenRejected("UNKNOWN_ISSUER", "its issuer is another one");
    const issuedAt = claims["iat"];
    if (typeof issuedAt !== "number" || issuedAt > now + this.#expected.leeway) {
      throw new TokenRejected("NOT_YET_VALID", "it has no iat, or was made in the future: compare the clocks");
    }
    return claims;
  }
}

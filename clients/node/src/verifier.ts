import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import { TokenRejected, type VerificationReason } from "./errors.js";
import { KeySet } from "./keyset.js";
import type { Revocations } from "./revocations.js";
import { LIST_TYPE, StatusLists } from "./statuslists.js";

const LEEWAY = 30; // seconds that clocks may differ
const MAX_TOKEN_LENGTH = 16 * 1024;
const MAX_LIST_LENGTH = 1024 * 1024;
const JWKS_PATH = "/.well-known/jwks.json";
const ASYMMETRIC = new Set(["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"]);

/** What a verified token says. Only a verifier makes one. */
export interface VerifiedToken {
  readonly subject: string;
  /** Who asked for it, or `""`. */
  readonly clientId: string;
  readonly scopes: ReadonlySet<string>;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** All of its claims. */
  readonly claims: Readonly<JWTPayload>;
}

export interface VerifierOptions {
  /** Tokenmint's issuer, exactly as it is configured. */
  readonly issuer: string;
  /** This service's audience, exactly as it is configured. */
  readonly audience: string;
  /** What tokens may be signed with; asymmetric ones only. Default: ES256. */
  readonly algorithms?: readonly string[];
  /** The `typ` that a token's header has to have. Default: `at+jwt` (RFC 9068 section 2.1). */
  readonly tokenType?: string;
  /** Where the keys are. Default: below the issuer. */
  readonly jwksUrl?: string;
  /** Seconds that the clocks may differ. Default: 30. */
  readonly leeway?: number;
  /** Returns Unix seconds. */
  readonly clock?: () => number;
  /**
   * What was revoked, for the same audience: by the stream, or by the lists that tokens name. Default: a token is accepted
   * until it expires.
   */
  readonly revocations?: Revocations | StatusLists;
}

/** Verifies tokens for one audience, offline: it fetches the key set when that is due. */
export class Verifier {
  readonly #issuer: string;
  readonly #audience: string;
  readonly #algorithms: ReadonlySet<string>;
  readonly #tokenType: string;
  readonly #leeway: number;
  readonly #clock: () => number;
  readonly #keys: KeySet;
  readonly #revocations: Revocations | StatusLists | undefined;

  /** @throws RangeError where issuer or audience is missing, an algorithm is not asymmetric, or the key set has no TLS. */
  constructor(options: VerifierOptions) {
    if (options.issuer === "" || options.audience === "") throw new RangeError("issuer and audience: both are required");
    this.#issuer = options.issuer;
    this.#audience = options.audience;
    this.#algorithms = new Set(options.algorithms ?? ["ES256"]);
    if (this.#algorithms.size === 0 || [...this.#algorithms].some((name) => !ASYMMETRIC.has(name))) {
      throw new RangeError(`algorithms: expected some of ${[...ASYMMETRIC].join(", ")}`);
    }
    this.#tokenType = (options.tokenType ?? "at+jwt").toLowerCase();
    this.#leeway = options.leeway ?? LEEWAY;
    this.#clock = options.clock ?? (() => Date.now() / 1000);
    this.#revocations = options.revocations;
    this.#keys = new KeySet(options.jwksUrl ?? options.issuer.replace(/\/+$/, "") + JWKS_PATH, this.#algorithms);
  }

  /**
   * Returns what a token says.
   *
   * @throws TokenRejected where it is not good, KeySetUnavailable where the keys can't be fetched,
   * RevocationsUnavailable or StatusListUnavailable where it can't be told whether it was revoked.
   */
  async verify(token: string): Promise<VerifiedToken> {
    const { keyId, algorithm } = this.#header(token);
    const now = this.#clock();
    const key = await this.#keys.key(keyId, now);
    if (key.algorithm !== algorithm) throw rejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not its key's");
    let claims: JWTPayload;
    try {
      const verified = await jwtVerify(token, key.key, {
        algorithms: [algorithm],
        issuer: this.#issuer,
        audience: this.#audience,
        requiredClaims: ["iss", "sub", "aud", "exp", "iat"],
        clockTolerance: this.#leeway,
        currentDate: new Date(now * 1000),
      });
      claims = verified.payload;
    } catch (error) {
      throw translated(error);
    }
    const { sub, iat, exp, scope, client_id: clientId } = claims;
    if (typeof claims.aud !== "string") throw rejected("WRONG_AUDIENCE", "the token has more than one audience");
    if (typeof sub !== "string" || typeof iat !== "number" || typeof exp !== "number") {
      throw rejected("CLAIM_REJECTED", "a claim of the token is missing or is of the wrong kind");
    }
    if (iat > now + this.#leeway) throw rejected("NOT_YET_VALID", "the token is not valid yet: compare the clocks");
    if (this.#revocations instanceof StatusLists) {
      await this.#revocations.check(claims, this.#issuer, now, (list) => this.#list(list, now));
    } else if (this.#revocations !== undefined) {
      await this.#revocations.start();
      this.#revocations.check(claims, keyId);
    }
    return {
      subject: sub,
      clientId: typeof clientId === "string" ? clientId : "",
      scopes: new Set(typeof scope === "string" ? scope.split(" ").filter((one) => one !== "") : []),
      expiresAt: exp,
      claims,
    };
  }

  /** Returns the claims of a status list that a key of the issuer signed. */
  async #list(token: string, now: number): Promise<JWTPayload> {
    const { keyId, algorithm } = this.#header(token, LIST_TYPE, MAX_LIST_LENGTH);
    const key = await this.#keys.key(keyId, now);
    if (key.algorithm !== algorithm) throw rejected("ALGORITHM_NOT_ALLOWED", "its algorithm is not its key's");
    try {
      const { payload } = await jwtVerify(token, key.key, {
        algorithms: [algorithm],
        issuer: this.#issuer,
        requiredClaims: ["iss", "sub", "exp", "iat"],
        clockTolerance: this.#leeway,
        currentDate: new Date(now * 1000),
      });
      if (payload.iat !== undefined && payload.iat <= now + this.#leeway) return payload;
    } catch (error) {
      throw translated(error);
    }
    throw rejected("NOT_YET_VALID", "it was made in the future: compare the clocks");
  }

  /** Reads the header of a token of which nothing is believed yet. */
  #header(token: string, type = this.#tokenType, most = MAX_TOKEN_LENGTH): { keyId: string; algorithm: string } {
    if (token.length > most) throw rejected("MALFORMED", "the token is too long");
    let header;
    try {
      header = decodeProtectedHeader(token);
    } catch {
      throw rejected("MALFORMED", "the token is not a well-formed compact JWS");
    }
    const { alg, typ, kid, crit } = header;
    if (typeof alg !== "string" || !this.#algorithms.has(alg)) {
      throw rejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted");
    }
    // RFC 7515 section 4.1.9: `application/` may be left out.
    if (typeof typ !== "string" || typ.toLowerCase().replace(/^application\//, "") !== type) {
      throw rejected("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted");
    }
    if (crit !== undefined || typeof kid !== "string") {
      throw rejected("MALFORMED", "the token's header has a crit, or no kid");
    }
    return { keyId: kid, algorithm: alg };
  }
}

function rejected(reason: VerificationReason, message: string): TokenRejected {
  return new TokenRejected(reason, message);
}

const CLAIMS: Readonly<Record<string, VerificationReason>> = {
  aud: "WRONG_AUDIENCE",
  iss: "UNKNOWN_ISSUER",
  nbf: "NOT_YET_VALID",
};

function translated(error: unknown): TokenRejected {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return rejected("BAD_SIGNATURE", "the token's signature does not verify");
  }
  if (error instanceof errors.JWTExpired) return rejected("EXPIRED", "the token has expired");
  if (error instanceof errors.JWTClaimValidationFailed) {
    const known = error.reason === "check_failed" ? CLAIMS[error.claim] : undefined;
    return rejected(known ?? "CLAIM_REJECTED", `the token's ${error.claim} is missing or is not what is accepted`);
  }
  return rejected("MALFORMED", "the token is not a well-formed JWT");
}

import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import type { Token } from "./client.js";

const MAX_NONCES = 100; // services whose nonce is kept
const MAX_NONCE_LENGTH = 1024;

/**
 * A key of this client. Tokens that a hook gets with it are bound to it (RFC 9449): without the key they are of no use.
 */
export class DpopKey {
  readonly #key: KeyObject;
  readonly #jwk: Readonly<Record<"crv" | "kty" | "x" | "y", string>>;
  readonly #clock: () => number;
  readonly #nonces = new Map<string, string>(); // by the service's origin
  /** The SHA-256 of the public key (RFC 7638): the `dpopThumbprint` of an exchange. */
  readonly thumbprint: string;

  /**
   * `privateKey` is for P-256, e.g. one that replicas share with their tokens. Default: a new one. `clock` returns Unix
   * seconds.
   *
   * @throws RangeError where it is another kind of key.
   */
  constructor(privateKey?: KeyObject, clock: () => number = () => Date.now() / 1000) {
    this.#key = privateKey ?? generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const { crv, kty, x, y } = createPublicKey(this.#key).export({ format: "jwk" });
    if (kty !== "EC" || crv !== "P-256" || x === undefined || y === undefined) {
      throw new RangeError("privateKey: expected one for P-256");
    }
    this.#jwk = { crv, kty, x, y }; // in the order of RFC 7638
    this.#clock = clock;
    this.thumbprint = createHash("sha256").update(JSON.stringify(this.#jwk)).digest("base64url");
  }

  /**
   * Returns a proof for one request with a token (RFC 9449 section 4.2). Query and fragment of `url` are left out. `nonce` is
   * the latest `DPoP-Nonce` of the service.
   */
  proof(method: string, url: string, token: string, nonce?: string): string {
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
    const header = encode({ typ: "dpop+jwt", alg: "ES256", jwk: this.#jwk });
    const payload = encode({
      jti: randomUUID(),
      htm: method,
      htu: url.replace(/[?#].*$/s, ""),
      iat: Math.floor(this.#clock()),
      ath: createHash("sha256").update(token).digest("base64url"),
      ...(nonce !== undefined && { nonce }),
    });
    const signature = sign("sha256", Buffer.from(`${header}.${payload}`), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${header}.${payload}.${signature.toString("base64url")}`;
  }

  /** Returns a proof with the latest nonce of the service that is called. */
  proofFor(method: string, url: string, token: string): string {
    return this.proof(method, url, token, this.#nonces.get(new URL(url).origin));
  }

  /** Notes the nonce of an answer. Returns whether its request failed for want of it (RFC 9449 section 9). */
  hasToRepeat(url: string, answer: { readonly status: number; readonly headers: Headers }): boolean {
    const nonce = answer.headers.get("DPoP-Nonce") ?? "";
    if (nonce === "" || nonce.length > MAX_NONCE_LENGTH) return false;
    const { origin } = new URL(url);
    const isNew = this.#nonces.get(origin) !== nonce;
    this.#nonces.delete(origin);
    this.#nonces.set(origin, nonce);
    for (const oldest of this.#nonces.keys()) {
      if (this.#nonces.size <= MAX_NONCES) break;
      this.#nonces.delete(oldest);
    }
    const challenge = answer.headers.get("WWW-Authenticate") ?? "";
    return isNew && answer.status === 401 && challenge.includes('error="use_dpop_nonce"');
  }
}

/** Returns the `authorization` of a call that carries no proof. @throws RangeError where the token is no bearer token. */
export function bearer(token: Token, audience: string): string {
  if (!["", "bearer"].includes(token.tokenType.toLowerCase())) {
    throw new RangeError(`a token for ${audience} is presented as ${token.tokenType}, not as Bearer`);
  }
  return `Bearer ${token.value}`;
}

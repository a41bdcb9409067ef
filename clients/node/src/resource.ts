import { hashOf, Nonces, normalUrl, PROOF_ALGORITHMS, readProof, ReplayMemory, same } from "./dpop.js";
import { TokenRejected } from "./errors.js";
import { inspect } from "node:util";
import type { Possession, VerifiedToken } from "./verifier.js";

const WELL_KNOWN = "/.well-known/oauth-protected-resource";
const REPLAY_MEMORY = 100_000; // proofs, of some 200 bytes each
const LOOPBACK = /^http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?\//;
const METHODS = "GET, HEAD, OPTIONS";

export interface ResourceOptions {
  /**
   * The resource identifier: the URL that clients know the service by, without query and fragment. Its origin counts as that
   * of all requests, for any `Host` header.
   */
  readonly resource: string;
  /** Issuers whose tokens it accepts: usually tokenmint's, or the server whose tokens a gateway exchanges. */
  readonly authorizationServers: readonly string[];
  /** Scopes that clients may ask for. */
  readonly scopesSupported?: readonly string[];
  /** For people. */
  readonly name?: string;
  /** A URL for developers. */
  readonly documentation?: string;
  /** Check DPoP proofs. Without it, tokens that are bound to a DPoP key are refused. Default: true. */
  readonly dpop?: boolean;
  /** Refuse tokens that are not bound to a DPoP key. */
  readonly requireDpop?: boolean;
  /** A secret of 32 bytes or more, the same in all replicas: proofs need a nonce of this service. */
  readonly nonceKey?: Uint8Array;
  /** Announce that tokens may be bound to the client's certificate (RFC 8705 section 3.3). */
  readonly certificates?: boolean;
  /** How many proofs are remembered, for a minute. Each process remembers its own. Default: 100,000. */
  readonly replayMemory?: number;
}

/** The proofs of a key that came with one request. */
export interface RequestProof {
  /** Whether the token came with the scheme `DPoP`, and not `Bearer`. */
  readonly isDpop: boolean;
  readonly method: string;
  /** Percent-encoded, without the query. */
  readonly path: string;
  /** The values of the request's `DPoP` headers. */
  readonly proofs: readonly string[];
  /** The certificate of the client's connection, in DER. */
  readonly certificate?: Uint8Array | undefined;
}

/** An answer to a request under `metadataPath`. */
export interface MetadataAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The name of a service among OAuth clients (RFC 9728), and its rules for tokens that are bound to a key (RFC 9449, RFC 8705).
 * Make it once.
 */
export class ProtectedResource {
  /** Where the metadata are: the well-known path in front of the identifier's own (RFC 9728 section 3.1). */
  readonly metadataPath: string;
  /** The same, as clients know it. */
  readonly metadataUrl: string;
  /** Whether DPoP proofs are checked. */
  readonly dpop: boolean;
  /** Whether tokens that are not bound to a DPoP key are refused. */
  readonly requireDpop: boolean;
  readonly #options: ResourceOptions;
  readonly #origin: string;
  readonly #used: ReplayMemory;
  readonly #nonces: Nonces | undefined;

  /** @throws RangeError where the identifier is not such a URL, or an option does not fit. */
  constructor(options: ResourceOptions) {
    const normal = normalUrl(options.resource);
    if (normal === undefined || /[?#]/.test(options.resource)) {
      throw new RangeError("resource: expected an absolute URL without user, query and fragment");
    }
    if (!normal.startsWith("https:") && !LOOPBACK.test(normal)) {
      throw new RangeError("resource: expected https (http is for loopback only)");
    }
    if (options.authorizationServers.length === 0) {
      throw new RangeError("authorizationServers: expected a list of at least one issuer");
    }
    this.dpop = options.dpop ?? true;
    this.requireDpop = options.requireDpop ?? false;
    if (this.requireDpop && !this.dpop) throw new RangeError("requireDpop: needs dpop");
    const path = /^[^/]*\/\/[^/]*\/(.+)$/.exec(options.resource)?.[1];
    this.#options = options;
    this.#origin = normal.slice(0, normal.indexOf("/", "https://".length));
    this.metadataPath = WELL_KNOWN + (path === undefined ? "" : `/${path}`);
    this.metadataUrl = this.#origin + this.metadataPath;
    this.#used = new ReplayMemory(options.replayMemory ?? REPLAY_MEMORY);
    this.#nonces = options.nonceKey === undefined ? undefined : new Nonces(options.nonceKey);
  }

  /** Returns the metadata (RFC 9728 section 2). */
  metadata(): Record<string, unknown> {
    const { resource, authorizationServers, scopesSupported = [], name, documentation, certificates } = this.#options;
    return {
      resource,
      authorization_servers: authorizationServers,
      ...(scopesSupported.length > 0 && { scopes_supported: scopesSupported }),
      bearer_methods_supported: ["header"],
      ...(name !== undefined && { resource_name: name }),
      ...(documentation !== undefined && { resource_documentation: documentation }),
      ...(this.dpop && { dpop_signing_alg_values_supported: PROOF_ALGORITHMS }),
      ...(this.requireDpop && { dpop_bound_access_tokens_required: true }),
      ...(certificates === true && { tls_client_certificate_bound_access_tokens: true }),
    };
  }

  /** Returns the answer to a request under `metadataPath`, also for applications in a browser. */
  answer(method: string): MetadataAnswer {
    const shared = { "Access-Control-Allow-Origin": "*" };
    if (method === "GET" || method === "HEAD") {
      const headers = { ...shared, "Content-Type": "application/json", "Cache-Control": "max-age=3600" };
      return { status: 200, headers, body: JSON.stringify(this.metadata()) };
    }
    if (method === "OPTIONS") {
      const headers = { ...shared, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*" };
      return { status: 204, headers, body: "" };
    }
    return { status: 405, headers: { Allow: METHODS }, body: "" };
  }

  /** Returns the nonce that proofs need from now on, or undefined where they need none. */
  nonce(now: number): string | undefined {
    return this.#nonces?.make(now);
  }

  /**
   * Returns the check of the keys that a token is bound to, for `Verifier.verify`. The middleware uses it; so can code for
   * another framework.
   */
  possession(request: RequestProof): Possession {
    return { check: (sent, token, now) => this.#check(request, sent, token, now) };
  }

  /** Printed without the key of the nonces. */
  [inspect.custom](): string {
    return `ProtectedResource(${this.#options.resource})`;
  }

  async #check(request: RequestProof, sent: string, token: VerifiedToken, now: number): Promise<void> {
    const bound = token.confirmation ?? {};
    const byKey = "jkt" in bound;
    const byCertificate = "x5t#S256" in bound;
    if (token.confirmation !== undefined && !byKey && !byCertificate) {
      throw unproved("the token is bound to a key in a way that is not checked here");
    }
    if (byKey && !this.dpop) throw unproved("the token is bound to a DPoP key, and proofs are not checked here");
    if (byKey && !request.isDpop) {
      throw unproved("the token is bound to a DPoP key, and has to be sent with the scheme DPoP"); // RFC 9449 section 7.2
    }
    if (request.isDpop && !byKey) {
      throw unproved("the token is not bound to a DPoP key, and has to be sent with the scheme Bearer");
    }
    if (this.requireDpop && !byKey) throw unproved("the token is not bound to a DPoP key, which is required here");
    if (byCertificate && (request.certificate === undefined || !same(bound["x5t#S256"], hashOf(request.certificate)))) {
      throw unproved("the token is bound to another certificate than the connection's");
    }
    if (byKey) await this.#proveKey(request, sent, bound["jkt"], now);
  }

  async #proveKey(request: RequestProof, sent: string, jkt: unknown, now: number): Promise<void> {
    const [first, ...others] = request.proofs;
    if (first === undefined || others.length > 0) {
      throw new TokenRejected("PROOF_REJECTED", "the DPoP proof is missing, or there are several DPoP headers");
    }
    const url = this.#origin + request.path;
    const proof = await readProof(first, { method: request.method, url, token: sent }, now);
    if (!same(jkt, proof.thumbprint)) throw unproved("the DPoP proof is by another key than the token's");
    if (this.#nonces?.accepts(proof.nonce, now) === false) {
      throw new TokenRejected("NONCE_REQUIRED", "the DPoP proof needs the nonce of this answer");
    }
    this.#used.use(proof, now);
  }
}

function unproved(message: string): TokenRejected {
  return new TokenRejected("POSSESSION_NOT_PROVED", message);
}

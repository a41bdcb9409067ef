import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { missingScopes, UNAVAILABLE } from "./bearer.js";
import { PROOF_ALGORITHMS } from "./dpop.js";
import { TokenRejected, VerificationError } from "./errors.js";
import type { ProtectedResource } from "./resource.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

const RETRY_AFTER = "1"; // seconds, after which a verifier asks for its keys again

export interface MiddlewareOptions {
  /** What each request needs. */
  readonly scopes?: readonly string[];
  /**
   * Announces the service to OAuth clients (RFC 9728), and checks the keys that tokens are bound to. Without it bound tokens
   * are refused.
   */
  readonly resource?: ProtectedResource;
  /** Returns the client's certificate in DER. Default: that of the connection. */
  readonly certificate?: (request: IncomingMessage) => Uint8Array | undefined;
}

/** A request that is not served, with its answer. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>>) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** Returns the answer for a token that could be neither accepted nor refused. */
export function unavailable(): Refusal {
  return new Refusal(503, UNAVAILABLE, { "Retry-After": RETRY_AFTER });
}

/** The rules of a protected service, and its answers to requests that break them (RFC 6750 section 3, RFC 9449 section 7.1). */
export class Door {
  readonly #verifier: Verifier;
  readonly #scopes: readonly string[];
  readonly #resource: ProtectedResource | undefined;
  readonly #certificate: (request: IncomingMessage) => Uint8Array | undefined;

  constructor(verifier: Verifier, options: MiddlewareOptions) {
    this.#verifier = verifier;
    this.#scopes = options.scopes ?? [];
    this.#resource = options.resource;
    this.#certificate = options.certificate ?? connectionCertificate;
  }

  /** Returns the token of a request. @throws Refusal, or an error that is not the token's. */
  async admit(request: IncomingMessage): Promise<VerifiedToken> {
    const { token: sent, isDpop } = this.#presented(request.headersDistinct["authorization"] ?? []); // `headers` has one alone
    const possession = this.#resource?.possession({
      isDpop,
      method: request.method ?? "",
      path: pathOf(request),
      proofs: request.headersDistinct["dpop"] ?? [],
      certificate: this.#certificate(request),
    });
    let token: VerifiedToken;
    try {
      token = await this.#verifier.verify(sent, possession);
    } catch (error) {
      throw error instanceof VerificationError ? this.#refused(error, isDpop) : error;
    }
    const missing = missingScopes(token, this.#scopes);
    if (missing.length > 0) {
      const message = `missing scopes: ${missing.join(" ")}`;
      throw new Refusal(403, message, this.#challenge(isDpop, "insufficient_scope", message));
    }
    return token;
  }

  #presented(values: readonly string[]): { token: string; isDpop: boolean } {
    const [, scheme = "", rest = ""] = /^[ \t]*([^ ]*)(.*)$/s.exec(values[0] ?? "") ?? [];
    const isDpop = this.#resource?.dpop === true && scheme.toLowerCase() === "dpop";
    const known = isDpop || scheme.toLowerCase() === "bearer";
    const token = rest.replace(/^[ \t]+|[ \t]+$/g, ""); // RFC 9110 section 5.6.3: no other space of Unicode
    if (values.length > 1 || (/^(bearer|dpop)$/i.test(scheme) && token.includes(","))) {
      const message = "there is more than one Authorization header"; // gateways join them by a comma
      throw new Refusal(400, message, this.#challenge(isDpop, "invalid_request", message));
    }
    if (!known || token === "") throw new Refusal(401, "a bearer token is needed", this.#challenge(false, "", ""));
    return { token, isDpop };
  }

  #refused(error: VerificationError, isDpop: boolean): Refusal {
    if (!(error instanceof TokenRejected)) return unavailable();
    const names: Partial<Record<string, string>> = { PROOF_REJECTED: "invalid_dpop_proof", NONCE_REQUIRED: "use_dpop_nonce" };
    const headers = this.#challenge(isDpop, names[error.reason] ?? "invalid_token", error.message);
    const nonce = isDpop ? this.#resource?.nonce(this.#verifier.now()) : undefined;
    return new Refusal(401, error.message, nonce === undefined ? headers : { ...headers, "DPoP-Nonce": nonce });
  }

  /** Returns `WWW-Authenticate`: the schemes that are accepted; of a request with DPoP this one alone. */
  #challenge(isDpop: boolean, error: string, description: string): Record<string, string> {
    const resource = this.#resource;
    const announced = resource !== undefined && error !== "invalid_request";
    const members = [
      ...(error === "" ? [] : [`error="${error}"`, `error_description="${description}"`]),
      ...(this.#scopes.length > 0 && (announced || error === "insufficient_scope") ? [`scope="${this.#scopes.join(" ")}"`] : []),
      ...(resource === undefined ? [] : [`resource_metadata="${resource.metadataUrl}"`]),
    ];
    const algorithms = `algs="${PROOF_ALGORITHMS.join(" ")}"`;
    const bearer = `Bearer ${members.join(", ")}`.trim();
    if (isDpop || resource?.requireDpop === true) {
      return { "WWW-Authenticate": `DPoP ${[...members, algorithms].join(", ")}` };
    }
    return { "WWW-Authenticate": resource?.dpop === true ? `${bearer}, DPoP ${algorithms}` : bearer };
  }
}

/** Returns the path of a request as it was sent. Express takes the path of a router off `url`. */
export function pathOf(request: IncomingMessage): string {
  const sent = (request as IncomingMessage & { originalUrl?: string }).originalUrl ?? request.url ?? "";
  return sent.replace(/[?#].*$/s, "");
}

function connectionCertificate(request: IncomingMessage): Uint8Array | undefined {
  const found = (request.socket as Partial<TLSSocket>).getPeerCertificate?.();
  return (found as { raw?: Uint8Array } | undefined)?.raw; // without a certificate the object is empty
}

import { AsyncLocalStorage } from "node:async_hooks";
import type { IncomingMessage, ServerResponse } from "node:http";
import { unavailable } from "./door.js";
import { TokenRejected, VerificationError } from "./errors.js";
import { type Middleware, refuse, tokenOf } from "./express.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

/** What the SDK for the Model Context Protocol knows of a token: its `AuthInfo`. */
export interface McpAuthInfo {
  token: string;
  clientId: string;
  scopes: string[];
  /** Unix seconds. */
  expiresAt: number;
  resource?: URL;
  /** `subject`, `actor` and all `claims`. */
  extra: Record<string, unknown>;
}

/**
 * Returns a token verifier for `requireBearerAuth` of the SDK for the Model Context Protocol, its `OAuthTokenVerifier`.
 * `InvalidTokenError` is the SDK's error of this name: this package does not depend on the SDK. `resource` is the SDK's
 * `expectedResource`; the default is the audience.
 *
 * The SDK hands on the token alone, without the request. So a token that is bound to a key is refused: put `requireToken` with
 * a `ProtectedResource`, and then `mcpAuth`, in its place to check proofs.
 */
export function mcpTokenVerifier(
  verifier: Verifier,
  InvalidTokenError: new (message: string) => Error,
  options: { readonly resource?: string } = {},
): { verifyAccessToken(token: string): Promise<McpAuthInfo> } {
  return {
    async verifyAccessToken(token) {
      try {
        return authInfo(await verifier.verify(token), token, options.resource ?? verifier.audience);
      } catch (error) {
        if (error instanceof TokenRejected) throw new InvalidTokenError(error.message);
        const response = answers.getStore();
        if (response === undefined || response.headersSent || !(error instanceof VerificationError)) {
          throw error; // the SDK answers with 500, and not with 401, upon which clients would let their user sign in again
        }
        refuse(response, unavailable());
        return await new Promise<never>(() => {}); // the request is answered: nothing may follow
      }
    },
  };
}

const answers = new AsyncLocalStorage<ServerResponse>();

/**
 * Returns `check`, the SDK's `requireBearerAuth` with a verifier of `mcpTokenVerifier`, so that it answers 503 with
 * `Retry-After` while keys or revocations are not at hand. The SDK by itself answers 500.
 */
export function mcpUnavailable<Q extends IncomingMessage, S extends ServerResponse, N, R>(
  check: (request: Q, response: S, next: N) => R,
): (request: Q, response: S, next: N) => R {
  return (request, response, next) => answers.run(response, () => check(request, response, next));
}

/** Returns middleware for behind `requireToken`: it puts the token where transports of the SDK look for it, `request.auth`. */
export function mcpAuth(): Middleware {
  return (request, _, next) => {
    const sent = (request.headers.authorization ?? "").trim().replace(/^\S+ +/, "");
    (request as IncomingMessage & { auth?: McpAuthInfo }).auth = authInfo(tokenOf(request), sent);
    next();
  };
}

function authInfo(verified: VerifiedToken, token: string, resource = ""): McpAuthInfo {
  return {
    token,
    clientId: verified.clientId || verified.subject,
    scopes: [...verified.scopes],
    expiresAt: verified.expiresAt,
    ...(URL.canParse(resource) && { resource: new URL(resource) }),
    extra: { subject: verified.subject, actor: verified.actor, claims: verified.claims },
  };
}

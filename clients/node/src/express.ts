import type { IncomingMessage, ServerResponse } from "node:http";
import { bearerToken, missingScopes } from "./bearer.js";
import { KeySetUnavailable, TokenRejected } from "./errors.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

export interface MiddlewareOptions {
  /** What each request needs. */
  readonly scopes?: readonly string[];
}

/** Middleware of Express and of everything else that passes Node's own requests on. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

const tokens = new WeakMap<IncomingMessage, VerifiedToken>();

/** Returns the verified token of a request that is being served. @throws RangeError where it has none. */
export function tokenOf(request: IncomingMessage): VerifiedToken {
  const token = tokens.get(request);
  if (token === undefined) throw new RangeError("the request was not verified");
  return token;
}

/** Returns middleware that serves a request only with a good token (RFC 6750); `tokenOf(request)` returns it. */
export function requireToken(verifier: Verifier, options: MiddlewareOptions = {}): Middleware {
  const scopes = options.scopes ?? [];
  return (request, response, next) => {
    const sent = bearerToken(request.headers.authorization);
    if (sent === undefined) {
      refuse(response, 401, "a bearer token is needed", "Bearer");
      return;
    }
    verifier.verify(sent).then(
      (token) => {
        const missing = missingScopes(token, scopes);
        if (missing.length > 0) {
          const challenge = `Bearer error="insufficient_scope", scope="${scopes.join(" ")}"`;
          refuse(response, 403, `missing scopes: ${missing.join(" ")}`, challenge);
          return;
        }
        tokens.set(request, token);
        next();
      },
      (error: unknown) => {
        if (error instanceof TokenRejected) refuse(response, 401, error.message, 'Bearer error="invalid_token"');
        else if (error instanceof KeySetUnavailable) refuse(response, 503, error.message);
        else next(error);
      },
    );
  };
}

function refuse(response: ServerResponse, status: number, error: string, challenge?: string): void {
  if (challenge !== undefined) response.setHeader("WWW-Authenticate", challenge);
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify({ error }));
}

import type { IncomingMessage, ServerResponse } from "node:http";
import { bearerToken, missingScopes, UNAVAILABLE } from "./bearer.js";
import { KeySetUnavailable, TokenRejected } from "./errors.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

const RETRY_AFTER = "10"; // seconds, after which a verifier asks for its keys again

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

/**
 * Returns middleware that serves a request only with a good token; `tokenOf(request)` and `request.auth` return it.
 *
 * Others are answered as RFC 6750 section 3 says: 401, 400 with several `Authorization` headers, 403 where a scope is
 * missing. Without keys the answer is 503, with `Retry-After`. A token in the query is not looked at.
 */
export function requireToken(verifier: Verifier, options: MiddlewareOptions = {}): Middleware {
  const scopes = options.scopes ?? [];
  return (request, response, next) => {
    const values = request.headersDistinct.authorization ?? []; // `headers` has the first one alone
    const sent = bearerToken(values[0]);
    if (values.length > 1 || /^bearer .*,/i.test(values[0] ?? "")) {
      challenge(response, 400, "invalid_request", "there is more than one Authorization header");
      return;
    }
    if (sent === undefined && !/^bearer +\S/i.test(values[0] ?? "")) {
      response.setHeader("WWW-Authenticate", "Bearer"); // RFC 6750 section 3.1: no code where no token was sent
      refuse(response, 401, "a bearer token is needed");
      return;
    }
    verifier.verify(sent ?? "").then(
      (token) => {
        const missing = missingScopes(token, scopes);
        if (missing.length > 0) {
          const more = `, scope="${scopes.join(" ")}"`;
          challenge(response, 403, "insufficient_scope", `missing scopes: ${missing.join(" ")}`, more);
          return;
        }
        tokens.set(request, token);
        (request as IncomingMessage & { auth?: VerifiedToken }).auth = token;
        next();
      },
      (error: unknown) => {
        if (error instanceof TokenRejected) challenge(response, 401, "invalid_token", error.message);
        else if (error instanceof KeySetUnavailable) {
          response.setHeader("Retry-After", RETRY_AFTER);
          refuse(response, 503, UNAVAILABLE);
        } else next(error);
      },
    );
  };
}

function challenge(response: ServerResponse, status: number, error: string, description: string, more = ""): void {
  response.setHeader("WWW-Authenticate", `Bearer error="${error}", error_description="${description}"${more}`);
  refuse(response, status, description);
}

function refuse(response: ServerResponse, status: number, error: string): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify({ error }));
}

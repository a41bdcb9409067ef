import type { IncomingMessage, ServerResponse } from "node:http";
import { Door, type MiddlewareOptions, pathOf, Refusal } from "./door.js";
import type { MetadataAnswer, ProtectedResource } from "./resource.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

export { type MiddlewareOptions } from "./door.js";

/** Middleware of Express and of everything else that passes Node's own requests on. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

const tokens = new WeakMap<IncomingMessage, VerifiedToken>();

/** Returns the verified token of a request that is being served. @throws RangeError where it has none. */
export function tokenOf(request: IncomingMessage): VerifiedToken {
  const token = tokens.get(request);
  if (token === undefined) throw new RangeError("the request was not verified");
  return token;
}

/** Notes the verified token of a request. */
export function enter(request: IncomingMessage, token: VerifiedToken): void {
  tokens.set(request, token);
}

/**
 * Returns middleware that serves a request only with a good token; `tokenOf(request)` and `request.auth` return it.
 *
 * Others are answered as RFC 6750 section 3 says: 401, 400 with several `Authorization` headers, 403 where a scope is
 * missing. Without keys the answer is 503, with `Retry-After`. A token in the query is not looked at. With `resource` it serves
 * the resource's metadata too.
 */
export function requireToken(verifier: Verifier, options: MiddlewareOptions = {}): Middleware {
  const door = new Door(verifier, options);
  const { resource } = options;
  return (request, response, next) => {
    if (resource !== undefined && pathOf(request) === resource.metadataPath) {
      give(response, resource.answer(request.method ?? ""));
      return;
    }
    door.admit(request).then(
      (token) => {
        enter(request, token);
        (request as IncomingMessage & { auth?: VerifiedToken }).auth = token;
        next();
      },
      (error: unknown) => {
        if (!(error instanceof Refusal)) {
          next(error);
          return;
        }
        refuse(response, error);
      },
    );
  };
}

/**
 * Returns middleware that serves the metadata of a resource (RFC 9728), and hands all other requests on: for applications
 * whose tokens something else verifies.
 */
export function resourceMetadata(resource: ProtectedResource): Middleware {
  return (request, response, next) => {
    if (pathOf(request) === resource.metadataPath) give(response, resource.answer(request.method ?? ""));
    else next();
  };
}

/** Answers a request that is not served. */
export function refuse(response: ServerResponse, { status, headers, message }: Refusal): void {
  give(response, { status, headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify({ error: message }) });
}

function give(response: ServerResponse, { status, headers, body }: MetadataAnswer): void {
  response.writeHead(status, headers).end(body);
}

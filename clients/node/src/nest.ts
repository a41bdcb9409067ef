import type { IncomingMessage, ServerResponse } from "node:http";
import { Door, type MiddlewareOptions, Refusal } from "./door.js";
import { enter } from "./express.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

export { tokenOf } from "./express.js";

/** The part of NestJS's `ExecutionContext` that the guard reads. */
export interface GuardedContext {
  getType(): string;
  getHandler(): object;
  getClass(): object;
  switchToHttp(): { getRequest(): unknown; getResponse(): unknown };
}

export interface GuardOptions extends MiddlewareOptions {
  /** Tells whether a handler needs no token, e.g. by metadata that a decorator of yours has set. */
  readonly skip?: (context: GuardedContext) => boolean;
}

/** NestJS's class of errors that are answers. */
export type HttpExceptionClass = new (response: Record<string, unknown>, status: number) => Error;

type Raw<T> = T | { readonly raw: T };

/**
 * A guard of NestJS, with Express or Fastify: `@UseGuards(new TokenGuard(verifier, HttpException))`, or
 * `app.useGlobalGuards(…)`.
 *
 * In a handler, `tokenOf(request)` and `request.auth` are the token. Refusals have the answers of the middleware, with the body
 * that NestJS gives to errors. A context that is not HTTP is refused; override `httpOf` for GraphQL.
 */
export class TokenGuard {
  readonly #door: Door;
  readonly #HttpException: HttpExceptionClass;
  readonly #skip: (context: GuardedContext) => boolean;

  /** `HttpException` is the class of this name from `@nestjs/common`: this package does not depend on NestJS. */
  constructor(verifier: Verifier, HttpException: HttpExceptionClass, options: GuardOptions = {}) {
    this.#door = new Door(verifier, options);
    this.#HttpException = HttpException;
    this.#skip = options.skip ?? (() => false);
  }

  /** Tells whether a request is served. @throws an `HttpException`, with which NestJS answers. */
  async canActivate(context: GuardedContext): Promise<boolean> {
    if (this.#skip(context)) return true;
    const found = this.httpOf(context);
    if (found === undefined) return false;
    const request = raw<IncomingMessage>(found.request);
    let token: VerifiedToken;
    try {
      token = await this.#door.admit(request);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const response = raw<ServerResponse>(found.response);
      for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
      throw new this.#HttpException({ statusCode: error.status, message: error.message }, error.status);
    }
    enter(request, token);
    (found.request as { auth?: VerifiedToken }).auth = token;
    return true;
  }

  /** Returns request and response of a context, or undefined where it has none. */
  protected httpOf(
    context: GuardedContext,
  ): { readonly request: Raw<IncomingMessage>; readonly response: Raw<ServerResponse> } | undefined {
    if (context.getType() !== "http") return undefined;
    const http = context.switchToHttp();
    return { request: http.getRequest() as Raw<IncomingMessage>, response: http.getResponse() as Raw<ServerResponse> };
  }
}

/** Returns Node's own request or response. Fastify wraps them. */
function raw<T extends object>(wrapped: Raw<T>): T {
  return "raw" in wrapped ? wrapped.raw : wrapped;
}

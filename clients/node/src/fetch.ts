import { current, type SubjectToken } from "./bearer.js";
import { bearer, type DpopKey } from "./dpopkey.js";
import type { TokenSource } from "./source.js";

export interface TokenFetchOptions {
  /** Default: all that the audience grants this client. */
  readonly scopes?: readonly string[];
  /** What does the requests. Default: Node's `fetch`, which drops the token where a redirect leads to another origin. */
  readonly fetch?: typeof fetch;
  /** A key to which the tokens are bound. Each request then has a proof of it. */
  readonly dpop?: DpopKey;
}

/**
 * Returns a `fetch` whose requests carry the token as its type says: `Authorization: Bearer`, or `DPoP` and a proof (RFC 9449
 * section 7.1). It rejects with a `TokenmintError` where no token can be had, and with a `RangeError` where it can't present
 * the token.
 *
 * Give it only to code that calls the service that the audience names.
 */
export function tokenFetch(
  source: TokenSource,
  subjectToken: SubjectToken,
  audience: string,
  options: TokenFetchOptions = {},
): typeof fetch {
  const { fetch: next = fetch, dpop, ...rest } = options;
  const get = dpop === undefined ? rest : { ...rest, dpopThumbprint: dpop.thumbprint };
  return async (input, init) => {
    const token = await source.get(current(subjectToken), audience, get);
    const request = new Request(input, init);
    if (dpop === undefined || token.tokenType.toLowerCase() !== "dpop") {
      request.headers.set("Authorization", bearer(token, audience));
      return await next(request);
    }
    const prove = (one: Request): Request => {
      one.headers.set("Authorization", `DPoP ${token.value}`);
      one.headers.set("DPoP", dpop.proofFor(one.method, one.url, token.value));
      return one;
    };
    // A stream can be read once, and a copy of it would be kept in memory.
    const isKept = request.body === null || (init?.body != null && !(init.body instanceof ReadableStream));
    const again = isKept ? request.clone() : undefined;
    const answer = await next(prove(request));
    const isWanted = !answer.redirected && dpop.hasToRepeat(request.url, answer);
    if (again === undefined || !isWanted) return answer;
    await answer.body?.cancel();
    return await next(prove(again)); // with the nonce of the service
  };
}

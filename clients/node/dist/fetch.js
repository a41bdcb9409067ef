import { current } from "./bearer.js";
/**
 * Returns a `fetch` whose requests carry the token. It rejects with a `TokenmintError` where no token can be had.
 *
 * Give it only to code that calls the service that the audience names.
 */
export function tokenFetch(source, subjectToken, audience, options = {}) {
    const { fetch: next = fetch, ...get } = options;
    return async (input, init) => {
        const token = await source.get(current(subjectToken), audience, get);
        const request = new Request(input, init);
        request.headers.set("Authorization", `Bearer ${token.value}`);
        return await next(request);
    };
}

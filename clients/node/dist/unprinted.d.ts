import type { Token } from "./client.js";
/** Returns a token that `util.inspect`, `console.log` and `JSON.stringify` show without its value. Copies are plain. */
export declare function unprinted(token: Token): Token;

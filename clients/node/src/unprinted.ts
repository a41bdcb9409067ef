import { inspect } from "node:util";
import type { Token } from "./client.js";

/** Returns a token that `util.inspect`, `console.log` and `JSON.stringify` show without its value. Copies are plain. */
export function unprinted(token: Token): Token {
  const shown = (): object => ({ ...token, value: "***" });
  return Object.defineProperties({ ...token }, { toJSON: { value: shown }, [inspect.custom]: { value: shown } });
}

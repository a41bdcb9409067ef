import { inspect } from "node:util";
/** Returns a token that `util.inspect`, `console.log` and `JSON.stringify` show without its value. Copies are plain. */
export function unprinted(token) {
    const shown = () => ({ ...token, value: "***" });
    return Object.defineProperties({ ...token }, { toJSON: { value: shown }, [inspect.custom]: { value: shown } });
}

import { KeySetUnavailable } from "./errors.js";

const MAX_DETAIL = 200; // characters of another library's message
const MAX_CAUSES = 20; // errors of one chain that are looked at
const FETCH_TIMEOUT = 5000; // milliseconds

/** Returns the address of a key set, checked. @throws RangeError where it would be fetched without TLS from elsewhere. */
export function keySetUrl(address: string): string {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) throw new RangeError("the address of the key set is not a URL");
  if (url.protocol === "https:") return address;
  if (url.protocol === "http:" && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)) return address;
  throw new RangeError(
    `the key set at ${shown(address)} would be fetched without TLS: use https (http is for loopback only)`,
  );
}

/** Returns an address as messages show it: without user, password, query and fragment, which may hold a secret. */
export function shown(address: string): string {
  const { protocol, host, pathname } = new URL(address);
  return `${protocol}//${host}${pathname}`.slice(0, MAX_DETAIL);
}

/** Returns a signal that ends a fetch in time. */
export function timeLimit(): AbortSignal {
  return AbortSignal.timeout(FETCH_TIMEOUT);
}

/** Returns why a fetch failed: DNS, connection refused, TLS, time, or the answer's fault. */
export function causeOf(error: unknown): string {
  if (error instanceof KeySetUnavailable) return error.message;
  const codes = [...chain(error)].map((one) => ("code" in one && typeof one.code === "string" ? one.code : one.name));
  for (const code of codes) {
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "the host name can't be resolved (DNS)";
    if (code === "ECONNREFUSED") return "the connection was refused";
    if (/^(ERR_SSL|ERR_TLS|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
      return `TLS failed: ${code}`.slice(0, MAX_DETAIL);
    }
    if (code === "TimeoutError") return `there was no answer within ${String(FETCH_TIMEOUT / 1000)} s`;
  }
  return `the connection failed: ${codes.at(-1) ?? "unknown"}`.slice(0, MAX_DETAIL);
}

/** Yields all errors that led to one; those of several addresses that were tried come together. */
function* chain(error: unknown): Generator<Error> {
  const left = [error];
  for (let count = 0; count < MAX_CAUSES && left.length > 0; count++) {
    const found = left.pop();
    if (!(found instanceof Error)) continue;
    yield found;
    left.push(found.cause, ...(found instanceof AggregateError ? (found.errors as unknown[]) : []));
  }
}

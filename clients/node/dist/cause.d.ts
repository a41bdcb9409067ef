/** Returns the address of a key set, checked. @throws RangeError where it would be fetched without TLS from elsewhere. */
export declare function keySetUrl(address: string): string;
/** Returns an address as messages show it: without user, password, query and fragment, which may hold a secret. */
export declare function shown(address: string): string;
/** Returns a signal that ends a fetch in time. */
export declare function timeLimit(): AbortSignal;
/** Returns why a fetch failed: DNS, connection refused, TLS, time, or the answer's fault. */
export declare function causeOf(error: unknown): string;

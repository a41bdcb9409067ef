/** Gets tokens from tokenmint, keeps them fresh, and verifies them offline. */
export {} from "./bearer.js";
export { Client, } from "./client.js";
export { clientAssertion, clientCertificate, clientSecret, publicClient, workloadToken, } from "./credentials.js";
export { AccessDenied, CallerUnauthenticated, DeadlineExceeded, InvalidRequest, KeySetUnavailable, RateLimited, SubjectTokenRejected, TokenmintError, TokenRejected, Unavailable, VerificationError, } from "./errors.js";
export { tokenFetch } from "./fetch.js";
export { MemoryStore, SessionStore, TokenSource, } from "./source.js";
export { Verifier } from "./verifier.js";

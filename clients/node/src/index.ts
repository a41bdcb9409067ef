/** Gets tokens from tokenmint, keeps them fresh, and verifies them offline. */
export { type SubjectToken } from "./bearer.js";
export {
  type BatchResult,
  Client,
  type ClientOptions,
  type ExchangeOptions,
  type SubjectOptions,
  type Target,
  type TargetOptions,
  type Token,
} from "./client.js";
export {
  type Certificate,
  clientAssertion,
  type ClientAssertionOptions,
  clientCertificate,
  clientSecret,
  type Credential,
  publicClient,
  workloadToken,
} from "./credentials.js";
export { DpopKey } from "./dpopkey.js";
export {
  AccessDenied,
  CallerUnauthenticated,
  DeadlineExceeded,
  InvalidRequest,
  KeySetUnavailable,
  RateLimited,
  ReplayMemoryFull,
  RevocationsUnavailable,
  StatusListUnavailable,
  SubjectTokenRejected,
  TokenmintError,
  TokenRejected,
  Unavailable,
  VerificationError,
  type VerificationReason,
} from "./errors.js";
export { tokenFetch, type TokenFetchOptions } from "./fetch.js";
export { Revocations, type RevocationsOptions } from "./revocations.js";
export { StatusLists, type StatusListsOptions } from "./statuslists.js";
export {
  type MetadataAnswer,
  ProtectedResource,
  type RequestProof,
  type ResourceOptions,
} from "./resource.js";
export {
  type Entry,
  type GetOptions,
  MemoryStore,
  type Session,
  SessionStore,
  TokenSource,
  type TokenSourceOptions,
  type TokenStore,
} from "./source.js";
export {
  receivedTxnToken,
  type TransactionToken,
  TXN_TOKEN_HEADER,
  TXN_TOKEN_TYPE,
  txnTokenHeaders,
  TxnTokenVerifier,
} from "./txntoken.js";
export { type JsonObject, type Possession, type VerifiedToken, Verifier, type VerifierOptions } from "./verifier.js";

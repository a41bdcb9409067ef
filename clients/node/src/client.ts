import { randomUUID } from "node:crypto";
import {
  type CallOptions,
  type ChannelOptions,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Certificate, Credential } from "./credentials.js";
import { fromServiceError, fromStatus, type TokenmintError } from "./errors.js";
import type { Duration } from "./v1/google/protobuf/duration.js";
import {
  BatchExchangeTokensRequest,
  ExchangeTokenRequest,
  type BatchExchangeTokensResponse,
  type ExchangeTokenResponse,
  TokenExchangeServiceClient,
} from "./v1/tokenmint/v1/token_exchange_service.js";
import {
  RevocationServiceClient,
  type WatchRevocationsRequest,
  type WatchRevocationsResponse,
} from "./v1/tokenmint/v1/revocation_service.js";
import { unprinted } from "./unprinted.js";

const DEFAULT_TIMEOUT = 10; // seconds for a call with all its retries
const LOOPBACK = /^((localhost|127(\.\d{1,3}){3}|\[::1\]):\d+|unix:.*)$/;

/** UNAVAILABLE alone is retried. Where tokenmint says after which delay (RetryInfo), it says so to gRPC too. */
const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [],
  methodConfig: [
    {
      name: [{ service: "tokenmint.v1.TokenExchangeService" }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.2s",
        maxBackoff: "5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

/** A token that tokenmint minted. */
export interface Token {
  /** The token itself, a secret. Printed and as JSON, the token is without it. */
  readonly value: string;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The principal that it is about, its `sub`. */
  readonly subject: string;
  readonly scopes: readonly string[];
  /** Its `jti`. */
  readonly tokenId: string;
  /** The `kid` of the key that signed it. */
  readonly keyId: string;
  /** How it is presented (RFC 8693 section 2.2.1). */
  readonly tokenType: string;
}

export interface ClientOptions {
  /** Tokenmint's gRPC listener, `host:port`. */
  readonly target: string;
  /** What proves this client. */
  readonly credential: Credential;
  /** The authorities of tokenmint's certificate, in PEM. Default: those that Node knows. */
  readonly ca?: string | Buffer;
  /** A client certificate for a `credential` of another kind (mutual TLS). */
  readonly certificate?: Certificate;
  /** Speak without TLS, to a loopback address. */
  readonly plaintext?: boolean;
  /** Seconds for a call with all its retries. Default: 10. */
  readonly timeout?: number;
  /** Further options of the gRPC channel. */
  readonly channelOptions?: ChannelOptions;
}

export interface TargetOptions {
  /** Default: all that the audience grants this client. */
  readonly scopes?: readonly string[];
  /** Whole seconds. Default: as the audience is configured. */
  readonly lifetime?: number;
  /** URIs that name the audience too, or instead of it where it is `""` (RFC 8707). */
  readonly resources?: readonly string[];
}

export interface SubjectOptions {
  /** A URN of RFC 8693 section 3. Default: an ID token. */
  readonly subjectTokenType?: string;
  /** What the subject token's `nonce` has to be. Default: not compared. */
  readonly nonce?: string;
  /** Seconds for this call with all its retries. */
  readonly timeout?: number;
}

export interface ExchangeOptions extends TargetOptions, SubjectOptions {
  /** A URN of RFC 8693 section 3. Default: as the audience is configured. */
  readonly requestedTokenType?: string;
  /** A token of the party that acts for the subject. */
  readonly actorToken?: string;
  /** Its kind, required with it. */
  readonly actorTokenType?: string;
  /** The thumbprint of the key that the token shall be bound to (RFC 9449). */
  readonly dpopThumbprint?: string;
  /** The circumstances of a transaction, for a transaction token's `rctx`: at most 4096 bytes as JSON. */
  readonly requestContext?: Readonly<Record<string, unknown>>;
  /** The transaction itself, likewise; for its `tctx`. */
  readonly requestDetails?: Readonly<Record<string, unknown>>;
}

/** One of the artefacts of a batch. */
export interface Target extends TargetOptions {
  readonly audience: string;
}

/** A token, or why there is none. */
export type BatchResult = { readonly token: Token } | { readonly error: TokenmintError };

/** Exchanges tokens. Close it in the end. */
export class Client {
  readonly #service: TokenExchangeServiceClient;
  readonly #credential: Credential;
  readonly #plaintext: boolean;
  readonly #timeout: number;
  readonly #connect: () => RevocationServiceClient;
  #revocations: RevocationServiceClient | undefined;

  /** @throws RangeError where plaintext is asked for beyond loopback. */
  constructor(options: ClientOptions) {
    const { target, credential, certificate = credential.certificate, plaintext = false } = options;
    if (plaintext && !LOOPBACK.test(target)) {
      throw new RangeError(`plaintext is for loopback only, and ${target} is not: secrets would travel in clear`);
    }
    this.#credential = credential;
    this.#plaintext = plaintext;
    this.#timeout = options.timeout ?? DEFAULT_TIMEOUT;
    const own = credentials.createFromMetadataGenerator((_, done) => {
      this.#metadata().then(
        (metadata) => { done(null, metadata); },
        (error: unknown) => { done(error instanceof Error ? error : new Error("no credential")); },
      );
    });
    const channel = plaintext
      ? credentials.createInsecure()
      : credentials.combineChannelCredentials(
          credentials.createSsl(pem(options.ca), pem(certificate?.key), pem(certificate?.cert)),
          own,
        );
    const settings = { "grpc.service_config": SERVICE_CONFIG, "grpc.enable_retries": 1, ...options.channelOptions };
    this.#service = new TokenExchangeServiceClient(target, channel, settings);
    this.#connect = () => new RevocationServiceClient(target, channel, settings);
  }

  /**
   * Exchanges a subject token for one token for an audience. Nothing is cached.
   *
   * @throws TokenmintError, see its subclasses; RangeError or TypeError for a context or details that JSON can't hold.
   */
  async exchange(subjectToken: string, audience: string, options: ExchangeOptions = {}): Promise<Token> {
    const request = ExchangeTokenRequest.fromPartial({
      subjectToken,
      subjectTokenType: options.subjectTokenType ?? "",
      audience,
      scopes: [...(options.scopes ?? [])],
      resources: [...(options.resources ?? [])],
      lifetime: duration(options.lifetime),
      requestedTokenType: options.requestedTokenType ?? "",
      nonce: options.nonce ?? "",
      actorToken: options.actorToken ?? "",
      actorTokenType: options.actorTokenType ?? "",
      dpopJkt: options.dpopThumbprint ?? "",
      requestId: randomUUID(), // makes gRPC's retries safe where the subject token may be used once
      requestContext: json(options.requestContext),
      requestDetails: json(options.requestDetails),
    });
    const answer = await this.#call<ExchangeTokenResponse>(options.timeout, (metadata, call, done) =>
      this.#service.exchangeToken(request, metadata, call, done),
    );
    return tokenOf(answer);
  }

  /**
   * Exchanges a subject token for one token for each of at most 16 targets, in their order. A refused target does not
   * fail the others.
   *
   * @throws TokenmintError where the subject token, the client or the whole request was refused.
   */
  async exchangeBatch(
    subjectToken: string,
    targets: readonly Target[],
    options: SubjectOptions = {},
  ): Promise<BatchResult[]> {
    const request = BatchExchangeTokensRequest.fromPartial({
      subjectToken,
      subjectTokenType: options.subjectTokenType ?? "",
      nonce: options.nonce ?? "",
      requestId: randomUUID(),
      targets: targets.map((target) => ({
        audience: target.audience,
        scopes: [...(target.scopes ?? [])],
        resources: [...(target.resources ?? [])],
        lifetime: duration(target.lifetime),
      })),
    });
    const answer = await this.#call<BatchExchangeTokensResponse>(options.timeout, (metadata, call, done) =>
      this.#service.batchExchangeTokens(request, metadata, call, done),
    );
    return answer.results.map(({ outcome }) => {
      if (outcome?.$case === "token") return { token: tokenOf(outcome.value) };
      return { error: fromStatus(outcome?.value ?? { code: 13, message: "an empty result", details: [] }) };
    });
  }

  /** Opens a stream of revocations. `Revocations` does it, and opens the next one. */
  async watchRevocations(request: WatchRevocationsRequest): Promise<ClientReadableStream<WatchRevocationsResponse>> {
    const metadata = this.#plaintext ? await this.#metadata() : new Metadata(); // as in #call
    this.#revocations ??= this.#connect();
    return this.#revocations.watchRevocations(request, metadata);
  }

  /** Closes the connection. */
  close(): void {
    this.#service.close();
    this.#revocations?.close();
  }

  async #metadata(): Promise<Metadata> {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(await this.#credential.metadata())) metadata.set(key, value);
    return metadata;
  }

  async #call<T>(
    timeout: number | undefined,
    start: (metadata: Metadata, options: CallOptions, done: (error: ServiceError | null, answer: T) => void) => unknown,
  ): Promise<T> {
    const deadline = Date.now() + (timeout ?? this.#timeout) * 1000;
    const metadata = this.#plaintext ? await this.#metadata() : new Metadata(); // over TLS the channel adds it
    return await new Promise<T>((resolve, reject) => {
      start(metadata, { deadline }, (error, answer) => {
        if (error === null) resolve(answer);
        else reject(fromServiceError(error));
      });
    });
  }
}

function tokenOf(answer: ExchangeTokenResponse): Token {
  return unprinted({
    value: answer.token,
    expiresAt: (answer.expireTime?.getTime() ?? 0) / 1000,
    subject: answer.subject,
    scopes: answer.scopes,
    tokenId: answer.tokenId,
    keyId: answer.keyId,
    tokenType: answer.tokenType,
  });
}

function duration(seconds: number | undefined): Duration | undefined {
  if (seconds === undefined) return undefined;
  const whole = Math.floor(seconds);
  return { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * 1e9) };
}

/** @throws RangeError for a number that JSON can't hold: without it, it would be null there. */
function json(members: Readonly<Record<string, unknown>> | undefined): string {
  if (members === undefined) return "";
  return JSON.stringify(members, (name, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError(`${name}: expected a finite number`);
    return value;
  });
}

function pem(text: string | Buffer | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Duration } from "../../google/protobuf/duration.js";
import { Status } from "../../google/rpc/status.js";
export declare const protobufPackage = "tokenmint.v1";
export declare const protobufFileName = "tokenmint/v1/token_exchange_service.proto";
/** What a caller asks for in one exchange. */
export interface ExchangeTokenRequest {
    /**
     * The token that proves on whose behalf the request is made. Required. A
     * provider's is at most `limits.token_bytes` of the service's configuration
     * (default: 16 KiB) long, an issued one at most 64 KiB.
     */
    subjectToken: string;
    /**
     * The kind of `subject_token`, a URN of RFC 8693 section 3. Default:
     * `urn:ietf:params:oauth:token-type:id_token`. Where the service follows the
     * draft of identity assertions, `urn:ietf:params:oauth:token-type:id-jag` too,
     * which is used up, and whose `resource` names the target; not in a batch.
     */
    subjectTokenType: string;
    /**
     * The one configured audience that the minted token is for, at most 255
     * characters. Default: the audience that `resources` name, or the client's.
     */
    audience: string;
    /**
     * The scopes asked for, at most 64 of at most 128 characters each
     * (`scope-token` of RFC 6749 section 3.3). Default: all that the audience
     * grants this client.
     */
    scopes: string[];
    /**
     * How long the minted token shall live, whole seconds from 1 s to 24 h.
     * Default: what the audience is configured for. More than the audience
     * allows is refused, never shortened silently.
     */
    lifetime: Duration | undefined;
    /**
     * The kind of token wanted, a URN of RFC 8693 section 3 or of tokenmint.
     * Default: what the audience is configured for.
     */
    requestedTokenType: string;
    /**
     * The token that proves who acts for the subject (delegation), as long as
     * `subject_token` may be. The minted token names the actor in `act`, unless
     * the audience is configured for impersonation; actors before it are nested
     * in it (RFC 8693 section 4.1). Where the subject token has `may_act`, it has
     * to name the actor; where it has none, the audience has to allow that.
     * Default: none.
     */
    actorToken: string;
    /** The kind of `actor_token`. Required with it, refused without it. */
    actorTokenType: string;
    /**
     * The value that the subject token's `nonce` claim must equal, at most 255
     * characters. Default: not compared.
     */
    nonce: string;
    /**
     * The RFC 7638 SHA-256 thumbprint (base64url, 43 characters) of the DPoP key
     * that the minted token shall be bound to (RFC 9449). Naming a key proves
     * nothing, and binds nobody but the asker. Default: bound to what the subject
     * token is bound to, or to the certificate of the connection where the
     * audience asks for it, or not bound.
     */
    dpopJkt: string;
    /**
     * A UUID that makes a retry of a single-use exchange safe: the same client
     * with the same `request_id` and the same subject token is not a replay.
     * Default: none.
     */
    requestId: string;
    /**
     * Absolute URIs that name the target, too (RFC 8707), at most 16 of at most
     * 1024 bytes each, compared in their normal form (RFC 3986 section 6.2). Each
     * has to be the name of the audience, or one of the resources that the
     * configuration lists for it. Default: `audience` alone names the target.
     */
    resources: string[];
}
/** The minted token and what is known of it. */
export interface ExchangeTokenResponse {
    /** The minted token. A secret: keep it out of logs. */
    token: string;
    /** The kind of `token`, a URN of RFC 8693 section 3 or of tokenmint. */
    issuedTokenType: string;
    /**
     * How the token is presented (RFC 8693 section 2.2.1): `Bearer`, `DPoP` or
     * `N_A`.
     */
    tokenType: string;
    /** When the token stops being valid. */
    expireTime: Date | undefined;
    /** The scopes granted, a subset of those asked for. */
    scopes: string[];
    /** The `kid` of the signing key, empty for kinds without one. */
    keyId: string;
    /**
     * The token's `jti`, empty for kinds without one. Of a handle it is the
     * `jti` of what it stands for.
     */
    tokenId: string;
    /** The principal that the token is about, its `sub`. */
    subject: string;
}
/** One subject token and the artefacts wanted for it. */
export interface BatchExchangeTokensRequest {
    /** As in ExchangeTokenRequest. Required. */
    subjectToken: string;
    /** As in ExchangeTokenRequest. */
    subjectTokenType: string;
    /** As in ExchangeTokenRequest. */
    actorToken: string;
    /** As in ExchangeTokenRequest. */
    actorTokenType: string;
    /** As in ExchangeTokenRequest. */
    nonce: string;
    /** As in ExchangeTokenRequest. */
    dpopJkt: string;
    /** As in ExchangeTokenRequest. */
    requestId: string;
    /** What to mint, 1 to 16 targets; each counts once for the rate limit. */
    targets: BatchExchangeTarget[];
}
/** One artefact of a batch. */
export interface BatchExchangeTarget {
    /** As in ExchangeTokenRequest. */
    audience: string;
    /** As in ExchangeTokenRequest. */
    scopes: string[];
    /** As in ExchangeTokenRequest. */
    lifetime: Duration | undefined;
    /** As in ExchangeTokenRequest. */
    requestedTokenType: string;
    /** As in ExchangeTokenRequest. */
    resources: string[];
}
/** One result for each target, in the order of the targets. */
export interface BatchExchangeTokensResponse {
    /** The results, as many as there were targets. */
    results: BatchExchangeResult[];
}
/** What became of one target. */
export interface BatchExchangeResult {
    /** A token or the reason why there is none. */
    outcome: //
    /** The minted token. */
    {
        $case: "token";
        value: ExchangeTokenResponse;
    } | //
    /**
     * Why this target was refused, with the same details as a failed
     * ExchangeToken.
     */
    {
        $case: "error";
        value: Status;
    } | undefined;
}
/** An exchange to explain, and for whom. */
export interface ExplainExchangeRequest {
    /** The exchange, with the same limits as ExchangeToken. */
    exchange: ExchangeTokenRequest | undefined;
    /** The client whose exchange is explained. Required, at most 128 characters. */
    clientId: string;
}
/** The steps of an exchange up to the one that ended it. */
export interface ExplainExchangeResponse {
    /** The steps in the order in which they ran. */
    steps: ExplainStep[];
    /** The token that the exchange would mint. Unset where it would be refused. */
    plannedToken: PlannedToken | undefined;
}
/** A token that an exchange would mint. */
export interface PlannedToken {
    /** The format, e.g. `jwt` or `reference`. */
    format: string;
    /** As in ExchangeTokenResponse. */
    issuedTokenType: string;
    /** The principal. */
    subject: string;
    /** The granted scopes. */
    scopes: string[];
    /** The key that would sign it. Empty where the key ring does not. */
    keyId: string;
    /** When it would expire. */
    expireTime: Date | undefined;
    /** For how long it would be valid. */
    lifetime: Duration | undefined;
    /** Its claims, without its id. Whole numbers that no double equals are texts. */
    claims: {
        [key: string]: any;
    } | undefined;
}
/** One check of an exchange. */
export interface ExplainStep {
    /** What was checked, lower case with dots, e.g. `assertion.signature`. */
    name: string;
    /** How the check ended. */
    outcome: ExplainStep_Outcome;
    /** The stable reason of a failed check, as in `ErrorInfo.reason`. */
    reason: string;
    /** What was compared with what, for people. Never a token or a secret. */
    detail: string;
}
/** How a step ended. */
export declare enum ExplainStep_Outcome {
    /** OUTCOME_UNSPECIFIED - Never sent. */
    OUTCOME_UNSPECIFIED = 0,
    /** OUTCOME_PASSED - The check was made and held. */
    OUTCOME_PASSED = 1,
    /** OUTCOME_FAILED - The check was made and did not hold: the exchange ends here. */
    OUTCOME_FAILED = 2,
    /** OUTCOME_SKIPPED - The check does not apply to this exchange. */
    OUTCOME_SKIPPED = 3,
    UNRECOGNIZED = -1
}
/** A token to ask about. */
export interface IntrospectTokenRequest {
    /** The token. Required, at most 64 KiB. */
    token: string;
    /**
     * A hint at the kind of token (RFC 7662 section 2.1), at most 255
     * characters. May be wrong. Default: none.
     */
    tokenTypeHint: string;
}
/** What is known of a token. */
export interface IntrospectTokenResponse {
    /** Whether the token is in force now. */
    active: boolean;
    /**
     * The claims of an active token (RFC 7662 section 2.2), every one of a JWT's,
     * with `act` and `cnf` where it has them, and `token_type`. `exp` of a handle
     * that slides is when it ends without another use. A whole number that a
     * double does not hold, 2^53 + 1, say, is its decimal text: Struct has doubles
     * alone. Empty for an inactive token.
     */
    claims: {
        [key: string]: any;
    } | undefined;
}
/** A token to revoke. */
export interface RevokeTokenRequest {
    /** The token. Required, at most 64 KiB. */
    token: string;
    /**
     * A hint at the kind of token (RFC 7009 section 2.1), at most 255
     * characters. May be wrong. Default: none.
     */
    tokenTypeHint: string;
}
/** Nothing: RFC 7009 tells no more than that the request was understood. */
export interface RevokeTokenResponse {
}
export declare const ExchangeTokenRequest: MessageFns<ExchangeTokenRequest>;
export declare const ExchangeTokenResponse: MessageFns<ExchangeTokenResponse>;
export declare const BatchExchangeTokensRequest: MessageFns<BatchExchangeTokensRequest>;
export declare const BatchExchangeTarget: MessageFns<BatchExchangeTarget>;
export declare const BatchExchangeTokensResponse: MessageFns<BatchExchangeTokensResponse>;
export declare const BatchExchangeResult: MessageFns<BatchExchangeResult>;
export declare const ExplainExchangeRequest: MessageFns<ExplainExchangeRequest>;
export declare const ExplainExchangeResponse: MessageFns<ExplainExchangeResponse>;
export declare const PlannedToken: MessageFns<PlannedToken>;
export declare const ExplainStep: MessageFns<ExplainStep>;
export declare const IntrospectTokenRequest: MessageFns<IntrospectTokenRequest>;
export declare const IntrospectTokenResponse: MessageFns<IntrospectTokenResponse>;
export declare const RevokeTokenRequest: MessageFns<RevokeTokenRequest>;
export declare const RevokeTokenResponse: MessageFns<RevokeTokenResponse>;
/**
 * Turns tokens that somebody else signed into tokens that tokenmint signed
 * (RFC 8693), and answers questions about the tokens it minted.
 *
 * Every method needs an authenticated client: by the metadata keys
 * `tokenmint-client-id` and `tokenmint-client-secret`, by
 * `tokenmint-client-assertion` (RFC 7523) or `tokenmint-workload-token`, or by
 * the certificate of the connection. One credential at a time; two are none.
 * Every failure leaves as a `google.rpc.Status` whose `ErrorInfo` has the
 * domain `tokenmint.dev` and a stable `reason`.
 */
export type TokenExchangeServiceService = typeof TokenExchangeServiceService;
export declare const TokenExchangeServiceService: {
    /**
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     *
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     *
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     *
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     */
    readonly exchangeToken: {
        readonly path: "/tokenmint.v1.TokenExchangeService/ExchangeToken";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ExchangeTokenRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ExchangeTokenRequest;
        readonly responseSerialize: (value: ExchangeTokenResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ExchangeTokenResponse;
    };
    /**
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     *
     * Not idempotent. Fails as ExchangeToken does.
     */
    readonly batchExchangeTokens: {
        readonly path: "/tokenmint.v1.TokenExchangeService/BatchExchangeTokens";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: BatchExchangeTokensRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => BatchExchangeTokensRequest;
        readonly responseSerialize: (value: BatchExchangeTokensResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => BatchExchangeTokensResponse;
    };
    /**
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     *
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     *
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     */
    readonly explainExchange: {
        readonly path: "/tokenmint.v1.TokenExchangeService/ExplainExchange";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ExplainExchangeRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ExplainExchangeRequest;
        readonly responseSerialize: (value: ExplainExchangeResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ExplainExchangeResponse;
    };
    /**
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     *
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     */
    readonly introspectToken: {
        readonly path: "/tokenmint.v1.TokenExchangeService/IntrospectToken";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: IntrospectTokenRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => IntrospectTokenRequest;
        readonly responseSerialize: (value: IntrospectTokenResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => IntrospectTokenResponse;
    };
    /**
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     *
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     */
    readonly revokeToken: {
        readonly path: "/tokenmint.v1.TokenExchangeService/RevokeToken";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: RevokeTokenRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => RevokeTokenRequest;
        readonly responseSerialize: (value: RevokeTokenResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => RevokeTokenResponse;
    };
};
export interface TokenExchangeServiceServer extends UntypedServiceImplementation {
    /**
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     *
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     *
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     *
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     */
    exchangeToken: handleUnaryCall<ExchangeTokenRequest, ExchangeTokenResponse>;
    /**
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     *
     * Not idempotent. Fails as ExchangeToken does.
     */
    batchExchangeTokens: handleUnaryCall<BatchExchangeTokensRequest, BatchExchangeTokensResponse>;
    /**
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     *
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     *
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     */
    explainExchange: handleUnaryCall<ExplainExchangeRequest, ExplainExchangeResponse>;
    /**
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     *
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     */
    introspectToken: handleUnaryCall<IntrospectTokenRequest, IntrospectTokenResponse>;
    /**
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     *
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     */
    revokeToken: handleUnaryCall<RevokeTokenRequest, RevokeTokenResponse>;
}
export interface TokenExchangeServiceClient extends Client {
    /**
     * Proves a subject token, enriches it from the principal's profile and mints
     * one short-lived token for one audience.
     *
     * A token of tokenmint's own is exchanged for one for another audience as an
     * access token, where policy names both audiences: by the client that it was
     * issued to or whose audience it is for, at most four times in a row, within
     * its scopes and not beyond its end. What is bound to a key (`cnf`) stays
     * bound to it, and is exchanged by who has shown that key.
     *
     * Not idempotent: each call mints a token of its own. A call may be retried
     * on UNAVAILABLE, after the delay in `RetryInfo`. A subject or actor token
     * that may be used once is used up by a call that succeeds; see `request_id`.
     *
     * Fails with INVALID_ARGUMENT (`BadRequest` lists every violation),
     * UNAUTHENTICATED (the subject token or the caller was not proved),
     * PERMISSION_DENIED (policy), RESOURCE_EXHAUSTED or UNAVAILABLE.
     */
    exchangeToken(request: ExchangeTokenRequest, callback: (error: ServiceError | null, response: ExchangeTokenResponse) => void): ClientUnaryCall;
    exchangeToken(request: ExchangeTokenRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ExchangeTokenResponse) => void): ClientUnaryCall;
    exchangeToken(request: ExchangeTokenRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ExchangeTokenResponse) => void): ClientUnaryCall;
    /**
     * Proves one subject token once, reads one profile once, and mints a token
     * for each of at most 16 targets. Each result is a token or a status: one
     * refused target does not fail the others. The call itself fails only where
     * the subject token, the caller or the request as a whole is refused.
     *
     * Not idempotent. Fails as ExchangeToken does.
     */
    batchExchangeTokens(request: BatchExchangeTokensRequest, callback: (error: ServiceError | null, response: BatchExchangeTokensResponse) => void): ClientUnaryCall;
    batchExchangeTokens(request: BatchExchangeTokensRequest, metadata: Metadata, callback: (error: ServiceError | null, response: BatchExchangeTokensResponse) => void): ClientUnaryCall;
    batchExchangeTokens(request: BatchExchangeTokensRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: BatchExchangeTokensResponse) => void): ClientUnaryCall;
    /**
     * Reports, step by step, what an exchange would check and how each check
     * would end. Mints nothing, claims no single-use token, fills no cache and
     * never echoes a token or a secret. Served on the operators' listener only,
     * to the security role.
     *
     * Two things differ from the exchange itself: keys that are not at hand are
     * not fetched, and possession of a bound token's key, which only its holder
     * can show, is taken for shown.
     *
     * Idempotent. Fails with INVALID_ARGUMENT, UNAUTHENTICATED,
     * PERMISSION_DENIED or UNAVAILABLE; a refused exchange is an OK answer whose
     * last step says why.
     */
    explainExchange(request: ExplainExchangeRequest, callback: (error: ServiceError | null, response: ExplainExchangeResponse) => void): ClientUnaryCall;
    explainExchange(request: ExplainExchangeRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ExplainExchangeResponse) => void): ClientUnaryCall;
    explainExchange(request: ExplainExchangeRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ExplainExchangeResponse) => void): ClientUnaryCall;
    /**
     * Tells whether a token that tokenmint minted is active, with the meaning of
     * RFC 7662. Only the client that it was issued to, and those that are its
     * audience, learn that it is. An active token's principal and actor are in
     * force too: neither is disabled, nor were their tokens revoked since.
     * Asking about a handle that slides is a use of it: its time begins anew.
     *
     * Idempotent. A token that is unknown, expired, revoked or not the caller's
     * to ask about is an OK answer with `active` false.
     */
    introspectToken(request: IntrospectTokenRequest, callback: (error: ServiceError | null, response: IntrospectTokenResponse) => void): ClientUnaryCall;
    introspectToken(request: IntrospectTokenRequest, metadata: Metadata, callback: (error: ServiceError | null, response: IntrospectTokenResponse) => void): ClientUnaryCall;
    introspectToken(request: IntrospectTokenRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: IntrospectTokenResponse) => void): ClientUnaryCall;
    /**
     * Revokes a token that tokenmint minted, with the meaning of RFC 7009: from
     * then on it, and every token that was exchanged for it, introspects as
     * inactive and is exchanged no more. Offline verifiers accept it until it
     * expires.
     *
     * Idempotent. Revoking an unknown or expired token is an OK answer. Fails
     * with PERMISSION_DENIED (`TOKEN_DENIED`) where the token was issued to
     * another client, and with UNAVAILABLE (`OUTCOME_UNKNOWN`) where the store
     * did not confirm the revocation: retry.
     */
    revokeToken(request: RevokeTokenRequest, callback: (error: ServiceError | null, response: RevokeTokenResponse) => void): ClientUnaryCall;
    revokeToken(request: RevokeTokenRequest, metadata: Metadata, callback: (error: ServiceError | null, response: RevokeTokenResponse) => void): ClientUnaryCall;
    revokeToken(request: RevokeTokenRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: RevokeTokenResponse) => void): ClientUnaryCall;
}
export declare const TokenExchangeServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): TokenExchangeServiceClient;
    service: typeof TokenExchangeServiceService;
    serviceName: string;
};
type Builtin = Date | Function | Uint8Array | string | number | boolean | bigint | undefined;
export type DeepPartial<T> = T extends bigint ? string | number | bigint : T extends Builtin ? T : T extends globalThis.Array<infer U> ? globalThis.Array<DeepPartial<U>> : T extends ReadonlyArray<infer U> ? ReadonlyArray<DeepPartial<U>> : T extends {
    $case: string;
    value: unknown;
} ? {
    $case: T["$case"];
    value?: DeepPartial<T["value"]>;
} : T extends {} ? {
    [K in keyof T]?: DeepPartial<T[K]>;
} : Partial<T>;
export interface MessageFns<T> {
    encode(message: T, writer?: BinaryWriter): BinaryWriter;
    decode(input: BinaryReader | Uint8Array, length?: number): T;
    create(base?: DeepPartial<T>): T;
    fromPartial(object: DeepPartial<T>): T;
}
export {};

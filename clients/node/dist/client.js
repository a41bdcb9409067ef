import { randomUUID } from "node:crypto";
import { credentials, Metadata } from "@grpc/grpc-js";
import { fromServiceError, fromStatus } from "./errors.js";
import { TokenExchangeServiceClient, } from "./v1/tokenmint/v1/token_exchange_service.js";
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
/** Exchanges tokens. Close it in the end. */
export class Client {
    #service;
    #credential;
    #plaintext;
    #timeout;
    /** @throws RangeError where plaintext is asked for beyond loopback. */
    constructor(options) {
        const { target, credential, certificate = credential.certificate, plaintext = false } = options;
        if (plaintext && !LOOPBACK.test(target)) {
            throw new RangeError(`plaintext is for loopback only, and ${target} is not: secrets would travel in clear`);
        }
        this.#credential = credential;
        this.#plaintext = plaintext;
        this.#timeout = options.timeout ?? DEFAULT_TIMEOUT;
        const own = credentials.createFromMetadataGenerator((_, done) => {
            this.#metadata().then((metadata) => { done(null, metadata); }, (error) => { done(error instanceof Error ? error : new Error("no credential")); });
        });
        const channel = plaintext
            ? credentials.createInsecure()
            : credentials.combineChannelCredentials(credentials.createSsl(pem(options.ca), pem(certificate?.key), pem(certificate?.cert)), own);
        this.#service = new TokenExchangeServiceClient(target, channel, {
            "grpc.service_config": SERVICE_CONFIG,
            "grpc.enable_retries": 1,
            ...options.channelOptions,
        });
    }
    /**
     * Exchanges a subject token for one token for an audience. Nothing is cached.
     *
     * @throws TokenmintError, see its subclasses.
     */
    async exchange(subjectToken, audience, options = {}) {
        const request = {
            subjectToken,
            subjectTokenType: options.subjectTokenType ?? "",
            audience,
            scopes: [...(options.scopes ?? [])],
            lifetime: duration(options.lifetime),
            requestedTokenType: options.requestedTokenType ?? "",
            actorToken: "",
            actorTokenType: "",
            nonce: options.nonce ?? "",
            dpopJkt: "",
            resources: [],
            requestId: randomUUID(), // makes gRPC's retries safe where the subject token may be used once
        };
        const answer = await this.#call(options.timeout, (metadata, call, done) => this.#service.exchangeToken(request, metadata, call, done));
        return tokenOf(answer);
    }
    /**
     * Exchanges a subject token for one token for each of at most 16 targets, in their order. A refused target does not
     * fail the others.
     *
     * @throws TokenmintError where the subject token, the client or the whole request was refused.
     */
    async exchangeBatch(subjectToken, targets, options = {}) {
        const request = {
            subjectToken,
            subjectTokenType: options.subjectTokenType ?? "",
            actorToken: "",
            actorTokenType: "",
            nonce: options.nonce ?? "",
            dpopJkt: "",
            requestId: randomUUID(),
            targets: targets.map((target) => ({
                audience: target.audience,
                scopes: [...(target.scopes ?? [])],
                lifetime: duration(target.lifetime),
                requestedTokenType: "",
                resources: [],
            })),
        };
        const answer = await this.#call(options.timeout, (metadata, call, done) => this.#service.batchExchangeTokens(request, metadata, call, done));
        return answer.results.map(({ outcome }) => {
            if (outcome?.$case === "token")
                return { token: tokenOf(outcome.value) };
            return { error: fromStatus(outcome?.value ?? { code: 13, message: "an empty result", details: [] }) };
        });
    }
    /** Closes the connection. */
    close() {
        this.#service.close();
    }
    async #metadata() {
        const metadata = new Metadata();
        for (const [key, value] of Object.entries(await this.#credential.metadata()))
            metadata.set(key, value);
        return metadata;
    }
    async #call(timeout, start) {
        const deadline = Date.now() + (timeout ?? this.#timeout) * 1000;
        const metadata = this.#plaintext ? await this.#metadata() : new Metadata(); // over TLS the channel adds it
        return await new Promise((resolve, reject) => {
            start(metadata, { deadline }, (error, answer) => {
                if (error === null)
                    resolve(answer);
                else
                    reject(fromServiceError(error));
            });
        });
    }
}
function tokenOf(answer) {
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
function duration(seconds) {
    if (seconds === undefined)
        return undefined;
    const whole = Math.floor(seconds);
    return { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * 1e9) };
}
function pem(text) {
    return text === undefined ? null : Buffer.from(text);
}

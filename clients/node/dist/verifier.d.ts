import { type JWTPayload } from "jose";
/** What a verified token says. Only a verifier makes one. */
export interface VerifiedToken {
    readonly subject: string;
    /** Who asked for it, or `""`. */
    readonly clientId: string;
    readonly scopes: ReadonlySet<string>;
    /** Unix seconds. */
    readonly expiresAt: number;
    /** All of its claims. */
    readonly claims: Readonly<JWTPayload>;
}
export interface VerifierOptions {
    /** Tokenmint's issuer, exactly as it is configured. */
    readonly issuer: string;
    /** This service's audience, exactly as it is configured. */
    readonly audience: string;
    /** What tokens may be signed with; asymmetric ones only. Default: ES256. */
    readonly algorithms?: readonly string[];
    /** The `typ` that a token's header has to have. Default: `at+jwt` (RFC 9068 section 2.1). */
    readonly tokenType?: string;
    /** Where the keys are. Default: below the issuer. */
    readonly jwksUrl?: string;
    /** Seconds that the clocks may differ. Default: 30. */
    readonly leeway?: number;
    /** Returns Unix seconds. */
    readonly clock?: () => number;
}
/** Verifies tokens for one audience, offline: it fetches the key set when that is due. */
export declare class Verifier {
    #private;
    /** @throws RangeError where issuer or audience is missing, an algorithm is not asymmetric, or the key set has no TLS. */
    constructor(options: VerifierOptions);
    /**
     * Returns what a token says.
     *
     * @throws TokenRejected where it is not good, KeySetUnavailable where the keys can't be fetched.
     */
    verify(token: string): Promise<VerifiedToken>;
}

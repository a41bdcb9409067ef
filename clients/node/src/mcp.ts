import { TokenRejected } from "./errors.js";
import type { Verifier } from "./verifier.js";

/** What the SDK for the Model Context Protocol knows of a token: its `AuthInfo`. */
export interface McpAuthInfo {
  token: string;
  clientId: string;
  scopes: string[];
  /** Unix seconds. */
  expiresAt: number;
  resource?: URL;
  /** `subject`, `actor` and all `claims`. */
  extra: Record<string, unknown>;
}

/**
 * Returns a token verifier for `requireBearerAuth` of the SDK for the Model Context Protocol, its `OAuthTokenVerifier`.
 * `InvalidTokenError` is the SDK's error of this name: this package does not depend on the SDK.
 *
 * The SDK hands on the token alone, without the request. So a token that is bound to a key is refused: put `requireToken` with
 * a `ProtectedResource` in front of the server instead, to check proofs.
 */
export function mcpTokenVerifier(
  verifier: Verifier,
  InvalidTokenError: new (message: string) => Error,
  options: { /** The SDK's `expectedResource`. Default: the audience. */ readonly resource?: string } = {},
): { verifyAccessToken(token: string): Promise<McpAuthInfo> } {
  const { resource = verifier.audience } = options;
  return {
    async verifyAccessToken(token) {
      try {
        const verified = await verifier.verify(token);
        return {
          token,
          clientId: verified.clientId || verified.subject,
          scopes: [...verified.scopes],
          expiresAt: verified.expiresAt,
          ...(URL.canParse(resource) && { resource: new URL(resource) }),
          extra: { subject: verified.subject, actor: verified.actor, claims: verified.claims },
        };
      } catch (error) {
        if (error instanceof TokenRejected) throw new InvalidTokenError(error.message);
        throw error; // the SDK answers with 500, and not with 401, upon which clients would let their user sign in again
      }
    },
  };
}

// Verifies tokens with npm's jose as a service would. Reads {token, jwks, issuer, audience} from each line of standard
// input, writes {"ok": true, "claims": ...} or {"ok": false, "code": ...} for each.
import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

for await (const line of createInterface({ input: process.stdin })) {
  const { token, jwks, issuer, audience } = JSON.parse(line);
  const keys = createRemoteJWKSet(new URL(jwks));
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ["ES256", "RS256"] });
    process.stdout.write(`${JSON.stringify({ ok: true, claims: payload })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ ok: false, code: error.code })}\n`);
  }
}

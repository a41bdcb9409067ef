// An issuer with three keys, of which two are published until the second is revoked.
import { createServer } from "node:http";
import { once } from "node:events";
import { createHash, randomUUID } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from "jose";
import { RevocationsUnavailable } from "../dist/index.js";

export const ISSUER = "https://tokens.example";
export const AUDIENCE = "https://orders.example";
const CLAIMS = {
  "wrong audience": { aud: "https://others.example" },
  "wrong issuer": { iss: "https://others.example" },
  "missing scope": { scope: "write" },
};
const pairs = Object.fromEntries(
  await Promise.all(["k1", "revoked key", "unknown key"].map(async (kid) => [kid, await generateKeyPair("ES256")])),
);

/** Serves until the test ends, and returns the address. */
export async function serve(test, listener) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

export class Issuer {
  revoked = false;
  away = false;
  later = 0; // seconds

  clock = () => Date.now() / 1000 + this.later;

  listener = async (_, response) => {
    const names = this.revoked ? ["k1"] : ["k1", "revoked key"];
    const keys = await Promise.all(
      names.map(async (kid) => ({ ...(await exportJWK(pairs[kid].publicKey)), kid, alg: "ES256", use: "sig" })),
    );
    response.writeHead(this.away ? 503 : 200, { "Cache-Control": "max-age=60" }).end(JSON.stringify({ keys }));
  };
}

/** Returns a token of a kind that tests/clients/bearer.json names, with further claims. */
export async function token(kind = "good", more = {}) {
  if (kind === "malformed") return "not-a-token";
  const kid = kind in pairs ? kind : "k1";
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: ISSUER, aud: AUDIENCE, sub: "ada", scope: "read", iat: now, exp: now + (kind === "expired" ? -60 : 600) };
  return await new SignJWT({ ...claims, ...CLAIMS[kind], ...more })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid })
    .sign(pairs[kid].privateKey);
}

const client = await generateKeyPair("ES256");
const clientJwk = await exportJWK(client.publicKey);
/** The thumbprint of the client's key. */
export const THUMBPRINT = calculateJwkThumbprint(clientJwk);

/** Returns a DPoP proof of the client's key (RFC 9449). */
export async function proof(htm, htu, sent) {
  const ath = createHash("sha256").update(sent).digest("base64url");
  return await new SignJWT({ htm, htu, ath, jti: randomUUID(), iat: Math.floor(Date.now() / 1000) })
    .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk: clientJwk })
    .sign(client.privateKey);
}

/** Returns the revocations of a case of bearer.json, if it has some. */
export function revocationsOf(one) {
  return one.revocations === "unavailable" ? revocationsAway() : undefined;
}

/** Revocations whose stream never opens; those of the package would wait 5 s for it. */
export function revocationsAway() {
  return {
    start: async () => {},
    check: () => { throw new RevocationsUnavailable("the stream of revocations is away"); },
  };
}

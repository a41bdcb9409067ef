// How hooks present tokens, to a real service over HTTP: the type of a token decides the scheme (RFC 9449).
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import { DpopKey, ProtectedResource, tokenFetch, TokenSource, Verifier } from "../dist/index.js";
import { requireToken } from "../dist/express.js";
import { tokenInterceptor } from "../dist/grpc.js";
import { AUDIENCE, ISSUER, Issuer, serve, token } from "./issuer.mjs";

/** A source of tokens that are bound where that is asked for, of the type that the test says. */
function minting(tokenType) {
  return new TokenSource({
    async exchange(_, __, { dpopThumbprint: jkt } = {}) {
      const value = await token("good", jkt === undefined ? {} : { cnf: { jkt } });
      const expiresAt = Date.now() / 1000 + 600;
      return { value, tokenType: tokenType ?? (jkt === undefined ? "Bearer" : "DPoP"), expiresAt, scopes: [] };
    },
  });
}

/** Serves an API that takes tokens with proofs, which need its nonce. */
async function served(t, { nonces = true } = {}) {
  const jwksUrl = await serve(t, new Issuer().listener);
  const seen = [];
  const api = {};
  const base = await serve(t, (request, response) => {
    seen.push({ scheme: (request.headers.authorization ?? "").split(" ")[0], proof: request.headers.dpop });
    if (request.url.startsWith("/away")) return response.writeHead(307, { Location: request.url.slice(5) }).end();
    api.protect(request, response, async () => {
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end(`${request.auth.subject} ${body}`);
    });
  });
  const nonceKey = nonces ? { nonceKey: new Uint8Array(32) } : {};
  const resource = new ProtectedResource({ resource: base, authorizationServers: [ISSUER], ...nonceKey });
  api.protect = requireToken(new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl }), { resource });
  return { base, seen };
}

const order = { method: "POST", body: "order" };

test("RFC 9449 section 7.1: a bound token has its scheme and a proof, and the service's nonce in it", async (t) => {
  const { base, seen } = await served(t);
  const call = tokenFetch(minting(), "subject", AUDIENCE, { dpop: new DpopKey() });
  for (const path of ["/a?b=1#c", "/a%2Fb"]) assert.equal(await (await call(base + path, order)).text(), "ada order");
  assert.deepEqual(seen.map(({ scheme }) => scheme), ["DPoP", "DPoP", "DPoP"]); // the first without the nonce
  assert.equal(new Set(seen.map(({ proof }) => proof)).size, 3);
});

test("a bearer token has no proof", async (t) => {
  const { base, seen } = await served(t);
  assert.equal(await (await tokenFetch(minting(), "subject", AUDIENCE)(base, order)).text(), "ada order");
  assert.deepEqual(seen, [{ scheme: "Bearer", proof: undefined }]);
});

for (const [type, dpop] of [["DPoP"], ["N_A"], ["N_A", new DpopKey()]]) {
  test(`a token that can't be presented is not sent: ${type}${dpop ? ", with a key" : ""}`, async (t) => {
    const { base, seen } = await served(t);
    const fault = { name: "RangeError", message: `a token for ${AUDIENCE} is presented as ${type}, not as Bearer` };
    await assert.rejects(tokenFetch(minting(type), "subject", AUDIENCE, dpop && { dpop })(base), fault);
    assert.deepEqual(seen, []);
    const client = new GrpcClient("127.0.0.1:9", credentials.createInsecure(), {
      interceptors: [tokenInterceptor(minting(type), "subject", AUDIENCE)],
    });
    t.after(() => client.close());
    const pass = (value) => value;
    const call = new Promise((_, reject) => client.makeUnaryRequest("/a.B/C", pass, pass, Buffer.of(), reject));
    await assert.rejects(call, (error) => error.details === fault.message);
  });
}

test("a body that can be read once is not sent twice", async (t) => {
  const { base, seen } = await served(t);
  const call = tokenFetch(minting(), "subject", AUDIENCE, { dpop: new DpopKey() });
  const body = new Blob(["order"]).stream();
  assert.equal((await call(base, { method: "POST", body, duplex: "half" })).status, 401);
  assert.equal(seen.length, 1);
  assert.equal((await call(base, order)).status, 200); // the nonce was noted
  assert.equal(seen.length, 2);
});

test("a service that a redirect leads to gets no token, also where it wants a nonce", async (t) => {
  const [first, other] = [await served(t), await served(t)];
  const call = tokenFetch(minting(), "subject", AUDIENCE, { dpop: new DpopKey() });
  assert.equal((await call(`${first.base}/away${other.base}/`, order)).status, 401);
  assert.equal(first.seen[0].scheme, "DPoP");
  assert.deepEqual(other.seen.map(({ scheme }) => scheme), [""]);
});

test("a key is for P-256, does not print, and keeps few nonces", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  assert.equal(new DpopKey(privateKey).thumbprint, new DpopKey(privateKey).thumbprint);
  assert.throws(() => new DpopKey(generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey), RangeError);
  assert.throws(() => new DpopKey(generateKeyPairSync("ed25519").privateKey), RangeError);
  const key = new DpopKey();
  assert.doesNotMatch(inspect(key, { depth: 9 }), /PrivateKey|nonce/i);
  const answer = (nonce) => ({
    status: 401, headers: new Headers({ "DPoP-Nonce": nonce, "WWW-Authenticate": 'DPoP error="use_dpop_nonce"' }),
  });
  for (let number = 0; number < 105; number++) assert.ok(key.hasToRepeat(`https://h${number}.example/`, answer("n")));
  assert.ok(!key.hasToRepeat("https://h104.example/a", answer("n"))); // it was in the proof
  assert.ok(key.hasToRepeat("https://h0.example/", answer("n"))); // made room
  assert.ok(!key.hasToRepeat("https://long.example/", answer("n".repeat(1025))));
});

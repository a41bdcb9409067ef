// A protected resource: its options, the memory of used proofs, and certificates over real TLS (RFC 9728, RFC 9449, RFC 8705).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { requireToken, tokenOf } from "../dist/express.js";
import { ProtectedResource, ReplayMemoryFull, TokenRejected, Verifier } from "../dist/index.js";
import { AUDIENCE, ISSUER, Issuer, proof, serve, THUMBPRINT, token } from "./issuer.mjs";

const authorizationServers = ["https://login.example"];

const PATHS = {
  "https://api.example": "/.well-known/oauth-protected-resource",
  "https://api.example/": "/.well-known/oauth-protected-resource",
  "https://api.example/mcp": "/.well-known/oauth-protected-resource/mcp",
  "https://api.example/a/b/": "/.well-known/oauth-protected-resource/a/b/",
  "http://127.0.0.1:8000/mcp": "/.well-known/oauth-protected-resource/mcp",
};

for (const [resource, path] of Object.entries(PATHS)) {
  test(`RFC 9728 section 3.1: the path goes behind the well-known one: ${resource}`, () => {
    const made = new ProtectedResource({ resource, authorizationServers });
    assert.equal(made.metadataPath, path);
    assert.equal(made.metadataUrl, new URL(resource).origin + path);
  });
}

const NO_RESOURCES = ["http://api.example", "https://api.example/?a", "https://api.example/#a", "https://u@api.example", "api", ""];

test("RFC 9728 section 1.2: a resource is an https URL without query and fragment", () => {
  for (const resource of [...NO_RESOURCES, "http://127.0.0.1.example/"]) {
    assert.throws(() => new ProtectedResource({ resource, authorizationServers }), /resource: /, resource);
  }
});

test("options that do not fit are refused, and the key of the nonces is not printed", () => {
  const resource = "https://api.example";
  const refused = (options) => assert.throws(() => new ProtectedResource({ resource, authorizationServers, ...options }), RangeError);
  for (const one of [{ authorizationServers: [] }, { dpop: false, requireDpop: true }, { replayMemory: 0 }, { nonceKey: Buffer.from("short") }]) {
    refused(one);
  }
  const made = new ProtectedResource({ resource, authorizationServers, nonceKey: Buffer.from("hunter2".repeat(8)) });
  assert.ok(!`${inspect(made)}${JSON.stringify(made)}`.includes("hunter2"));
});

test("RFC 9449 section 11.1: a full memory refuses, and forgets nothing that could be replayed", async () => {
  const resource = new ProtectedResource({ resource: "https://api.example", authorizationServers, replayMemory: 1 });
  const now = Date.now() / 1000;
  const bound = { confirmation: { jkt: await THUMBPRINT } };
  const check = async (made, at) => {
    const sent = { isDpop: true, method: "GET", path: "/", proofs: [made] };
    await resource.possession(sent).check("sent", bound, at);
  };
  const first = await proof("GET", "https://api.example/", "sent");
  const second = await proof("GET", "https://api.example/", "sent");
  await check(first, now);
  await assert.rejects(check(second, now), ReplayMemoryFull);
  await assert.rejects(check(first, now), (error) => error instanceof TokenRejected && /used before/.test(error.message));
});

/** Makes a certificate that signs itself. */
function certificate(directory, name) {
  const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

test("RFC 8705 section 3: a token is bound to the certificate of the connection", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "tokenmint-"));
  t.after(() => { rmSync(directory, { recursive: true }); });
  const [own, client, other] = ["service", "client", "other"].map((name) => certificate(directory, name));
  const jwksUrl = await serve(t, new Issuer().listener);
  const resource = new ProtectedResource({ resource: "https://api.example", authorizationServers, certificates: true });
  const middleware = requireToken(new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl }), { resource });
  const server = createServer({ ...own, requestCert: true, rejectUnauthorized: false }, (asked, response) => {
    middleware(asked, response, () => response.end(tokenOf(asked).subject));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => { server.closeAllConnections(); server.close(); });
  const hash = createHash("sha256").update(new X509Certificate(client.cert).raw).digest("base64url");
  const sent = await token("good", { cnf: { "x5t#S256": hash } });
  const status = async (pair) => {
    const headers = { Authorization: `Bearer ${sent}` };
    const asked = request({ ...pair, host: "127.0.0.1", port: server.address().port, ca: own.cert, headers, agent: false });
    const [answer] = await once(asked.end(), "response");
    answer.resume();
    return answer.statusCode;
  };
  assert.equal(await status(client), 200);
  assert.equal(await status(other), 401);
  assert.equal(await status({}), 401);
});

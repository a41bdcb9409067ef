// A verifier without keys names the address and the cause.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { KeySetUnavailable, Verifier } from "../dist/index.js";
import { AUDIENCE, ISSUER, serve, token } from "./issuer.mjs";

const answering = (status, body) => (t) =>
  serve(t, (_, response) => response.writeHead(status, { Location: "https://elsewhere.example" }).end(body));

async function refused() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${port}`;
}

const CAUSES = {
  DNS: [() => "https://tokens.invalid", /the host name can't be resolved \(DNS\)/], // RFC 6761
  refused: [refused, /the connection was refused/],
  TLS: [async (t) => (await answering(200, "")(t)).replace("http:", "https:"), /TLS failed: /],
  status: [answering(404, "no"), /the answer has status 404/],
  redirect: [answering(302, ""), /the answer has status 302/],
  "not JSON": [answering(200, "<html>"), /the answer is not JSON/],
  "no set": [answering(200, "[]"), /the answer is not a JSON Web Key Set \(RFC 7517\)/],
  "no key": [answering(200, '{"keys": []}'), /the answer holds no usable key/],
  "too long": [answering(200, `${" ".repeat(1 << 20)}{}`), /longer than 1048576 bytes/],
};

const unavailable = async (jwksUrl) => {
  const verifier = new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl });
  let caught;
  await assert.rejects(async () => verifier.verify(await token()), (error) => {
    caught = error;
    return error instanceof KeySetUnavailable;
  });
  return caught.message;
};

for (const [name, [make, cause]] of Object.entries(CAUSES)) {
  test(`the error names the address and the cause: ${name}`, async (t) => {
    const jwksUrl = `${await make(t)}/jwks.json`;
    const message = await unavailable(jwksUrl);
    assert.ok(message.startsWith(`the key set at ${jwksUrl} can't be fetched: `), message);
    assert.match(message, cause);
  });
}

test("the address is named without the secrets in it", async (t) => {
  const address = (await answering(404, "")(t)).replace("http://", "http://user:hunter2@");
  const message = await unavailable(`${address}/?key=hunter2#hunter2`);
  assert.ok(!message.includes("hunter2") && message.includes("status 404"), message);
});

for (const jwksUrl of ["http://tokens.example/jwks", "http://127.0.0.1.example/", "ftp://a.example/", "jwks", ""]) {
  test(`no key set is fetched without TLS beyond loopback: ${jwksUrl}`, () => {
    assert.throws(() => new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl }), /key set/);
  });
}

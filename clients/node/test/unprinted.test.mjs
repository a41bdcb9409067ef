// No value of the client shows a secret where it is printed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client, clientCertificate, clientSecret, MemoryStore, SessionStore, TokenSource } from "../dist/index.js";

const SECRET = "hunter2";
const minted = { value: SECRET, expiresAt: 4e9, subject: "ada", scopes: [], tokenId: "id", keyId: "k", tokenType: "Bearer" };
const client = () => new Client({ target: "127.0.0.1:9", credential: clientSecret("web", SECRET), plaintext: true });
const source = (store) => new TokenSource({ exchange: () => Promise.resolve(minted) }, store === undefined ? {} : { store });

const VALUES = {
  "a new token": () => source().get(SECRET, "a"),
  "a kept token": async () => {
    const kept = source();
    await kept.get(SECRET, "a");
    return await kept.get(SECRET, "a");
  },
  "a secret": () => clientSecret("web", SECRET),
  "a certificate": () => clientCertificate({ cert: "c", key: SECRET }),
  "a client": client,
  "a source": () => new TokenSource(client()),
  "a memory store": () => new MemoryStore(),
};

for (const [name, make] of Object.entries(VALUES)) {
  test(`${name} is printed without its secret`, async () => {
    const value = await make();
    for (const text of [inspect(value), inspect({ value }, { depth: 9 }), JSON.stringify(value), JSON.stringify([value]), String(value)]) {
      assert.ok(!String(text).includes(SECRET), text);
    }
  });
}

test("a session keeps the token whole, also as JSON", async () => {
  const session = {};
  await source(new SessionStore(session)).get("subject", "a");
  const restored = new SessionStore(JSON.parse(JSON.stringify(session)));
  const found = await new TokenSource({ exchange: () => Promise.reject(new Error("not asked")) }, { store: restored }).get("subject", "a");
  assert.equal(found.value, SECRET);
  assert.equal(clientCertificate({ cert: "c", key: SECRET }).certificate.key, SECRET);
});

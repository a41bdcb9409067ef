// The key of a token in the cache is the same in every language.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client, clientSecret, TokenSource, TXN_TOKEN_TYPE } from "../dist/index.js";
import { keyOf } from "../dist/source.js";

const ROWS = JSON.parse(readFileSync(new URL("../../../tests/clients/cache_keys.json", import.meta.url), "utf8"));
const NAMES = {
  resources: "resources",
  scopes: "scopes",
  lifetime: "lifetime",
  nonce: "nonce",
  subject_token_type: "subjectTokenType",
  requested_token_type: "requestedTokenType",
  actor_token: "actorToken",
  actor_token_type: "actorTokenType",
  dpop_jkt: "dpopThumbprint",
};

for (const { case: name, request, key } of ROWS) {
  test(`the key of a token: ${name}`, () => {
    const { subject_token: subject, audience, ...rest } = request;
    const options = Object.fromEntries(Object.entries(rest).map(([field, value]) => [NAMES[field], value]));
    assert.equal(keyOf(subject, audience, options), `${key.subject}.${key.target}`);
  });
}

test("each call gets a transaction token of its own", async () => {
  let exchanges = 0;
  const exchange = async () => ({ value: "x", expiresAt: 600, tokenId: String(++exchanges) });
  const store = { get: () => assert.fail("looked up"), put: () => assert.fail("kept"), forget: () => undefined };
  const source = new TokenSource({ exchange }, { store, clock: () => 0 });
  const requests = [{ requestContext: { req_ip: "192.0.2.7" } }, { requestDetails: {} }, { requestedTokenType: TXN_TOKEN_TYPE }];
  const got = await Promise.all([...requests, ...requests].map((request) => source.get("s", "a", request)));
  assert.deepEqual(got.map((token) => token.tokenId), ["1", "2", "3", "4", "5", "6"]);
});

test("a context that JSON can't hold is refused before the call", async () => {
  const client = new Client({ target: "127.0.0.1:9", credential: clientSecret("web", "x"), plaintext: true });
  await assert.rejects(client.exchange("s", "a", { requestContext: { load: NaN } }), RangeError);
  await assert.rejects(client.exchange("s", "a", { requestDetails: { order: 1n } }), TypeError);
  client.close();
});

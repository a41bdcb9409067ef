// The key of a token in the cache is the same in every language.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
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

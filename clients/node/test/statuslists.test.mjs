// Status lists: the draft's examples, each fault of a list, and how long one is kept.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { StatusLists, Verifier } from "../dist/index.js";
import { placeOf, statusAt, statusesOf } from "../dist/statuslists.js";
import { AUDIENCE, serve } from "./issuer.mjs";

process.on("warning", () => {}); // each failed fetch is one
const VECTORS = JSON.parse(readFileSync(new URL("../../../tests/clients/status_list_vectors.json", import.meta.url), "utf8"));
const { publicKey, privateKey } = await generateKeyPair("ES256");
const JWKS = { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256", use: "sig" }] };
const lst = (...statuses) => deflateSync(Buffer.from(statuses)).toString("base64url");
const sign = (claims, header) => new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: "k", ...header }).sign(privateKey);

/** An issuer that publishes one list, in which token 1 is revoked. */
class Publisher {
  status = 200;
  etag = '"1"';
  asked = 0;
  matched = 0;
  later = 0;
  body;
  header = { typ: "statuslist+jwt" };

  static async begin(at, options) {
    const one = new Publisher();
    one.url = await serve(at, async (request, response) => {
      if (!request.url.startsWith("/status-lists/")) return response.end(JSON.stringify(JWKS));
      one.asked++;
      response.setHeader("ETag", one.etag).setHeader("Location", "/elsewhere");
      if (request.headers["if-none-match"] === one.etag && one.status === 200) {
        one.matched++;
        return response.writeHead(304).end();
      }
      return response.writeHead(one.status).end(one.body ?? (await sign(one.claims, one.header)));
    });
    one.now = Math.floor(Date.now() / 1000);
    one.uri = `${one.url}/status-lists/AAAAAAAAAAAAAAAAAAAAAA`;
    const list = { bits: 1, lst: lst(2) };
    one.claims = { iss: one.url, sub: one.uri, iat: one.now, exp: one.now + 300, ttl: 60, status_list: list };
    const clock = () => one.now + one.later;
    one.verifier = new Verifier({ issuer: one.url, audience: AUDIENCE, clock, revocations: new StatusLists(options) });
    return one;
  }

  async reason(idx, status = { status_list: { idx, uri: this.uri } }) {
    const claims = { iss: this.url, aud: AUDIENCE, sub: "ada", iat: this.now, exp: this.now + 1200, status };
    try {
      await this.verifier.verify(await sign(claims, { typ: "at+jwt" }));
      return "";
    } catch (error) {
      return error.reason;
    }
  }
}

for (const { name, bits, lst: packed, size, statuses } of VECTORS.vectors) {
  test(name, () => {
    const list = statusesOf({ bits, lst: packed });
    for (let index = 0; index < size; index++) assert.equal(statusAt(list, index), statuses[index] ?? 0);
    assert.equal(statusAt(list, size), undefined);
  });
}

test("section 6.2: a place that is none", async (at) => {
  const one = await Publisher.begin(at);
  const place = (idx, uri) => ({ status_list: { idx, uri } });
  for (const status of [
    null, "x", {}, { status_list: [] }, { status_list: null }, place(-1, one.uri), place(0.5, one.uri),
    place("0", one.uri), place(0), place(0, "https://other.example/status-lists/a"), place(0, `${one.uri}?a`),
    place(0, `${one.url}.evil.example/status-lists/a`), place(0, `${one.uri}/../x`), place(0, `${one.url}/status-lists/`),
  ]) {
    assert.equal(await one.reason(0, status), "CLAIM_REJECTED", JSON.stringify(status));
  }
  assert.equal(one.asked, 0);
  assert.deepEqual(placeOf({ status: place(3, one.uri) }, `${one.url}/`), { uri: one.uri, index: 3 });
});

test("section 7: every status but 0 is refused, and so is an index that is out of bounds", async (at) => {
  const one = await Publisher.begin(at);
  assert.deepEqual([await one.reason(0), await one.reason(1), await one.reason(8)], ["", "REVOKED", "CLAIM_REJECTED"]);
  const two = await Publisher.begin(at);
  two.claims.status_list = { bits: 2, lst: lst(2 << 2) };
  assert.deepEqual([await two.reason(0), await two.reason(1)], ["", "REVOKED"]);
});

const FAULTS = {
  "another list": (one) => (one.claims.sub += "B"),
  "another issuer": (one) => (one.claims.iss = "https://other.example"),
  "no iat": (one) => delete one.claims.iat,
  "no exp": (one) => delete one.claims.exp,
  "no list": (one) => delete one.claims.status_list,
  expired: (one) => (one.claims.exp = one.now),
  "of the future": (one) => (one.claims.iat = one.now + 31),
  "a ttl of nothing": (one) => (one.claims.ttl = 0),
  "a ttl that is a text": (one) => (one.claims.ttl = "60"),
  "three bits": (one) => (one.claims.status_list.bits = 3),
  "no base64url": (one) => (one.claims.status_list.lst = "!!!!"),
  "no ZLIB": (one) => (one.claims.status_list.lst = "AAAA"),
  "cut off": (one) => (one.claims.status_list.lst = lst(2).slice(0, 8)),
  "a bomb": (one) => (one.claims.status_list.lst = deflateSync(Buffer.alloc(1024 * 1024 + 1)).toString("base64url")),
  "another typ": (one) => (one.header.typ = "at+jwt"),
  "unknown key": (one) => (one.header.kid = "other"),
  "no JWT": (one) => (one.body = "<html>"),
  "too long": (one) => (one.body = "a".repeat(1024 * 1024 + 1)),
  "not found": (one) => (one.status = 404),
  "an error": (one) => (one.status = 503),
  "a redirect": (one) => (one.status = 302),
  unchanged: (one) => (one.status = 304),
};
for (const [name, spoil] of Object.entries(FAULTS)) {
  test(`section 8.3: a list that is not good: ${name}`, async (at) => {
    const closed = await Publisher.begin(at);
    spoil(closed);
    for (let turn = 0; turn < 3; turn++) assert.equal(await closed.reason(0), "STATUS_LIST_UNAVAILABLE");
    assert.equal(closed.asked, 1);
    const open = await Publisher.begin(at, { whenUnavailable: "accept" });
    spoil(open);
    assert.equal(await open.reason(0), "");
  });
}

test("section 13.7: a list is kept for its ttl, asked for by its tag, and serves until it expires", async (at) => {
  const one = await Publisher.begin(at);
  const step = async (later, idx, expected, asked) => {
    one.later = later;
    const reason = await one.reason(idx);
    const limit = Date.now() + 5000;
    while (one.asked < asked && Date.now() < limit) await new Promise((next) => setTimeout(next, 1));
    await new Promise((next) => setTimeout(next, 20)); // a list that serves is fetched beside
    assert.deepEqual([reason, one.asked], [expected, asked], `after ${later} s`);
  };
  await step(0, 0, "", 1);
  await step(59, 1, "REVOKED", 1);
  await step(61, 0, "", 2);
  assert.equal(one.matched, 1);
  one.etag = '"2"';
  one.claims = { ...one.claims, iat: one.now - 15, status_list: { bits: 1, lst: lst(0) } }; // a replica that is behind
  await step(122, 1, "REVOKED", 3);
  one.status = 503;
  await step(290, 1, "REVOKED", 4);
  await step(301, 0, "STATUS_LIST_UNAVAILABLE", 5);
  one.status = 200;
  one.claims = { ...one.claims, iat: one.now + 310, exp: one.now + 600, status_list: { bits: 1, lst: lst(1) } };
  await step(312, 0, "REVOKED", 6);
});

test("many that wait cause one request", async (at) => {
  const one = await Publisher.begin(at);
  const reasons = await Promise.all(Array.from({ length: 20 }, () => one.reason(0)));
  assert.deepEqual(new Set(reasons), new Set([""]));
  assert.equal(one.asked, 1);
});

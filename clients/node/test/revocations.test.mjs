// The set of revocations: what it refuses, how old it may be, how it begins anew.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { Client, publicClient, Revocations, RevocationsUnavailable, TokenRejected } from "../dist/index.js";
import { digestOf } from "../dist/revocations.js";
import { RevocationServiceService } from "../dist/v1/tokenmint/v1/revocation_service.js";

const AUDIENCE = "https://orders.example";
const CLAIMS = {
  jti: "t3", sub: "ada", client_id: "web", aud: AUDIENCE, iat: 1000.5, tm_lineage: ["t1", 7, "t2"],
  act: { sub: "helper", act: { sub: "other", iss: "https://idp.example", act: { sub: "first" } } },
};

function said({ position = "0.1-0", name, after = 0, age = 0, expires = 2 ** 33 }) {
  const digest = name === undefined ? undefined : Buffer.from(digestOf(name), "latin1");
  return {
    position,
    age: { seconds: BigInt(age), nanos: 0 },
    revocations: digest ? [{ digest, tokensValidAfter: BigInt(after), expireTime: new Date(expires * 1000) }] : [],
  };
}

function told(options = {}) {
  const client = new Client({ target: "127.0.0.1:1", credential: publicClient("api"), plaintext: true });
  const time = { now: 100 };
  const set = new Revocations({ client, audience: AUDIENCE, clock: () => time.now, monotonic: () => time.now, ...options });
  return { set, time };
}

const refuses = (set, claims, key = "k1") => {
  try {
    set.check(claims, key);
  } catch (error) {
    assert.ok(error instanceof TokenRejected);
    return error.reason === "REVOKED";
  }
  return false;
};

test("a token is refused by any of its names", () => {
  for (const [name, after, refused] of [
    ["token:t3", 0, true], ["token:t1", 0, true], ["token:t2", 0, true], ["token:t4", 0, false],
    ["principal:ada", 1000, true], ["principal:ada", 999, false], ["principal:helper", 1000, true],
    ["principal:first", 1000, true], ["principal:other", 1000, false], ["client:web", 1000, true],
    ["client:ada", 1000, false], [`audience:${AUDIENCE}`, 1000, true], ["key:k1", 0, true], ["key:k2", 0, false],
  ]) {
    const { set } = told();
    set.take(said({ name, after }));
    assert.equal(refuses(set, CLAIMS), refused, name);
  }
});

test("RFC 7519 section 4.1.3: an audience may be a list of one", () => {
  const { set } = told();
  set.take(said({ name: `audience:${AUDIENCE}`, after: 1000 }));
  assert.equal(refuses(set, { ...CLAIMS, aud: [AUDIENCE] }), true);
  assert.equal(refuses(set, { ...CLAIMS, aud: ["https://others.example"] }), false);
});

test("a set that is too old refuses or accepts as it is told", () => {
  const closed = told({ maxLag: 10 });
  const open = told({ maxLag: 10, whenLagging: "accept" });
  const other = { jti: "t9", iat: 1 };
  for (const { set } of [closed, open]) set.take(said({ position: "", name: "client:nobody" }));
  assert.throws(() => { closed.set.check(other, "k"); }, RevocationsUnavailable);
  open.set.check(other, "k");
  for (const { set, time } of [closed, open]) {
    set.take(said({ name: "token:t1", age: 4 }));
    time.now += 6;
    set.check(other, "k");
    time.now += 1;
    assert.ok(refuses(set, CLAIMS));
  }
  open.set.check(other, "k");
  assert.throws(() => { closed.set.check(other, "k"); }, { reason: "REVOCATIONS_UNAVAILABLE" });
  closed.set.take(said({ age: 30 })); // of a replica that is away from the store
  assert.equal(closed.set.lag, 11);
});

test("entries merge in any order and expire", () => {
  const { set, time } = told();
  for (const after of [5, 9, 7]) set.take(said({ name: "client:web", after, expires: 1000 }));
  assert.ok(refuses(set, { client_id: "web", iat: 9 }));
  assert.ok(!refuses(set, { client_id: "web", iat: 10 }));
  time.now = 1000;
  set.take(said({}));
  assert.equal(set.size, 0);
});

test("a clock that is ahead for a while forgets nothing", () => {
  let wall = 5000;
  let elapsed = 0;
  const client = { watchRevocations: () => new Promise(() => {}) };
  const set = new Revocations({ client, audience: "a", clock: () => wall, monotonic: () => elapsed });
  set.take({ ...said({ name: "token:t1", expires: 6000 }), time: new Date(5_000_000) });
  for (const [why, own, served, size] of [
    ["its own is ahead", 8600, 5100, 1],
    ["the service does not tell", 8700, undefined, 1],
    ["its own is set back", 5200, 5200, 1],
    ["the service's is ahead", 5300, 9000, 1],
    ["it has expired by both", 6000, 6000, 0],
  ]) {
    wall = own;
    elapsed += 60;
    set.take({ ...said({}), time: served === undefined ? undefined : new Date(served * 1000) });
    assert.equal(set.size, size, why);
    assert.equal(refuses(set, { jti: "t1", iat: 1 }), size === 1, why);
  }
});

test("it goes on where it was after an end, a failure and a refusal", async () => {
  const positions = [];
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  const turns = [
    (call) => { call.write(said({ name: "token:a" })); call.end(); },
    (call) => { call.write(said({ position: "", name: "token:b" })); call.emit("error", { code: status.INTERNAL }); },
    (call) => { call.emit("error", { code: status.PERMISSION_DENIED }); },
  ];
  const server = new Server();
  server.addService(RevocationServiceService, {
    watchRevocations(call) {
      positions.push(call.request.position);
      const turn = turns.shift();
      if (turn === undefined) open();
      else turn(call);
    },
  });
  const port = await new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  const client = new Client({ target: `127.0.0.1:${port}`, credential: publicClient("api"), plaintext: true });
  const lags = [];
  const set = new Revocations({ client, audience: AUDIENCE, onLag: (lag) => lags.push(lag) });
  try {
    await set.start();
    await opened;
    assert.deepEqual(positions, ["", "0.1-0", "0.1-0", "0.1-0"]);
    for (const [jti, refused] of [["a", true], ["b", true], ["c", false]]) {
      assert.equal(refuses(set, { jti, iat: 1 }), refused, jti);
    }
    assert.equal(set.failure, "PERMISSION_DENIED");
    assert.ok(lags.length > 0);
  } finally {
    set.close();
    client.close();
    server.forceShutdown();
  }
});

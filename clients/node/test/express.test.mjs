// The middleware in Express, over real HTTP: the table of cases of all languages (RFC 6750 section 3).
import assert from "node:assert/strict";
import { test } from "node:test";
import express from "express";
import { Verifier } from "../dist/index.js";
import { requireToken, tokenOf } from "../dist/express.js";
import { ask, bearerCases, judge } from "./bearer.mjs";
import { AUDIENCE, ISSUER, Issuer, revocationsOf, serve, token } from "./issuer.mjs";

const { requires, cases } = bearerCases;

for (const one of cases) {
  test(one.name, async (t) => {
    const issuer = new Issuer();
    issuer.away = one.keys === "unavailable";
    const jwksUrl = await serve(t, issuer.listener);
    const app = express();
    app.use(requireToken(new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl, clock: issuer.clock, revocations: revocationsOf(one) }), { scopes: requires }));
    app.get("/", (request, response) => {
      assert.equal(request.auth, tokenOf(request));
      response.send(request.auth.subject);
    });
    const service = await serve(t, app);
    const sent = one.token === null ? "" : await token(one.token);
    const inQuery = one.place === "query";
    const headers = sent === "" || inQuery ? [] : Array(one.times ?? 1).fill(`${one.scheme ?? "Bearer"} ${sent}`);
    if (one.token === "revoked key") {
      assert.equal((await ask(service, headers)).status, 200);
      issuer.revoked = true;
      issuer.later += 61; // the set's age
    }
    judge(one, await ask(inQuery ? `${service}/?access_token=${sent}` : service, headers), sent);
  });
}

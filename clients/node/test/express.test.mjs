// The middleware in Express, over real HTTP: the table of cases of all languages (RFC 6750 section 3).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { test } from "node:test";
import express from "express";
import { Verifier } from "../dist/index.js";
import { requireToken, tokenOf } from "../dist/express.js";
import { AUDIENCE, ISSUER, Issuer, serve, token } from "./issuer.mjs";

const { requires, cases } = JSON.parse(readFileSync(new URL("../../../tests/clients/bearer.json", import.meta.url), "utf8"));

/** Sends one request, with several headers of one name where there are several values. */
function ask(address, authorizations) {
  return new Promise((resolve, reject) => {
    const headers = authorizations.flatMap((value) => ["Authorization", value]);
    get(address, { headers: ["Host", new URL(address).host, ...headers] }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body }));
    }).on("error", reject);
  });
}

function judge(one, answer, sent) {
  assert.equal(answer.status, one.status);
  const challenge = answer.headers["www-authenticate"] ?? "";
  assert.ok(sent === "" || !`${answer.body}${challenge}`.includes(sent));
  if (one.status === 200) assert.equal(answer.body, "ada");
  else if (one.status === 503) {
    assert.equal(challenge, "");
    assert.ok(Number(answer.headers["retry-after"]) > 0);
    assert.ok(!answer.body.includes("127.0.0.1"));
  } else if (one.error === "") assert.equal(challenge, "Bearer"); // RFC 6750 section 3.1
  else {
    const scope = one.status === 403 ? `, scope="${requires.join(" ")}"` : "";
    assert.match(challenge, /, error_description="[ !#-[\]-~]+"/);
    assert.equal(challenge.replace(/, error_description="[^"]+"/, ""), `Bearer error="${one.error}"${scope}`);
  }
}

for (const one of cases) {
  test(one.name, async (t) => {
    const issuer = new Issuer();
    issuer.away = one.keys === "unavailable";
    const jwksUrl = await serve(t, issuer.listener);
    const app = express();
    app.use(requireToken(new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl, clock: issuer.clock }), { scopes: requires }));
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

// The guard in NestJS, with Express and with Fastify, over real HTTP: the table of cases of all languages (RFC 6750 section 3).
import "reflect-metadata";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Controller, Get, HttpException, Module, Req, UseGuards } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { ProtectedResource, Verifier } from "../dist/index.js";
import { resourceMetadata } from "../dist/express.js";
import { TokenGuard, tokenOf } from "../dist/nest.js";
import { ask, bearerCases, judge } from "./bearer.mjs";
import { AUDIENCE, ISSUER, Issuer, proof, revocationsOf, serve, THUMBPRINT, token } from "./issuer.mjs";

const { requires, cases } = bearerCases;
const ADAPTERS = { Express: () => new ExpressAdapter(), Fastify: () => new FastifyAdapter() };

/** Serves `/`, behind the guard, and `/open`, which the guard skips. Decorators are applied as plain functions. */
async function served(t, adapter, issuer, options = {}) {
  const jwksUrl = await serve(t, issuer.listener);
  const { revocations, ...guarded } = options;
  const verifier = new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl, clock: issuer.clock, revocations });
  const open = (context) => Reflect.getMetadata("open", context.getHandler()) === true;
  const guard = new TokenGuard(verifier, HttpException, { scopes: requires, skip: open, ...guarded });
  class Whoami {
    whoami(request) {
      assert.equal(request.auth, tokenOf(request.raw ?? request));
      return request.auth.subject;
    }

    health() {
      return "well";
    }
  }
  const decorate = (name, ...decorators) => {
    for (const one of decorators) one(Whoami.prototype, name, Object.getOwnPropertyDescriptor(Whoami.prototype, name));
  };
  Req()(Whoami.prototype, "whoami", 0);
  decorate("whoami", Get());
  decorate("health", Get("open"), (_, __, { value }) => Reflect.defineMetadata("open", true, value));
  Controller()(Whoami);
  UseGuards(guard)(Whoami);
  function Application() {}
  Module({ controllers: [Whoami] })(Application);
  const app = await NestFactory.create(Application, ADAPTERS[adapter](), { logger: false });
  if (options.resource !== undefined) app.use(resourceMetadata(options.resource));
  await app.listen(0, "127.0.0.1");
  t.after(() => app.close());
  return `http://127.0.0.1:${app.getHttpServer().address().port}`;
}

for (const adapter of Object.keys(ADAPTERS)) {
  for (const one of cases) {
    test(`${adapter}: ${one.name}`, async (t) => {
      const issuer = new Issuer();
      issuer.away = one.keys === "unavailable";
      const service = await served(t, adapter, issuer, { revocations: revocationsOf(one) });
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

  test(`${adapter}: a handler that is skipped needs no token`, async (t) => {
    const service = await served(t, adapter, new Issuer());
    assert.equal((await ask(`${service}/open`, [])).body, "well");
    assert.equal((await ask(`${service}/`, [])).status, 401);
  });

  test(`${adapter}: RFC 9728 and RFC 9449 section 7`, async (t) => {
    const resource = new ProtectedResource({ resource: "https://api.example", authorizationServers: [ISSUER] });
    const service = await served(t, adapter, new Issuer(), { resource });
    const document = await ask(`${service}/.well-known/oauth-protected-resource`, []);
    assert.equal(JSON.parse(document.body).resource, "https://api.example");
    const sent = await token("good", { cnf: { jkt: await THUMBPRINT } });
    const made = await proof("GET", "https://api.example/", sent);
    assert.equal((await ask(service, [`DPoP ${sent}`], { DPoP: made })).body, "ada");
    const replayed = await ask(service, [`DPoP ${sent}`], { DPoP: made });
    assert.equal(replayed.status, 401);
    assert.match(replayed.headers["www-authenticate"], /^DPoP error="invalid_dpop_proof", .*resource_metadata="/);
  });
}

test("a context that is not HTTP is refused", async () => {
  const guard = new TokenGuard(new Verifier({ issuer: ISSUER, audience: AUDIENCE }), HttpException);
  assert.equal(await guard.canActivate({ getType: () => "rpc" }), false);
});

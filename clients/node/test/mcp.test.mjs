// The token verifier in the official SDK for the Model Context Protocol, and the middleware before its server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express from "express";
import { ProtectedResource, Verifier } from "../dist/index.js";
import { requireToken, resourceMetadata } from "../dist/express.js";
import { mcpAuth, mcpTokenVerifier, mcpUnavailable } from "../dist/mcp.js";
import { AUDIENCE, ISSUER, Issuer, proof, revocationsAway, serve, THUMBPRINT, token } from "./issuer.mjs";

const RESOURCE = "https://api.example/mcp";
const METADATA = "https://api.example/.well-known/oauth-protected-resource/mcp";
const resource = () => new ProtectedResource({ resource: RESOURCE, authorizationServers: ["https://login.example"] });

/** Serves a tool that says whose token the SDK hands to it. */
async function served(t, issuer, protect, revocations) {
  const jwksUrl = await serve(t, issuer.listener);
  const app = express();
  protect(app, new Verifier({ issuer: ISSUER, audience: AUDIENCE, jwksUrl, clock: issuer.clock, revocations }));
  app.post("/mcp", express.json(), async (request, response) => {
    const server = new McpServer({ name: "orders", version: "1" });
    server.registerTool("whoami", {}, ({ authInfo }) => {
      const { subject, actor } = authInfo.extra;
      return { content: [{ type: "text", text: `${subject} by ${actor?.sub ?? "nobody"}` }] };
    });
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    response.on("close", () => void transport.close());
    await server.connect(transport);
    await transport.handleRequest(request, response, request.body);
  });
  return await serve(t, app);
}

const ownCheck = (verifier) => requireBearerAuth({
  verifier: mcpTokenVerifier(verifier, InvalidTokenError, { resource: RESOURCE }),
  requiredScopes: ["read"],
  resourceMetadataUrl: METADATA,
  expectedResource: new URL(RESOURCE),
});
const KINDS = {
  "the SDK's own check": (app, verifier) => {
    app.use(resourceMetadata(resource()));
    app.use(ownCheck(verifier));
  },
  "the SDK's own check, with our answer": (app, verifier) => {
    app.use(resourceMetadata(resource()));
    app.use(mcpUnavailable(ownCheck(verifier)));
  },
  "the middleware": (app, verifier) => {
    app.use(requireToken(verifier, { resource: resource(), scopes: ["read"] }));
    app.use(mcpAuth());
  },
};

async function call(address, fetch) {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${address}/mcp`), { fetch }));
  const answer = await client.callTool({ name: "whoami", arguments: {} });
  await client.close();
  return answer.content[0].text;
}

const bearer = (sent) => (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("Authorization", `Bearer ${sent}`);
  return fetch(input, { ...init, headers });
};

for (const [kind, protect] of Object.entries(KINDS)) {
  test(`a tool sees the principal and who acts for it: ${kind}`, async (t) => {
    const address = await served(t, new Issuer(), protect);
    assert.equal(await call(address, bearer(await token("good", { act: { sub: "assistant" } }))), "ada by assistant");
  });

  test(`RFC 9728: a refused client is told where the metadata are: ${kind}`, async (t) => {
    const address = await served(t, new Issuer(), protect);
    for (const sent of [await token("expired"), await token("wrong audience"), "x.y.z", await token("good", { cnf: { jkt: "x" } })]) {
      const answer = await bearer(sent)(`${address}/mcp`, { method: "POST", body: "{}" });
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get("WWW-Authenticate"), /^Bearer error="invalid_token"/);
      assert.ok(answer.headers.get("WWW-Authenticate").includes(`resource_metadata="${METADATA}"`));
    }
    const narrow = await bearer(await token("missing scope"))(`${address}/mcp`, { method: "POST", body: "{}" });
    assert.equal(narrow.status, 403);
    assert.match(narrow.headers.get("WWW-Authenticate"), /^Bearer error="insufficient_scope"/);
    const document = await (await fetch(`${address}/.well-known/oauth-protected-resource/mcp`)).json();
    assert.equal(document.resource, RESOURCE);
  });
}

const UNAVAILABLE = { "the SDK's own check": 500, "the SDK's own check, with our answer": 503, "the middleware": 503 };
for (const [kind, status] of Object.entries(UNAVAILABLE)) {
  test(`without keys clients are not sent to sign in again: ${kind}`, async (t) => {
    const issuer = new Issuer();
    issuer.away = true;
    const address = await served(t, issuer, KINDS[kind]);
    const answer = await bearer(await token())(`${address}/mcp`, { method: "POST", body: "{}" });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("WWW-Authenticate"), null);
    assert.equal(answer.headers.get("Retry-After"), status === 503 ? "1" : null);
  });

  test(`without revocations clients are not sent to sign in again: ${kind}`, async (t) => {
    const address = await served(t, new Issuer(), KINDS[kind], revocationsAway());
    const answer = await bearer(await token())(`${address}/mcp`, { method: "POST", body: "{}" });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("WWW-Authenticate"), null);
    assert.equal(answer.headers.get("Retry-After"), status === 503 ? "1" : null);
  });
}

test("RFC 9449 section 7: the middleware accepts bound tokens with a proof", async (t) => {
  const address = await served(t, new Issuer(), KINDS["the middleware"]);
  const sent = await token("good", { cnf: { jkt: await THUMBPRINT } });
  const proving = async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("Authorization", `DPoP ${sent}`);
    headers.set("DPoP", await proof(init?.method ?? "GET", RESOURCE, sent));
    return await fetch(input, { ...init, headers });
  };
  assert.equal(await call(address, proving), "ada by nobody");
});

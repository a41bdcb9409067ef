// The clients of npm, each unchanged. A line of standard output is a row: client, flow, and its token or its refusal.
import { readFileSync } from "node:fs";
import { Client, CrossAppAccessProvider, StreamableHTTPClientTransport, discoverAndRequestJwtAuthGrant, discoverAuthorizationServerMetadata, exchangeJwtAuthGrant } from "@modelcontextprotocol/client";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const world = JSON.parse(readFileSync(process.argv[2], "utf8"));
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TYPE = "urn:ietf:params:oauth:token-type:";

async function row(client, flow, run) {
  let told;
  try {
    told = await run();
  } catch (error) {
    told = { error: `${error.name}: ${error.message} ${error.error ?? ""} ${error.cause?.message ?? error.cause?.error ?? ""}` };
  }
  console.log(JSON.stringify({ client, flow, ...told }));
}

// --- the MCP SDK --------------------------------------------------------------------------------------------------

const MCP = "MCP SDK (TypeScript)";

const idJag = (audience, resource, scope) =>
  discoverAndRequestJwtAuthGrant({
    idpUrl: world.home, audience, resource, scope, idToken: world.user, clientId: "web", clientSecret: world.secret,
  });

await row(MCP, "ID-JAG, leg 1", async () => {
  const { jwtAuthGrant, scope } = await idJag(world.away, world.mcp, "tools.call");
  return { token: jwtAuthGrant, scope };
});

await row(MCP, "ID-JAG, leg 2", async () => {
  const { jwtAuthGrant } = await idJag(world.away, world.mcp, "tools.call");
  const { token_endpoint } = await discoverAuthorizationServerMetadata(world.away);
  const tokens = await exchangeJwtAuthGrant({
    tokenEndpoint: token_endpoint, jwtAuthGrant, clientId: "mcp-client", clientSecret: world.secret,
  });
  return { token: tokens.access_token, scope: tokens.scope };
});

await row(MCP, "both legs, and a call of a tool", async () => {
  const authProvider = new CrossAppAccessProvider({
    clientId: "mcp-client", clientSecret: world.secret, expectedIssuer: world.away,
    assertion: async ({ authorizationServerUrl, resourceUrl, scope }) =>
      (await idJag(authorizationServerUrl, resourceUrl, scope)).jwtAuthGrant,
  });
  const client = new Client({ name: "sts", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(world.mcp), { authProvider }));
  const { content } = await client.callTool({ name: "whoami", arguments: {} });
  await client.close();
  return { token: authProvider.tokens().access_token, seen: JSON.parse(content[0].text) };
});

// --- oauth4webapi -------------------------------------------------------------------------------------------------

const O4W = "oauth4webapi";
const server = async (issuer) => {
  const url = new URL(issuer);
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2" }));
};
const home = await server(world.home);
const away = await server(world.away);
const web = { client_id: "web" };
const privateKey = await jose.importPKCS8(world.key, "ES256");
const exchange = (more = {}) => ({
  subject_token: world.user, subject_token_type: `${TYPE}id_token`, audience: world.orders, scope: "read", ...more,
});

async function request(as, client, authentication, grant, parameters, options) {
  const send = () => oauth.genericTokenEndpointRequest(as, client, authentication, grant, new URLSearchParams(parameters), options);
  const answer = await oauth.processGenericTokenEndpointResponse(as, client, await send(), {
    recognizedTokenTypes: { n_a: () => {} },
  });
  return { token: answer.access_token, scope: answer.scope, type: answer.token_type };
}

const basic = oauth.ClientSecretBasic(world.secret);
await row(O4W, "token exchange", () => request(home, web, basic, EXCHANGE, exchange()));
await row(O4W, "token exchange, client_secret_post", () =>
  request(home, web, oauth.ClientSecretPost(world.secret), EXCHANGE, exchange({ resource: "https://orders.example/api" })));
await row(O4W, "token exchange, private_key_jwt", () =>
  request(home, { client_id: "keys" }, oauth.PrivateKeyJwt({ key: privateKey, kid: "c" }), EXCHANGE, exchange()));
await row(O4W, "token exchange with an actor", () =>
  request(home, web, basic, EXCHANGE, exchange({ actor_token: world.agent, actor_token_type: `${TYPE}jwt` })));
await row(O4W, "token exchange, DPoP", async () => {
  const keys = await oauth.generateKeyPair("ES256", { extractable: true });
  const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey));
  return { ...(await request(home, web, basic, EXCHANGE, exchange(), { DPoP: oauth.DPoP(web, keys) })), jkt };
});
await row(O4W, "introspection, then revocation", async () => {
  const { token } = await request(home, web, basic, EXCHANGE, exchange());
  const ask = async () => oauth.processIntrospectionResponse(home, web, await oauth.introspectionRequest(home, web, basic, token));
  const before = await ask();
  await oauth.processRevocationResponse(await oauth.revocationRequest(home, web, basic, token));
  return { token, seen: { before: before.active, sub: before.sub, after: (await ask()).active } };
});
await row(O4W, "ID-JAG, leg 1", () =>
  request(home, web, basic, EXCHANGE, exchange({ requested_token_type: `${TYPE}id-jag`, audience: world.away, resource: world.mcp, scope: "tools.call" })));
await row(O4W, "ID-JAG, leg 2", async () => {
  const { jwtAuthGrant } = await idJag(world.away, world.mcp, "tools.call");
  return request(away, { client_id: "mcp-client" }, basic, BEARER, { assertion: jwtAuthGrant });
});
await row(O4W, "ID-JAG, both legs, DPoP", async () => {
  const keys = await oauth.generateKeyPair("ES256", { extractable: true });
  const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey));
  const bound = exchange({ requested_token_type: `${TYPE}id-jag`, audience: world.away, resource: world.mcp, scope: "tools.call" });
  const { token: assertion } = await request(home, web, basic, EXCHANGE, bound, { DPoP: oauth.DPoP(web, keys) });
  const { cnf } = jose.decodeJwt(assertion);
  const client = { client_id: "mcp-client" };
  const told = await request(away, client, basic, BEARER, { assertion }, { DPoP: oauth.DPoP(client, keys) });
  return { ...told, jkt, seen: { grant: cnf?.jkt === jkt } };
});
await row(O4W, "a token of another audience is refused", () =>
  request(home, web, basic, EXCHANGE, exchange({ audience: "https://evil.example" })));

// --- openid-client ------------------------------------------------------------------------------------------------

await row("openid-client", "token exchange", async () => {
  const configuration = await openid.discovery(new URL(world.home), "web", world.secret);
  const answer = await openid.genericGrantRequest(configuration, EXCHANGE, exchange());
  return { token: answer.access_token, scope: answer.scope };
});

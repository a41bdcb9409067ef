// What a competent team would write by hand in Node: grpc-js, jose and ioredis, each used as its own documentation
// shows, and over HTTP node:http. Authenticates the caller, verifies an ID token against the provider's JWKS, reads the
// profile and mints an ES256 (or RS256) token. No audit trail, no rate limits, no key rotation, no policy beyond a map.
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import http from "node:http";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { Redis } from "ioredis";
import { SignJWT, createRemoteJWKSet, generateKeyPair, jwtVerify } from "jose";

const LIFETIME = 600;
const settings = JSON.parse(process.env.PEER);
const secret = Buffer.from(settings.SecretSHA256, "hex");
const jwks = createRemoteJWKSet(new URL(settings.JWKS));
const redis = new Redis(settings.Redis, { enableAutoPipelining: true });
const keys = {};
for (const algorithm of ["ES256", "RS256"]) {
  const { privateKey } = await generateKeyPair(algorithm);
  keys[algorithm] = { privateKey, id: randomUUID() };
}

class Refused extends Error {
  constructor(code, details) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

function authenticate(id, given) {
  const digest = createHash("sha256").update(given ?? "").digest();
  if (id !== settings.ClientID || !timingSafeEqual(digest, secret)) {
    throw new Refused(grpc.status.UNAUTHENTICATED, "the caller is not authenticated");
  }
}

async function prove(token) {
  let claims;
  try {
    ({ payload: claims } = await jwtVerify(token, jwks, {
      issuer: settings.Issuer,
      audience: "app",
      algorithms: ["RS256"],
      requiredClaims: ["exp", "iat", "sub"],
    }));
  } catch {
    throw new Refused(grpc.status.UNAUTHENTICATED, "the subject token was not accepted");
  }
  const stored = await redis.get(settings.Prefix + claims.sub);
  if (stored === null) throw new Refused(grpc.status.PERMISSION_DENIED, "unknown principal");
  const profile = JSON.parse(stored);
  if (profile.disabled) throw new Refused(grpc.status.PERMISSION_DENIED, "disabled");
  return { claims, profile };
}

async function mint(audience, claims, profile) {
  const algorithm = settings.Audiences[audience];
  if (algorithm === undefined) throw new Refused(grpc.status.PERMISSION_DENIED, "audience");
  const key = keys[algorithm];
  const now = Math.floor(Date.now() / 1000);
  const id = randomUUID();
  const token = await new SignJWT({
    client_id: settings.ClientID,
    email: claims.email,
    tenant: profile.claims.tenant,
    roles: profile.roles,
  })
    .setProtectedHeader({ alg: algorithm, kid: key.id, typ: "at+jwt" })
    .setIssuer("https://tokens.example")
    .setSubject(profile.principal)
    .setAudience(audience)
    .setIssuedAt(now)
    .setNotBefore(now)
    .setExpirationTime(now + LIFETIME)
    .setJti(id)
    .sign(key.privateKey);
  return {
    token,
    issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
    token_type: "Bearer",
    expire_time: { seconds: now + LIFETIME },
    key_id: key.id,
    token_id: id,
    subject: profile.principal,
  };
}

function unary(handler) {
  return (call, callback) => {
    handler(call).then(
      (answer) => callback(null, answer),
      (error) => callback(error instanceof Refused ? error : { code: grpc.status.INTERNAL, details: "internal error" }),
    );
  };
}

const definition = protoLoader.loadSync("tokenmint/v1/token_exchange_service.proto", {
  keepCase: true,
  includeDirs: settings.Protos,
});
const { TokenExchangeService } = grpc.loadPackageDefinition(definition).tokenmint.v1;
const server = new grpc.Server();
server.addService(TokenExchangeService.service, {
  ExchangeToken: unary(async ({ request, metadata }) => {
    authenticate(metadata.get("tokenmint-client-id")[0], metadata.get("tokenmint-client-secret")[0]);
    const { claims, profile } = await prove(request.subject_token);
    return mint(request.audience, claims, profile);
  }),
  BatchExchangeTokens: unary(async ({ request, metadata }) => {
    authenticate(metadata.get("tokenmint-client-id")[0], metadata.get("tokenmint-client-secret")[0]);
    const { claims, profile } = await prove(request.subject_token);
    const results = [];
    for (const target of request.targets) {
      try {
        results.push({ token: await mint(target.audience, claims, profile) });
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        results.push({ error: { code: error.code, message: error.details } });
      }
    }
    return { results };
  }),
});

// The same exchange as an OAuth endpoint: a form in, JSON out (RFC 8693).
const BODY_LIMIT = 64 * 1024;
const OAUTH_ERRORS = {
  [grpc.status.UNAUTHENTICATED]: [400, "invalid_request"],
  [grpc.status.PERMISSION_DENIED]: [400, "invalid_target"],
};

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BODY_LIMIT) throw new Refused(grpc.status.PERMISSION_DENIED, "the body is too long");
    parts.push(part);
  }
  return new URLSearchParams(Buffer.concat(parts).toString());
}

function basic(header = "") {
  const [scheme, encoded = ""] = header.split(" ");
  if (scheme.toLowerCase() !== "basic") return [];
  const pair = Buffer.from(encoded, "base64").toString();
  const colon = pair.indexOf(":");
  return [pair.slice(0, colon), pair.slice(colon + 1)].map(decodeURIComponent);
}

function answer(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-store",
  });
  response.end(text);
}

const oauth = http.createServer(async (request, response) => {
  try {
    if (request.method !== "POST" || request.url !== "/oauth2/token") return answer(response, 404, { error: "not_found" });
    authenticate(...basic(request.headers.authorization));
    const form = await read(request);
    const { claims, profile } = await prove(form.get("subject_token") ?? "");
    const minted = await mint(form.get("audience"), claims, profile);
    answer(response, 200, {
      access_token: minted.token,
      issued_token_type: minted.issued_token_type,
      token_type: minted.token_type,
      expires_in: LIFETIME,
    });
  } catch (error) {
    const [status, name] = OAUTH_ERRORS[error.code] ?? [500, "server_error"];
    answer(response, status, { error: name });
  }
});
await new Promise((ready) => oauth.listen(0, "127.0.0.1", ready));

server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ listen: { grpc: `127.0.0.1:${port}`, http: `127.0.0.1:${oauth.address().port}` } }));
});

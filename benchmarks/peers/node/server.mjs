// What a competent team would write by hand in Node: grpc-js, jose and ioredis, each used as its own documentation
// shows. Authenticates the caller, verifies an ID token against the provider's JWKS, reads the profile and mints an
// ES256 (or RS256) token. No audit trail, no rate limits, no key rotation, no policy beyond a map.
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
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

function authenticate(metadata) {
  const [id] = metadata.get("tokenmint-client-id");
  const [given] = metadata.get("tokenmint-client-secret");
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
    authenticate(metadata);
    const { claims, profile } = await prove(request.subject_token);
    return mint(request.audience, claims, profile);
  }),
  BatchExchangeTokens: unary(async ({ request, metadata }) => {
    authenticate(metadata);
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
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ listen: `127.0.0.1:${port}` }));
});

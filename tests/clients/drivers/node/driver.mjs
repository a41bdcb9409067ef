// The Node driver: `tokenmint-client` as an application uses it; the protocol is in ../../README.md.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { credentials, Server, ServerCredentials, status } from "@grpc/grpc-js";
import express from "express";
import {
  Client,
  clientAssertion,
  clientCertificate,
  clientSecret,
  MemoryStore,
  ProtectedResource,
  publicClient,
  receivedTxnToken,
  Revocations,
  StatusLists,
  tokenFetch,
  TokenmintError,
  TokenSource,
  txnTokenHeaders,
  TxnTokenVerifier,
  VerificationError,
  Verifier,
  workloadToken,
} from "tokenmint-client";
import { requireToken, tokenOf } from "tokenmint-client/express";
import { tokenInterceptor, tokenOf as tokenOfCall, verifyingInterceptor } from "tokenmint-client/grpc";
import { KeySetServiceClient, KeySetServiceService } from "tokenmint-client/v1/key_set_service";

function credentialOf(given) {
  switch (given.kind) {
    case "secret":
      return clientSecret(given.client_id, given.secret);
    case "assertion":
      return clientAssertion(given.client_id, {
        key: readFileSync(given.key_file, "utf8"),
        keyId: given.key_id,
        audience: given.audience,
        algorithm: given.algorithm,
      });
    case "workload":
      return workloadToken({ file: given.token_file }, given.client_id);
    case "certificate":
      return clientCertificate({ cert: readFileSync(given.cert_file), key: readFileSync(given.key_file) });
    default:
      return publicClient(given.client_id);
  }
}

let state;

function configure(command) {
  for (const stop of state?.stops ?? []) stop();
  state?.client.close();
  const client = new Client({
    target: command.target,
    credential: credentialOf(command.credential),
    ...(command.ca_file === undefined ? { plaintext: true } : { ca: readFileSync(command.ca_file) }),
    ...(command.timeout === undefined ? {} : { timeout: command.timeout }),
  });
  state = { command, client, offset: 0, verifiers: new Map(), followed: new Map(), domains: new Map(), stops: [] };
  const store = new MemoryStore(command.max_entries ?? 10_000);
  state.source = new TokenSource(client, { store, clock });
  return {};
}

function clock() {
  return Date.now() / 1000 + state.offset;
}

function verifier(audience) {
  if (!state.verifiers.has(audience)) {
    const { issuer, jwks_url: jwksUrl, accept_bound: acceptBound, algorithms, token_type: tokenType } = state.command;
    let revocations;
    if (state.command.status_lists !== undefined) {
      revocations = new StatusLists({ whenUnavailable: state.command.status_lists });
    } else if (state.command.revocations !== undefined) {
      const { revocations: whenLagging, max_lag: maxLag } = state.command;
      revocations = new Revocations({ client: state.client, audience, whenLagging, maxLag });
      state.followed.set(audience, revocations);
      state.stops.push(() => revocations.close());
    }
    const options = { issuer, audience, jwksUrl, clock, acceptBound, algorithms, tokenType, revocations };
    state.verifiers.set(audience, new Verifier(options));
  }
  return state.verifiers.get(audience);
}

function shown(token) {
  return {
    token: token.value,
    token_id: token.tokenId,
    key_id: token.keyId,
    subject: token.subject,
    scopes: token.scopes,
    expires_at: token.expiresAt,
  };
}

function failed(error) {
  return {
    code: error.code,
    reason: error.reason,
    message: error.message,
    retry_after: error.retryAfter ?? null,
    violations: Object.keys(error.violations),
  };
}

function resourceOf(command) {
  if (command.resource === undefined) return undefined;
  return new ProtectedResource({
    resource: command.resource,
    authorizationServers: ["https://login.example"],
    scopesSupported: command.scopes,
    requireDpop: command.require_dpop,
    ...(command.nonce_key === undefined ? {} : { nonceKey: Buffer.from(command.nonce_key) }),
  });
}

function transaction(command) {
  return {
    requestedTokenType: command.requested_token_type,
    requestContext: command.request_context,
    requestDetails: command.request_details,
  };
}

const commands = {
  configure,
  async exchange(command) {
    const token = await state.client.exchange(command.subject_token, command.audience, {
      scopes: command.scopes,
      resources: command.resources,
      lifetime: command.lifetime,
      nonce: command.nonce,
      subjectTokenType: command.subject_token_type,
      ...transaction(command),
      timeout: command.timeout,
    });
    return shown(token);
  },
  async batch(command) {
    const results = await state.client.exchangeBatch(command.subject_token, command.targets);
    return {
      results: results.map((one) => ("token" in one ? { token: shown(one.token) } : { error: failed(one.error) })),
    };
  },
  async token(command) {
    const options = {
      scopes: command.scopes,
      resources: command.resources,
      ...transaction(command),
      actorToken: command.actor_token,
      actorTokenType: command.actor_token_type,
      dpopThumbprint: command.dpop_jkt,
    };
    return shown(await state.source.get(command.subject_token, command.audience, options));
  },
  async concurrent(command) {
    const one = () => state.source.get(command.subject_token, command.audience, { scopes: command.scopes });
    const ended = await Promise.allSettled(Array.from({ length: command.count }, one));
    return {
      token_ids: [...new Set(ended.flatMap((item) => (item.status === "fulfilled" ? [item.value.tokenId] : [])))],
      errors: ended.flatMap((item) => (item.status === "rejected" ? [item.reason.reason ?? String(item.reason)] : [])),
    };
  },
  advance(command) {
    state.offset += command.seconds;
    return {};
  },
  async verify(command) {
    const { claims, actor = null, confirmation = null } = await verifier(command.audience).verify(command.token);
    return { claims, actor, confirmation };
  },
  lag(command) {
    verifier(command.audience);
    const followed = state.followed.get(command.audience);
    void followed.start();
    const { lag, failure } = followed;
    return { lag: Number.isFinite(lag) ? lag : null, failure };
  },
  async verify_txn(command) {
    if (!state.domains.has(command.audience)) {
      const { issuer, jwks_url: jwksUrl } = state.command;
      state.domains.set(command.audience, new TxnTokenVerifier({ issuer, audience: command.audience, jwksUrl, clock }));
    }
    const token = await state.domains.get(command.audience).verify(command.token);
    const { txn, subject, scopes, requester, tctx, rctx, claims } = token;
    return { txn, subject, scopes: [...scopes].sort(), requester, tctx, rctx, claims };
  },
  txn_header(command) {
    if (command.values !== undefined) return { token: receivedTxnToken({ "txn-token": command.values }) };
    const [[name, value]] = Object.entries(txnTokenHeaders(command.token));
    return { name, value };
  },
  async protect(command) {
    const app = express();
    app.use(requireToken(verifier(command.audience), { scopes: command.scopes, resource: resourceOf(command) }));
    app.use((request, response) => {
      response.send(tokenOf(request).subject);
    });
    const web = await new Promise((resolve) => {
      const listening = app.listen(0, "127.0.0.1", () => resolve(listening));
    });
    const server = new Server({ interceptors: [verifyingInterceptor(verifier(command.audience))] });
    server.addService(KeySetServiceService, {
      getKeySet(call, done) {
        done(null, { keys: [], jwksJson: "", etag: tokenOfCall(call).subject, maxAge: undefined });
      },
      watchKeySet(call) {
        call.end();
      },
    });
    const port = await new Promise((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    state.stops.push(
      () => server.forceShutdown(),
      () => {
        web.close();
        web.closeAllConnections();
      },
    );
    return { http: `http://127.0.0.1:${web.address().port}`, grpc: `127.0.0.1:${port}` };
  },
  async call_http(command) {
    const send =
      command.subject_token === undefined ? fetch : tokenFetch(state.source, command.subject_token, command.audience);
    const answer = await send(command.url);
    return {
      status: answer.status,
      body: await answer.text(),
      www_authenticate: answer.headers.get("WWW-Authenticate") ?? "",
    };
  },
  async call_grpc(command) {
    const interceptors =
      command.subject_token === undefined
        ? []
        : [tokenInterceptor(state.source, command.subject_token, command.audience)];
    const client = new KeySetServiceClient(command.target, credentials.createInsecure(), { interceptors });
    const answer = await new Promise((resolve) => {
      client.getKeySet({}, (error, found) =>
        resolve(error ? { code: status[error.code], body: "" } : { code: "OK", body: found.etag }),
      );
    });
    client.close();
    return answer;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await commands[command.do](command) };
  } catch (error) {
    if (error instanceof TokenmintError) answer = { error: failed(error) };
    else if (error instanceof VerificationError) {
      answer = { error: { code: "", reason: error.reason, message: error.message, retry_after: null, violations: [] } };
    } else answer = { failure: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
for (const stop of state?.stops ?? []) stop();
state?.client.close();

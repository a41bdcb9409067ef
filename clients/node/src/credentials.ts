import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { importPKCS8, SignJWT, type KeyLike } from "jose";

const CLIENT_ID = "tokenmint-client-id";
const CLIENT_SECRET = "tokenmint-client-secret";
const CLIENT_ASSERTION = "tokenmint-client-assertion";
const WORKLOAD_TOKEN = "tokenmint-workload-token";
const ASSERTION_LIFETIME = 60; // seconds; tokenmint takes at most 300

/** A client certificate and its key, in PEM. */
export interface Certificate {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** What proves this client. */
export interface Credential {
  /** Returns what one attempt of a call carries. */
  metadata(): Promise<Readonly<Record<string, string>>>;
  /** The client's side of mutual TLS. */
  readonly certificate?: Certificate;
}

/** A secret that `tokenmint clients new-secret` made, or a function that returns the current one. */
export function clientSecret(clientId: string, secret: string | (() => string)): Credential {
  return {
    metadata: () =>
      Promise.resolve({ [CLIENT_ID]: clientId, [CLIENT_SECRET]: typeof secret === "string" ? secret : secret() }),
  };
}

export interface ClientAssertionOptions {
  /** The private key: PKCS#8 in PEM, or as `jose` knows it. */
  readonly key: string | KeyLike;
  /** The `kid` under which tokenmint knows its public half. */
  readonly keyId: string;
  /** Tokenmint's issuer. */
  readonly audience: string;
  /** What the key signs with. Default: ES256. */
  readonly algorithm?: string;
}

/** A private key of this client's own (RFC 7523): each attempt carries a fresh assertion, which counts once. */
export function clientAssertion(clientId: string, options: ClientAssertionOptions): Credential {
  const algorithm = options.algorithm ?? "ES256";
  let key: Promise<KeyLike> | undefined;
  return {
    async metadata() {
      key ??= typeof options.key === "string" ? importPKCS8(options.key, algorithm) : Promise.resolve(options.key);
      const now = Math.floor(Date.now() / 1000);
      const assertion = await new SignJWT()
        .setProtectedHeader({ alg: algorithm, kid: options.keyId })
        .setIssuer(clientId)
        .setSubject(clientId)
        .setAudience(options.audience)
        .setIssuedAt(now)
        .setExpirationTime(now + ASSERTION_LIFETIME)
        .setJti(randomUUID())
        .sign(await key);
      return { [CLIENT_ID]: clientId, [CLIENT_ASSERTION]: assertion };
    },
  };
}

/** A token of the platform that this runs on: a file that is read for each attempt, or a function that returns it. */
export function workloadToken(source: { file: string } | (() => Promise<string>), clientId?: string): Credential {
  return {
    async metadata() {
      const token = typeof source === "function" ? await source() : (await readFile(source.file, "utf8")).trim();
      return { ...(clientId === undefined ? {} : { [CLIENT_ID]: clientId }), [WORKLOAD_TOKEN]: token };
    },
  };
}

/** The certificate of a mutual TLS connection. */
export function clientCertificate(certificate: Certificate): Credential {
  return Object.defineProperty({ metadata: () => Promise.resolve({}) }, "certificate", { value: certificate });
}

/** Nothing but a name, for audiences that take public clients. */
export function publicClient(clientId: string): Credential {
  return { metadata: () => Promise.resolve({ [CLIENT_ID]: clientId }) };
}

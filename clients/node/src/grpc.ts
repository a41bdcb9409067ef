import {
  type CallCredentials,
  credentials,
  InterceptingCall,
  type Interceptor,
  Metadata,
  type ServerInterceptor,
  ServerInterceptingCall,
  status,
} from "@grpc/grpc-js";
import { bearerToken, current, missingScopes, UNAVAILABLE, type SubjectToken } from "./bearer.js";
import { bearer } from "./dpopkey.js";
import { KeySetUnavailable, TokenmintError, VerificationError } from "./errors.js";
import type { GetOptions, TokenSource } from "./source.js";
import type { VerifiedToken, Verifier } from "./verifier.js";

/** Returns the `authorization` of a call. @throws RangeError where the token is bound to a key: gRPC has no proofs of one. */
async function presented(
  source: TokenSource,
  subjectToken: SubjectToken,
  audience: string,
  options: GetOptions,
): Promise<string> {
  return bearer(await source.get(current(subjectToken), audience, options), audience);
}

/** Returns call credentials, for a TLS channel (`credentials.combineChannelCredentials`) or a single call. */
export function callCredentials(
  source: TokenSource,
  subjectToken: SubjectToken,
  audience: string,
  options: GetOptions = {},
): CallCredentials {
  return credentials.createFromMetadataGenerator((_, done) => {
    presented(source, subjectToken, audience, options).then(
      (value) => {
        const metadata = new Metadata();
        metadata.set("authorization", value);
        done(null, metadata);
      },
      (error: unknown) => {
        done(error instanceof Error ? error : new Error("no token"));
      },
    );
  });
}

/** Returns a client interceptor that adds the token to each call. Over TLS, prefer call credentials. */
export function tokenInterceptor(
  source: TokenSource,
  subjectToken: SubjectToken,
  audience: string,
  options: GetOptions = {},
): Interceptor {
  return (callOptions, nextCall) =>
    new InterceptingCall(nextCall(callOptions), {
      start(metadata, listener, next) {
        presented(source, subjectToken, audience, options).then(
          (value) => {
            metadata.set("authorization", value);
            next(metadata, listener);
          },
          (error: unknown) => {
            const known = error instanceof TokenmintError;
            const code = known ? status[error.code as keyof typeof status] : status.INTERNAL;
            const why = error instanceof RangeError ? error.message : "no token";
            const details = known ? `${error.reason}: ${error.message}` : why;
            listener.onReceiveStatus({ code, details, metadata: new Metadata() });
          },
        );
      },
    });
}

const tokens = new WeakMap<Metadata, VerifiedToken>();

/** Returns the verified token of a call that is being served, by its metadata. @throws RangeError where it has none. */
export function tokenOf(call: { readonly metadata: Metadata }): VerifiedToken {
  const token = tokens.get(call.metadata);
  if (token === undefined) throw new RangeError("the call was not verified");
  return token;
}

export interface ServerInterceptorOptions {
  /** What each call needs. */
  readonly scopes?: readonly string[];
  /** Full names of methods that need no token, e.g. `/grpc.health.v1.Health/Check`. */
  readonly public?: readonly string[];
}

/** Returns a server interceptor that serves a call only with a good token; `tokenOf(call)` returns it to the method. */
export function verifyingInterceptor(verifier: Verifier, options: ServerInterceptorOptions = {}): ServerInterceptor {
  const open = new Set(options.public);
  const scopes = options.scopes ?? [];
  return (method, call) => {
    if (open.has(method.path)) return new ServerInterceptingCall(call);
    const refuse = (code: status, details: string): void => {
      call.sendStatus({ code, details, metadata: new Metadata() });
    };
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, proceed) {
            const sent = metadata.get("authorization");
            const bearer = sent.length === 1 ? bearerToken(sent[0]?.toString()) : undefined;
            if (bearer === undefined) {
              refuse(status.UNAUTHENTICATED, "a bearer token is needed");
              return;
            }
            verifier.verify(bearer).then(
              (token) => {
                const missing = missingScopes(token, scopes);
                if (missing.length > 0) {
                  refuse(status.PERMISSION_DENIED, `missing scopes: ${missing.join(" ")}`);
                  return;
                }
                tokens.set(metadata, token);
                proceed(metadata);
              },
              (error: unknown) => {
                const known = error instanceof VerificationError;
                const away = error instanceof KeySetUnavailable;
                const code = away ? status.UNAVAILABLE : known ? status.UNAUTHENTICATED : status.INTERNAL;
                const details = away ? UNAVAILABLE : known ? `${error.reason}: ${error.message}` : "internal error";
                refuse(code, details);
              },
            );
          },
        });
      },
    });
  };
}

import { credentials, InterceptingCall, Metadata, ServerInterceptingCall, status, } from "@grpc/grpc-js";
import { bearerToken, current, missingScopes, UNAVAILABLE } from "./bearer.js";
import { KeySetUnavailable, TokenmintError, VerificationError } from "./errors.js";
/** Returns call credentials, for a TLS channel (`credentials.combineChannelCredentials`) or a single call. */
export function callCredentials(source, subjectToken, audience, options = {}) {
    return credentials.createFromMetadataGenerator((_, done) => {
        source.get(current(subjectToken), audience, options).then((token) => {
            const metadata = new Metadata();
            metadata.set("authorization", `Bearer ${token.value}`);
            done(null, metadata);
        }, (error) => {
            done(error instanceof Error ? error : new Error("no token"));
        });
    });
}
/** Returns a client interceptor that adds the token to each call. Over TLS, prefer call credentials. */
export function tokenInterceptor(source, subjectToken, audience, options = {}) {
    return (callOptions, nextCall) => new InterceptingCall(nextCall(callOptions), {
        start(metadata, listener, next) {
            source.get(current(subjectToken), audience, options).then((token) => {
                metadata.set("authorization", `Bearer ${token.value}`);
                next(metadata, listener);
            }, (error) => {
                const known = error instanceof TokenmintError;
                const code = known ? status[error.code] : status.INTERNAL;
                const details = known ? `${error.reason}: ${error.message}` : "no token";
                listener.onReceiveStatus({ code, details, metadata: new Metadata() });
            });
        },
    });
}
const tokens = new WeakMap();
/** Returns the verified token of a call that is being served, by its metadata. @throws RangeError where it has none. */
export function tokenOf(call) {
    const token = tokens.get(call.metadata);
    if (token === undefined)
        throw new RangeError("the call was not verified");
    return token;
}
/** Returns a server interceptor that serves a call only with a good token; `tokenOf(call)` returns it to the method. */
export function verifyingInterceptor(verifier, options = {}) {
    const open = new Set(options.public);
    const scopes = options.scopes ?? [];
    return (method, call) => {
        if (open.has(method.path))
            return new ServerInterceptingCall(call);
        const refuse = (code, details) => {
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
                        verifier.verify(bearer).then((token) => {
                            const missing = missingScopes(token, scopes);
                            if (missing.length > 0) {
                                refuse(status.PERMISSION_DENIED, `missing scopes: ${missing.join(" ")}`);
                                return;
                            }
                            tokens.set(metadata, token);
                            proceed(metadata);
                        }, (error) => {
                            const known = error instanceof VerificationError;
                            const away = error instanceof KeySetUnavailable;
                            const code = away ? status.UNAVAILABLE : known ? status.UNAUTHENTICATED : status.INTERNAL;
                            const details = away ? UNAVAILABLE : known ? `${error.reason}: ${error.message}` : "internal error";
                            refuse(code, details);
                        });
                    },
                });
            },
        });
    };
}

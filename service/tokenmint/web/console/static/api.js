// The requests. The credentials are in this closure alone: no storage, no cookie, no URL, no element has them.

const NAME = "tokenmint-client-id";
const SECRET = "tokenmint-client-secret";
const PATIENCE = 30 * 1000; // milliseconds; a lost network answers never
let credentials = null;

/** An answer that is no document. */
export class Refused extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Keep what the operator typed; nothing of both stands for the browser's client certificate. */
export function keep(name, secret) {
  credentials = name || secret ? { [NAME]: name, [SECRET]: secret } : {};
}

export function forget() {
  credentials = null;
}

export const isSignedIn = () => credentials !== null;

/** Ask a route; with a form by POST, because names of persons and tokens do not belong in a URL. */
export async function ask(path, form = null) {
  if (credentials === null) throw new Refused(401, "SIGNED_OUT", "signed out");
  const asked = credentials;
  let answer;
  try {
    answer = await fetch(path, {
      method: form === null ? "GET" : "POST",
      headers: { "tokenmint-console": "1", ...asked },
      body: form === null ? undefined : new URLSearchParams(form),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    const typed = error instanceof TypeError && !navigator.onLine ? "the browser is offline" : "the service does not answer";
    throw new Refused(0, "NO_ANSWER", typed);
  }
  if (credentials !== asked) throw new Refused(401, "SIGNED_OUT", "signed out");
  const body = await answer.json().catch(() => null);
  if (credentials !== asked) throw new Refused(401, "SIGNED_OUT", "signed out");
  if (!answer.ok) throw new Refused(answer.status, body?.reason ?? "", body?.message ?? `HTTP ${answer.status}`);
  if (body === null || typeof body !== "object") throw new Refused(0, "NO_ANSWER", "the answer is not the console's, or broke off");
  return body;
}

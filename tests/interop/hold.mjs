// Verifies tokens with npm's jose as a service would that keeps its key sets for as long as it is told to and asks for
// none before that. Arguments: issuer, milliseconds to keep a set for, and a JWKS URL for each set. Reads
// {id, set, token, audience} from each line of standard input, writes {id, ok, code, fetched, received} for each: when
// the set was asked for that it was verified with, and when it was there, in milliseconds.
import { createInterface } from "node:readline";
import { createRemoteJWKSet, customFetch, jwtVerify } from "jose";

const [issuer, keep, ...urls] = process.argv.slice(2);
const cacheMaxAge = Number(keep);
const times = urls.map(() => ({ fetched: 0, received: 0 }));
// A cooldown that is longer than a set is kept: an unknown kid leads to a refusal, and to no second look.
const sets = urls.map((url, set) =>
  createRemoteJWKSet(new URL(url), {
    cacheMaxAge,
    cooldownDuration: 10 * cacheMaxAge,
    timeoutDuration: 2000,
    [customFetch]: async (...request) => {
      const fetched = Date.now();
      const response = await fetch(...request);
      if (response.ok) times[set] = { fetched, received: Date.now() };
      return response;
    },
  }),
);
process.stdout.write(`${JSON.stringify({ event: "ready" })}\n`);

async function verify({ id, set, token, audience }) {
  const algorithms = ["ES256", "EdDSA", "RS256"];
  try {
    await jwtVerify(token, sets[set], { issuer, audience, algorithms });
    return { id, ok: true };
  } catch (error) {
    return { id, ok: false, code: error.code ?? error.name, ...times[set] };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  verify(JSON.parse(line)).then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
}

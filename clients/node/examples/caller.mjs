// Calls a protected service on behalf of a user.
import { readFileSync } from "node:fs";
import { Client, clientSecret, tokenFetch, TokenSource } from "tokenmint-client";

const env = process.env;
const client = new Client({
  target: env.TOKENMINT_TARGET,
  credential: clientSecret(env.TOKENMINT_CLIENT_ID, env.TOKENMINT_CLIENT_SECRET),
  ca: readFileSync(env.TOKENMINT_CA_FILE),
});
const source = new TokenSource(client); // one for the whole program
const ordersFetch = tokenFetch(source, env.SUBJECT_TOKEN, env.TOKENMINT_AUDIENCE);

const answer = await ordersFetch(env.SERVICE_URL);
if (!answer.ok) throw new Error(`status ${answer.status}`);
console.log(await answer.text());
client.close();

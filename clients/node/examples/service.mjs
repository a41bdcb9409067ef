// A service that only tokens of tokenmint open.
import express from "express";
import { Verifier } from "tokenmint-client";
import { requireToken, tokenOf } from "tokenmint-client/express";

const verifier = new Verifier({ issuer: process.env.TOKENMINT_ISSUER, audience: process.env.TOKENMINT_AUDIENCE });

const app = express();
app.use(requireToken(verifier, { scopes: ["read"] }));
app.get("/", (request, response) => {
  response.send(`hello ${tokenOf(request).subject}`);
});

const server = app.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

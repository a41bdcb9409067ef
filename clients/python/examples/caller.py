"""Calls a protected service on behalf of a user."""

import os

import httpx

from tokenmint_client import Client, ClientSecret, TokenSource
from tokenmint_client.httpx_auth import TokenAuth

env = os.environ

client = Client(
    env["TOKENMINT_TARGET"],
    ClientSecret(env["TOKENMINT_CLIENT_ID"], env["TOKENMINT_CLIENT_SECRET"]),
    ca_file=env.get("TOKENMINT_CA_FILE"),
)
source = TokenSource(client)  # one for the whole program
auth = TokenAuth(source, env["SUBJECT_TOKEN"], env["TOKENMINT_AUDIENCE"])

with client, httpx.Client(auth=auth) as http:
    answer = http.get(env["SERVICE_URL"])
    answer.raise_for_status()
    print(answer.text)

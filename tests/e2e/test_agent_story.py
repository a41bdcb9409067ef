"""The story of docs/guides/agents.md on two replicas with near caches.

An agent that is stopped at one of them is refused at the other one a second later, wherever it is in the chain.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http
from tests.guides import GUIDES, NOBODYS
from tests.issuer import Issuer, rsa_key
from tests.pages import blocks_of
from tests.process import CLIENT
from tests.rig import Rig, Serve

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, TXN_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.profile_pb2 import Identity, Profile

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MCP, DOMAIN = "https://mcp.example.com", "example.internal"
PARTNER = Issuer(url="https://login.partner.example", key=rsa_key(3))
CLUSTER = Issuer(url="https://kubernetes.example.com", key=rsa_key(4))
UID = "0b5d2f5e-6a0e-4a3c-8c0a-7d1f6c5b9e11"
POD = "system:serviceaccount:apps:assistant"
AGENT = f"{POD}/{UID}"


def configuration() -> str:
    """The page's own, with the keys of its providers, and with a near cache."""
    text = "\n".join(block.text for block in blocks_of(GUIDES / "agents.md") if block.kind == "toml")
    for issuer in (PARTNER, CLUSTER):
        line = f'issuer = "{issuer.url}"'
        assert line in text
        text = text.replace(line, f"{line}\njwks = '''{issuer.jwks().decode()}'''")
    return text.replace(NOBODYS, CLIENT.fingerprint()) + "\n[caches]\nprofiles = 100\n"


class Story:
    """The calls of the story, at one replica."""

    def __init__(self, rig: Rig, http: httpx2.AsyncClient) -> None:
        self.rig = rig
        self.http = http

    async def post(self, path: str, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Send a form as a client with a secret, or as the agent, which has none."""
        proof = {"client_id": client, "client_secret": CLIENT.reveal()}
        if client == "assistant":
            proof = {"client_assertion": self.agent(), "client_assertion_type": BEARER}
        answer = await self.http.post(f"/oauth2/{path}", data={**proof, **form})
        found: dict[str, Any] = answer.json()
        return found

    def agent(self) -> str:
        """The agent's own token, from its cluster."""
        account = {"namespace": "apps", "serviceaccount": {"name": "assistant", "uid": UID}}
        claims: dict[str, Any] = {"sub": POD, "aud": ["https://tokens.example.com"], "kubernetes.io": account}
        return CLUSTER.token(self.rig.clock.now(), **claims)

    async def acting(self) -> dict[str, Any]:
        """The agent asks for a token for the MCP server, for the user."""
        user = PARTNER.token(self.rig.clock.now(), aud="web-app")
        form = {
            "grant_type": EXCHANGE, "subject_token": user, "subject_token_type": ID_TOKEN, "audience": MCP,
            "actor_token": self.agent(), "actor_token_type": JWT,
        }  # fmt: skip
        return await self.post("token", "assistant", form)

    async def transaction(self, token: str, kind: str = ACCESS_TOKEN, client: str = "mcp") -> dict[str, Any]:
        """The MCP server begins a transaction, or a service behind it goes on with one."""
        form = {
            "grant_type": EXCHANGE, "requested_token_type": TXN_TOKEN, "subject_token": token,
            "subject_token_type": kind, "audience": DOMAIN, "scope": "orders.write",
        }  # fmt: skip
        details = {"request_details": '{"action": "cancel", "order": 4711}'} if kind == ACCESS_TOKEN else {}
        return await self.post("token", client, form | details)

    async def is_active(self, token: str, client: str) -> bool:
        """A service asks about a token that it received."""
        return bool((await self.post("introspect", client, {"token": token}))["active"])


@asynccontextmanager
async def at(rig: Rig) -> AsyncIterator[Story]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        yield Story(rig, http)


@pytest_asyncio.fixture
async def replicas(serve: Serve) -> AsyncIterator[tuple[Rig, Rig]]:
    async with serve(configuration()) as one, serve(configuration()) as other:
        scopes = ["orders.read", "orders.write"]
        ada = Profile(principal="ada", identities=[Identity(provider="partner", subject="1842")])
        ada.claims.update({"scopes": scopes})
        await one.create(ada, Profile(principal="assistant", identities=[Identity(provider="cluster", subject=AGENT)]))
        yield one, other


@pytest.mark.parametrize("way", ["disable", "revoke"])
async def test_an_agent_that_is_stopped_elsewhere_is_refused_everywhere_after_a_second(
    replicas: tuple[Rig, Rig], way: str
) -> None:
    one, other = replicas
    async with at(one) as story:
        for _ in range(3):  # the caches remember every party
            mcp_token = (await story.acting())["access_token"]
            begun = (await story.transaction(mcp_token))["access_token"]
            replaced = (await story.transaction(begun, TXN_TOKEN, "orders"))["access_token"]
        received = ((mcp_token, "mcp"), (begun, "orders"), (replaced, "orders"))
        assert [await story.is_active(*one) for one in received] == [True] * 3
        if way == "disable":
            profile, mask = Profile(principal="assistant", disabled=True), FieldMask(paths=["disabled"])
            request = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=mask)
            await other.profiles.UpdateProfile(request, **other.auth("root"))
        else:
            ended = profiles_pb.RevokePrincipalTokensRequest(principal="assistant")
            await other.profiles.RevokePrincipalTokens(ended, **other.auth("root"))
        await one.let_pass(1.0)
        assert [await story.is_active(*one) for one in received] == [False] * 3
        reason = "PRINCIPAL_DISABLED" if way == "disable" else "REVOKED"
        assert (await story.transaction(mcp_token))["reason"] == reason
        assert (await story.transaction(begun, TXN_TOKEN, "orders"))["reason"] == reason
        again = await story.acting()
        assert ("access_token" in again) is (way == "revoke"), "a revocation ends the tokens from before alone"

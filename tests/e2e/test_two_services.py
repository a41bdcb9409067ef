"""Two services of tokenmint, each with an issuer of its own: one mints grants, and the other one takes them.

draft-ietf-oauth-identity-assertion-authz-grant section 4, draft-ietf-oauth-identity-chaining section 2: both legs.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.fakes import FakeEntropy
from tests.rig import AUDIENCE, OWN_ISSUER, Rig, Serve, person, refusal

from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, ID_TOKEN, JWT, JWT_GRANT, JWT_GRANT_TYP
from tokenmint.process.new_secrets import new_secret
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint_client import AsyncVerifier

B_ISSUER, TOOLS = "https://b.example", "https://tools.b.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
OPTIONS = f'[oauth]\nenabled = true\ndrafts = ["{IDENTITY_ASSERTION}", "{IDENTITY_CHAINING}"]\n'
A_CONFIG = f"""
{OPTIONS}
[audiences."{B_ISSUER}"]
clients = ["web"]
providers = ["idp"]
resources = ["{TOOLS}"]
scopes = ["call", "list"]
[audiences."{B_ISSUER}".<format>]
clients = {{ web = "tools" }}
"""
B_CONFIG = f"""
{OPTIONS}
[providers.a]
issuer = "{OWN_ISSUER}"
jwks_url = "<keys>"
allow_private = true
audiences = ["nobody"]
token_types = ["id_jag", "jwt_grant"]

[audiences."{TOOLS}"]
clients = ["tools", "web"]
providers = ["a"]
scopes = ["call", "list", "admin"]

[clients.tools]
secrets = ["sha256:<secret>"]
"""


@dataclass
class Two:
    """The service that mints grants of one kind, and the one that takes them."""

    a: Rig
    b: Rig
    kind: str
    """The type of the grants, as a subject token over gRPC."""
    requested: str
    """Their type, as A is asked for it."""
    typ: str

    async def grant(self, **form: str) -> dict[str, Any]:
        """Return A's answer to its client `web`, with a user's ID token (leg 1)."""
        token = self.a.issuer.token(self.a.clock.now())
        asked = {
            "grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN, "audience": B_ISSUER,
            "requested_token_type": self.requested, "resource": TOOLS, "scope": "call",
        }  # fmt: skip
        return await _post(self.a, "web", asked | form)

    async def taken(self, assertion: str, client: str = "tools", **form: str) -> dict[str, Any]:
        """Return B's answer to a client with a grant (leg 2). A's client `web` is `tools` there."""
        return await _post(self.b, client, {"grant_type": JWT_GRANT, "assertion": assertion} | form)


async def _post(rig: Rig, client: str, form: dict[str, str]) -> dict[str, Any]:
    auth = {"client_id": client, "client_secret": rig.secrets[client].reveal()}
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        body: dict[str, Any] = (await http.post("/oauth2/token", data=auth | form)).json()
        return body


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest_asyncio.fixture(params=["id_jag", "jwt_grant"])
async def two(serve: Serve, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    directory = serve.directory / "b"
    directory.mkdir()
    other = replace(serve, directory=directory, prefix=f"{serve.prefix}b:", entropy=FakeEntropy(7))
    kinds = {"id_jag": (ID_JAG, ID_JAG, ID_JAG_TYP), "jwt_grant": (JWT_GRANT, JWT, JWT_GRANT_TYP)}
    async with serve(A_CONFIG.replace("<format>", request.param)) as a:
        await a.create(person())
        taking = B_CONFIG.replace("<keys>", a.url("http", "/.well-known/jwks.json"))
        secret = new_secret(other.entropy)
        async with other(taking.replace("<secret>", secret.fingerprint()), own_issuer=B_ISSUER) as b:
            b.secrets["tools"] = secret
            await b.create(Profile(principal="ada.at.b", identities=[Identity(provider="a", subject="ada")]))
            yield Two(a, b, *kinds[request.param])


async def _key_ids(rig: Rig) -> set[str]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        return {key["kid"] for key in (await http.get("/.well-known/jwks.json")).json()["keys"]}


async def test_a_grant_of_one_service_is_a_token_of_the_other(two: Two) -> None:
    first = await two.grant()
    assert (first["issued_token_type"], first["token_type"], first["scope"]) == (two.requested, "N_A", "call")
    header, asserted = jwt.get_unverified_header(first["access_token"]), _claims(first["access_token"])
    assert (header["typ"], asserted["iss"], asserted["aud"], asserted["sub"], asserted["client_id"]) == (
        two.typ, OWN_ISSUER, B_ISSUER, "ada", "tools",
    )  # fmt: skip
    second = await two.taken(first["access_token"])
    assert (second["token_type"], second["scope"]) == ("Bearer", "call"), second
    verifier = AsyncVerifier(
        B_ISSUER, TOOLS, jwks_url=two.b.url("http", "/.well-known/jwks.json"), clock=two.b.clock.now
    )
    try:
        claims = (await verifier.verify(second["access_token"])).claims
    finally:
        await verifier.close()
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("ada.at.b", "tools", "call")


async def test_a_grant_of_the_other_service_is_used_once_over_both_transports(two: Two) -> None:
    assertion = (await two.grant())["access_token"]
    assert "access_token" in await two.taken(assertion)
    assert (await two.taken(assertion))["reason"] == "REPLAYED"
    request = pb.ExchangeTokenRequest(subject_token=assertion, subject_token_type=two.kind, audience=TOOLS)
    assert (await refusal(two.b.exchange.ExchangeToken(request, **two.b.auth("tools")))).reason == "REPLAYED"
    request.subject_token = (await two.grant())["access_token"]
    assert (await two.b.exchange.ExchangeToken(request, **two.b.auth("tools"))).scopes == ["call"]
    assert (await two.taken(request.subject_token))["reason"] == "REPLAYED"


async def test_the_other_service_fetches_a_key_that_it_has_not_seen(two: Two) -> None:
    known = await _key_ids(two.a)
    assert "access_token" in await two.taken((await two.grant())["access_token"])
    for _ in range(2):  # the first only activates the key that was published beside the old one
        rotate = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
        await two.a.keys.RotateSigningKey(rotate, **two.a.auth("root"))
    assertion = (await two.grant())["access_token"]
    assert jwt.get_unverified_header(assertion)["kid"] not in known
    assert "access_token" in await two.taken(assertion)


async def test_each_service_refuses_the_grants_that_are_not_for_it(two: Two) -> None:
    assertion = (await two.grant())["access_token"]
    unbound = (await two.grant(resource=""))["access_token"]
    at_home = await _post(two.a, "web", {"grant_type": JWT_GRANT, "assertion": unbound, "audience": AUDIENCE})
    assert (at_home["error"], at_home["reason"]) == ("invalid_grant", "UNKNOWN_ISSUER")
    assert (await two.taken(assertion, "web"))["reason"] == "TOKEN_DENIED"
    assert (await two.taken(assertion, scope="list"))["error"] == "invalid_scope"
    assert "access_token" in await two.taken(assertion), "a refusal uses nothing up"

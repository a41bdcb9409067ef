"""Attacks on grants, and on a session of ours as the refresh token for ID-JAGs: longer, wider, twice, or for another.

The file of attacks (docs/security.md) names these tests.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from jwt.utils import base64url_decode, base64url_encode, der_to_raw_signature, raw_to_der_signature
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.rig import Rig, Serve, person, refusal
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_TOKEN, JWT, JWT_GRANT, JWT_GRANT_TYP, REFRESH_TOKEN
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, API, SESSION, AS, AS_B = (
    "https://tokens.example", "https://api.example", "https://session.example", "https://as.example",
    "https://as.b.example",
)  # fmt: skip
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
POD = Issuer(url="https://pod.example", key=rsa_key(4))
A, KEYS = "https://as.a.example", json.dumps({"keys": [jwk(ec_key(3), kid="a")]})
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's base point (SEC 2 section 2.4.2)."""
NUMBERS = count()
EXTRA = f"""
[oauth]
enabled = true
drafts = ["{IDENTITY_ASSERTION}", "{IDENTITY_CHAINING}"]

[providers.a]
issuer = "{A}"
audiences = ["nobody"]
token_types = ["jwt_grant"]
jwks = '''{KEYS}'''

[providers.pod]
issuer = "{POD.url}"
audiences = ["{ISSUER}"]
jwks = '''{POD.jwks().decode()}'''

[audiences."{API}"]
clients = ["web"]
providers = ["a"]
scopes = ["read"]

[audiences."{SESSION}"]
clients = ["web", "batch"]
providers = ["idp"]
scopes = ["read"]
lifetime = "1h"
[audiences."{SESSION}".reference]
idle = "10m"
[audiences."{SESSION}".actors]
providers = ["pod"]
without_may_act = true

[audiences."{AS}"]
clients = ["web", "batch"]
reexchange_from = ["{SESSION}", "{API}"]
scopes = ["read", "write"]
[audiences."{AS}".id_jag]
clients = {{ web = "web-there", batch = "batch-there" }}

[audiences."{AS_B}"]
clients = ["web"]
reexchange_from = ["{API}"]
scopes = ["read", "write"]
[audiences."{AS_B}".jwt_grant]
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            ada = person()
            ada.identities.append(Identity(provider="a", subject="1842"))
            await service.create(ada)
            await service.create(Profile(principal="planner", identities=[Identity(provider="pod", subject="agent")]))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


async def post(rig: Rig, http: httpx2.AsyncClient, client: str = "web", **form: Any) -> Mapping[str, Any]:
    headers = {}
    if key := form.pop("key", None):
        at: dict[str, Any] = {"htu": f"{ISSUER}/oauth2/token", "iat": int(rig.clock.now()), "jti": f"p{next(NUMBERS)}"}
        headers["DPoP"] = dpop_proof(key=ec_key(key), **at).reveal()
    auth = {"client_id": client, "client_secret": rig.secrets[client].reveal()}
    sent = auth | {name: value for name, value in form.items() if value}
    answer: Mapping[str, Any] = (await http.post("/oauth2/token", data=sent, headers=headers)).json()
    return answer


def grant(rig: Rig, **changes: Any) -> str:
    now = int(rig.clock.now())
    claims = {"iss": A, "sub": "1842", "aud": ISSUER, "jti": f"j{next(NUMBERS)}", "iat": now, "exp": now + 300}
    given = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(given, ec_key(3), algorithm="ES256", headers={"typ": JWT_GRANT_TYP, "kid": "a"})


async def granted(rig: Rig, http: httpx2.AsyncClient, token: str, **form: Any) -> Mapping[str, Any]:
    return await post(rig, http, grant_type=JWT_GRANT, assertion=token, audience=API, **form)


async def session(rig: Rig, http: httpx2.AsyncClient, **form: Any) -> str:
    """A session of the client `web`."""
    asked = {
        "grant_type": EXCHANGE, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
        "audience": SESSION,
    }  # fmt: skip
    body = await post(rig, http, **(asked | form))
    assert "access_token" in body, body
    token: str = body["access_token"]
    return token


async def refreshed(rig: Rig, http: httpx2.AsyncClient, token: str, **form: Any) -> Mapping[str, Any]:
    asked = {
        "grant_type": EXCHANGE, "subject_token": token, "subject_token_type": REFRESH_TOKEN, "audience": AS,
        "requested_token_type": ID_JAG,
    }  # fmt: skip
    return await post(rig, http, **(asked | form))


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def signed_again(token: str) -> str:
    """The same token with the other signature that ECDSA has for it: (r, n - s)."""
    signing_input, _, signature = token.rpartition(".")
    curve = ec.SECP256R1()
    r, s = decode_dss_signature(raw_to_der_signature(base64url_decode(signature), curve))
    other = der_to_raw_signature(encode_dss_signature(r, ORDER - s), curve)
    return f"{signing_input}.{base64url_encode(other).decode()}"


# --- plain grants -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token_id", ["j", None])
async def test_a_grant_with_another_valid_signature_is_the_same_grant(
    rig: Rig, http: httpx2.AsyncClient, token_id: str | None
) -> None:
    for first, second in ((0, 1), (1, 0)):
        token = grant(rig, jti=token_id and f"{token_id}{first}", email=f"{first}@example.com")
        both = (token, signed_again(token))
        assert "access_token" in await granted(rig, http, both[first])
        assert (await granted(rig, http, both[second]))["reason"] == "REPLAYED"


@pytest.mark.alone
async def test_a_grant_is_remembered_for_as_long_as_the_clocks_may_differ(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = grant(rig)
    ends = claims_of(token)["exp"]
    assert "access_token" in await granted(rig, http, token)
    reasons = []
    for second in (ends - 1, ends + 1, ends + 59, ends + 61, ends + 119, ends + 121):
        await rig.set_time(second)
        reasons.append((await granted(rig, http, token))["reason"])
    assert set(reasons) == {"REPLAYED", "EXPIRED"}
    assert reasons == sorted(reasons, reverse=True), "replayed, and after that expired"


# --- sessions as refresh tokens -----------------------------------------------------------------------------------


async def test_a_delegated_session_gives_no_id_jag_that_hides_its_actor(rig: Rig, http: httpx2.AsyncClient) -> None:
    agent = POD.token(rig.clock.now(), sub="agent", aud=ISSUER, email=None)
    token = await session(rig, http, actor_token=agent, actor_token_type=ID_TOKEN)
    assert (await refreshed(rig, http, token))["reason"] == "ACTOR_DENIED"
    other = POD.token(rig.clock.now(), sub="agent", aud=ISSUER, email=None)
    body = await refreshed(rig, http, await session(rig, http), actor_token=other, actor_token_type=ID_TOKEN)
    assert body["reason"] == "ACTOR_DENIED"


async def test_a_session_that_is_bound_to_a_key_needs_it_and_its_id_jags_keep_it(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    token = await session(rig, http, key=1)
    for key in (None, 2):
        assert (await refreshed(rig, http, token, key=key))["reason"] == "POSSESSION_NOT_PROVED"
    body = await refreshed(rig, http, token, key=1)
    assert "jkt" in claims_of(body["access_token"])["cnf"]


async def test_a_session_gives_no_scope_that_it_has_not(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await session(rig, http)
    assert (await refreshed(rig, http, token))["scope"] == "read"
    assert (await refreshed(rig, http, token, scope="write"))["reason"] == "SCOPE_DENIED"
    assert (await refreshed(rig, http, token, scope="read write"))["reason"] == "SCOPE_DENIED"


@pytest.mark.alone
async def test_another_client_neither_uses_a_session_nor_keeps_it_alive(rig: Rig, http: httpx2.AsyncClient) -> None:
    token, began = await session(rig, http), rig.clock.now()
    await rig.set_time(began + 500)
    assert (await refreshed(rig, http, token, client="batch"))["reason"] == "REEXCHANGE_DENIED"
    assert (await refreshed(rig, http, token, client="batch", subject_token_type=ACCESS_TOKEN))["reason"] == (
        "REEXCHANGE_DENIED"
    )
    await rig.set_time(began + 601)
    assert (await refreshed(rig, http, token))["reason"] == "EXPIRED"


@pytest.mark.alone
async def test_an_id_jag_outlives_neither_its_session_nor_the_idle_time_of_it(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    token, began = await session(rig, http), rig.clock.now()
    for passed in range(540, 3600, 540):
        await rig.set_time(began + passed)
        body = await refreshed(rig, http, token)
        assert claims_of(body["access_token"])["exp"] <= began + 3600, body
    await rig.set_time(began + 3601)
    assert (await refreshed(rig, http, token))["reason"] == "EXPIRED"


# --- tokens that end with the token that they come from -----------------------------------------------------------


@pytest.mark.alone
async def test_no_request_makes_a_grant_outlive_the_token_that_it_comes_from(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    token = (await granted(rig, http, grant(rig)))["access_token"]
    ends = claims_of(token)["exp"]
    await rig.set_time(ends - 1)
    for audience, kind in ((AS, ID_JAG), (AS_B, JWT)):
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=ACCESS_TOKEN, audience=audience)
        assert claims_of((await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token)["exp"] == ends
        request.lifetime.FromSeconds(300)
        told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        assert told.reason == "LIFETIME_DENIED"
        form = {"subject_token": token, "subject_token_type": ACCESS_TOKEN, "audience": audience}
        body = await post(rig, http, grant_type=EXCHANGE, requested_token_type=kind, **form)
        assert (claims_of(body["access_token"])["exp"], body["expires_in"]) == (ends, 1)
    await rig.set_time(ends)
    for audience in (AS, AS_B):
        form = {"subject_token": token, "subject_token_type": ACCESS_TOKEN, "audience": audience}
        assert (await post(rig, http, grant_type=EXCHANGE, **form))["reason"] == "EXPIRED"

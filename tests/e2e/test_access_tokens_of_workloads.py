"""Attacks on access tokens as workloads' credentials, where a provider's `token_types` list no ID tokens.

RFC 9068 section 2.2.1: claims of a user's sign-in are in no application's own token. RFC 7523 section 3: an assertion
for several audiences could be presented here by each of them. Both hold over gRPC and over HTTP.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, person, refusal

from tokenmint.model.drafts import IDENTITY_CHAINING
from tokenmint.model.tokens import ID_TOKEN, JWT_GRANT_TYP
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, API = "https://tokens.example", "https://api.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
APPS = Issuer(url="https://apps.example", key=rsa_key(3))
NUMBERS = count()
EXTRA = f"""
[oauth]
enabled = true
drafts = ["{IDENTITY_CHAINING}"]

[providers.apps]
issuer = "{APPS.url}"
audiences = ["{ISSUER}"]
token_types = ["access_token"]
subject_claims = ["client_id"]
jwks = '''{APPS.jwks().decode()}'''

[audiences."{API}"]
clients = ["billing"]
providers = ["idp"]

[clients.billing]
workloads = [{{ provider = "apps", subject = "billing-app" }}]
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            await service.create(person())
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def workload(rig: Rig, typ: str = "at+jwt", **changes: Any) -> str:
    """An application's own access token for us."""
    claims = {"sub": "billing-app", "client_id": "billing-app", "aud": ISSUER, "jti": f"j{next(NUMBERS)}"}
    return APPS.token(rig.clock.now(), headers={"typ": typ}, **{"email": None, **claims, **changes})


async def by_http(rig: Rig, http: httpx2.AsyncClient, token: str) -> int:
    form = {
        "grant_type": EXCHANGE, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
        "audience": API, "client_assertion": token, "client_assertion_type": ASSERTION,
    }  # fmt: skip
    return (await http.post("/oauth2/token", data=form)).status_code


def by_grpc(rig: Rig, token: str) -> Any:
    request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience=API)
    return rig.exchange.ExchangeToken(request, metadata=(("tokenmint-workload-token", token),), timeout=20)


async def test_an_applications_own_access_token_authenticates_it(rig: Rig, http: httpx2.AsyncClient) -> None:
    assert (await by_grpc(rig, workload(rig))).token
    assert await by_http(rig, http, workload(rig)) == 200


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("a user's token of this application, by the time of the sign-in", {"sub": "1842", "auth_time": 1_800_000_000}),
        ("a user's token of this application, by its nonce", {"sub": "1842", "nonce": "n"}),
        ("one that another service may present here", {"aud": [ISSUER, "https://orders.example"]}),
        ("one for another service", {"aud": "https://orders.example"}),
        ("a delegated one", {"act": {"sub": "agent"}}),
        ("another application's", {"client_id": "other-app"}),
        ("an application that has its name as a user", {"client_id": None}),
        ("an ID token", {"typ": "JWT"}),
        ("a grant", {"typ": JWT_GRANT_TYP}),
        ("one that is bound to a key", {"cnf": {"jkt": "A" * 43}}),
    ],
)
async def test_rfc_9068_section_2_2_1_what_is_no_applications_own_token(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any]
) -> None:
    assert (await refusal(by_grpc(rig, workload(rig, **changes)))).reason == "CALLER_UNAUTHENTICATED", case
    assert await by_http(rig, http, workload(rig, **changes)) == 401, case

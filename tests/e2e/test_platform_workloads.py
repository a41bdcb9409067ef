"""The shipped platforms as client authentication: over HTTP as a client assertion, over gRPC as a workload token.

The tokens are the examples of the shipped entries, with the audience that our service has there.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve
from tests.unit.verification.catalogued import algorithm_of, claims_of, key_set, signed

from tokenmint.config.entries import catalogue
from tokenmint.config.examples import ExampleToken, documentation
from tokenmint.model.drafts import SPIFFE_CLIENT_AUTH
from tokenmint.model.tokens import ID_TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGET: Final = "https://target.example"
BEARER, SPIFFE = (f"urn:ietf:params:oauth:client-assertion-type:jwt-{name}" for name in ("bearer", "spiffe"))
OURS: Final = "https://tokens.example"
PLATFORMS: Final[Mapping[str, str]] = {
    "kubernetes": "a pod's token",
    "spiffe": "a JWT-SVID",
    "github-actions": "a workflow's token",
    "gitlab": "a job's token",
    "aws-outbound": "a role's token",
    "google-service-account": "a service account's ID token",
    "entra": "an application's own access token, where these are required",
}
"""The entries of platforms, each with one of its examples."""
EXAMPLES: Final[Mapping[str, ExampleToken]] = {
    name: next(one for one in documentation()[name].tokens if one.name == title) for name, title in PLATFORMS.items()
}


def table(name: str, example: ExampleToken) -> str:
    """The provider of an example, and a client that its workload is."""
    settings = {**example.settings, "use": name, "audiences": [OURS], "jwks": bundle(name)}
    lines = "\n".join(f"{key} = {written(value)}" for key, value in settings.items())
    subject = written(example.subject)
    return f"""
[providers.{name}]
{lines}
[clients.{name}]
workloads = [{{ provider = "{name}", subject = {subject} }}]
"""


def written(value: Any) -> str:
    """A value of the configuration. Texts and lists of texts have one form in JSON and TOML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def bundle(name: str) -> str:
    """The keys of a provider; those of a trust domain are in a bundle."""
    keys = json.loads(key_set())
    if name == "spiffe":
        keys["keys"] = [{**key, "use": "jwt-svid"} for key in keys["keys"]]
    return json.dumps(keys)


@pytest.fixture(scope="module")
def start() -> Start:
    clients = json.dumps(list(PLATFORMS))
    extra = f"""
[oauth]
enabled = true
drafts = ["{SPIFFE_CLIENT_AUTH}"]
[audiences."{TARGET}"]
clients = {clients}
providers = ["idp"]
on_missing_profile = "without"
""" + "".join(table(name, example) for name, example in EXAMPLES.items())

    def started(serve: Serve) -> Any:
        return serve(extra)

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def token(rig: Rig, name: str, **changes: Any) -> str:
    """The platform's token for our service, as of now."""
    example, now = EXAMPLES[name], int(rig.clock.now())
    claims = {**claims_of(example), "iat": now, "exp": now + 300, "aud": OURS, "jti": f"{name}-{now}", **changes}
    return signed(claims, algorithm_of(example, catalogue()[name]), example.header)


async def over_http(rig: Rig, http: httpx2.AsyncClient, assertion: str, kind: str) -> str:
    """Return the client that an assertion proves, or "" if the answer is that of an unauthenticated client."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": TARGET,
        "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
        "client_assertion": assertion, "client_assertion_type": kind,
    }  # fmt: skip
    answer = await http.post("/oauth2/token", data=form)
    if answer.status_code == 200:
        return client_of(answer.json()["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    return ""


async def over_grpc(rig: Rig, workload: str) -> str:
    """Return the client that a workload token proves, or "" if the call is unauthenticated."""
    request = rig.request(audience=TARGET)
    try:
        answer = await rig.exchange.ExchangeToken(
            request, metadata=(("tokenmint-workload-token", workload),), timeout=20
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return ""
    return client_of(answer.token)


def client_of(issued: str) -> str:
    claimed: str = jwt.decode(issued, options={"verify_signature": False})["client_id"]
    return claimed


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_token_of_each_platform_proves_its_client_over_either_transport(
    rig: Rig, http: httpx2.AsyncClient, name: str
) -> None:
    right, wrong = (SPIFFE, BEARER) if name == "spiffe" else (BEARER, SPIFFE)
    assert await over_http(rig, http, token(rig, name, jti="a"), right) == name
    assert await over_http(rig, http, token(rig, name, jti="b"), wrong) == ""
    assert await over_grpc(rig, token(rig, name, jti="c")) == name


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_token_that_the_platforms_entry_refuses_proves_nobody(
    rig: Rig, http: httpx2.AsyncClient, name: str
) -> None:
    kind = SPIFFE if name == "spiffe" else BEARER
    variants = [one for one in EXAMPLES[name].refused if not one.settings and not one.type]
    assert len(variants) >= 1
    for number, variant in enumerate(variants):
        changes = {"jti": f"r{number}", **variant.claims, **dict.fromkeys(variant.without)}
        header = {**EXAMPLES[name].header, **variant.header}
        algorithm = variant.algorithm or algorithm_of(EXAMPLES[name], catalogue()[name])
        now = int(rig.clock.now())
        claims = {**claims_of(EXAMPLES[name]), "iat": now, "exp": now + 300, "aud": OURS, **changes}
        refused = signed(claims, algorithm, header)
        assert await over_http(rig, http, refused, kind) == "", variant.name
        assert await over_grpc(rig, refused) == "", variant.name


@pytest.mark.parametrize("name", PLATFORMS)
async def test_the_token_of_another_workload_or_for_another_service_proves_nobody(
    rig: Rig, http: httpx2.AsyncClient, name: str
) -> None:
    kind = SPIFFE if name == "spiffe" else BEARER
    other: dict[str, Any] = {"sub": f"{EXAMPLES[name].claims['sub']}-other"}
    if name == "entra":
        other = {"oid": "11111111-2222-3333-4444-666666666666"}
    ended = int(rig.clock.now()) - 600
    refused: tuple[dict[str, Any], ...] = (other, {"aud": "https://other.example"}, {"aud": []}, {"exp": ended})
    for changes in refused:
        assert await over_http(rig, http, token(rig, name, jti="d", **changes), kind) == "", changes
        assert await over_grpc(rig, token(rig, name, jti="e", **changes)) == "", changes
    several = token(rig, name, jti="f", aud=[OURS, "https://other.example"])
    assert await over_http(rig, http, several, kind) == "", "each of the audiences could present it"

"""JWT-SVIDs and the bundle by which they are verified: SPIFFE's JWT-SVID, SPIFFE-ID, Trust Domain and Bundle."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, refusal

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.model.tokens import ACCESS_TOKEN, JWT
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2 import RotateSigningKeyRequest
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint_client import AsyncVerifier, TokenRejected

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOMAIN, BUNDLE = "prod.example", "/.well-known/spiffe-bundle.json"
POD = Issuer(url="https://pod.example", key=rsa_key(3))
REPORTS, AGENTS, OLD = "spiffe://prod.example/reports", "agents", "old"
EXTRA = f"""
[spiffe]
trust_domain = "{DOMAIN}"

[providers.pod]
issuer = "{POD.url}"
audiences = ["https://tokens.example"]
jwks = '''{POD.jwks().decode()}'''

[audiences."{REPORTS}"]
clients = ["web"]
providers = ["pod"]
on_missing_profile = "without"
[audiences."{REPORTS}".spiffe]
path = "/ns/{{assertion.namespace}}/sa/{{assertion['name']}}"

[audiences."{AGENTS}"]
clients = ["web"]
providers = ["pod", "idp"]
algorithm = "RS256"
on_missing_profile = "without"
[audiences."{AGENTS}".spiffe]
"""


@pytest.fixture(scope="module")
def start() -> Start:
    def started(serve: Serve) -> Any:
        return serve(EXTRA, rsa=True)

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def pod(rig: Rig, **claims: Any) -> str:
    given = {"namespace": "prod", "name": "web", "email": None, "aud": "https://tokens.example"} | claims
    return POD.token(rig.clock.now(), **given)


def request(token: str, audience: str = REPORTS, **fields: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=token, audience=audience, **fields)


async def minted(rig: Rig, token: str, audience: str = REPORTS) -> pb.ExchangeTokenResponse:
    return await rig.exchange.ExchangeToken(request(token, audience), **rig.auth("web"))


async def verified(rig: Rig, http: httpx2.AsyncClient, token: str, audience: str) -> dict[str, Any]:
    """The claims of a JWT-SVID that its bundle verifies (JWT-SVID section 4)."""
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict((await http.get(BUNDLE)).json()).keys}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims: dict[str, Any] = jwt.decode(token, key, ["ES256", "RS256"], audience=audience, options=options)
    assert claims["exp"] > rig.clock.now()
    return claims


async def test_jwt_svid_sections_2_and_3_only_what_they_allow(rig: Rig, http: httpx2.AsyncClient) -> None:
    answer = await minted(rig, pod(rig))
    assert (answer.issued_token_type, answer.token_type) == (JWT, "Bearer")
    header = jwt.get_unverified_header(answer.token)
    assert header.keys() == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "JOSE")
    claims = await verified(rig, http, answer.token, REPORTS)
    assert claims.keys() == {"sub", "aud", "exp", "iat", "jti"}
    assert claims["sub"] == f"spiffe://{DOMAIN}/ns/prod/sa/web"
    assert claims["aud"] == [REPORTS]


async def test_without_a_path_the_principal_is_the_workload(rig: Rig, http: httpx2.AsyncClient) -> None:
    claims = await verified(rig, http, (await minted(rig, pod(rig), AGENTS)).token, AGENTS)
    assert claims["sub"].startswith(f"spiffe://{DOMAIN}/p_")


@pytest.mark.parametrize(
    "claims",
    [
        {"namespace": None}, {"namespace": ""}, {"namespace": "prod/sa/admin"}, {"namespace": ".."}, {"namespace": "."},
        {"namespace": "a b"}, {"namespace": "ü"}, {"namespace": "a%2Fb"}, {"namespace": "x" * 2048},
        {"namespace": ["prod"]}, {"namespace": 7}, {"name": "web/"}, {"name": "/web"}, {"name": "web?x"},
    ],
)  # fmt: skip
async def test_spiffe_id_section_2_2_foreign_values_make_no_other_path(rig: Rig, claims: dict[str, Any]) -> None:
    refused = await refusal(rig.exchange.ExchangeToken(request(pod(rig, **claims)), **rig.auth("web")))
    assert refused.reason == "FORMAT_DENIED"


@pytest.mark.parametrize("token_type", ["at+jwt", "JWT", "JOSE"])
async def test_rfc_8725_section_3_11_no_verifier_of_our_other_tokens_accepts_it(rig: Rig, token_type: str) -> None:
    svid = (await minted(rig, pod(rig), AGENTS)).token
    keys = rig.url("http", "/.well-known/jwks.json")
    verifier = AsyncVerifier(
        "https://tokens.example",
        AGENTS,
        algorithms=["RS256"],
        token_type=token_type,
        jwks_url=keys,
        clock=rig.clock.now,
    )
    try:
        with pytest.raises(TokenRejected):
            await verifier.verify(svid)
    finally:
        await verifier.close()


async def test_explain_says_why_there_is_no_id(rig: Rig) -> None:
    explaining = pb.ExplainExchangeRequest(exchange=request(pod(rig, namespace="a/b")), client_id="web")
    answer = await TokenExchangeServiceStub(rig.admin).ExplainExchange(explaining, **rig.auth("root"))
    assert [step.reason for step in answer.steps if step.reason] == ["FORMAT_DENIED"]
    explaining = pb.ExplainExchangeRequest(exchange=request(pod(rig)), client_id="web")
    answer = await TokenExchangeServiceStub(rig.admin).ExplainExchange(explaining, **rig.auth("root"))
    assert f"spiffe://{DOMAIN}/ns/prod/sa/web" in str(answer)


async def test_no_scope_and_no_other_kind_of_token(rig: Rig) -> None:
    for wrong in ({"scopes": ["read"]}, {"requested_token_type": ACCESS_TOKEN}):
        await refusal(rig.exchange.ExchangeToken(request(pod(rig), **wrong), **rig.auth("web")))


async def test_trust_domain_and_bundle_section_4_the_bundle(rig: Rig, http: httpx2.AsyncClient) -> None:
    answer = await http.get(BUNDLE)
    bundle, keys = answer.json(), (await http.get("/.well-known/jwks.json")).json()["keys"]
    assert bundle.keys() == {"spiffe_sequence", "spiffe_refresh_hint", "keys"}
    assert bundle["spiffe_refresh_hint"] == 300
    assert isinstance(bundle["spiffe_sequence"], int)
    assert {key["use"] for key in bundle["keys"]} == {"jwt-svid"}
    assert {key["kid"] for key in bundle["keys"]} == {key["kid"] for key in keys if key["kty"] != "OKP"}
    members = [key.keys() - {"kid", "kty", "use", "crv", "x", "y", "n", "e"} for key in bundle["keys"]]
    assert not any(members)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"].startswith("public, max-age=")
    again = await http.get(BUNDLE, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.get(BUNDLE, headers={"If-None-Match": '"x"'})).status_code == 200
    assert (await http.post(BUNDLE)).status_code == 405


async def test_trust_domain_and_bundle_section_4_1_1_the_sequence_grows_with_each_change(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    before = (await http.get(BUNDLE)).json()
    await rig.keys.RotateSigningKey(RotateSigningKeyRequest(algorithm="ES256", force=True), **rig.auth("root"))
    after = (await http.get(BUNDLE)).json()
    assert after["keys"] != before["keys"]
    assert after["spiffe_sequence"] > before["spiffe_sequence"]
    claims = await verified(rig, http, (await minted(rig, pod(rig))).token, REPORTS)
    assert claims["sub"] == f"spiffe://{DOMAIN}/ns/prod/sa/web"


async def test_without_a_trust_domain_there_is_no_bundle(serve: Serve) -> None:
    async with serve() as rig, plain_http.client(base_url=rig.url("http", "")) as client:
        assert (await client.get(BUNDLE)).status_code == 404


SVID = f'[audiences."{REPORTS}".spiffe]\n'
OWN = f"""[providers.own]
use = "spiffe"
trust_domain = "{DOMAIN}"
audiences = ["x"]
jwks = '''{POD.jwks().decode()}'''
"""
PATH = """path = "/ns/{assertion.namespace}/sa/{assertion['name']}"\n"""


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (f'[spiffe]\ntrust_domain = "{DOMAIN}"\n', "", "spiffe: needs spiffe.trust_domain"),
        (f'trust_domain = "{DOMAIN}"', 'trust_domain = "Prod"', "spiffe.trust_domain: expected the name"),
        (PATH, 'path = "ns"\n', "spiffe.path: expected a path such as"),
        (PATH, 'path = "/ns/"\n', "spiffe.path: expected a path such as"),
        (PATH, 'path = "/a{client.id}"\n', "spiffe.path: expected a path such as"),
        (PATH, 'path = "/../x"\n', "spiffe.path: expected segments"),
        (PATH, 'path = "/a b"\n', "spiffe.path: expected segments"),
        (PATH, 'path = "/{nothing}"\n', "spiffe.path: expected 'text', client.id"),
        ('providers = ["pod"]', 'providers = ["pod", "idp"]', "spiffe.path: is only unique within one provider"),
        (
            'providers = ["pod"]',
            f'providers = []\nreexchange_from = ["{AGENTS}"]',
            "spiffe.path: is only unique within one provider",
        ),
        (SVID, 'algorithm = "EdDSA"\n' + SVID, "algorithm: JWT-SVIDs are signed with ES256 or RS256"),
        (SVID, 'scopes = ["read"]\n' + SVID, "scopes: tokens of the kind spiffe have none"),
        (SVID, 'bound = "dpop"\n' + SVID, "bound: tokens of the kind spiffe have none"),
        (SVID, f'[audiences."{REPORTS}".claims]\nx = "client.id"\n' + SVID, "claims: JWT-SVIDs have no further"),
        (SVID, f'[audiences.{OLD}]\nclients = ["web"]\nreexchange_from = ["{REPORTS}"]\n' + SVID, "never return"),
        (
            "[providers.pod]",
            f"{OWN}[providers.pod]",
            "providers.own.trust_domain: is tokenmint's own",
        ),
    ],
)
async def test_the_configuration_refuses(rig: Rig, before: str, after: str, problem: str) -> None:
    text = rig.config.read_text()
    assert before in text
    other = rig.config.with_name("other.toml")
    other.write_text(text.replace(before, after))
    with pytest.raises(ConfigurationError) as caught:
        load(other, {})
    assert problem in str(caught.value)


async def test_another_trust_domain_needs_a_restart(rig: Rig) -> None:
    text = rig.config.read_text()
    try:
        rig.config.write_text(text.replace(f'trust_domain = "{DOMAIN}"', 'trust_domain = "other.example"'))
        with pytest.raises(ConfigurationError, match="restart the service"):
            await rig.app.reload(rig.settings())
    finally:
        rig.config.write_text(text)
    assert jwt.decode((await minted(rig, pod(rig))).token, options={"verify_signature": False})["sub"] == (
        f"spiffe://{DOMAIN}/ns/prod/sa/web"
    )


async def test_the_keys_outlive_the_longest_svid(rig: Rig) -> None:
    """A format that the key ring signs counts for the time for which keys stay published."""
    text = rig.config.read_text().replace(SVID, 'max_lifetime = "12h"\n' + SVID)
    other = rig.config.with_name("longer.toml")
    other.write_text(text)
    assert load(other, {}).schedule.max_lifetime == 12 * 3600

"""Clients without secrets at the token endpoint: RFC 7521 section 4.2, RFC 7523bis, SPIFFE client authentication.

The code is that of gRPC's `tokenmint-workload-token`. Nothing but a token of a workload that a client names counts.
"""

import hmac
import json
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

import grpc
import httpx2
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.rig import AUDIENCE, Rig, Serve, refusal

from tokenmint.base.encoding import encode_segment
from tokenmint.model.drafts import RFC7523BIS, SPIFFE_CLIENT_AUTH

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = "https://tokens.example"
MESH = "https://mesh.example"
BEARER, SPIFFE = (f"urn:ietf:params:oauth:client-assertion-type:jwt-{name}" for name in ("bearer", "spiffe"))
CLUSTER, GITHUB, GITLAB, CLOUD, DOMAIN = (
    Issuer(url=url, key=rsa_key(number))
    for number, url in enumerate(
        ("https://cluster.example", "https://token.actions.githubusercontent.com", "https://gitlab.com",
         "https://cloud.example", "https://spire.example"), start=1,
    )
)  # fmt: skip
POD, JOB, PIPELINE, ROBOT = "system:serviceaccount:shop:orders", "repo:acme/shop:ref:refs/heads/main", "p", "108"
UID = "11111111-2222-3333-4444-555555555555"
SVID = "spiffe://mesh.example/orders"
NUMBERS = count()
"""Each token has an id of its own."""
EXTRA = f"""
[oauth]
enabled = true
drafts = {{drafts}}

[providers.k8s]
use = "kubernetes"
issuer = "{CLUSTER.url}"
namespaces = ["shop"]
audiences = ["{ISSUER}", "https://other.example"]
jwks = '''{CLUSTER.jwks().decode()}'''

[providers.ci]
use = "github-actions"
audiences = ["{ISSUER}"]
repository_owner_ids = ["583231"]
jwks = '''{GITHUB.jwks().decode()}'''

[providers.cloud]
issuer = "{CLOUD.url}"
audiences = ["{ISSUER}"]
jwks = '''{CLOUD.jwks().decode()}'''

[providers.mesh]
use = "spiffe"
trust_domain = "mesh.example"
audiences = ["{ISSUER}", "https://other.example"]
jwks = '''{json.dumps({"keys": [key | {"use": "jwt-svid"} for key in json.loads(DOMAIN.jwks())["keys"]]})}'''

[audiences."{MESH}"]
clients = ["pod", "job", "robot", "proxy", "keys"]
providers = ["idp"]
on_missing_profile = "without"

[clients.pod]
workloads = [{{{{ provider = "k8s", subject = "{POD}/{UID}" }}}}]
[clients.job]
workloads = [{{{{ provider = "ci", subject = "{JOB}" }}}}]
[clients.robot]
workloads = [{{{{ provider = "cloud", subject = "{ROBOT}" }}}}]
[clients.proxy]
workloads = [{{{{ provider = "mesh", subject = "{SVID}" }}}}]
[clients.keys]
jwks = '''{json.dumps({"keys": [jwk(ec_key(5), kid="c")]}).replace("{", "{{").replace("}", "}}")}'''
"""


@pytest.fixture(scope="module", params=["drafts", "no drafts"])
def drafts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "drafts")


@pytest.fixture(scope="module")
def start(drafts: bool) -> Start:
    followed = json.dumps([RFC7523BIS, SPIFFE_CLIENT_AUTH] if drafts else [])
    text = EXTRA.replace("{drafts}", followed).replace("{{", "{").replace("}}", "}")

    def started(serve: Serve) -> Any:
        return serve(text)

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def pod(rig: Rig, **changes: Any) -> str:
    """A projected token of a service account."""
    claims = {"namespace": "shop", "serviceaccount": {"name": "orders", "uid": UID}}
    given = {"sub": POD, "aud": [ISSUER], "kubernetes.io": claims} | changes
    return CLUSTER.token(rig.clock.now(), **given)


def job(rig: Rig, **changes: Any) -> str:
    claims = {"sub": JOB, "aud": ISSUER, "jti": f"j{next(NUMBERS)}", "repository": "acme/shop",
              "repository_id": "74", "repository_owner_id": "583231"} | changes  # fmt: skip
    return GITHUB.token(rig.clock.now(), **claims)


def robot(rig: Rig, **changes: Any) -> str:
    return CLOUD.token(rig.clock.now(), **({"sub": ROBOT, "aud": ISSUER, "azp": ROBOT} | changes))


def svid(rig: Rig, **changes: Any) -> str:
    return DOMAIN.token(rig.clock.now(), **({"iss": None, "sub": SVID, "aud": [ISSUER]} | changes))


def by_hand(rig: Rig, **changes: Any) -> str:
    """An assertion that a client signed with its own key."""
    now = int(rig.clock.now())
    claims = {
        "iss": "keys",
        "sub": "keys",
        "aud": ISSUER,
        "iat": now,
        "exp": now + 60,
        "jti": f"{next(NUMBERS)}",
    } | changes
    return jwt.encode(claims, ec_key(5), algorithm="ES256", headers={"kid": "c"})


async def asked(
    rig: Rig, http: httpx2.AsyncClient, assertion: str, kind: str = BEARER, **fields: str
) -> tuple[int, Mapping[str, Any]]:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": MESH,
        "subject_token": rig.issuer.token(rig.clock.now()),
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "client_assertion": assertion, "client_assertion_type": kind, **fields,
    }  # fmt: skip
    answer = await http.post("/oauth2/token", data=form)
    return answer.status_code, answer.json()


def client_of(body: Mapping[str, Any]) -> str:
    claimed: str = jwt.decode(body["access_token"], options={"verify_signature": False})["client_id"]
    return claimed


@pytest.mark.parametrize(("made", "client"), [(pod, "pod"), (job, "job"), (robot, "robot")])
async def test_rfc_7521_section_4_2_a_platforms_token_is_a_client_assertion(
    rig: Rig, http: httpx2.AsyncClient, made: Any, client: str
) -> None:
    for fields in ({}, {"client_id": client}):
        status, body = await asked(rig, http, made(rig), **fields)
        assert (status, client_of(body)) == (200, client)
    for fields in ({"client_id": "keys"}, {"client_id": "nobody"}, {"client_id": POD}):
        assert (await asked(rig, http, made(rig), **fields))[0] == 401


async def test_spiffe_client_auth_section_3_1_a_jwt_svid_is_an_assertion_of_its_own_type(
    rig: Rig, http: httpx2.AsyncClient, drafts: bool
) -> None:
    for fields in ({}, {"client_id": "proxy"}, {"client_id": SVID}):
        status, body = await asked(rig, http, svid(rig), SPIFFE, **fields)
        assert status == (200 if drafts else 401)
        assert not drafts or client_of(body) == "proxy"
    for changes in (
        {"sub": "spiffe://mesh.example/other"}, {"sub": "spiffe://evil.example/orders"}, {"aud": ["https://other.example"]},
        {"aud": [ISSUER, "https://other.example"]}, {"aud": f"{ISSUER}/oauth2/token"}, {"exp": 1},
    ):  # fmt: skip
        assert (await asked(rig, http, svid(rig, **changes), SPIFFE))[0] == 401, changes
    assert (await asked(rig, http, svid(rig), SPIFFE, client_id="spiffe://mesh.example/other"))[0] == 401


async def test_the_metadata_name_the_method_where_the_draft_is_followed(http: httpx2.AsyncClient, drafts: bool) -> None:
    document = (await http.get("/.well-known/oauth-authorization-server")).json()
    methods = document["token_endpoint_auth_methods_supported"]
    assert ("spiffe_jwt" in methods) is drafts
    assert "private_key_jwt" in methods


async def test_every_type_of_assertion_takes_its_own_tokens_and_no_other(
    rig: Rig, http: httpx2.AsyncClient, drafts: bool
) -> None:
    """The mix-up of assertion types: each kind of token, sent as each type."""
    user = rig.issuer.token(rig.clock.now())
    issued = (await rig.exchange.ExchangeToken(rig.request(audience="https://legacy.example"), **rig.auth("web"))).token
    tokens = {
        "pod": pod(rig), "job": job(rig), "robot": robot(rig), "svid": svid(rig), "user": user, "issued": issued,
        "a user's of the cloud": robot(rig, nonce="n"),
    }  # fmt: skip
    taken = {("pod", BEARER), ("job", BEARER), ("robot", BEARER), ("keys", BEARER)} | (
        {("svid", SPIFFE)} if drafts else set()
    )
    others = ("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer", "")
    for kind in (BEARER, SPIFFE, *others):
        for name, token in (tokens | {"keys": by_hand(rig)}).items():
            status, body = await asked(rig, http, token, kind)
            assert status == (200 if (name, kind) in taken else 401), (name, kind)
            assert status == 200 or body["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("OpenID Connect Core 2: the nonce of a sign-in", {"nonce": "n"}),
        ("OpenID Connect Core 2: the time of a sign-in", {"auth_time": 1_800_000_000}),
        ("OpenID Connect Core 3.3.2.11: beside an access token", {"at_hash": "h"}),
        ("OpenID Connect Core 3.3.2.11: beside a code", {"c_hash": "h"}),
        ("another robot", {"sub": "109"}),
        ("for another service", {"aud": "https://other.example"}),
        ("RFC 7523bis: for another service, too", {"aud": [ISSUER, "https://other.example"]}),
        ("over", {"exp": 1_799_990_000, "iat": 1_799_980_000}),
        ("RFC 7800: bound to a key", {"cnf": {"jkt": "x"}}),
    ],
)
async def test_an_id_token_as_an_assertion_is_401(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any]
) -> None:
    status, body = await asked(rig, http, robot(rig, **changes))
    assert (status, body["error"], body["error_description"]) == (
        401,
        "invalid_client",
        "the client is not authenticated",
    )


async def test_rfc_7523bis_the_audience_of_an_assertion_is_the_issuer_alone(
    rig: Rig, http: httpx2.AsyncClient, drafts: bool
) -> None:
    endpoint = f"{ISSUER}/oauth2/token"
    for audience, usual in (
        (ISSUER, 200), ([ISSUER], 200), (endpoint, 200), ([ISSUER, endpoint], 401), (ISSUER + "/", 401),
        ("https://other.example", 401),
    ):  # fmt: skip
        status, _ = await asked(rig, http, by_hand(rig, aud=audience))
        assert status == (401 if drafts and audience not in (ISSUER, [ISSUER]) else usual), audience
    for audience, usual in (
        ([ISSUER], 200),
        (["https://other.example"], 200),
        ([ISSUER, "https://other.example"], 401),
    ):
        status, _ = await asked(rig, http, pod(rig, aud=audience))
        assert status == (401 if drafts and audience != [ISSUER] else usual), audience


async def test_one_way_of_authentication_at_a_time(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await asked(rig, http, pod(rig), client_secret=rig.secrets["web"].reveal(), client_id="web")
    assert (status, body["error"]) == (400, "invalid_request")


async def test_introspection_and_revocation_take_the_same_assertions(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = (await asked(rig, http, pod(rig)))[1]["access_token"]
    by_pod = {"token": token, "client_assertion": pod(rig), "client_assertion_type": BEARER}
    assert (await http.post("/oauth2/introspect", data=by_pod)).json()["active"]
    by_job = by_pod | {"client_assertion": job(rig)}
    assert not (await http.post("/oauth2/introspect", data=by_job)).json()["active"]
    assert (await http.post("/oauth2/revoke", data=by_pod)).status_code == 200
    assert not (await http.post("/oauth2/introspect", data=by_pod)).json()["active"]


async def test_a_workload_has_only_what_its_client_may_have(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await asked(rig, http, pod(rig), audience=AUDIENCE)
    assert (status, body["reason"]) == (400, "AUDIENCE_DENIED")


def unsigned(rig: Rig, token: str, algorithm: str) -> str:
    """A token with another `alg`: without a signature, or with an HMAC by the public key (RFC 8725 section 2.1)."""
    header = encode_segment(json.dumps({"alg": algorithm, "kid": "c"}).encode()).decode()
    text = f"{header}.{token.split('.')[1]}"
    public = ec_key(5).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = hmac.digest(public, text.encode(), "sha256") if algorithm == "HS256" else b""
    return f"{text}.{encode_segment(mac).decode()}"


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("RFC 7523 3: no exp", {"exp": None}),
        ("RFC 7523 3: over", {"exp": 1_799_990_000}),
        ("long-lived", {"exp": 1_800_100_000}),
        ("no jti", {"jti": None}),
        ("a jti that is no text", {"jti": 5}),
        ("an empty jti", {"jti": ""}),
        ("RFC 7523 3: sub is another", {"sub": "robot"}),
        ("RFC 7523 3: no sub", {"sub": None}),
        ("RFC 7523 3: iss is another client", {"iss": "robot"}),
        ("iss is a platform", {"iss": CLOUD.url, "sub": ROBOT}),
        ("iss is another spelling", {"iss": "KEYS"}),
        ("iss is a list", {"iss": ["keys"]}),
        ("no iss", {"iss": None}),
        ("no iss, and a workload's name", {"iss": None, "sub": SVID}),
        ("another tokenmint", {"aud": "https://other-tokens.example"}),
        ("no aud", {"aud": None}),
        ("an empty aud", {"aud": []}),
        ("an aud that is no text", {"aud": [ISSUER, 5]}),
        ("made in the future", {"iat": 1_800_009_000}),
        ("very long", {"x": "x" * 20_000}),
    ],
)
async def test_rfc_7523_section_3_an_assertion_that_proves_nobody(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any]
) -> None:
    claims = jwt.decode(by_hand(rig), options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), ec_key(5), algorithm="ES256", headers={"kid": "c"})
    for kind in (BEARER, SPIFFE):
        status, body = await asked(rig, http, token, kind)
        assert (status, body["error"]) == (401, "invalid_client"), case


async def test_rfc_8725_section_2_1_no_other_algorithm_proves_anybody(rig: Rig, http: httpx2.AsyncClient) -> None:
    for token in (by_hand(rig), pod(rig), job(rig), robot(rig), svid(rig)):
        for algorithm in ("none", "HS256"):
            for kind in (BEARER, SPIFFE):
                assert (await asked(rig, http, unsigned(rig, token, algorithm), kind))[0] == 401
    for token in ("x", "a.b.c", "..", "\u00e4", "x" * 20_000, by_hand(rig) + " ", by_hand(rig) + "="):
        for kind in (BEARER, SPIFFE):
            assert (await asked(rig, http, token, kind))[0] == 401, token[:9]


async def test_an_assertion_is_used_once_at_all_endpoints_and_transports(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = by_hand(rig)
    assert sorted([(await one)[0] for one in [asked(rig, http, token) for _ in range(2)]]) == [200, 401]
    by_keys = {"token": "x", "client_assertion": token, "client_assertion_type": BEARER}
    assert (await http.post("/oauth2/introspect", data=by_keys)).status_code == 401
    for key in ("tokenmint-client-assertion", "tokenmint-workload-token"):
        call = rig.exchange.ExchangeToken(rig.request(audience=MESH), metadata=((key, token),), timeout=20)
        assert (await refusal(call)).code is grpc.StatusCode.UNAUTHENTICATED
    resigned = jwt.decode(token, options={"verify_signature": False})
    again = jwt.encode(resigned, ec_key(5), algorithm="ES256", headers={"kid": "c", "typ": "client-authentication+jwt"})
    assert (await asked(rig, http, again))[0] == 401, "one jti, another signature"

"""The OAuth endpoints over real HTTP and TLS: RFC 6749, 7521, 7523, 8414, 8693, 8705, 9449."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import ec_key, jwk
from tests.rig import AUDIENCE, HTTP_TLS, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, write_tls
from tests.tls import Authority, authority
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ISSUER = "https://tokens.example"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EXTRA = """
[oauth]
enabled = true

[clients.mesh]
certificates = ["spiffe://td.example/mesh"]

[clients.keys]
jwks = '''{jwks}'''

[clients.spa]
public = true

[audiences."https://keys.example"]
clients = ["keys", "mesh", "spa"]
providers = ["idp"]
public_clients = true
on_missing_profile = "without"
"""


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def start(ca: Authority) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        write_tls(serve.directory, ca)
        extra = EXTRA.format(jwks=json.dumps({"keys": [jwk(ec_key(5), kid="c")]}))
        async with serve(extra, listen=HTTP_TLS) as service:
            await service.create(person("ada", "1842", "clerk"))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig, ca: Authority) -> AsyncIterator[httpx2.AsyncClient]:
    context = ssl.create_default_context(cadata=ca.pem.decode())
    base = rig.url("http", "").replace("http:", "https:")
    async with httpx2.AsyncClient(verify=context, base_url=base, timeout=20) as client:
        yield client


def basic(rig: Rig, name: str = "web") -> dict[str, str]:
    secret = rig.secrets[name].reveal()
    pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def form(rig: Rig, **changes: Any) -> dict[str, Any]:
    given = {
        "grant_type": GRANT, "subject_token": rig.issuer.token(rig.clock.now(), email="ada@example.com"),
        "subject_token_type": ID_TOKEN, "audience": AUDIENCE, **changes,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def assertion(rig: Rig, audience: Any = ISSUER, **changes: Any) -> str:
    now = int(rig.clock.now())
    claims = {"iss": "keys", "sub": "keys", "aud": audience, "iat": now, "exp": now + 60, "jti": f"j{rig.clock.now()}"}
    return jwt.encode({**claims, **changes}, ec_key(5), algorithm="ES256", headers={"kid": "c"})


async def test_rfc_8693_2_2_1_a_token_and_what_is_known_of_it(rig: Rig, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/oauth2/token", data=form(rig, scope="read"), headers=basic(rig))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    claims = jwt.decode(body.pop("access_token"), options={"verify_signature": False})
    assert body == {"issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 600, "scope": "read"}
    assert (claims["sub"], claims["aud"], claims["client_id"]) == ("ada", AUDIENCE, "web")
    assert claims["email"] == "ada@example.com"


async def test_rfc_8693_2_1_a_resource_names_the_target_as_well(rig: Rig, http: httpx2.AsyncClient) -> None:
    for named in ({"resource": AUDIENCE}, {"resource": [AUDIENCE, AUDIENCE], "audience": AUDIENCE}):
        answer = await http.post("/oauth2/token", data=form(rig, **{"audience": None, **named}), headers=basic(rig))
        assert answer.status_code == 200, answer.text
    legacy = form(rig, audience=LEGACY_AUDIENCE, requested_token_type=JWT)
    assert (await http.post("/oauth2/token", data=legacy, headers=basic(rig))).json()["issued_token_type"] == JWT


@pytest.mark.parametrize(
    ("case", "changes", "code", "reason"),
    [
        ("RFC 6749 5.2", {"grant_type": None}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 6749 5.2", {"grant_type": "password"}, "unsupported_grant_type", "UNSUPPORTED_GRANT_TYPE"),
        ("RFC 8693 2.1", {"subject_token": None}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 6749 3.2: no value is none", {"subject_token": ""}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.1", {"subject_token_type": None}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 3", {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request",
         "INVALID_REQUEST"),
        ("RFC 8693 2.1", {"actor_token": "x"}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.1", {"actor_token_type": JWT}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.1", {"audience": None}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.2.2", {"audience": "https://unknown.example"}, "invalid_target", "AUDIENCE_DENIED"),
        ("RFC 8707 2", {"audience": None, "resource": "no uri"}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8707 2", {"audience": None, "resource": AUDIENCE + "#part"}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.2.2: one target", {"resource": LEGACY_AUDIENCE}, "invalid_target", "AUDIENCE_DENIED"),
        ("RFC 8693 2.2.2: one target", {"audience": [AUDIENCE, LEGACY_AUDIENCE]}, "invalid_target", "AUDIENCE_DENIED"),
        ("RFC 6749 5.2", {"scope": "admin"}, "invalid_scope", "SCOPE_DENIED"),
        ("RFC 6749 3.3", {"scope": 're"ad'}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 6749 3.2: once", {"scope": ["read", "write"]}, "invalid_request", "INVALID_REQUEST"),
        ("RFC 8693 2.1", {"requested_token_type": "urn:x"}, "invalid_request", "FORMAT_DENIED"),
        ("RFC 8693 2.2.2: subject token", {"subject_token": "x.y.z"}, "invalid_request", "MALFORMED"),
        ("RFC 6749 2.3: one method", {"client_id": "web", "client_secret": "x"}, "invalid_request", "INVALID_REQUEST"),
    ],
)  # fmt: skip
async def test_what_is_refused(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any], code: str, reason: str
) -> None:
    answer = await http.post("/oauth2/token", data=form(rig, **changes), headers=basic(rig))
    told = answer.json()
    assert (answer.status_code, told["error"], told["reason"]) == (400, code, reason)
    assert answer.headers["cache-control"] == "no-store"
    description = told["error_description"]
    assert description
    assert not set(description) & set('"\\')  # RFC 6749 section 5.2


async def test_rfc_8693_2_2_2_each_way_of_a_refused_subject_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    now = rig.clock.now()
    tokens = {
        "EXPIRED": rig.issuer.token(now - 1000),
        "WRONG_AUDIENCE": rig.issuer.token(now, aud="other"),
        "UNKNOWN_ISSUER": rig.issuer.token(now, iss="https://evil.example"),
        "BAD_SIGNATURE": rig.issuer.token(now).rpartition(".")[0] + "." + "A" * 342,
        "PRINCIPAL_UNKNOWN": rig.issuer.token(now, sub="nobody"),
    }
    for reason, token in tokens.items():
        answer = await http.post("/oauth2/token", data=form(rig, subject_token=token), headers=basic(rig))
        assert (answer.status_code, answer.json()["error"], answer.json()["reason"]) == (400, "invalid_request", reason)
        assert token not in answer.text


async def test_a_client_that_proves_nothing_is_not_told_what_was_expected(rig: Rig, http: httpx2.AsyncClient) -> None:
    token, audience = rig.issuer.token(rig.clock.now(), aud="other"), "https://keys.example"
    public = await http.post("/oauth2/token", data=form(rig, subject_token=token, audience=audience, client_id="spa"))
    assert public.json()["reason"] == "WRONG_AUDIENCE"
    assert "accepted" not in public.text
    proved = await http.post("/oauth2/token", data=form(rig, subject_token=token), headers=basic(rig))
    assert "aud ['other'], accepted" in proved.json()["error_description"]


async def test_a_single_use_token_is_used_once_whichever_way_it_comes(rig: Rig, http: httpx2.AsyncClient) -> None:
    from tests.rig import refusal

    from tokenmint.v1 import token_exchange_service_pb2 as pb

    token = rig.issuer.token(rig.clock.now(), jti="once")
    wanted = form(rig, subject_token=token, audience=OPEN_AUDIENCE)
    assert (await http.post("/oauth2/token", data=wanted, headers=basic(rig))).status_code == 200
    assert (await http.post("/oauth2/token", data=wanted, headers=basic(rig))).json()["reason"] == "REPLAYED"
    request = pb.ExchangeTokenRequest(subject_token=token, audience=OPEN_AUDIENCE)
    assert (await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))).reason == "REPLAYED"


@pytest.mark.parametrize(
    ("case", "headers", "content", "status"),
    [
        ("JSON is no form", {"Content-Type": "application/json"}, b"{}", 400),
        ("no type", {}, b"grant_type=x", 400),
        ("too large", FORM, b"a=" + b"x" * 70_000, 400),
        ("too many", FORM, b"&".join(b"p%d=1" % index for index in range(65)), 400),
        ("not UTF-8", FORM, b"grant_type=%ff", 400),
        ("no pairs", FORM, b"grant_type", 400),
        ("raw bytes", FORM, b"grant_type=\xff", 400),
        ("empty", FORM, b"", 401),
    ],
)
async def test_what_is_no_form(
    http: httpx2.AsyncClient, case: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = await http.post("/oauth2/token", content=content, headers=headers)
    assert answer.status_code == status, answer.text


async def test_rfc_6749_2_3_1_nothing_in_the_url_and_nothing_but_post(rig: Rig, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/oauth2/token?client_id=web", data=form(rig), headers=basic(rig))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await http.get("/oauth2/token", headers=basic(rig))).status_code == 405


# --- clients ------------------------------------------------------------------------------------------------------


async def exchanged(rig: Rig, http: httpx2.AsyncClient, headers: dict[str, str], **changes: Any) -> tuple[int, str]:
    answer = await http.post("/oauth2/token", data=form(rig, **changes), headers=headers)
    told = answer.json()
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert told["error_description"] == "the client is not authenticated"
    return answer.status_code, told.get("error", "")


async def test_rfc_6749_2_3_1_client_secret_basic_and_post(rig: Rig, http: httpx2.AsyncClient) -> None:
    secret = rig.secrets["web"].reveal()
    assert await exchanged(rig, http, basic(rig)) == (200, "")
    assert await exchanged(rig, http, basic(rig), client_id="web") == (200, "")
    assert await exchanged(rig, http, {}, client_id="web", client_secret=secret) == (200, "")
    raw = base64.b64encode(f"web:{secret}".encode()).decode()
    wrong: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {}),
        ({}, {"client_id": "web"}),
        ({}, {"client_id": "web", "client_secret": "wrong"}),
        ({}, {"client_id": "nobody", "client_secret": secret}),
        ({}, {"client_secret": secret}),
        ({"Authorization": "Basic x"}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"web").decode()}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, {}),
        ({"Authorization": f"Bearer {raw}"}, {}),
        (basic(rig), {"client_id": "batch"}),
    ]
    for headers, changes in wrong:
        assert await exchanged(rig, http, headers, **changes) == (401, "invalid_client"), (headers, changes)


async def test_rfc_7523_2_2_private_key_jwt(rig: Rig, http: httpx2.AsyncClient) -> None:
    target = {"audience": "https://keys.example", "client_assertion_type": JWT_BEARER}
    for audience in (ISSUER, ISSUER + "/oauth2/token"):
        await rig.set_time(rig.clock.now() + 1)
        good = assertion(rig, audience)
        assert await exchanged(rig, http, {}, client_assertion=good, **target) == (200, "")
        assert await exchanged(rig, http, {}, client_assertion=good, **target) == (401, "invalid_client")  # used
    await rig.set_time(rig.clock.now() + 1)
    now = int(rig.clock.now())
    for wrong in (
        assertion(rig, "https://other.example"),
        assertion(rig, [ISSUER, "https://other.example"]),
        assertion(rig, exp=now + 3600),
        assertion(rig, sub="web"),
        assertion(rig, jti=5),
    ):
        assert await exchanged(rig, http, {}, client_assertion=wrong, **target) == (401, "invalid_client")
    good = assertion(rig)
    untyped = {**target, "client_assertion_type": "urn:x"}
    assert await exchanged(rig, http, {}, client_assertion=good, **untyped) == (401, "invalid_client")
    assert await exchanged(rig, http, {}, client_assertion=good, client_id="web", **target) == (401, "invalid_client")


async def test_rfc_8705_2_mutual_tls(rig: Rig, http: httpx2.AsyncClient, ca: Authority, tmp_path: Path) -> None:
    target = {"audience": "https://keys.example"}

    async def over(certificate: tuple[bytes, bytes], **changes: Any) -> tuple[int, str]:
        (tmp_path / "me.pem").write_bytes(b"".join(certificate))
        context = ssl.create_default_context(cadata=ca.pem.decode())
        context.load_cert_chain(tmp_path / "me.pem")
        async with httpx2.AsyncClient(verify=context, base_url=http.base_url, timeout=20) as mutual:
            return await exchanged(rig, mutual, {}, **{**target, **changes})

    mesh = ca.issue("x", "spiffe://td.example/mesh")
    assert await over(mesh) == (200, "")
    assert await over(mesh, client_id="mesh") == (200, "")
    assert await over(mesh, client_id="web") == (401, "invalid_client")
    secret = rig.secrets["web"].reveal()
    assert await over(mesh, client_id="web", client_secret=secret) == (401, "invalid_client")  # another's certificate
    assert await over(ca.issue("x", "spiffe://td.example/other")) == (401, "invalid_client")
    with pytest.raises(httpx2.TransportError):
        await over(authority("Somebody else").issue("x", "spiffe://td.example/mesh"))
    assert await exchanged(rig, http, {}, **target) == (401, "invalid_client")  # without any, and others' are not kept


async def test_a_public_client_has_what_an_audience_gives_to_everybody(rig: Rig, http: httpx2.AsyncClient) -> None:
    assert await exchanged(rig, http, {}, client_id="spa", audience="https://keys.example") == (200, "")
    assert await exchanged(rig, http, {}, client_id="spa") == (400, "invalid_target")


@pytest.mark.alone
async def test_rate_limits_count_with_those_of_grpc(rig: Rig, http: httpx2.AsyncClient) -> None:
    text = rig.config.read_text().replace(
        "[clients.batch]\n", "[clients.batch]\nrate = { per_second = 1, burst = 2 }\n"
    )
    rig.config.write_text(text)
    await rig.app.reload(rig.settings())
    rig.parts.limiter.patience = 20.0
    for _ in range(2):
        assert await exchanged(rig, http, basic(rig, "batch"), audience=AUDIENCE) == (400, "invalid_target")
    answer = await http.post("/oauth2/token", data=form(rig), headers=basic(rig, "batch"))
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.alone
async def test_the_audit_trail_is_the_same(rig: Rig, http: httpx2.AsyncClient) -> None:
    wanted = form(rig)
    await http.post("/oauth2/token", data=wanted, headers=basic(rig))
    await http.post("/oauth2/token", data=form(rig, audience="https://unknown.example"), headers=basic(rig))
    await http.post("/oauth2/token", data=form(rig))
    await rig.parts.audit.flush()
    store = rig.parts.store
    raw = await store.server.client.xrange(f"{store.prefix}audit")
    events = [json.loads(fields[b"event"]) for _, fields in raw]
    events = [event for event in events if event["method"] == "POST /oauth2/token"]
    assert [(event["outcome"], event["caller"], event.get("reason")) for event in events] == [
        ("done", "web", None),
        ("refused", "web", "AUDIENCE_DENIED"),
    ]  # and no place for who was not proved
    assert events[0]["provider"] == "idp"
    assert events[0]["principal"] == "ada"
    assert len(events[0]["minted"]) == 1
    assert wanted["subject_token"] not in str(raw)


# --- DPoP ---------------------------------------------------------------------------------------------------------


async def test_rfc_9449_5_a_proof_is_checked_and_used_once(rig: Rig, http: httpx2.AsyncClient) -> None:
    now = int(rig.clock.now())
    made = dpop_proof(iat=now, htu=ISSUER + "/oauth2/token", jti="d1").reveal()
    answer = await http.post("/oauth2/token", data=form(rig), headers={**basic(rig), "DPoP": made})
    assert answer.status_code == 200, answer.text
    for wrong in (
        made,
        dpop_proof(iat=now, htu=ISSUER + "/oauth2/introspect").reveal(),
        dpop_proof(iat=now - 100).reveal(),
        "x",
    ):
        answer = await http.post("/oauth2/token", data=form(rig), headers={**basic(rig), "DPoP": wrong})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    twice = [*basic(rig).items(), *(("DPoP", dpop_proof(iat=now, jti=name).reveal()) for name in ("d2", "d3"))]
    content = urlencode(form(rig)).encode()
    answer = await http.post("/oauth2/token", content=content, headers=[*FORM.items(), *twice])
    assert answer.json()["error"] == "invalid_dpop_proof"


async def test_rfc_8414_2_metadata_names_the_endpoints(rig: Rig, http: httpx2.AsyncClient) -> None:
    for path in ("openid-configuration", "oauth-authorization-server"):
        document = (await http.get(f"/.well-known/{path}")).json()
        assert document["issuer"] == ISSUER
        assert document["grant_types_supported"] == [GRANT]
        assert document["tls_client_certificate_bound_access_tokens"] is True  # RFC 8705 section 3.3
        for name, route in (("token", "token"), ("introspection", "introspect"), ("revocation", "revoke")):
            assert document[f"{name}_endpoint"] == f"{ISSUER}/oauth2/{route}"
            methods = document[f"{name}_endpoint_auth_methods_supported"]
            assert {"client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"} < set(methods)
            assert "HS256" not in document[f"{name}_endpoint_auth_signing_alg_values_supported"]
        assert "ES256" in document["dpop_signing_alg_values_supported"]


async def test_switched_off_there_is_nothing(serve: Serve) -> None:
    async with serve() as service, plain_http.client(timeout=20) as http:
        for path in ("token", "introspect", "revoke"):
            assert (await http.post(service.url("http", f"/oauth2/{path}"))).status_code == 404
        document = (await http.get(service.url("http", "/.well-known/openid-configuration"))).json()
        assert "token_endpoint" not in document

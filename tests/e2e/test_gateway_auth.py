"""A gateway's requests over HTTP and the answers: headers that count or are forged, and answers that are kept."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from tests import plain_http
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.secret import Secret
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS, OTHER, ONCE, SESSION = (f"https://{name}.example" for name in ("behind", "other", "once", "session"))
COOKIE, FORWARDED = "__Host-session", "x-forwarded-access-token"
EXTRA = """
[envoy]
enabled = true
audience = "https://behind.example"

[gateway]
enabled = true
cookie = "__Host-session"
headers = ["x-forwarded-access-token"]
[gateway.hosts]
"behind.example" = "https://behind.example"
[gateway.routes.read]
audience = "https://behind.example"
scopes = ["read"]
[gateway.routes.once]
audience = "https://once.example"
[gateway.routes.foreign]
audience = "https://other.example"
[gateway.routes.bound]
audience = "https://bound.example"
[gateway.routes.typed]
audience = "https://behind.example"
subject_token_type = "access_token"

[audiences."https://behind.example"]
clients = ["gateway"]
providers = ["idp"]
reexchange_from = ["https://session.example"]
scopes = ["read", "write"]
on_missing_profile = "without"

[audiences."https://once.example"]
clients = ["gateway"]
providers = ["idp"]
single_use = true
gateway_cache = "5m"
on_missing_profile = "without"

[audiences."https://other.example"]
clients = ["web"]
providers = ["idp"]

[audiences."https://bound.example"]
clients = ["gateway"]
providers = ["idp"]
bound = "dpop"
on_missing_profile = "without"

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
lifetime = "1h"
[audiences."https://session.example".reference]
idle = "10m"

[clients.gateway]
secrets = ["sha256:{gateway}"]
serves = ["https://session.example"]
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA.format(gateway=Secret("tms_gateway").fingerprint())) as service:
            service.secrets["gateway"] = Secret("tms_gateway")
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


Pairs = list[tuple[str, str]]


def asked_by(name: str = "gateway", secret: str = "tms_gateway") -> Pairs:
    return [("tokenmint-client-id", name), ("tokenmint-client-secret", secret)]


def theirs(rig: Rig, **claims: Any) -> str:
    return rig.issuer.token(rig.clock.now(), **claims)


async def ask(
    rig: Rig,
    headers: dict[str, str] | Pairs,
    path: str = "/auth/read",
    gateway: Pairs | None = None,
    method: str = "GET",
    **options: Any,
) -> Any:
    given = list(headers.items()) if isinstance(headers, dict) else headers
    async with plain_http.client() as http:
        return await http.request(
            method, rig.url("http", path), headers=[*(asked_by() if gateway is None else gateway), *given], **options
        )


def ours(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    token = answer.headers["authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def told(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def mint(rig: Rig, audience: str) -> str:
    request = pb.ExchangeTokenRequest(subject_token=theirs(rig), audience=audience)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


# --- what passes --------------------------------------------------------------------------------------------------


async def test_a_token_becomes_ours_with_headers_to_copy(rig: Rig) -> None:
    token = theirs(rig)
    answer = await ask(rig, {"authorization": f"Bearer {token}"})
    claims = ours(answer)
    assert (claims["aud"], claims["scope"], claims["client_id"]) == (ORDERS, "read", "gateway")
    assert answer.headers["x-tokenmint-principal"] == claims["sub"]
    assert answer.headers["x-tokenmint-scope"] == "read"
    assert answer.headers["cache-control"] == "max-age=1"  # the default; without `public`
    assert answer.headers["vary"] == f"authorization, cookie, {FORWARDED}"
    assert (answer.content, token in str(answer.headers)) == (b"", False)


async def test_the_host_that_the_gateway_tells_has_its_audience(rig: Rig) -> None:
    token = {"authorization": f"Bearer {theirs(rig)}"}
    for host in ("behind.example", "BEHIND.example:8443"):
        answer = await ask(rig, {**token, "x-forwarded-host": host}, "/auth")
        assert ours(answer)["aud"] == ORDERS
        assert answer.headers["vary"] == f"authorization, cookie, {FORWARDED}, x-forwarded-host"
    for host, reason in (
        ("elsewhere.example", "AUDIENCE_DENIED"),
        ("behind.example.", "AUDIENCE_DENIED"),
        ("behind.example, other.example", "INVALID_REQUEST"),
        ("behind.example@other.example", "INVALID_REQUEST"),
        ("", "INVALID_REQUEST"),
    ):
        assert told(await ask(rig, {**token, "x-forwarded-host": host}, "/auth"))[1] == reason, host
    # Neither the host of the question itself, nor another header, nor the query.
    for other in ("host", "x-original-host", "x-original-url", "forwarded", "x-host"):
        assert told(await ask(rig, {**token, other: "behind.example"}, "/auth"))[1] == "INVALID_REQUEST", other
    assert told(await ask(rig, token, f"/auth?audience={ORDERS}&host=behind.example"))[1] == "INVALID_REQUEST"


async def test_rfc_6265_our_cookie_stays_at_the_gateway(rig: Rig) -> None:
    handle = await mint(rig, SESSION)
    answer = await ask(rig, {"cookie": f"a=1; {COOKIE}={handle}; b=2"}, "/auth/read")
    assert told(answer) == (403, "SCOPE_DENIED")  # the session has no scopes
    at_host = {"x-forwarded-host": "behind.example"}
    for cookies, rest in (
        (f"a=1; {COOKIE}={handle}; b=2", "a=1; b=2"),
        (f"{COOKIE}={handle}", None),
    ):
        answer = await ask(rig, {**at_host, "cookie": cookies}, "/auth")
        assert (ours(answer)["aud"], answer.headers.get("cookie")) == (ORDERS, rest)
    untouched = await ask(rig, {"authorization": f"Bearer {theirs(rig)}", "cookie": "a=1"})
    assert untouched.headers["cookie"] == "a=1"  # a gateway that copies the header loses none
    lines = [*at_host.items(), ("cookie", "a=1"), ("cookie", f"{COOKIE}={handle}")]
    assert (await ask(rig, lines, "/auth")).headers["cookie"] == "a=1"


async def test_an_answer_says_for_how_long_it_may_be_kept(rig: Rig) -> None:
    about_to_end = theirs(rig, exp=int(rig.clock.now()) + 5)
    short = await ask(rig, {"authorization": f"Bearer {about_to_end}"})
    assert (short.status_code, short.headers["cache-control"]) == (200, "no-store")
    token = {"authorization": f"Bearer {theirs(rig, jti='kept')}"}
    once = await ask(rig, token, "/auth/once")
    assert (once.status_code, once.headers["cache-control"]) == (200, "no-store")
    again = await ask(rig, token, "/auth/once")
    assert (told(again), again.headers["cache-control"]) == ((401, "REPLAYED"), "no-store")


async def test_envoy_is_told_the_same_in_dynamic_metadata(rig: Rig) -> None:
    call = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )

    async def check(**headers: str) -> envoy.CheckResponse:
        request = envoy.CheckRequest()
        request.attributes.request.http.headers.update(headers)
        answer: envoy.CheckResponse = await call(request, **rig.auth("gateway"))
        return answer

    answer = await check(authorization=f"Bearer {theirs(rig)}")
    [passed] = answer.allowed.headers
    claims = jwt.decode(passed.header.value.removeprefix("Bearer "), options={"verify_signature": False})
    metadata = dict(answer.dynamic_metadata)
    assert (metadata["cache_control"], metadata["cache_seconds"]) == ("max-age=1", 1)
    assert (metadata["principal"], metadata["token_id"]) == (claims["sub"], claims["jti"])
    assert (metadata["scope"], metadata["expires_at"]) == ("read write", claims["exp"])
    refused = await check()
    assert {option.header.key: option.header.value for option in refused.denied.headers}["cache-control"] == "no-store"
    assert not dict(refused.dynamic_metadata)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "headers", "reason"),
    [
        ("nothing", [], "NO_TOKEN"),
        ("another scheme", [("authorization", "Basic dTpw")], "NO_TOKEN"),
        ("two tokens", [("authorization", "Bearer {theirs}"), (FORWARDED, "{theirs}")], "NO_TOKEN"),
        ("the header of a token twice", [("authorization", "Bearer {theirs}")] * 2, "INVALID_REQUEST"),
        ("... in two spellings", [("authorization", "Bearer {theirs}"), ("AUTHORIZATION", "x")], "INVALID_REQUEST"),
        ("a named header twice", [(FORWARDED, "{theirs}")] * 2, "INVALID_REQUEST"),
        ("a named header that CGI reads alike", [("x_forwarded_access_token", "{theirs}")], "NO_TOKEN"),
        ("the host twice", [("authorization", "Bearer {theirs}"), *[("x-forwarded-host", "a")] * 2], "INVALID_REQUEST"),
        ("two cookies of the name", [("cookie", f"{COOKIE}={{theirs}}"), ("cookie", f"{COOKIE}=x")], "NO_TOKEN"),
        (
            "a forged principal",
            [("authorization", "Bearer {theirs}"), ("x-tokenmint-principal", "root")],
            "INVALID_REQUEST",
        ),
        ("a forged scope", [("authorization", "Bearer {theirs}"), ("X-Tokenmint-Scope", "admin")], "INVALID_REQUEST"),
        (
            "... as CGI reads it",
            [("authorization", "Bearer {theirs}"), ("x_tokenmint.principal", "x")],
            "INVALID_REQUEST",
        ),
        ("any header of ours", [("authorization", "Bearer {theirs}"), ("x-tokenmint-new", "x")], "INVALID_REQUEST"),
        (
            "a credential as CGI reads it",
            [("authorization", "Bearer {theirs}"), ("tokenmint_client_id", "web")],
            "INVALID_REQUEST",
        ),
        ("no token of a provider", [("authorization", "Bearer x.y.z")], "MALFORMED"),
    ],
)
async def test_what_is_no_token_or_none_that_is_certain(rig: Rig, case: str, headers: Pairs, reason: str) -> None:
    token = theirs(rig)
    answer = await ask(rig, [(name, value.replace("{theirs}", token)) for name, value in headers])
    assert told(answer) == (401, reason), case
    assert answer.headers["www-authenticate"].startswith('Bearer realm="tokenmint"')
    assert answer.headers["cache-control"] == "no-store"
    assert token not in answer.text


@pytest.mark.parametrize(
    ("case", "gateway"),
    [
        ("nobody", []),
        ("a wrong secret", asked_by(secret="tms_wrong")),
        ("another client's secret", asked_by("web")),
        ("an operator", asked_by("root", "tms_root")),
        ("two ids", [*asked_by(), ("tokenmint-client-id", "gateway")]),
        ("two secrets", [*asked_by(), ("tokenmint-client-secret", "tms_gateway")]),
    ],
)
async def test_a_gateway_that_is_not_authenticated_is_at_fault_itself(rig: Rig, case: str, gateway: Pairs) -> None:
    """401 would reach the gateway's client, who would look for a fault in a good token."""
    answer = await ask(rig, {"authorization": f"Bearer {theirs(rig)}"}, gateway=gateway)
    assert told(answer) == (502, "CALLER_UNAUTHENTICATED"), case
    assert "www-authenticate" not in answer.headers


async def test_a_confused_deputy_a_route_gives_what_the_gateway_itself_may_have(rig: Rig) -> None:
    token = {"authorization": f"Bearer {theirs(rig)}"}
    assert told(await ask(rig, token, "/auth/foreign")) == (403, "AUDIENCE_DENIED")  # it is another client's
    assert told(await ask(rig, token, gateway=asked_by("web", rig.secrets["web"].reveal()))) == (403, "AUDIENCE_DENIED")
    assert told(await ask(rig, token, "/auth/bound")) == (403, "CONFIRMATION_DENIED")  # Bearer can't carry it
    assert told(await ask(rig, token, "/auth/typed")) == (401, "UNSUPPORTED_TOKEN_TYPE")
    for path in ("/auth/none", "/auth/", "/auth/read/", "/auth/read/x", "/authx"):
        assert (await ask(rig, token, path)).status_code == 404, path
    by_query = await ask(rig, token, "/auth/read?audience=https://other.example&scope=write")
    assert ours(by_query)["scope"] == "read"  # gateways may add the query of their client


async def test_a_question_has_no_body_and_one_method(rig: Rig) -> None:
    token = {"authorization": f"Bearer {theirs(rig)}"}
    answer = await ask(rig, token, content=b"x")
    assert (told(answer), answer.headers["connection"]) == ((400, "INVALID_REQUEST"), "close")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert (await ask(rig, token, method=method)).status_code == 405, method


@pytest.mark.alone
async def test_the_audit_and_the_metrics_have_each_answer(rig: Rig) -> None:
    token = theirs(rig, sub="audited")
    claims = ours(await ask(rig, {"authorization": f"Bearer {token}"}))
    assert told(await ask(rig, {}))[1] == "NO_TOKEN"
    await rig.parts.audit.flush()
    raw = await rig.parts.store.server.client.xrange(f"{rig.parts.store.prefix}audit")
    events = [json.loads(fields[b"event"]) for _, fields in raw]
    done = [event for event in events if event["method"] == "GET /auth" and event["outcome"] == "done"]
    assert (done[-1]["caller"], done[-1]["audience"]) == ("gateway", ORDERS)
    assert done[-1]["minted"][0]["jti"] == claims["jti"]
    refused = [event for event in events if event["method"] == "GET /auth" and event.get("reason") == "NO_TOKEN"]
    assert refused[-1]["caller"] == "gateway"
    async with plain_http.client() as http:
        metrics = (await http.get(rig.url("ops", "/metrics"))).text
    assert 'tokenmint_calls_total{code="200",method="GET /auth"' in metrics


@pytest.mark.alone
async def test_switched_off_there_is_nothing(serve: Serve) -> None:
    async with serve() as service:
        service.secrets["gateway"] = Secret("tms_gateway")
        for path in ("/auth", "/auth/read"):
            assert (await ask(service, {}, path)).status_code == 404

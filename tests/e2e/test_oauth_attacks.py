"""The OAuth endpoints against callers who mean harm: bodies, headers, methods, and what refusals give away."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import ec_key, jwk
from tests.polling import pause
from tests.rig import OPEN_AUDIENCE, Rig
from tests.sockets import hang_up

from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID = "urn:ietf:params:oauth:token-type:id_token"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = "application/x-www-form-urlencoded"
ISSUER = "https://tokens.example"
SESSION, NEXT = "https://session.example", "https://next.example"
EXTRA = """
[oauth]
enabled = true

[clients.keys]
jwks = '''{jwks}'''

[clients.spa]
public = true

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
[audiences."https://session.example".reference]

[audiences."https://next.example"]
clients = ["web", "batch"]
reexchange_from = ["https://session.example"]
on_missing_profile = "without"
"""


@pytest.fixture(scope="module")
def start() -> Start:
    extra = EXTRA.format(jwks=json.dumps({"keys": [jwk(ec_key(5), kid="c")]}))
    return lambda serve: serve(extra)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20, follow_redirects=False) as client:
        yield client


def basic(rig: Rig, name: str = "web") -> str:
    pair = f"{quote_plus(name)}:{quote_plus(rig.secrets[name].reveal())}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def form(rig: Rig, **changes: Any) -> dict[str, Any]:
    given = {"grant_type": GRANT, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID,
             "audience": OPEN_AUDIENCE, **changes}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def assertion(rig: Rig, **changes: Any) -> str:
    now = int(rig.clock.now())
    claims = {"iss": "keys", "sub": "keys", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "j", **changes}
    return jwt.encode(claims, ec_key(5), algorithm="ES256", headers={"kid": "c"})


# --- one client, proved once --------------------------------------------------------------------------------------


async def test_rfc_6749_section_2_3_one_method_of_authentication(rig: Rig, http: httpx2.AsyncClient) -> None:
    secret = rig.secrets["web"].reveal()
    by_secret = {"client_id": "web", "client_secret": secret}
    by_assertion = {"client_assertion": assertion(rig), "client_assertion_type": JWT_BEARER}
    header = {"Authorization": basic(rig)}
    cases: list[tuple[list[tuple[str, str]], dict[str, Any]]] = [
        ([*header.items()], by_secret),
        ([*header.items()], by_assertion),
        ([], by_secret | by_assertion),
        ([*header.items()], by_secret | by_assertion),
        ([*header.items(), *header.items()], {}),
        ([*header.items(), ("authorization", basic(rig, "batch"))], {}),
        ([*header.items(), ("Authorization", "Bearer x")], {}),
    ]
    for headers, fields in cases:
        content = urlencode(form(rig, **fields)).encode()
        answer = await http.post("/oauth2/token", content=content, headers=[("Content-Type", FORM), *headers])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), (headers, fields)
        assert "more than one client authentication" in answer.json()["error_description"]
    # None of it used the assertion up, nor the token.
    fields = form(rig, audience="https://nowhere.example", **by_assertion)
    assert (await http.post("/oauth2/token", data=fields)).json()["error"] == "invalid_target"
    assert (await http.post("/oauth2/token", data=form(rig), headers=header)).status_code == 200


@pytest.mark.parametrize(
    "credentials",
    [
        "Basic", "Basic =", "Basic d2Vi", "Basic OnNlY3JldA==", "Basic d2ViOg==", "basic {good} x",
        "Basic {good}{good}", "Basic\t{good}", "Basic {good},Basic {good}", "Negotiate {good}", "", "Basic d2Vi\u00e9",
    ],
)  # fmt: skip
async def test_every_credential_that_proves_nobody_is_answered_alike(
    rig: Rig, http: httpx2.AsyncClient, credentials: str
) -> None:
    given = credentials.replace("{good}", basic(rig).removeprefix("Basic ")).encode("latin-1")
    bodies = set()
    for headers, fields in (
        ([(b"Authorization", given)], {}),
        ([], {"client_id": "nobody", "client_secret": "x"}),
        ([], {"client_id": "web", "client_secret": "x"}),
        ([], {"client_id": "keys", "client_secret": "x"}),
        ([], {"client_id": "spa", "client_secret": "x"}),
        ([], {"client_id": "x" * 5000, "client_secret": "\x00\u2028"}),
        ([], {"client_assertion": "x.y.z", "client_assertion_type": JWT_BEARER}),
        ([], {"client_assertion": assertion(rig, sub="web"), "client_assertion_type": JWT_BEARER}),
    ):
        content = urlencode(form(rig, **fields)).encode()
        answer = await http.post("/oauth2/token", content=content, headers=[(b"Content-Type", FORM.encode()), *headers])
        bodies.add((answer.status_code, answer.content, answer.headers["www-authenticate"]))
    assert len(bodies) == 1
    status, body, challenge = bodies.pop()
    assert (status, json.loads(body)["error"]) == (401, "invalid_client")
    assert challenge == 'Basic realm="tokenmint", charset="UTF-8"'


# --- bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        (FORM, True),
        (f"{FORM};charset=UTF-8", True),
        (f'{FORM}; charset="utf-8"', True),
        (FORM.upper(), True),
        (f"{FORM};charset=utf-16", False),
        (f"{FORM};charset=ibm037", False),
        (f"{FORM};charset=utf-7", False),
        (f"{FORM};charset=us-ascii;charset=utf-16", False),
        ("multipart/form-data; boundary=x", False),
        ("text/plain", False),
        (f"{FORM}, text/plain", False),
        ("", False),
    ],
)
async def test_a_body_is_a_form_in_utf_8(rig: Rig, http: httpx2.AsyncClient, kind: str, accepted: bool) -> None:
    headers = {"Content-Type": kind, "Authorization": basic(rig)}
    answer = await http.post("/oauth2/token", content=urlencode(form(rig)).encode(), headers=headers)
    assert answer.status_code == (200 if accepted else 400), answer.text


async def test_a_body_has_one_type_and_no_coding(rig: Rig, http: httpx2.AsyncClient) -> None:
    import gzip

    body = urlencode(form(rig)).encode()
    for headers, content in (
        ([("Content-Type", FORM), ("Content-Type", FORM)], body),
        ([("Content-Type", "text/plain"), ("Content-Type", FORM)], body),
        ([("Content-Type", FORM), ("Content-Encoding", "gzip")], gzip.compress(body)),
    ):
        given = [("Authorization", basic(rig)), *headers]
        answer = await http.post("/oauth2/token", content=content, headers=given)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), headers


async def raw(rig: Rig, *parts: bytes) -> tuple[bytes, bool]:
    """Send bytes as they are; return what comes, and whether the service then closed the connection."""
    host, _, port = rig.app.listen["http"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            for part in parts:
                writer.write(part)
                try:
                    await writer.drain()
                except ConnectionError:
                    break  # it has answered and gone
            try:
                return await reader.read(), True
            except ConnectionError:
                return b"", True
    finally:
        await hang_up(writer)


def head(rig: Rig, *lines: str, path: str = "/oauth2/token") -> bytes:
    given = [f"POST {path} HTTP/1.1", "Host: tokens.example", f"Content-Type: {FORM}", f"Authorization: {basic(rig)}"]
    return "\r\n".join([*given, *lines, "", ""]).encode()


async def test_a_body_in_chunks_is_read_and_has_the_same_end(rig: Rig) -> None:
    body = urlencode(form(rig)).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    answer, _ = await raw(rig, head(rig, "Transfer-Encoding: chunked", "Connection: close"), chunks)
    assert answer.startswith(b"HTTP/1.1 200 ")
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    endless = [head(rig, "Transfer-Encoding: chunked")] + [chunk] * 64  # two megabytes, and no end in sight
    answer, closed = await raw(rig, *endless)
    assert closed
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.alone
async def test_hanging_up_in_the_middle_of_a_body_is_nobodys_internal_error(rig: Rig, http: httpx2.AsyncClient) -> None:
    host, _, port = rig.app.listen["http"].rpartition(":")
    for lines in (("Content-Length: 500",), ("Transfer-Encoding: chunked",)):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(rig, *lines) + b"5\r\na")
        await writer.drain()
        await hang_up(writer)
    counted = ""
    async with asyncio.timeout(20):
        while counted.count('reason="INVALID_REQUEST"') == 0 and 'reason="INTERNAL"' not in counted:
            counted = (await http.get(rig.url("ops", "/metrics"))).text
            await pause()
    assert 'reason="INTERNAL"' not in counted


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: 5, 5x",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding : chunked",),
        ("X: a\x00b",),
        (f"X-Long: {'x' * 20000}",),
    ],
)
async def test_requests_that_two_servers_could_read_differently_are_none(rig: Rig, lines: tuple[str, ...]) -> None:
    answer, closed = await raw(rig, head(rig, *lines), b"a=b&c")
    assert closed
    assert not answer or answer.split(b" ", 2)[1] in (b"400", b"431", b"501"), answer[:100]
    assert answer.count(b"HTTP/1.1 ") <= 1


async def test_a_length_beside_chunks_does_not_hide_a_second_request(rig: Rig) -> None:
    hidden = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
    smuggled = head(rig, "Content-Length: 5", "Transfer-Encoding: chunked")
    answer, closed = await raw(rig, smuggled, b"0\r\n\r\n" + hidden)
    assert closed  # RFC 9112 section 6.1: the connection ends with each answer
    assert b'"keys"' not in answer


# --- what is where ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"])
async def test_nothing_sends_a_client_elsewhere_with_its_secret(rig: Rig, http: httpx2.AsyncClient, path: str) -> None:
    # A redirect would name the host that the request names, and 307 has the client send everything again.
    for wrong in (f"{path}/", f"/{path}", path.upper(), f"{path};x"):
        headers = {"Authorization": basic(rig), "Host": "evil.example"}
        answer = await http.post(wrong, data={"token": "x"}, headers=headers)
        assert (answer.status_code, "location" in answer.headers) == (404, False), wrong
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"):
        assert (await http.request(method, path)).status_code == 405
    for query in ("?client_secret=x", "?a", "?="):
        answer = await http.post(path + query, data={"token": "x"}, headers={"Authorization": basic(rig)})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    allowed = await http.request("OPTIONS", path, headers={"Origin": "https://evil.example"})
    assert not [name for name in allowed.headers if name.startswith("access-control")]  # no browser's business


async def test_no_answer_repeats_what_was_sent(rig: Rig, http: httpx2.AsyncClient) -> None:
    hostile = '"><script>alert(1)</script>\r\nSet-Cookie: a=b'
    for changes in (
        {"grant_type": hostile}, {"audience": hostile}, {"resource": f"x:{hostile}"}, {"scope": hostile},
        {"subject_token": hostile}, {"subject_token_type": hostile}, {"requested_token_type": hostile},
        {"actor_token": hostile, "actor_token_type": hostile}, {hostile: ["1", "2"]}, {"client_id": hostile},
    ):  # fmt: skip
        answer = await http.post(
            "/oauth2/token", data=form(rig, **changes), headers={"Authorization": basic(rig), "X": "y"}
        )
        assert answer.status_code in (400, 401), changes
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "\r" not in answer.json()["error_description"]


# --- what refusals give away --------------------------------------------------------------------------------------


async def test_a_client_without_business_in_a_token_learns_nothing_of_it(rig: Rig, http: httpx2.AsyncClient) -> None:
    clock: Any = rig.clock
    request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(clock.now()), audience=SESSION)
    alive, revoked = [(await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token for _ in range(2)]
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=revoked), **rig.auth("web"))
    unknown = "tmr_" + "A" * 43
    answers = []
    for token in (alive, revoked):
        asked = form(rig, subject_token=token, subject_token_type=ACCESS, audience=NEXT)
        header = {"Authorization": basic(rig, "batch")}
        exchange = await http.post("/oauth2/token", data=asked, headers=header)
        introspect = await http.post("/oauth2/introspect", data={"token": token}, headers=header)
        revoke = await http.post("/oauth2/revoke", data={"token": token}, headers=header)
        answers.append([(answer.status_code, answer.content) for answer in (exchange, introspect, revoke)])
    assert answers[0] == answers[1]  # not even whether it is still in force
    assert json.loads(answers[0][0][1])["reason"] == "REEXCHANGE_DENIED"
    assert answers[0][1] == (200, b'{"active":false}')
    assert json.loads(answers[0][2][1])["reason"] == "TOKEN_DENIED"  # RFC 7009 section 2.1 has it told
    # Its owner is told what is the matter.
    told = {}
    for name, token in (("revoked", revoked), ("unknown", unknown)):
        asked = form(rig, subject_token=token, subject_token_type=ACCESS, audience=NEXT)
        answer = await http.post("/oauth2/token", data=asked, headers={"Authorization": basic(rig)})
        told[name] = answer.json()["reason"]
    assert told == {"revoked": "REVOKED", "unknown": "EXPIRED"}


async def events(rig: Rig) -> list[dict[str, Any]]:
    await rig.parts.audit.flush()
    store = rig.parts.store
    raw = await store.server.client.xrange(f"{store.prefix}audit")
    return [json.loads(fields[b"event"]) for _, fields in raw]


@pytest.mark.alone
async def test_an_unauthenticated_caller_has_no_place_in_the_audit_stream(rig: Rig, http: httpx2.AsyncClient) -> None:
    # It is capped: what anybody may put there would push out what the others did.
    for content, headers in (
        (b"%ff", {"Content-Type": FORM}),
        (b"a=1&a=2", {"Content-Type": FORM}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"a=" + b"x" * 70_000, {"Content-Type": FORM}),
        (b"client_id=web&client_secret=x&client_assertion=y", {"Content-Type": FORM}),
        (b"client_id=web&client_secret=x", {"Content-Type": FORM}),
    ):
        for path in ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"):
            assert (await http.post(path, content=content, headers=headers)).status_code in (400, 401)
    assert await events(rig) == []
    refused = await http.post("/oauth2/token", data={"grant_type": "x"}, headers={"Authorization": basic(rig)})
    assert refused.status_code == 400
    assert [(event["caller"], event["reason"]) for event in await events(rig)] == [("web", "UNSUPPORTED_GRANT_TYPE")]


@pytest.mark.alone
async def test_the_events_of_both_transports_say_the_same(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = rig.issuer.token(rig.clock.now())
    header = {"Authorization": basic(rig)}
    minted = (await http.post("/oauth2/token", data=form(rig, subject_token=token), headers=header)).json()
    request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now() + 1), audience=OPEN_AUDIENCE)
    await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    for path, method, message in (
        ("introspect", rig.exchange.IntrospectToken, pb.IntrospectTokenRequest),
        ("revoke", rig.exchange.RevokeToken, pb.RevokeTokenRequest),
    ):
        ours = minted["access_token"]
        call: Any = method
        await http.post(f"/oauth2/{path}", data={"token": ours}, headers=header)
        await call(message(token=ours), **rig.auth("web"))
    over: dict[str, list[set[str]]] = {"http": [], "grpc": []}
    for event in await events(rig):
        over["http" if event["method"].startswith("POST ") else "grpc"].append(set(event))
    assert over["http"] == over["grpc"]
    assert [("token_sha256" in keys) for keys in over["http"]] == [True, True, True]


async def test_rfc_6749_4_1_2_1_an_authorization_request_is_refused_and_never_redirected(
    http: httpx2.AsyncClient,
) -> None:
    """The metadata name the endpoint, which clients of the MCP SDK want. It serves no response type."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        document = (await http.get(path)).json()
        assert document["authorization_endpoint"] == "https://tokens.example/oauth2/authorize"
        assert document["response_types_supported"] == ["none"]
    query = {"response_type": "code", "client_id": "web", "redirect_uri": "https://evil.example", "state": "s<b>"}
    for answer in (await http.get("/oauth2/authorize", params=query), await http.get("/oauth2/authorize")):
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_response_type")
        assert "location" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert "evil" not in answer.text
        assert "s<b>" not in answer.text
    assert (await http.post("/oauth2/authorize", data=query)).status_code == 405

"""The operators' console over real HTTP: the callers, pages and input that it refuses, and its listener."""

import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests import console, sockets
from tests.console import ASKED, LISTEN, MARK, SENT, Page, explained, page_of, stream
from tests.e2e.sharing import Start
from tests.rig import GRPC_TLS, Rig, Serve, person, refusal, write_tls
from tests.sockets import place
from tests.tls import Authority, authority

from tokenmint.admission import audit
from tokenmint.admission.access import CONSOLE, REFUSALS
from tokenmint.admission.callers import Role
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.web.console import shield
from tokenmint.web.console.logins import AT_ONCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[31m"


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def run(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(listen=LISTEN) as service:
            await service.create(person("ada", "1842", "clerk"))
            yield service

    return run


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def page(rig: Rig) -> AsyncIterator[Page]:
    async with page_of(rig) as opened:
        yield opened


# --- the callers -----------------------------------------------------------------------------------------------------


@pytest.mark.alone
async def test_every_route_of_data_has_a_row_and_every_row_a_route(page: Page) -> None:
    assert set(CONSOLE) == {*ASKED, *SENT}
    for path in CONSOLE:
        assert (await page.ask(path, None)).status_code == 401, path
    assert all((row.audit is REFUSALS) == (row.caller is Role.VIEWER) for row in CONSOLE.values())


@pytest.mark.alone
@pytest.mark.parametrize("path", sorted(CONSOLE))
async def test_nothing_is_answered_without_an_operators_secret(page: Page, rig: Rig, path: str) -> None:
    web = rig.secrets["web"].reveal()
    for headers in (
        {},
        {"tokenmint-client-id": "guest"},
        {"tokenmint-client-secret": rig.secrets["guest"].reveal()},
        {"tokenmint-client-id": "guest", "tokenmint-client-secret": "tms_wrong"},
        {"tokenmint-client-id": "web", "tokenmint-client-secret": web},
        {"tokenmint-client-id": "root", "tokenmint-client-secret": rig.secrets["guest"].reveal()},
        {"authorization": "Basic Z3Vlc3Q6eA=="},
        {"cookie": f"tokenmint-client-secret={rig.secrets['guest'].reveal()}"},
    ):
        verb = "POST" if path in SENT else "GET"
        answer = await page.http.request(verb, path, headers=MARK | headers, data={} if verb == "POST" else None)
        assert (answer.status_code, answer.json()["reason"]) == (401, "CALLER_UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Tokenmint ")  # no browser opens a dialog for it
        assert "set-cookie" not in answer.headers
    twice = [*MARK.items(), *[("tokenmint-client-id", "guest")] * 2]
    assert (await page.http.get("/api/session", headers=twice)).status_code == 401


@pytest.mark.alone
async def test_roles_do_not_include_each_other(page: Page, rig: Rig) -> None:
    denied = await page.ask("/api/explain", "guest", **explained("x"))
    assert (denied.status_code, denied.json()["reason"]) == (403, "METHOD_DENIED")
    for path in (*ASKED, "/api/exchanges"):
        assert (await page.ask(path, "guest")).status_code == 200
    refused = [event for event in await stream(rig) if event["method"] == "POST /api/explain"]
    assert [(event["caller"], event["reason"]) for event in refused] == [("guest", "METHOD_DENIED")]


@pytest.mark.alone
async def test_a_viewer_does_not_see_the_compared_values_that_explain_is_for(page: Page, rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), aud="secret-other-app")
    await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    await rig.parts.audit.flush()
    [seen] = (await page.document("/api/exchanges", "guest"))["events"]
    assert "detail" not in seen
    [seen] = (await page.document("/api/exchanges", "root"))["events"]
    assert "secret-other-app" in seen["detail"]


async def test_an_operators_calls_are_limited(serve: Serve) -> None:
    limits = "\n[limits]\neach_client = { per_second = 0.001, burst = 2 }\n"
    async with serve(limits, listen=LISTEN) as rig, page_of(rig) as page:
        rig.parts.limiter.patience = 20.0
        codes = [(await page.ask("/api/session")).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        assert "retry-after" in (await page.ask("/api/session")).headers


@pytest.mark.alone
async def test_a_flood_of_logins_fills_no_log_and_locks_nobody_out(logged: io.StringIO, page: Page, rig: Rig) -> None:
    headers = MARK | {"tokenmint-client-id": "guest", "tokenmint-client-secret": "tms_wrong"}
    codes = [(await page.http.get("/api/session", headers=headers)).status_code for _ in range(2 * AT_ONCE)]
    assert codes == [401] * AT_ONCE + [429] * AT_ONCE
    assert (await page.ask("/api/session")).status_code == 200
    lines = [line for line in logged.getvalue().splitlines() if "/api/session" in line]
    assert len(lines) == AT_ONCE
    await rig.let_pass(2.0)
    assert (await page.http.get("/api/session", headers=headers)).status_code == 401


@pytest.mark.alone
async def test_it_changes_nothing_whatever_the_method(page: Page, rig: Rig) -> None:
    before = rig.parts.signing_keys.ring
    for verb in ("PUT", "PATCH", "DELETE", "POST", "OPTIONS", "TRACE"):
        for path in (*ASKED, "/", "/api/keys/rotate", "/api/nothing"):
            answer = await page.http.request(verb, path, headers=page.headers("root"))
            assert answer.status_code in (403, 404, 405), (verb, path)
    for path in SENT:
        assert (await page.http.get(path, headers=page.headers("root"))).status_code == 405
    assert rig.parts.signing_keys.ring == before


# --- hostile pages and input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/session", "/api/nothing", "/nothing"])
async def test_every_answer_forbids_scripts_frames_caches_and_referrers(page: Page, path: str) -> None:
    for answer in (await page.http.get(path), await page.http.get(path, headers={"host": "evil.example"})):
        headers = answer.headers
        assert headers.get_list("content-security-policy") == [shield.POLICY]
        assert "unsafe" not in shield.POLICY
        assert "frame-ancestors 'none'" in shield.POLICY
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:9999", 200), ("[::1]:80", 200), ("10.1.2.3", 200),
        ("evil.example", 421), ("localhost.evil.example:7445", 421), ("127.0.0.1.evil.example", 421),
        ("evil.example:127", 421), ("", 421), ("localhost@evil.example", 421), ("console.internal", 421),
        ("localhost.", 200), ("fe80::1%evil.example", 421), ("[::1%25evil.example]:80", 421), ("localhost, a", 421),
    ],
)  # fmt: skip
async def test_dns_rebinding_a_foreign_name_gets_nothing(page: Page, host: str, status: int) -> None:
    for path in ("/", "/api/session"):
        answer = await page.http.get(path, headers=page.headers() | {"host": host})
        assert answer.status_code == status, path


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET //api/session", 404), ("GET /x/../api/session", 404), ("GET /%2e/api/session", 404),
        ("GET /%61pi/session", 403), ("GET /api%2fsession", 403), ("GET http://evil.example/api/session", 404),
        ("GET http://localhost/", 404), ("OPTIONS *", 404), ("CONNECT evil.example:443", 404),
        ("HEAD /api/session", 403), ("GET /API/session", 404),
    ],
)  # fmt: skip
async def test_data_has_one_spelling_of_its_path(rig: Rig, head: str, status: int) -> None:
    request = f"{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    told = await sockets.answer(place(rig.app.listen["console"]), request)
    assert told.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"evil" not in told


async def test_a_host_that_two_servers_could_read_differently_is_none(rig: Rig) -> None:
    for hosts in ("Host: localhost\r\nHost: evil.example\r\n", "", "Host : localhost\r\n"):
        request = f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode()
        assert (await sockets.answer(place(rig.app.listen["console"]), request)).startswith(b"HTTP/1.1 400 "), hosts


async def test_a_configured_name_is_the_consoles(serve: Serve) -> None:
    async with serve(listen=LISTEN + 'console_hosts = ["Console.internal"]\n') as rig, page_of(rig) as page:
        for host, status in (("console.internal:7445", 200), ("other.internal", 421)):
            assert (await page.http.get("/api/session", headers=page.headers() | {"host": host})).status_code == status


async def test_another_origins_page_gets_nothing_even_with_credentials(page: Page) -> None:
    own = str(page.http.base_url).rstrip("/")
    for headers, status in (
        ({"sec-fetch-site": "same-origin", "origin": own}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"tokenmint-console": "0"}, 403),
    ):
        assert (await page.http.get("/api/session", headers=page.headers() | headers)).status_code == status, headers
    without_mark = {name: value for name, value in page.headers().items() if name not in MARK}
    assert (await page.http.get("/api/session", headers=without_mark)).status_code == 403
    preflight = {"origin": "https://evil.example", "access-control-request-headers": "tokenmint-console"}
    answer = await page.http.request("OPTIONS", "/api/session", headers=preflight)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.alone
async def test_hostile_claims_are_bounded_and_printable_data(page: Page, rig: Rig) -> None:
    hostile: list[dict[str, Any]] = [{"sub": HOSTILE + "x" * 200}, {"aud": HOSTILE}, {"iss": f"https://{HOSTILE}"}]
    for claims in hostile:
        token = rig.issuer.token(rig.clock.now(), **claims)
        await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
        found = await page.explain(token)
        text = json.dumps(found)
        assert "\\u202e" not in text.replace("\\\\u202e", "")
        assert "\\u001b" not in text
    await rig.parts.audit.flush()
    answer = await page.ask("/api/exchanges", "root")
    assert answer.headers["content-type"] == "application/json"
    assert not {"\u202e", "\x1b"} & set("".join(str(event) for event in answer.json()["events"]))
    assert all(len(str(value)) < 5000 for event in answer.json()["events"] for value in event.values())


async def test_a_huge_paste_is_refused_before_it_is_parsed(page: Page) -> None:
    for size in (70_000, 3_000_000):
        answer = await page.ask("/api/explain", "root", **explained("x" * size))
        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")
    assert (await page.ask("/api/explain", None, **explained("x" * 3_000_000))).status_code == 401
    long = await page.ask("/api/exchanges", "guest", client="x" * 256)
    assert (long.status_code, long.json()["reason"]) == (400, "INVALID_REQUEST")


async def test_nothing_of_a_request_is_in_the_head_of_an_answer(page: Page) -> None:
    sent = "x-injected"
    for path in (f"/{sent}%0d%0a{sent}:1", f"/api/session?{sent}", f"/api/keys/%0a{sent}", "/api/session"):
        headers = page.headers("root") | {"user-agent": sent, "tokenmint-client-id": f"{sent}%0d%0a{sent}: 1"}
        answer = await page.http.get(path, headers=headers)
        assert sent not in str(answer.headers.raw)
        assert sent not in answer.text
    explained_client = await page.ask("/api/explain", "root", **explained("x", client_id=f"a\r\n{sent}: 1"))
    assert explained_client.status_code == 404
    assert sent not in str(explained_client.headers.raw)


@pytest.mark.parametrize("field", ["before", "after"])
@pytest.mark.parametrize("value", ["+", "-", "$", "(1-1", "1-1 COUNT 9", "1", "x-y", "1-1\n", "9" * 20 + "-1"])
async def test_a_cursor_is_an_id_and_nothing_else(page: Page, field: str, value: str) -> None:
    answer = await page.ask("/api/exchanges", "guest", **{field: value})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")


async def test_parameters_in_the_url_are_refused(page: Page) -> None:
    answer = await page.http.post("/api/exchanges?principal=ada", data={}, headers=page.headers())
    assert answer.status_code == 400


@pytest.mark.alone
async def test_foreign_entries_of_the_stream_are_left_out(page: Page, rig: Rig) -> None:
    store = rig.parts.store
    hostile = [b"", b"not json", b"[]", b'{"caller": {"a": 1}}', b'{"time": "x", "minted": [1, {"jti": 5}]}', b"\xff"]
    for value in hostile:
        await store.server.client.xadd(store.prefix + audit.EXCHANGES, {"event": value})
    await store.server.client.xadd(store.prefix + audit.EXCHANGES, {"other": b"x"})
    found = await page.document("/api/exchanges")
    assert [set(event) <= {"time", "id", "minted"} for event in found["events"]] == [True, True]
    assert (await page.document("/api/refusals"))["reasons"] == []


@pytest.mark.alone
async def test_while_the_store_is_away_it_says_so(page: Page, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> object:
        raise OSError

    monkeypatch.setattr(rig.parts.store.server.client, "pipeline", away)
    answer = await page.ask("/api/exchanges")
    assert (answer.status_code, answer.json()["reason"]) == (503, "STORE_UNAVAILABLE")
    assert (await page.ask("/api/session")).status_code == 200


# --- the listener ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ('console = "0.0.0.0:7445"\n', "listen.console: secrets would cross the network unencrypted"),
        ('console_hosts = ["a.example"]\n', "listen.console_hosts: needs listen.console"),
        (
            'console = "127.0.0.1:7445"\nconsole_hosts = ["https://a.example"]\n',
            "listen.console_hosts: 'https://a.example' is not a host name",
        ),
        ('console = "127.0.0.1:9464"\n', "listen.console: 127.0.0.1:9464 is taken by listen.ops"),
    ],
)
async def test_the_rules_of_listeners_that_take_secrets(rig: Rig, listen: str, problem: str) -> None:
    text = rig.config.read_text().replace(LISTEN, listen).replace('ops = "127.0.0.1:0"', 'ops = "127.0.0.1:9464"')
    changed = rig.config.with_name("changed.toml")
    changed.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(changed, {})
    assert problem in caught.value.message
    assert "(line " in caught.value.message


async def test_where_operators_need_a_certificate_the_console_does_too(serve: Serve, tmp_path: Path) -> None:
    ca = authority()
    write_tls(tmp_path, ca)
    by_certificate = '\n[operators.machine]\ncertificates = ["dns:operator.internal"]\nroles = ["viewer"]\n'
    async with serve(by_certificate, listen=LISTEN + GRPC_TLS) as rig:
        address = rig.url("console", "").replace("http:", "https:")
        for identity, operator, name in (
            ((), "guest", None),
            (("x", "dns.of.nobody"), None, None),
            (("x", "dns.of.nobody"), "guest", "guest"),
            (("x", "operator.internal"), None, "machine"),
            (("x", "operator.internal"), "guest", None),
        ):
            context = client_context(tmp_path, ca, *identity)
            async with httpx2.AsyncClient(base_url=address, verify=context, timeout=20) as http:
                answer = await http.get("/api/session", headers=Page(rig, http).headers(operator))
            assert answer.json().get("operator") == name, identity
            assert answer.status_code == (200 if name else 401)


def client_context(directory: Path, ca: Authority, *identity: str) -> ssl.SSLContext:
    """A TLS client, with a certificate of these names if there are any."""
    context = ssl.create_default_context(cadata=ca.pem.decode())
    if identity:
        for part, pem in zip(("crt", "key"), ca.issue(identity[0], *identity[1:]), strict=True):
            (directory / f"browser.{part}").write_bytes(pem)
        context.load_cert_chain(directory / "browser.crt", directory / "browser.key")
    return context


async def test_the_helper_and_the_service_agree_on_the_mark() -> None:
    assert {shield.MARK: "1"} == console.MARK

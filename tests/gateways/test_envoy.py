"""Real Envoy with the example of deploy/gateways, before a sidecar that follows revocations."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jwt
import pytest
from tests import envoy, plain_http
from tests.gateways.programs import EXAMPLES, sidecar
from tests.gateways.test_edge import counted, until_followed
from tests.gateways.test_gateways import (
    AUDIENCE,
    COOKIE,
    REQUESTS,
    TOKENS,
    Setting,
    get,
    last_pass,
    revoke,
    seen,
    session,
    setting_of,
)
from tests.gateways.traffic import statuses_of
from tests.ports import own_port


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    envoy.binary()
    with ExitStack() as stack:
        yield setting_of(stack, tmp_path_factory.mktemp("tokenmint"), cache="5m")


@contextmanager
def before(directory: Path, setting: Setting, edge: int) -> Iterator[str]:
    """Run Envoy before a sidecar's port; yield its URL."""
    port, text = own_port(), (EXAMPLES / "envoy.yaml").read_text()
    for shown, actual in ((10000, port), (8081, edge), (9000, setting.backend)):
        text, replaced = re.subn(rf"port_value: {shown}\b", f"port_value: {actual}", text)
        assert replaced == 1, shown
    with envoy.running(envoy.binary(), directory, text, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def both(directory: Path, setting: Setting) -> Iterator[tuple[str, int]]:
    """Run Envoy and its sidecar; yield the URL of the one and the port of the other."""
    follows = ("--revocations", setting.service.listen["grpc"], "--audience", AUDIENCE)
    with ExitStack() as stack:
        edge = stack.enter_context(sidecar(directory, tokenmint=setting.port, keep="1", follows=follows))
        yield stack.enter_context(before(directory, setting, edge)), edge


@pytest.fixture(scope="module")
def gateway(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with both(tmp_path_factory.mktemp("envoy"), setting) as found:
        until_followed(found[1])
        yield found


def test_the_token_is_swapped_and_nothing_is_forged(setting: Setting, gateway: tuple[str, int]) -> None:
    theirs = setting.token()
    headers = seen(get(gateway[0], theirs, X_Tokenmint_Principal="root", X_Tokenmint_Scope="admin"))
    ours = headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(ours, options={"verify_signature": False})
    assert (claims["aud"], theirs in str(headers)) == (AUDIENCE, False)
    assert (headers["x-tokenmint-principal"], headers["x-tokenmint-scope"]) == (claims["sub"], "read")


def test_a_header_that_a_server_behind_may_read_as_ours_is_refused(setting: Setting, gateway: tuple[str, int]) -> None:
    with plain_http.sync_client() as http:
        given = {"authorization": f"Bearer {setting.token()}", "x_tokenmint_principal": "root"}
        assert http.get(f"{gateway[0]}/orders/1", headers=given).status_code == 400


@pytest.mark.parametrize(("method", "body"), [("POST", b"x" * 100), ("PUT", b""), ("DELETE", b""), ("HEAD", b"")])
def test_any_method_passes_with_its_body(setting: Setting, gateway: tuple[str, int], method: str, body: bytes) -> None:
    with plain_http.sync_client() as http:
        url, given = f"{gateway[0]}/orders/1?a=b", {"authorization": f"Bearer {setting.token()}"}
        answer = http.request(method, url, headers=given, content=body)
        refused = http.request(method, url, content=body)
    assert (answer.status_code, refused.status_code) == (200, 401)


def test_a_session_stays_at_the_gateway(setting: Setting, gateway: tuple[str, int]) -> None:
    handle = session(setting)
    others = seen(get(gateway[0], Cookie=f"a=1; {COOKIE}={handle}"))
    alone = seen(get(gateway[0], Cookie=f"{COOKIE}={handle}"))
    assert (others["cookie"], "cookie" in alone, handle in str(alone) + str(others)) == ("a=1", False, False)


def test_rfc_6750_3_a_refusal_reaches_the_client(gateway: tuple[str, int]) -> None:
    none = get(gateway[0])
    assert (none.status_code, none.headers["www-authenticate"]) == (401, 'Bearer realm="tokenmint"')


def test_of_10000_requests_with_100_tokens_tokenmint_answers_100(setting: Setting, tmp_path: Path) -> None:
    with both(tmp_path, setting) as (url, edge):
        until_followed(edge)
        before_them = setting.minted()
        tokens = [setting.token(sub=f"user-{number}") for number in range(TOKENS)]
        headers = [{"Authorization": f"Bearer {tokens[number % TOKENS]}"} for number in range(REQUESTS)]
        assert statuses_of(url, headers) == [200] * REQUESTS
        minted, counts = setting.minted() - before_them, counted(edge)
    print(f"envoy: {REQUESTS} requests with {TOKENS} tokens, {minted} exchanges, {counts}")
    assert minted == TOKENS
    assert counts == {"kept": REQUESTS - TOKENS, "asked": TOKENS, "refused": 0, "away": 0}


def test_a_revoked_session_is_refused_within_a_second_though_answers_are_kept_for_minutes(
    setting: Setting, gateway: tuple[str, int]
) -> None:
    url, edge = gateway
    handle = session(setting)
    before_them, asked = setting.minted(), counted(edge)["asked"]
    ends = time.monotonic() + 2
    while time.monotonic() < ends:  # longer than an answer is kept without the stream
        assert get(url, Cookie=f"{COOKIE}={handle}").status_code == 200
    assert (setting.minted() - before_them, counted(edge)["asked"] - asked) == (1, 1)
    with ThreadPoolExecutor(1) as pool:
        until_refused = pool.submit(last_pass, url, handle)
        revoke(setting, handle)
        revoked = time.monotonic()
        last = until_refused.result()
    print(f"envoy: the last request that passed began {last - revoked:+.3f} s after the revocation")
    assert last - revoked <= 1


def test_without_a_sidecar_nothing_passes(setting: Setting, tmp_path: Path) -> None:
    with before(tmp_path, setting, own_port()) as url:
        assert get(url, setting.token()).status_code == 503

"""`tokenmint edge` as a process of its own: before tokenmint, behind a gateway that keeps no answers."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests import plain_http
from tests.gateways.programs import CADDY, running, sidecar
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


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with ExitStack() as stack:
        yield setting_of(stack, tmp_path_factory.mktemp("tokenmint"), cache="5m")


def counted(port: int) -> dict[str, int]:
    text = plain_http.get(f"http://127.0.0.1:{port}/metrics").text
    return {how: int(float(value)) for how, value in re.findall(r'edge_answers_total{how="(\w+)"} (\S+)', text)}


def test_of_10000_requests_with_100_tokens_through_caddy_tokenmint_answers_100(
    setting: Setting, tmp_path: Path
) -> None:
    with (
        sidecar(tmp_path, tokenmint=setting.port, keep="300") as port,
        running(CADDY, tmp_path, tokenmint=port, backend=setting.backend) as url,
    ):
        before = setting.minted()
        tokens = [setting.token(sub=f"user-{number}") for number in range(TOKENS)]
        headers = [{"Authorization": f"Bearer {tokens[number % TOKENS]}"} for number in range(REQUESTS)]
        assert statuses_of(url, headers) == [200] * REQUESTS
        assert setting.minted() - before == TOKENS
        assert counted(port) == {"kept": REQUESTS - TOKENS, "asked": TOKENS, "refused": 0, "away": 0}
        principals = {seen(get(url, token, Host="orders.example"))["x-tokenmint-principal"] for token in tokens[:10]}
        assert len(principals) == 10  # nobody gets the answer of another
        assert setting.minted() - before == TOKENS


def test_a_revoked_session_is_refused_within_a_second(setting: Setting, tmp_path: Path) -> None:
    with (
        sidecar(tmp_path, tokenmint=setting.port, keep="1") as port,
        running(CADDY, tmp_path, tokenmint=port, backend=setting.backend) as url,
    ):
        handle = session(setting)
        assert statuses_of(url, [{"Cookie": f"{COOKIE}={handle}"}] * 100) == [200] * 100
        assert counted(port)["kept"] > 0
        with ThreadPoolExecutor(1) as pool:
            until_refused = pool.submit(last_pass, url, handle)
            revoke(setting, handle)
            revoked = time.monotonic()
            last = until_refused.result()
        print(f"edge: the last request that passed began {last - revoked:+.2f} s after the revocation")
        assert last - revoked <= 1


def test_a_revoked_session_is_refused_within_a_second_though_answers_are_kept_for_minutes(
    setting: Setting, tmp_path: Path
) -> None:
    follows = ("--revocations", setting.service.listen["grpc"], "--audience", AUDIENCE)
    with (
        sidecar(tmp_path, tokenmint=setting.port, keep="1", follows=follows) as port,
        running(CADDY, tmp_path, tokenmint=port, backend=setting.backend) as url,
    ):
        until_followed(port)
        handle = session(setting)
        asked, ends = counted(port)["asked"], time.monotonic() + 2
        while time.monotonic() < ends:  # longer than an answer is kept without the stream
            assert get(url, Cookie=f"{COOKIE}={handle}").status_code == 200
        assert counted(port)["asked"] == asked + 1
        with ThreadPoolExecutor(1) as pool:
            until_refused = pool.submit(last_pass, url, handle)
            revoke(setting, handle)
            revoked = time.monotonic()
            last = until_refused.result()
        print(f"caddy, followed: the last request that passed began {last - revoked:+.3f} s after the revocation")
        assert last - revoked <= 1


def until_followed(port: int) -> None:
    """Wait for the snapshot of revocations."""
    ends = time.monotonic() + 60
    while "known up to" not in plain_http.get(f"http://127.0.0.1:{port}/readyz").text:
        assert time.monotonic() < ends


def test_while_tokenmint_is_away_what_is_allowed_is_given_and_the_rest_refused(tmp_path: Path) -> None:
    with ExitStack() as stack:
        own = setting_of(stack, tmp_path, cache="5m")
        (tmp_path / "edge").mkdir()
        port = stack.enter_context(sidecar(tmp_path / "edge", tokenmint=own.port, keep="300"))
        url, token = f"http://127.0.0.1:{port}/auth", own.token()

        def ask(token: str) -> tuple[int, str]:
            with plain_http.sync_client() as http:
                answer = http.get(f"{url}/orders", headers={"Authorization": f"Bearer {token}"})
            return answer.status_code, answer.headers.get("x-tokenmint-scope", answer.text)

        assert ask(token) == (200, "read")
        assert ask("x.y.z")[0] == 401
        own.service.stop()
        assert ask(token) == (200, "read")
        status, text = ask(own.token(sub="another"))
        assert (status, "can't be reached" in text) == (503, True)
        assert counted(port) == {"kept": 1, "asked": 1, "refused": 1, "away": 1}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/auth/none", {}, 503),  # tokenmint has no such route
        ("/auth/orders/x", {}, 404),
        ("/oauth2/token", {}, 404),
        ("/auth/orders", {"X-Tokenmint-Principal": "root"}, 401),
        ("/auth/orders", {}, 401),
        ("/auth/orders", {"Authorization": "Bearer \u00e9.\u00e9.\u00e9"}, 401),
        ("/healthz", {}, 200),
    ],
)
def test_what_the_sidecar_passes_on(
    setting: Setting, path: str, headers: dict[str, str], status: int, edge_port: int
) -> None:
    with plain_http.sync_client() as http:
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        assert http.get(f"http://127.0.0.1:{edge_port}{path}", headers=sent).status_code == status
        assert http.request("TRACE", f"http://127.0.0.1:{edge_port}/auth/orders").status_code == 405


@pytest.fixture(scope="module")
def edge_port(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with sidecar(tmp_path_factory.mktemp("edge"), tokenmint=setting.port, keep="1") as port:
        yield port

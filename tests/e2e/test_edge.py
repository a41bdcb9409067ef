"""`tokenmint edge` before a real service, over real HTTP and gRPC: kept answers end with their tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests import plain_http
from tests.deploy.monitoring import read_metrics
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.ports import own_port
from tests.rig import Rig, Serve, person

from tokenmint.base.addresses import Address
from tokenmint.base.http_url import HttpUrl
from tokenmint.edge.answers import Limits
from tokenmint.edge.serving import Options, running
from tokenmint.model.secret import Secret
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import revocation_admin_service_pb2 as admin_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEHIND, OTHER, SESSION, COOKIE = "https://behind.example", "https://other.example", "https://session.example", "sid"
EXTRA = """
[gateway]
enabled = true
cookie = "sid"
[gateway.routes.orders]
audience = "https://behind.example"
[gateway.routes.other]
audience = "https://other.example"

[audiences."https://behind.example"]
clients = ["gateway"]
providers = ["idp"]
reexchange_from = ["https://session.example"]
gateway_cache = "5m"
[audiences."https://other.example"]
clients = ["gateway"]
providers = ["idp"]
gateway_cache = "5m"
[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
[audiences."https://session.example".reference]
idle = "1h"

[clients.gateway]
secrets = ["sha256:{gateway}"]
serves = ["https://session.example", "https://behind.example"]
"""
GATEWAY = Secret("tms_gateway")
LIMITS = Limits(alone=1, followed=300, lag=5)


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA.format(gateway=GATEWAY.fingerprint())) as service:
            await service.create(person(), person("bob", "7"))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@dataclass
class Sidecar:
    """A sidecar, as a gateway sees it."""

    url: str
    http: Any

    async def ask(self, token: str = "", path: str = "/auth/orders", **headers: str) -> Any:
        given = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.get(self.url + path, headers=given | headers)

    async def counts(self) -> dict[str, float]:
        lines = (await self.ask(path="/metrics")).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line.startswith("tokenmint_edge") and "_created" not in line)
        return {name.removeprefix("tokenmint_edge_"): float(value) for name, _, value in pairs}

    async def answers(self) -> dict[str, int]:
        found = await self.counts()
        return {how: int(found[f'answers_total{{how="{how}"}}']) for how in ("kept", "asked", "refused", "away")}


@asynccontextmanager
async def sidecar(
    rig: Rig, *, follows: tuple[str, ...] = (BEHIND,), secret: Secret = GATEWAY
) -> AsyncIterator[Sidecar]:
    address = Address("127.0.0.1", own_port())
    source = HttpUrl.parse(f"http://{rig.app.listen['grpc']}") if follows else None
    upstream = HttpUrl.parse(f"http://{rig.app.listen['http']}")
    options = Options(upstream, "gateway", secret, address, LIMITS, (), "x-forwarded-host", None, source, follows)
    async with running(options, rig.clock), plain_http.client() as http:
        yield Sidecar(f"http://{address}", http)


async def until_followed(edge: Sidecar, rig: Rig) -> None:
    """Wait until each stream has brought its snapshot. The clock stands still, unless a retry needs it."""
    await until(rig, edge, lambda found: all(age < 5 for age in found))


async def until(rig: Rig, edge: Sidecar, holds: Any) -> None:
    while True:
        found = [value for name, value in (await edge.counts()).items() if name.startswith("revocations_age")]
        if holds(found):
            return
        await rig.let_pass(0.1)


def theirs(rig: Rig, sub: str = "1842") -> str:
    return rig.issuer.token(rig.clock.now(), sub=sub)


async def session(rig: Rig) -> str:
    request = pb.ExchangeTokenRequest(subject_token=theirs(rig), audience=SESSION)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


async def until_asked(edge: Sidecar, token: str = "", **headers: str) -> Any:
    """Ask until the answer is not a kept one. The clock does not move, so only a revocation ends it."""
    while True:
        before = (await edge.answers())["kept"]
        answer = await edge.ask(token, **headers)
        if (await edge.answers())["kept"] == before:
            return answer


async def test_an_answer_outlives_the_short_time_while_revocations_are_followed(rig: Rig) -> None:
    async with sidecar(rig) as edge, sidecar(rig, follows=()) as unaware:
        await until_followed(edge, rig)
        ada = theirs(rig)
        first = [await one.ask(ada) for one in (edge, unaware)]
        assert [one.status_code for one in first] == [200, 200]
        assert [one.headers["cache-control"] for one in first] == ["max-age=1"] * 2  # for caches behind
        for _ in range(3):
            await rig.let_pass(1)
            await until_followed(edge, rig)
        again = [await one.ask(ada) for one in (edge, unaware)]
        assert again[0].headers["authorization"] == first[0].headers["authorization"]
        assert [(await one.answers())["kept"] for one in (edge, unaware)] == [1, 0]


@pytest.mark.alone
@pytest.mark.parametrize("way", ["session", "revoke-tokens", "disable", "delete", "client", "audience"])
async def test_a_kept_answer_ends_with_its_token(rig: Rig, way: str) -> None:
    async with sidecar(rig) as edge:
        await until_followed(edge, rig)
        root, handle, bob = rig.auth("root"), await session(rig), theirs(rig, "7")
        cookie = {"cookie": f"{COOKIE}={handle}"}
        for _ in range(2):
            assert [(await edge.ask(**cookie)).status_code, (await edge.ask(bob)).status_code] == [200, 200]
        assert (await edge.answers())["kept"] == 2
        if way == "session":
            await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=handle), **rig.auth("web"))
        elif way == "revoke-tokens":
            await rig.profiles.RevokePrincipalTokens(profiles_pb.RevokePrincipalTokensRequest(principal="ada"), **root)
        elif way == "disable":
            changed = profiles_pb.UpdateProfileRequest(profile=person())
            changed.profile.disabled = True
            changed.update_mask.paths.append("disabled")
            await rig.profiles.UpdateProfile(changed, **root)
        elif way == "delete":
            await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal="ada"), **root)
        else:
            request = admin_pb.RevokeTokensRequest(reason="a test")
            request.MergeFrom(
                admin_pb.RevokeTokensRequest(client_id="gateway")
                if way == "client"
                else admin_pb.RevokeTokensRequest(audience=BEHIND)
            )
            await rig.revocation.RevokeTokens(request, **root)
        answer = await until_asked(edge, **cookie)
        if way in ("client", "audience"):  # the session itself is neither: a new token has to come
            assert answer.json()["reason"] == "JUST_REVOKED"
            await rig.let_pass(1)
            await until_followed(edge, rig)
            assert [(await edge.ask(**cookie)).status_code for _ in range(2)] == [200, 200]
        else:
            assert answer.status_code in (401, 403)
            kept = (await edge.answers())["kept"]
            assert (await edge.ask(bob)).status_code == 200
            assert (await edge.answers())["kept"] == kept + 1  # nobody else's ended


async def test_what_is_not_followed_keeps_the_short_time(rig: Rig) -> None:
    """The client does not serve `other`, so its stream is refused, and the reason is shown."""
    assert isinstance(rig.clock, FakeClock)
    async with sidecar(rig, follows=(BEHIND, OTHER)) as edge:
        ada = theirs(rig)

        async def reason() -> str:
            found = (await edge.ask(path="/readyz")).json()
            assert found["ready"] is True
            return str(found["details"][f"revocations of {OTHER}"])

        while "PERMISSION_DENIED" not in (text := await reason()):
            await rig.let_pass(0.1)
        assert "does not serve this audience" in text
        assert "not known yet, so answers are not kept for longer" in text
        assert (await edge.counts())[f'revocations_followed{{audience="{OTHER}"}}'] == 0
        await edge.ask(ada, "/auth/other")
        await edge.ask(ada, "/auth/other")
        await rig.let_pass(1)
        await edge.ask(ada, "/auth/other")
        assert await edge.answers() == {"kept": 1, "asked": 2, "refused": 0, "away": 0}


@pytest.mark.parametrize(
    ("path", "headers", "status", "how"),
    [
        ("/auth/none", {}, 503, "away"),  # tokenmint has no such route
        ("/auth/orders/x", {}, 404, ""),
        ("/oauth2/token", {}, 404, ""),
        ("/auth/orders", {"x-tokenmint-principal": "root"}, 401, "refused"),
        ("/auth/orders", {}, 401, "refused"),
        ("/healthz", {}, 200, ""),
        ("/readyz", {}, 200, ""),
    ],
)
async def test_what_the_sidecar_answers(rig: Rig, path: str, headers: dict[str, str], status: int, how: str) -> None:
    async with sidecar(rig, follows=()) as edge:
        assert (await edge.ask(path=path, **headers)).status_code == status
        assert [name for name, count in (await edge.answers()).items() if count] == ([how] if how else [])


@pytest.mark.parametrize(
    ("cookies", "left", "removed"),
    [("{cookie}", None, "cookie"), ("a=1; {cookie}", "a=1", None), ("a=1", "a=1", None)],
)
async def test_envoy_is_told_to_remove_the_session(
    rig: Rig, cookies: str, left: str | None, removed: str | None
) -> None:
    async with sidecar(rig, follows=()) as edge:
        handle = await session(rig)
        token = "" if "cookie" in cookies else theirs(rig)
        answer = await edge.ask(token, cookie=cookies.format(cookie=f"{COOKIE}={handle}"))
        assert answer.status_code == 200
        assert (answer.headers.get("cookie"), answer.headers.get("x-envoy-auth-headers-to-remove")) == (left, removed)


async def test_a_request_with_a_body_is_refused(rig: Rig) -> None:
    async with sidecar(rig, follows=()) as edge:
        answer = await edge.http.request("GET", f"{edge.url}/auth/orders", content=b"x")
        assert (answer.status_code, answer.headers["connection"]) == (400, "close")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):  # Envoy asks with its client's
            given = {"authorization": f"Bearer {theirs(rig)}", "content-length": "0"}
            assert (await edge.http.request(method, f"{edge.url}/auth/orders", headers=given)).status_code == 200
        assert (await edge.http.request("TRACE", f"{edge.url}/auth/orders")).status_code == 405


async def test_the_sidecar_shows_each_metric_that_alerts_and_dashboards_read(rig: Rig) -> None:
    async with sidecar(rig) as edge:
        shown = {f"tokenmint_edge_{name.partition('{')[0]}" for name in await edge.counts()}
    assert (read := read_metrics(sidecar=True))
    assert read <= shown


async def test_a_sidecar_with_a_wrong_secret_passes_nothing(rig: Rig) -> None:
    async with sidecar(rig, secret=Secret("tms_wrong")) as edge:
        answer = await edge.ask(theirs(rig))
        assert (answer.status_code, answer.json()["reason"]) == (502, "CALLER_UNAUTHENTICATED")
        while "UNAUTHENTICATED" not in (text := (await edge.ask(path="/readyz")).text):
            await rig.let_pass(0.1)
        assert "tms_" not in text

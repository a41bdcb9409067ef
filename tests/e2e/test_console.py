"""The operators' console over real HTTP: the answers of its routes."""

import io
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.console import LISTEN, Page, page_of, stream
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.web.console import pages

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[31m"


@pytest.fixture
async def rig(serve: Serve, logged: io.StringIO) -> AsyncIterator[Rig]:
    async with serve(listen=LISTEN) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


@pytest.fixture
async def page(rig: Rig) -> AsyncIterator[Page]:
    async with page_of(rig) as opened:
        yield opened


# --- what it shows ---------------------------------------------------------------------------------------------------


async def test_without_the_setting_there_is_no_console(serve: Serve) -> None:
    async with serve() as rig:
        assert "console" not in rig.app.listen
        assert rig.app.listeners.console is None


async def test_the_files_of_the_page_are_the_packages_and_hold_no_data(page: Page) -> None:
    for file in pages.FOLDER.iterdir():
        answer = await page.http.get("/" if file.name == "index.html" else f"/{file.name}")
        assert (answer.status_code, answer.content) == (200, file.read_bytes())
        assert answer.headers["content-type"] == pages.TYPES[file.name.rpartition(".")[2]]


async def test_a_session_names_the_operator_and_the_roles(page: Page) -> None:
    found = await page.document("/api/session")
    assert (found["operator"], found["roles"]) == ("guest", ["viewer"])


async def test_keys_on_a_time_axis_with_what_comes_next_and_what_lacks_the_next_key(page: Page, rig: Rig) -> None:
    async with httpx2.AsyncClient() as http:
        await http.get(rig.url("http", "/.well-known/jwks.json"), headers={"user-agent": "early/1"})
    request = keys_pb.RevokeSigningKeyRequest(reason="leaked", with_prepared=True)
    [active] = [key for key in rig.parts.signing_keys.ring.keys if key.state == "active"]
    request.key_id = active.key_id
    await rig.keys.RevokeSigningKey(request, **rig.auth("root"))
    found = await page.document("/api/keys")
    states = {row["key_id"]: row["state"] for row in found["rows"]}
    assert states == {key.key_id: str(key.state) for key in rig.parts.signing_keys.ring.keys}
    assert found["begin"] < found["now"] < found["end"]
    assert found["prepared"]
    behind = [(one["agent"], one["missing"]) for one in found["verifiers_behind"]]
    assert behind == [("early/1", found["prepared"])]


async def test_exchanges_are_read_from_the_audit_stream_and_filtered(page: Page, rig: Rig) -> None:
    answer = await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
    told = await refusal(
        rig.exchange.ExchangeToken(rig.request(audience=OPEN_AUDIENCE, scopes=["x"]), **rig.auth("web"))
    )
    assert told.reason == "SCOPE_DENIED"
    await rig.parts.audit.flush()
    found = await page.document("/api/exchanges")
    assert [(one["caller"], one.get("reason")) for one in found["events"]] == [("web", "SCOPE_DENIED"), ("web", None)]
    for filters, count in [
        ({"client": "WEB"}, 2),
        ({"client": "batch"}, 0),
        ({"principal": "ada"}, 1),
        ({"provider": "idp"}, 1),
        ({"jti": answer.token_id}, 1),
        ({"jti": "none"}, 0),
        ({"trace": "0af7651916cd43dd8448eb211c80319c"}, 0),
        ({"outcome": "refused"}, 1),
        ({"outcome": "minted", "principal": "ada"}, 1),
        ({"outcome": "refused", "jti": answer.token_id}, 0),
    ]:
        assert len((await page.document("/api/exchanges", **filters))["events"]) == count, filters
    assert (await page.document("/api/exchanges", after=found["newest"]))["events"] == []
    await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
    await rig.parts.audit.flush()
    live = await page.document("/api/exchanges", after=found["newest"])
    assert [one["principal"] for one in live["events"]] == ["ada"]
    assert live["newest"] != found["newest"]


async def test_refusals_are_counted_by_reason_with_the_way_out(page: Page, rig: Rig) -> None:
    assert (await page.document("/api/refusals"))["reasons"] == []
    for _ in range(3):
        await refusal(rig.exchange.ExchangeToken(rig.request("x"), **rig.auth("web")))
    await refusal(rig.exchange.ExchangeToken(rig.request(audience="https://none"), **rig.auth("web")))
    await rig.parts.audit.flush()
    found = await page.document("/api/refusals")
    counted = {one["reason"]: (one["hour"], one["day"]) for one in found["reasons"]}
    assert counted == {"MALFORMED": (3, 3), "AUDIENCE_DENIED": (1, 1)}
    assert found["complete"]
    [malformed] = [one for one in found["reasons"] if one["reason"] == "MALFORMED"]
    told = "".join(segment["text"] for segment in malformed["remedy"]["segments"])
    assert told.startswith("The text is not a compact JWS")
    await rig.let_pass(2.0)
    assert isinstance(rig.clock, FakeClock)
    rig.clock.set(rig.clock.now() + 7200)
    later = {one["reason"]: (one["hour"], one["day"]) for one in (await page.document("/api/refusals"))["reasons"]}
    assert later == {"MALFORMED": (0, 3), "AUDIENCE_DENIED": (0, 1)}


async def test_health_of_providers_and_replicas(page: Page, rig: Rig) -> None:
    found = await page.document("/api/health")
    [idp] = found["providers"]
    assert (idp["name"], idp["issuer"], idp["state"], idp["keys"]) == ("idp", rig.issuer.url, "good", 1)
    assert [one["current"] for one in found["replicas"]] == [True]
    rig.issuer.status = 500
    again = providers_pb.RefreshProviderKeysRequest(provider="idp")
    await refusal(rig.providers.RefreshProviderKeys(again, **rig.auth("root")))
    [idp] = (await page.document("/api/health"))["providers"]
    assert idp["state"] == "stale"
    assert idp["error"]


async def test_the_picture_of_access_is_that_of_the_policy(page: Page) -> None:
    found = await page.document("/api/access")
    may = {one["name"]: one["clients"] for one in found["audiences"]}
    assert may[AUDIENCE] == {"web": "read write"}
    assert may[OPEN_AUDIENCE] == {"web": "read", "batch": ""}  # clients.batch.scopes gives it none
    assert {one["id"] for one in found["clients"]} == {"web", "batch"}


# --- explain ---------------------------------------------------------------------------------------------------------


async def test_an_explanation_names_the_step_the_remedy_and_the_line_that_decides(page: Page, rig: Rig) -> None:
    found = await page.explain(rig.issuer.token(rig.clock.now(), aud="another-app"))
    assert found["refused"]
    assert [step["outcome"] for step in found["steps"][:-1]] == ["passed"] * (len(found["steps"]) - 1)
    last = found["steps"][-1]
    assert (last["name"], last["reason"]) == ("assertion.audience", "WRONG_AUDIENCE")
    assert "another-app" in last["detail"]
    [line] = found["decided_by"]
    number = 1 + rig.config.read_text().split("\n").index('audiences = ["app"]')
    text = 'audiences = ["app"]'
    assert line == {"key": "providers.idp.audiences", "where": f"line {number}", "text": text, "missing": False}
    assert found["remedy"]["segments"]


@pytest.mark.parametrize(
    ("changes", "reason", "keys"),
    [
        ({"client_id": "batch"}, "AUDIENCE_DENIED", ['audiences."https://orders.example".clients']),
        ({"audience": "https://none"}, "AUDIENCE_DENIED", ['audiences."https://none"']),
        ({"scope": "admin"}, "SCOPE_DENIED", ['audiences."https://orders.example".scopes']),
        (
            {"client_id": "batch", "audience": OPEN_AUDIENCE, "scope": "read"},
            "SCOPE_DENIED",
            ["clients.batch.scopes", 'audiences."https://open.example".scopes'],
        ),
        ({"subject_token": "opaque"}, "MALFORMED", []),
    ],
)
async def test_the_deciding_keys_of_a_step(
    page: Page, rig: Rig, changes: dict[str, str], reason: str, keys: list[str]
) -> None:
    token = rig.issuer.token(rig.clock.now())
    found = await page.explain(**{"token": token, **changes} if "subject_token" not in changes else {"token": "opaque"})
    assert found["steps"][-1]["reason"] == reason
    assert [one["key"] for one in found["decided_by"]] == keys


async def test_a_default_that_decides_is_named_behind_its_table(page: Page, rig: Rig) -> None:
    found = await page.explain(rig.issuer.token(rig.clock.now() - 7200))
    assert found["steps"][-1]["reason"] == "EXPIRED"
    assert [(one["key"], bool(one["where"])) for one in found["decided_by"]] == [
        ("providers.idp", True), ("providers.idp.skew", False),
    ]  # fmt: skip


async def test_a_good_token_is_explained_without_being_exchanged(page: Page, rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), email="ada@example.com")
    found = await page.explain(token, audience=OPEN_AUDIENCE)  # single use
    assert (found["refused"], found["decided_by"]) == (False, [])
    await rig.exchange.ExchangeToken(rig.request(token, audience=OPEN_AUDIENCE), **rig.auth("web"))
    assert (await page.explain(token, audience=OPEN_AUDIENCE))["steps"][-1]["reason"] == "REPLAYED"


async def test_an_explanation_is_recorded_before_it_is_made_and_without_the_token(page: Page, rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now())
    await page.explain(token)
    found = [event for event in await stream(rig) if event["method"] == "POST /api/explain"]
    assert [(event["caller"], event["outcome"], event["client_id"]) for event in found] == [
        ("root", "begun", "web"), ("root", "done", "web"),
    ]  # fmt: skip
    assert token not in json.dumps(found)


async def test_a_reload_moves_the_lines(page: Page, rig: Rig) -> None:
    rig.config.write_text("\n\n\n" + rig.config.read_text())
    before = (await page.explain(rig.issuer.token(rig.clock.now(), aud="x")))["decided_by"][0]["where"]
    await rig.app.reload(rig.settings())
    after = (await page.explain(rig.issuer.token(rig.clock.now(), aud="x")))["decided_by"][0]["where"]
    assert int(after.split()[1]) == int(before.split()[1]) + 3

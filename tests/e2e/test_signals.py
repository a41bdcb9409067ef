"""Signals of providers over HTTP: each ends in its action, durable before the answer, and nothing else is accepted."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig, Serve, refusal
from tests.signalling import Person, counted, known, push, signed_in
from tests.signals import CAEP, LOGOUT, RISC, SECEVENT, SSF, apple, logout_token, of, once, secevent

from tokenmint.model.profile import Identity as ProfileIdentity
from tokenmint.profiles.resolve import just_in_time_principal
from tokenmint.v1.profile_admin_service_pb2 import GetProfileRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORK, APPLE, SILENT = (Issuer(url=f"https://{name}.example", key=rsa_key(number)) for number, name in
                       enumerate(("work", "appleid", "silent"), start=3))  # fmt: skip
EXTRA = f"""
[providers.idp.signals.events]
session-established = "unlink"

[providers.work]
issuer = "{WORK.url}"
audiences = ["app"]
jwks = '''{WORK.jwks().decode()}'''
[providers.work.signals]
deliveries = ["secevent"]
push_secrets = ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]

[providers.appleid]
issuer = "{APPLE.url}"
audiences = ["app"]
jwks = '''{APPLE.jwks().decode()}'''
[providers.appleid.signals]
deliveries = ["apple"]

[providers.silent]
issuer = "{SILENT.url}"
audiences = ["app"]
jwks = '''{SILENT.jwks().decode()}'''

[audiences."https://apples.example"]
clients = ["web"]
providers = ["appleid", "work"]
"""
FROM_WORK = SECEVENT | {"Authorization": "Bearer test"}


@pytest.fixture(scope="module")
def start() -> Start:
    def started(serve: Serve) -> Any:
        return serve(EXTRA)

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", "")) as client:
        yield client


# --- each signal ends in its action -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (CAEP + "session-revoked", "REVOKED"),
        (CAEP + "credential-change", "REVOKED"),
        (RISC + "account-disabled", "PRINCIPAL_DISABLED"),
        (RISC + "account-purged", "PRINCIPAL_DISABLED"),
        (RISC + "account-credential-change-required", "REVOKED"),
        (RISC + "identifier-recycled", "PRINCIPAL_DISABLED"),
        (CAEP + "session-established", "PRINCIPAL_DISABLED"),  # the configuration says so
    ],
)
@pytest.mark.parametrize("audience", [AUDIENCE, LEGACY_AUDIENCE], ids=["profile", "without"])
async def test_an_event_ends_in_its_action(
    rig: Rig, http: httpx2.AsyncClient, event: str, reason: str, audience: str
) -> None:
    subject = once()
    found = await (known if audience == AUDIENCE else signed_in)(rig, subject, audience)
    answer = await push(http, secevent(rig.issuer, rig.clock.now(), event, of(rig.issuer, subject)))
    assert (answer.status_code, answer.content) == (202, b"")
    assert await found.refused() == reason
    assert not await found.is_active()
    await rig.let_pass(2)
    if reason == "REVOKED":
        found.minted = await found.exchange()  # a token that was issued since
        assert await found.is_active()
    else:
        assert await found.refused() == reason


async def test_back_channel_logout_revokes(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    found = await known(rig, subject)
    token = logout_token(rig.issuer, rig.clock.now(), sub=subject)
    answer = await http.post("/signals/idp", data={"logout_token": token})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert await found.refused() == "REVOKED"
    assert not await found.is_active()
    assert counted(rig, "idp", "backchannel-logout", "revoked") >= 1


@pytest.mark.parametrize(("kind", "reason"), [("account-delete", "PRINCIPAL_DISABLED"), ("consent-revoked", "REVOKED")])
async def test_apples_notification(rig: Rig, http: httpx2.AsyncClient, kind: str, reason: str) -> None:
    subject = once()
    found = await known(rig, subject, "https://apples.example", APPLE, "appleid")
    answer = await http.post("/signals/appleid", json={"payload": apple(APPLE, rig.clock.now(), kind, subject)})
    assert answer.status_code == 200  # Apple repeats after every other status
    assert await found.refused() == reason
    assert not await found.is_active()


async def test_a_signal_gives_nobody_a_profile(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    found = await signed_in(rig, subject, LEGACY_AUDIENCE)
    await push(http, secevent(rig.issuer, rig.clock.now(), CAEP + "session-revoked", of(rig.issuer, subject)))
    await rig.let_pass(2)
    found.audience = AUDIENCE
    assert await found.refused() == "PRINCIPAL_UNKNOWN"
    principal = just_in_time_principal(ProfileIdentity("idp", subject))
    request = GetProfileRequest(principal=principal)
    assert (await refusal(rig.profiles.GetProfile(request, **rig.auth("root")))).reason == "NOT_FOUND"


async def test_a_profile_made_after_a_signal_keeps_the_revocation(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    before = rig.issuer.token(rig.clock.now(), sub=subject)
    await signed_in(rig, subject, LEGACY_AUDIENCE)
    await push(http, secevent(rig.issuer, rig.clock.now(), CAEP + "session-revoked", of(rig.issuer, subject)))
    await rig.let_pass(2)
    audience = "https://open.example"  # creates profiles just in time
    await Person(rig, subject, audience).exchange()
    call = rig.exchange.ExchangeToken(rig.request(before, audience), **rig.auth("web"))
    assert (await refusal(call)).reason == "REVOKED"


# --- what changes nothing -----------------------------------------------------------------------------------------


async def test_a_signal_about_another_providers_user_touches_nobody(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    found = await known(rig, subject)
    event = CAEP + "session-revoked"
    for about in (of(rig.issuer, subject), {"format": "aliases", "identifiers": [of(rig.issuer, subject)]},
                  {"format": "complex", "user": of(rig.issuer, subject)}):  # fmt: skip
        answer = await push(http, secevent(WORK, rig.clock.now(), event, about), "work", **FROM_WORK)
        assert answer.status_code == 202  # it is well-formed: a refusal would be repeated
    own = secevent(WORK, rig.clock.now(), event, of(WORK, subject))
    assert (await push(http, own, "work", **FROM_WORK)).status_code == 202  # the same `sub`, of the other provider
    assert await found.exchange()
    assert await found.is_active()
    assert counted(rig, "work", "session-revoked", "foreign_subject") == 3
    assert counted(rig, "work", "session-revoked", "unknown_subject") == 1


async def test_a_token_counts_once(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    found = await known(rig, subject)
    token = secevent(rig.issuer, rig.clock.now(), CAEP + "session-revoked", of(rig.issuer, subject))
    assert (await push(http, token)).status_code == 202
    await rig.let_pass(2)
    found.minted = await found.exchange()
    assert (await push(http, token)).status_code == 202  # RFC 8935 section 2: the answer may have been lost
    assert await found.is_active()
    assert counted(rig, "idp", "session-revoked", "repeated") == 1


async def test_another_token_with_the_same_jti_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    now, event, jti = rig.clock.now(), CAEP + "risk-level-change", once()
    assert (await push(http, secevent(rig.issuer, now, event, jti=jti))).status_code == 202
    answer = await push(http, secevent(rig.issuer, now, event, jti=jti, txn="2"))
    assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")
    assert counted(rig, "idp", "", "REPLAYED") == 1


async def test_events_about_the_stream_are_acknowledged(rig: Rig, http: httpx2.AsyncClient) -> None:
    now, stream = rig.clock.now(), {"format": "opaque", "id": "stream-1"}
    for kind, details in (("verification", {"state": "abc"}), ("stream-updated", {"status": "paused"})):
        token = secevent(rig.issuer, now, SSF + kind, stream, events={SSF + kind: details})
        assert (await push(http, token)).status_code == 202
        assert counted(rig, "idp", kind, "stream") == 1


async def test_an_unknown_type_of_event_is_ignored(rig: Rig, http: httpx2.AsyncClient) -> None:
    assert (await push(http, secevent(rig.issuer, rig.clock.now(), "https://x.example/new"))).status_code == 202
    assert counted(rig, "idp", "(other)", "ignored") == 1


# --- what is refused ----------------------------------------------------------------------------------------------

FORGED = Issuer(key=rsa_key(7))
EVENT = CAEP + "session-revoked"
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "wrong audience": ({"aud": "other"}, "invalid_audience", "WRONG_AUDIENCE"),
    "without audience": ({"aud": None}, "invalid_audience", "WRONG_AUDIENCE"),
    "one audience that is no text": ({"aud": ["app", 1]}, "invalid_audience", "WRONG_AUDIENCE"),
    "wrong typ": ({"typ": "JWT"}, "invalid_request", "UNSUPPORTED_TOKEN_TYPE"),
    "without typ": ({"typ": None}, "invalid_request", "UNSUPPORTED_TOKEN_TYPE"),
    "a logout token's typ": ({"typ": "logout+jwt"}, "invalid_request", "UNSUPPORTED_TOKEN_TYPE"),
    "without jti": ({"jti": None}, "invalid_request", "CLAIM_REJECTED"),
    "an empty jti": ({"jti": ""}, "invalid_request", "CLAIM_REJECTED"),
    "a long jti": ({"jti": "x" * 256}, "invalid_request", "CLAIM_REJECTED"),
    "without events": ({"events": None}, "invalid_request", "CLAIM_REJECTED"),
    "empty events": ({"events": {}}, "invalid_request", "CLAIM_REJECTED"),
    "events as a text": ({"events": "{}"}, "invalid_request", "CLAIM_REJECTED"),
    "too many events": ({"events": {f"https://x.example/{n}": {} for n in range(17)}}, "invalid_request",
                        "CLAIM_REJECTED"),
    "an event that is no object": ({"events": {EVENT: 1}}, "invalid_request", "CLAIM_REJECTED"),
    "a nonce": ({"nonce": "n"}, "invalid_request", "CLAIM_REJECTED"),
    "without iat": ({"iat": None}, "invalid_request", "CLAIM_REJECTED"),
    "from the future": ({"iat": 4_000_000_000}, "invalid_request", "NOT_YET_VALID"),
    "too old": ({"iat": 1_000_000_000}, "invalid_request", "TOO_OLD"),
    "expired": ({"exp": 1_000_000_000}, "invalid_request", "EXPIRED"),
    "a subject without a format": ({"subject": {"iss": "x"}}, "invalid_request", "CLAIM_REJECTED"),
    "sub and sub_id that differ": ({"sub": "other"}, "invalid_request", "CLAIM_REJECTED"),
    "another provider's": ({"iss": WORK.url}, "invalid_issuer", "UNKNOWN_ISSUER"),
    "an issuer with a slash": ({"iss": "https://idp.example/"}, "invalid_issuer", "UNKNOWN_ISSUER"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "reason"), REFUSED.values(), ids=list(REFUSED))
async def test_a_token_is_refused_and_counted(
    rig: Rig, http: httpx2.AsyncClient, changes: dict[str, Any], code: str, reason: str
) -> None:
    before = counted(rig, "idp", "", reason)
    answer = await push(http, secevent(rig.issuer, rig.clock.now(), EVENT, **changes))
    assert (answer.status_code, answer.json()["err"]) == (400, code)
    assert answer.headers["content-language"] == "en"
    assert counted(rig, "idp", "", reason) == before + 1


async def test_a_forged_token_is_refused_and_changes_nothing(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    found = await known(rig, subject)
    forged = Issuer(url=rig.issuer.url, key=rsa_key(7))
    unsigned = secevent(rig.issuer, rig.clock.now(), EVENT, of(rig.issuer, subject)).rpartition(".")[0] + "."
    for token in (secevent(forged, rig.clock.now(), EVENT, of(rig.issuer, subject)), unsigned,
                  secevent(WORK, rig.clock.now(), EVENT, of(rig.issuer, subject), iss=rig.issuer.url)):  # fmt: skip
        answer = await push(http, token)
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_key")
    assert counted(rig, "idp", "", "BAD_SIGNATURE") >= 3
    assert await found.is_active()


@pytest.mark.parametrize(
    "changes",
    [{"sub": None}, {"exp": None}, {"events": {}}, {"events": {"x": {}}}, {"events": {LOGOUT: 1}}, {"nonce": "n"},
     {"typ": "JWT"}, {"typ": "secevent+jwt"}, {"aud": "other"}, {"jti": None}],
    ids=str,
)  # fmt: skip
async def test_a_logout_token_is_refused(rig: Rig, http: httpx2.AsyncClient, changes: dict[str, Any]) -> None:
    token = logout_token(rig.issuer, rig.clock.now(), **changes)
    answer = await http.post("/signals/idp", data={"logout_token": token})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "changes",
    [{"events": {"type": "account-delete"}}, {"events": "[]"}, {"events": json.dumps({"type": "account-delete"})},
     {"events": json.dumps({"sub": "1"})}, {"events": "{"}, {"aud": "other"}, {"jti": None}],
    ids=str,
)  # fmt: skip
async def test_apples_notification_is_refused(rig: Rig, http: httpx2.AsyncClient, changes: dict[str, Any]) -> None:
    token = apple(APPLE, rig.clock.now(), "account-delete", **changes)
    answer = await http.post("/signals/appleid", json={"payload": token})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (SECEVENT, b""),
        (SECEVENT, b"no token"),
        (SECEVENT, b"\xff\xfe"),
        (SECEVENT, b"x" * 100_000),
        ({"Content-Type": "text/plain"}, b"x"),
        ({}, b"x"),
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "application/json"}, b'{"payload": 1}'),
        ({"Content-Type": "application/json"}, b'{"payload": "\\u00e9"}'),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"token=x"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"logout_token=a&logout_token=b"),
    ],
    ids=str,
)
async def test_a_body_is_refused(rig: Rig, http: httpx2.AsyncClient, headers: dict[str, str], body: bytes) -> None:
    answer = await http.post("/signals/idp", content=body, headers=headers)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("provider", ["silent", "nobody", "x" * 300, "a%2Fb"])
async def test_a_provider_without_rules_for_signals_has_no_endpoint(http: httpx2.AsyncClient, provider: str) -> None:
    assert (await push(http, secevent(SILENT, 0, EVENT), provider)).status_code == 404


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic test"}])
async def test_a_push_without_the_configured_bearer_token_is_refused(
    rig: Rig, http: httpx2.AsyncClient, sent: dict[str, str]
) -> None:
    answer = await push(http, secevent(WORK, rig.clock.now(), EVENT), "work", **sent)
    assert (answer.status_code, answer.json()["err"]) == (400, "authentication_failed")


async def test_a_form_that_the_provider_does_not_send_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/signals/work", data={"logout_token": logout_token(WORK, rig.clock.now())})
    assert answer.status_code == 400


async def test_a_signal_is_recorded(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject = once()
    await known(rig, subject)
    token = secevent(rig.issuer, rig.clock.now(), EVENT, of(rig.issuer, subject), jti=(jti := once()))
    await push(http, token)
    await rig.parts.audit.flush()
    raw = await rig.parts.store.server.client.xrevrange(f"{rig.parts.store.prefix}audit", count=20)
    events = [json.loads(fields[b"event"] if b"event" in fields else next(iter(fields.values()))) for _, fields in raw]
    [event] = [event for event in events if event.get("jti") == jti]
    assert event["kind"] == "signal"
    assert event["provider"] == "idp"
    assert event["events"] == ["session-revoked: revoked"]
    assert event["principal"] == f"p-{subject}"
    assert token not in json.dumps(event)

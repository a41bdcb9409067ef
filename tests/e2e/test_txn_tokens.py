"""Transaction tokens, section by section of draft-ietf-oauth-transaction-tokens-10: requests and answers.

Replacements are in ``test_txn_replacements.py``, other kinds of tokens in ``test_jwt_matrix.py``.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from tests import plain_http, transactions
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve, refusal
from tests.transactions import (
    AGENTS,
    API,
    DOMAIN,
    EXTRA,
    ISSUER,
    OPTIONS,
    OTHER,
    TRANSACTIONS,
    access_token,
    claims_of,
    form,
    minted,
    over_grpc,
    post,
    reason_over_grpc,
)  # fmt: skip

from tokenmint.admission import audit
from tokenmint.base.errors import ConfigurationError
from tokenmint.model.drafts import TRANSACTION_TOKENS
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, TXN_TOKEN
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint.verification.jwk import read_jwk
from tokenmint.verification.jws import parse_compact

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start() -> Start:
    return transactions.starting()


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


# --- sections 9, 11.3 and 11.4: the token and the answer -------------------------------------------------------------


async def test_section_9_and_11_3_the_claims_of_a_transaction_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    now = int(rig.clock.now())
    token = await minted(rig, http)
    header, claims = jwt.get_unverified_header(token), claims_of(token)
    assert header["typ"] == "txntoken+jwt"  # 9.1
    assert claims.keys() == {"iss", "iat", "nbf", "aud", "exp", "jti", "txn", "sub", "scope", "req_wl", "tctx", "rctx"}
    expected = {
        "iss": ISSUER, "aud": DOMAIN, "sub": "ada", "scope": "trade.stocks", "req_wl": "web",
        "tctx": {"action": "BUY", "quantity": 200, "level": 7}, "rctx": {"req_ip": "69.151.72.123", "via": "web"},
    }  # fmt: skip
    assert {name: claims[name] for name in expected} == expected
    assert now <= claims["iat"] <= now + 60  # 11.3: the time of issuance
    keys = (await http.get("/.well-known/jwks.json")).json()["keys"]
    [published] = [key for key in keys if key["kid"] == header["kid"]]
    signed = parse_compact(Secret(token), 65536)
    assert read_jwk(published).verify("ES256", signed.signing_input, signed.signature)


async def test_section_11_3_every_transaction_has_an_id_of_its_own(rig: Rig, http: httpx2.AsyncClient) -> None:
    subject_token = access_token(rig)
    tokens = [claims_of(await minted(rig, http, subject_token=subject_token)) for _ in range(3)]
    assert len({one["txn"] for one in tokens}) == len({one["jti"] for one in tokens}) == 3
    assert not {one["txn"] for one in tokens} & {one["jti"] for one in tokens}


async def test_section_11_3_the_audience_is_the_trust_domain_of_the_request(rig: Rig, http: httpx2.AsyncClient) -> None:
    ada = rig.issuer.token(rig.clock.now(), email="ada@example.com")
    token = await minted(
        rig, http, audience=OTHER, scope="read", subject_token=ada, subject_token_type=ID_TOKEN, request_details=None,
        request_context=None,
    )  # fmt: skip
    assert claims_of(token)["aud"] == OTHER
    assert not {"tctx", "rctx"} & claims_of(token).keys(), "nothing that nobody has mapped"


async def test_section_11_4_the_answer_says_that_this_is_no_access_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, **form(rig))
    assert status == 200
    assert (body["issued_token_type"], body["token_type"], body["scope"]) == (TXN_TOKEN, "N_A", "trade.stocks")
    assert "refresh_token" not in body
    answer = await over_grpc(rig)
    assert (answer.issued_token_type, answer.token_type, list(answer.scopes)) == (TXN_TOKEN, "N_A", ["trade.stocks"])
    drawn = ("jti", "txn", "iat", "exp", "nbf")
    both = [claims_of(token) for token in (answer.token, body["access_token"])]
    assert len({json.dumps({**one, **dict.fromkeys(drawn)}, sort_keys=True) for one in both}) == 1, "one code for both"


async def test_section_6_and_13_1_it_lives_for_five_minutes(rig: Rig, http: httpx2.AsyncClient) -> None:
    claims = claims_of(await minted(rig, http))
    assert claims["exp"] - claims["iat"] == 300


# --- section 11: requests that are refused ---------------------------------------------------------------------------

DEEP = json.dumps({"a": [[[[[[[[1]]]]]]]]})
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("11.1: no grant type", {"grant_type": None}, "invalid_request", ""),
    ("11.1: no audience", {"audience": None}, "invalid_request", "INVALID_REQUEST"),
    ("11.1: a resource", {"audience": None, "resource": f"https://{DOMAIN}"}, "invalid_target", "AUDIENCE_DENIED"),
    ("11.1: no such trust domain", {"audience": "evil.example"}, "invalid_target", "AUDIENCE_DENIED"),
    ("11.1: another spelling", {"audience": DOMAIN.upper()}, "invalid_target", "AUDIENCE_DENIED"),
    ("11.1: no scope", {"scope": None}, "invalid_scope", "SCOPE_DENIED"),
    ("11.1: no requested type", {"requested_token_type": None}, "invalid_request", "FORMAT_DENIED"),
    ("11.1: another type", {"requested_token_type": ACCESS_TOKEN}, "invalid_request", "FORMAT_DENIED"),
    ("11.1: no subject token", {"subject_token": ""}, "invalid_request", "INVALID_REQUEST"),
    (
        "11.2 and 13.3: a refresh token",
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request", "FORMAT_DENIED",
    ),
    ("11.2: no URI", {"subject_token_type": "access_token"}, "invalid_request", "INVALID_REQUEST"),
    (
        "11.2.1: a self-signed JWT",
        {"subject_token_type": "urn:ietf:params:oauth:token-type:self_signed"}, "invalid_request", "INVALID_REQUEST",
    ),
    (
        "11.2.2: unsigned JSON", {
            "subject_token": '{"sub":"ada"}', "subject_token_type": "urn:ietf:params:oauth:token-type:unsigned_json"
        }, "invalid_request", "INVALID_REQUEST",
    ),
    ("11.1: context that is no JSON", {"request_context": "{"}, "invalid_request", "INVALID_REQUEST"),
    ("11.1: context that is no object", {"request_context": "[1]"}, "invalid_request", "INVALID_REQUEST"),
    ("11.1: details that are no object", {"request_details": '"BUY"'}, "invalid_request", "INVALID_REQUEST"),
    ("a name twice", {"request_details": '{"action":"BUY","action":"SELL"}'}, "invalid_request", "INVALID_REQUEST"),
    ("no number", {"request_details": '{"quantity":NaN}'}, "invalid_request", "INVALID_REQUEST"),
    ("not exact", {"request_details": '{"unmapped":[{"a":9007199254740992}]}'}, "invalid_request", "INVALID_REQUEST"),
    ("with U+0000", {"request_details": '{"action":"BUY\\u0000"}'}, "invalid_request", "INVALID_REQUEST"),
    ("half a character", {"request_details": '{"action":"\\ud800"}'}, "invalid_request", "INVALID_REQUEST"),
    ("too long", {"request_details": json.dumps({"a": "x" * 4096})}, "invalid_request", "INVALID_REQUEST"),
    ("too deep", {"request_details": DEEP}, "invalid_request", "INVALID_REQUEST"),
    ("13.6: a scope beyond the subject token's", {"scope": "trade.bonds"}, "invalid_scope", "SCOPE_DENIED"),
    ("13.6: one of two beyond", {"scope": "trade.stocks trade.bonds"}, "invalid_scope", "SCOPE_DENIED"),
    ("13.6: a scope that the trust domain lacks", {"scope": "admin"}, "invalid_scope", "SCOPE_DENIED"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "changes", "code", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_section_11_requests_that_are_refused(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any], code: str, reason: str
) -> None:
    status, body = await post(rig, http, **form(rig, **changes))
    assert (status, body["error"]) == (400, code), case
    if reason:
        assert body["reason"] == reason
        assert await reason_over_grpc(rig, **changes) == reason


@pytest.mark.parametrize(
    ("case", "changes", "code"),
    [
        ("6: expired", {"exp": 1_799_999_000, "iat": 1_799_998_000}, "EXPIRED"),
        ("11.3: of nobody known", {"iss": "https://evil.example"}, "UNKNOWN_ISSUER"),
        ("11.3: for another service", {"aud": "https://evil.example"}, "WRONG_AUDIENCE"),
        ("11.3: of another kind", {"typ": "txntoken+jwt"}, "UNSUPPORTED_TOKEN_TYPE"),
        ("13.14: without scopes", {"scope": None}, "SCOPE_DENIED"),
        ("13.14: with scopes that can't be read", {"scope": {"a": 1}}, "SCOPE_DENIED"),
        ("13.6: with none", {"scope": ""}, "SCOPE_DENIED"),
        ("11.3: of a stranger", {"sub": "w9"}, "PRINCIPAL_UNKNOWN"),
    ],
)
async def test_section_11_3_subject_tokens_that_are_refused(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any], code: str
) -> None:
    token = access_token(rig, **changes)
    status, body = await post(rig, http, **form(rig, subject_token=token))
    assert (status, body["reason"]) == (400, code), case
    assert await reason_over_grpc(rig, subject_token=token) == code


async def test_section_11_3_the_signature_of_the_subject_token_counts(rig: Rig, http: httpx2.AsyncClient) -> None:
    unsigned, _, signature = access_token(rig).rpartition(".")
    forged = f"{unsigned}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert (await post(rig, http, **form(rig, subject_token=forged)))[1]["reason"] == "BAD_SIGNATURE"


async def test_section_13_14_a_trusted_source_may_know_the_scopes(rig: Rig, http: httpx2.AsyncClient) -> None:
    """Here it is a rule of the operator, for ID tokens."""
    plain = {"audience": OTHER, "scope": "read", "subject_token_type": ID_TOKEN, "request_context": None}
    for email, status in (("ada@example.com", 200), ("eve@example.com", 400), (None, 400)):
        token = rig.issuer.token(rig.clock.now(), email=email)
        answer = await post(rig, http, **form(rig, **plain, subject_token=token, request_details=None))
        assert answer[0] == status
        assert status == 200 or answer[1]["reason"] == "SCOPE_DENIED"


# --- section 11.3 and 11.5: the workload -----------------------------------------------------------------------------


async def test_section_11_5_a_workload_authenticates_itself(rig: Rig, http: httpx2.AsyncClient) -> None:
    for client, secret, expected in (
        ("web", "tms_wrong", (401, "invalid_client")), ("spa", "", (400, "invalid_target")),
        ("batch", rig.secrets["batch"].reveal(), (400, "invalid_target")),
    ):  # fmt: skip
        auth = {"client_id": client} | ({"client_secret": secret} if secret else {})
        given = {name: value for name, value in form(rig).items() if value}
        answer = await http.post("/oauth2/token", data=auth | given)
        assert (answer.status_code, answer.json()["error"]) == expected, client
    assert await reason_over_grpc(rig, "batch") == "AUDIENCE_DENIED"


async def test_section_13_4_the_token_does_not_hold_the_subject_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = access_token(rig)
    for details in (
        {"action": token}, {"action": {"nested": [f"Bearer {token}"]}}, {"action": {token: 1}},
    ):  # fmt: skip
        changes = {"subject_token": token, "request_details": json.dumps(details)}
        status, body = await post(rig, http, **form(rig, **changes))
        assert (status, body["reason"]) == (400, "FORMAT_DENIED")
        assert token not in body["error_description"]
        assert await reason_over_grpc(rig, **changes) == "FORMAT_DENIED"
    unmapped = json.dumps({"unmapped": token})
    assert token not in json.dumps(claims_of(await minted(rig, http, subject_token=token, request_details=unmapped)))


async def test_the_parameters_belong_to_transaction_tokens_alone(rig: Rig, http: httpx2.AsyncClient) -> None:
    plain: dict[str, Any] = {"requested_token_type": None, "audience": API}
    for changes in ({"request_context": None}, {"request_details": None}, {"request_context": "{}"}):
        status, body = await post(rig, http, **form(rig, **plain, **changes))
        assert (status, body["reason"]) == (400, "FORMAT_DENIED")
        assert await reason_over_grpc(rig, **plain, **changes) == "FORMAT_DENIED"
    status, _ = await post(rig, http, **form(rig, **plain, request_context=None, request_details=None))
    assert status == 200


async def test_an_actor_stays_named(rig: Rig, http: httpx2.AsyncClient) -> None:
    """The story of agents: the agent acts for Ada at the API, which begins a transaction with the token it received."""
    agent = AGENTS.token(rig.clock.now(), sub="a1", aud=ISSUER, email=None)
    plain = {"requested_token_type": None, "audience": API, "request_context": None, "request_details": None}
    status, body = await post(rig, http, **form(rig, **plain, actor_token=agent, actor_token_type=ID_TOKEN))
    assert (status, claims_of(body["access_token"])["act"]) == (200, {"sub": "agent"})
    claims = claims_of(await minted(rig, http, subject_token=body["access_token"]))
    assert claims["act"] == {"sub": "agent"}
    assert claims["exp"] <= claims_of(body["access_token"])["exp"]


# --- section 15.2, audit, explain, introspection ---------------------------------------------------------------------


async def test_section_13_2_and_15_2_the_trail_names_the_transaction_and_no_token(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    token = await minted(rig, http)
    claims = claims_of(token)
    entries = await events(rig)
    [event] = [one for one in entries if claims["jti"] in json.dumps(one)]
    assert event["minted"] == [{"jti": claims["jti"], "kid": event["minted"][0]["kid"], "txn": claims["txn"]}]
    assert not any(part in json.dumps(entries) for part in (token, token.split(".")[1]))


async def events(rig: Rig) -> list[dict[str, Any]]:
    await rig.parts.audit.flush()
    store = rig.parts.store
    entries = await store.server.client.xrange(store.prefix + audit.EXCHANGES)
    return [json.loads(fields[b"event"]) for _, fields in entries]


async def explained_by(rig: Rig, exchange: pb.ExchangeTokenRequest) -> pb.ExplainExchangeResponse:
    stub: Any = TokenExchangeServiceStub(rig.admin)
    request = pb.ExplainExchangeRequest(exchange=exchange, client_id="web")
    answer: pb.ExplainExchangeResponse = await stub.ExplainExchange(request, **rig.auth("root"))
    return answer


async def test_an_explanation_shows_the_token(rig: Rig) -> None:
    given = form(rig)
    exchange = pb.ExchangeTokenRequest(
        subject_token=given["subject_token"], subject_token_type=ACCESS_TOKEN, audience=DOMAIN, scopes=["trade.stocks"],
        requested_token_type=TXN_TOKEN, request_details=given["request_details"],
    )  # fmt: skip
    explained = await explained_by(rig, exchange)
    planned = explained.planned_token
    assert (planned.format, planned.issued_token_type, planned.subject) == ("txn_token", TXN_TOKEN, "ada")
    assert MessageToDict(planned.claims)["tctx"] == {"action": "BUY", "quantity": 200.0, "level": 7.0}
    assert "txn" not in planned.claims, "minting draws it"
    exchange.request_context = json.dumps({"req_ip": "x" * 3000})
    exchange.request_details = json.dumps({"action": "x" * 4000})
    explained = await explained_by(rig, exchange)
    assert (explained.steps[-1].name, explained.steps[-1].reason) == ("minting.signer", "CLAIMS_TOO_LARGE")
    exchange.scopes[:] = ["trade.bonds"]
    explained = await explained_by(rig, exchange)
    assert (explained.steps[-1].name, explained.steps[-1].reason) == ("policy.decision", "SCOPE_DENIED")


async def test_workloads_of_the_trust_domain_introspect_it(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await minted(rig, http)
    for client, active in (("web", True), ("pay", True), ("batch", False)):
        auth = {"client_id": client, "client_secret": rig.secrets[client].reveal()}
        body = (await http.post("/oauth2/introspect", data=auth | {"token": token})).json()
        assert body["active"] is active, client
        if active:
            assert (body["token_type"], body["txn"], body["aud"]) == ("N_A", claims_of(token)["txn"], DOMAIN)
    auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    assert (await http.post("/oauth2/revoke", data=auth | {"token": token})).status_code == 200
    assert (await http.post("/oauth2/introspect", data=auth | {"token": token})).json() == {"active": False}


async def test_a_batch_has_transaction_tokens_without_context(rig: Rig) -> None:
    targets = [
        pb.BatchExchangeTarget(audience=DOMAIN, scopes=["read"], requested_token_type=TXN_TOKEN),
        pb.BatchExchangeTarget(audience=DOMAIN, requested_token_type=TXN_TOKEN),
        pb.BatchExchangeTarget(audience=API),
    ]
    batch = pb.BatchExchangeTokensRequest(
        subject_token=access_token(rig), subject_token_type=ACCESS_TOKEN, targets=targets
    )
    answer = await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    assert [result.HasField("token") for result in answer.results] == [True, False, True]
    assert claims_of(answer.results[0].token.token)["tctx"] == {"level": 7}
    batch.subject_token_type = TXN_TOKEN
    assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "INVALID_REQUEST"


# --- the switch ------------------------------------------------------------------------------------------------------


async def test_without_the_draft_nothing_of_it_is_configured_or_accepted(serve: Serve) -> None:
    off = "[oauth]\nenabled = true\n"
    with pytest.raises(ConfigurationError) as refused:
        async with serve(EXTRA.replace(OPTIONS, off)):
            pass
    assert f"txn_token: needs oauth.drafts to have {TRANSACTION_TOKENS}" in refused.value.message
    async with serve(EXTRA.replace(OPTIONS, off).replace(TRANSACTIONS, "").replace(f'"{DOMAIN}"', "")) as rig:
        await rig.create(transactions.ada())
        async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
            plain = {"requested_token_type": None, "audience": API, "scope": "read"}
            assert (await post(rig, http, **form(rig, **plain)))[0] == 200, "unknown parameters are ignored"
            status, body = await post(rig, http, **form(rig, **plain, subject_token_type=TXN_TOKEN))
            assert (status, body["error"]) == (400, "invalid_request")
        rig.config.write_text(rig.config.read_text().replace(off, OPTIONS) + TRANSACTIONS)
        with pytest.raises(ConfigurationError, match=r"oauth\.drafts: .* restart the service"):
            await rig.app.reload(rig.settings())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("scopes = [\"read\"]\non_missing", "on_missing", "scopes: is required: every transaction token has a scope"),
        ('level = "profile', 'level = "profil', "txn_token.tctx.level: expected"),
        ("=request.details.quantity * 2", "=1 +", "txn_token.tctx.quantity"),
        ("request.context.req_ip", "request.scopes", "txn_token.rctx.req_ip: expected"),
        ("=assertion.email ==", "=x ==", "txn_token.subject_scopes"),
        ("=assertion.email ==", "=request.details.x ==", "the caller would name its own scopes"),
        ('email = "assertion.email"\n', 'req_wl = "client.id"\n', "claims: req_wl is a claim of every transaction"),
        ('email = "assertion.email"\n', 'txn = "client.id"\n', "claims.txn: is a reserved claim"),
        ('["web", "pay"]\n', '["web", "pay"]\npublic_clients = true\n', "public_clients: a workload"),
        ('["web", "pay"]\n', '["web", "pay"]\nresources = ["https://x.example"]\n', "resources: a workload"),
        ('["web", "pay"]\n', '["web", "pay"]\nlifetime = "10m"\n', "transaction tokens live 300 s, exactly"),
        ('["web", "pay"]\n', '["web", "pay"]\nbound = "dpop"\n', "bound: tokens of the kind txn_token have none"),
        (f'reexchange_from = ["{API}", "{DOMAIN}"]', f'reexchange_from = ["{OTHER}"]', "for others of"),
        (OPTIONS, f'{OPTIONS}[envoy]\nenabled = true\naudience = "{DOMAIN}"\n', "envoy.audience: trust-domain"),
    ],
)  # fmt: skip
async def test_configurations_that_are_refused(serve: Serve, old: str, new: str, problem: str) -> None:
    assert old in EXTRA
    with pytest.raises(ConfigurationError) as refused:
        async with serve(EXTRA.replace(old, new, 1)):
            pass
    assert problem in refused.value.message


async def test_the_matrix_of_types_lists_jwt_too(rig: Rig, http: httpx2.AsyncClient) -> None:
    """An access token that the service issued may begin a transaction as a JWT as well (RFC 8693 section 3)."""
    plain = {"requested_token_type": None, "audience": API, "request_context": None, "request_details": None}
    token = (await post(rig, http, **form(rig, **plain)))[1]["access_token"]
    assert claims_of(await minted(rig, http, subject_token=token, subject_token_type=JWT))["sub"] == "ada"

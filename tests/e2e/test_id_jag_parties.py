"""ID-JAGs that name an actor, or are bound to a key: sections 3.1, 9.7 and 9.8 of the draft, on both legs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, rsa_key
from tests.rig import Rig, Serve, person, refusal
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_JAG_TYP, ID_TOKEN
from tokenmint.v1 import revocation_admin_service_pb2 as revocation_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.verification.dpop import check_proof

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = "https://tokens.example"
OPEN, BOUND, AGENTS = (f"https://{name}-api.example" for name in ("open", "bound", "agents"))
AS, BOUND_AS, SILENT_AS, HIDING_AS = (f"https://{name}.as.example" for name in ("open", "bound", "silent", "hiding"))
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
WORK, POD = Issuer(url="https://work.example", key=rsa_key(3)), Issuer(url="https://pod.example", key=rsa_key(4))
NUMBERS = count()
ACTORS = 'providers = ["pod"]\naudiences = ["https://agents-api.example"]\nwithout_may_act = true\n'
SERVER = """
[audiences."{name}"]
clients = ["web"]
providers = ["idp", "work"]
reexchange_from = ["https://agents-api.example"]
on_missing_profile = "without"
{more}
[audiences."{name}".id_jag]
clients = {{ web = "client-1" }}
"""
EXTRA = f"""
[oauth]
enabled = true
drafts = ["{IDENTITY_ASSERTION}"]

[providers.work]
issuer = "{WORK.url}"
audiences = ["app"]
token_types = ["id_token", "id_jag"]
jwks = '''{WORK.jwks().decode()}'''

[providers.pod]
issuer = "{POD.url}"
audiences = ["{ISSUER}"]
jwks = '''{POD.jwks().decode()}'''

[audiences."{OPEN}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"

[audiences."{BOUND}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
bound = "dpop"

[audiences."{AGENTS}"]
clients = ["web"]
providers = ["idp", "work", "pod"]
on_missing_profile = "without"
[audiences."{AGENTS}".actors]
{ACTORS}
{SERVER.format(name=AS, more="")}
[audiences."{AS}".actors]
{ACTORS}
{SERVER.format(name=BOUND_AS, more='bound = "dpop"')}
{SERVER.format(name=SILENT_AS, more="")}
{SERVER.format(name=HIDING_AS, more="")}
[audiences."{HIDING_AS}".actors]
{ACTORS}
impersonation = true
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            ada = person("ada", "1842")
            ada.identities.append(Identity(provider="work", subject="w1"))
            await service.create(ada)
            await service.create(Profile(principal="planner", identities=[Identity(provider="pod", subject="agent")]))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def proof(rig: Rig, key: int) -> dict[str, str]:
    made = dpop_proof(key=ec_key(key), jti=f"p{next(NUMBERS)}", htu=f"{ISSUER}/oauth2/token", iat=int(rig.clock.now()))
    return {"DPoP": made.reveal()}


def thumbprint(key: int) -> str:
    return check_proof(dpop_proof(key=ec_key(key)), method="POST", url=f"{ISSUER}/oauth2/token", now=1.8e9).thumbprint


async def post(
    rig: Rig, http: httpx2.AsyncClient, form: Mapping[str, str], key: int | None = None
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Return status, answer, and the claims of its token."""
    auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    headers = proof(rig, key) if key is not None else {}
    answer = await http.post("/oauth2/token", data=auth | dict(form), headers=headers)
    body = answer.json()
    claims = jwt.decode(body["access_token"], options={"verify_signature": False}) if "access_token" in body else {}
    return answer.status_code, body, claims


def leg_one(rig: Rig, audience: str = AS, **form: str) -> dict[str, str]:
    return {
        "grant_type": EXCHANGE, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
        "requested_token_type": ID_JAG, "audience": audience, **form,
    }  # fmt: skip


def leg_two(rig: Rig, resource: str = OPEN, **changes: Any) -> dict[str, str]:
    claims = {"sub": "w1", "aud": ISSUER, "client_id": "web", "jti": f"j{next(NUMBERS)}", "resource": resource}
    token = WORK.token(rig.clock.now(), headers={"typ": ID_JAG_TYP}, **(claims | {"email": None} | changes))
    return {"grant_type": BEARER, "assertion": token}


def agent(rig: Rig) -> dict[str, str]:
    token = POD.token(rig.clock.now(), sub="agent", aud=ISSUER, jti=f"a{next(NUMBERS)}")
    return {"actor_token": token, "actor_token_type": ID_TOKEN}


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "key", "expected"),
    [
        (AS, 1, "bound"), (AS, None, "plain"), (BOUND_AS, 1, "bound"), (BOUND_AS, None, "CONFIRMATION_DENIED"),
    ],
)  # fmt: skip
async def test_section_9_8_1_1_an_id_jag_is_bound_to_the_key_of_the_proof(
    rig: Rig, http: httpx2.AsyncClient, audience: str, key: int | None, expected: str
) -> None:
    status, body, claims = await post(rig, http, leg_one(rig, audience), key)
    if status != 200:
        assert body["reason"] == expected
        return
    assert body["token_type"] == "N_A"  # also if it is bound
    assert claims.get("cnf") == ({"jkt": thumbprint(1)} if expected == "bound" else None)


@pytest.mark.parametrize(
    ("resource", "cnf", "key", "expected"),
    [
        (OPEN, 1, 1, "DPoP"),  # 9.8.1.2.1
        (OPEN, 1, 2, "POSSESSION_NOT_PROVED"),  # 9.8.1.2.1, item 4
        (OPEN, 1, None, "POSSESSION_NOT_PROVED"),  # 9.8.1.2.2
        (OPEN, None, 1, "DPoP"),  # 9.8.1.2.3
        (OPEN, None, None, "Bearer"),  # 9.8.1.2.4
        (BOUND, 1, 1, "DPoP"),
        (BOUND, 1, 2, "POSSESSION_NOT_PROVED"),
        (BOUND, 1, None, "POSSESSION_NOT_PROVED"),
        (BOUND, None, 1, "DPoP"),
        (BOUND, None, None, "CONFIRMATION_DENIED"),  # 9.8.1.2.4, item 2
    ],
)
async def test_section_9_8_1_2_the_key_of_an_id_jag_by_the_proof_by_the_audience(
    rig: Rig, http: httpx2.AsyncClient, resource: str, cnf: int | None, key: int | None, expected: str
) -> None:
    form = leg_two(rig, resource, cnf={"jkt": thumbprint(cnf)} if cnf is not None else None)
    status, body, claims = await post(rig, http, form, key)
    if status != 200:
        assert (body["error"], body["reason"]) == ("invalid_grant", expected)
        return
    assert (body["token_type"], claims["aud"]) == (expected, resource)
    assert claims.get("cnf") == ({"jkt": thumbprint(1)} if expected == "DPoP" else None)


async def test_a_confirmation_that_can_not_be_proved_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    """A server that does not support the method of a `cnf` never drops it."""
    key = thumbprint(1)
    unproved: list[Any] = [{}, "x", [], {"jkt": ""}, {"jkt": 5}, {"kid": "k"}, {"jwk": {}}, {"jkt": key, "jwk": {}}]
    for cnf in unproved:
        status, body, _ = await post(rig, http, leg_two(rig, cnf=cnf), 1)
        assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "POSSESSION_NOT_PROVED"), cnf


async def test_a_refused_proof_uses_no_id_jag_up(rig: Rig, http: httpx2.AsyncClient) -> None:
    form = leg_two(rig, cnf={"jkt": thumbprint(1)})
    assert (await post(rig, http, form, 2))[0] == 400
    assert (await post(rig, http, form))[0] == 400
    assert (await post(rig, http, form, 1))[0] == 200


async def test_over_grpc_an_id_jag_is_bound_to_the_key_that_is_named(rig: Rig) -> None:
    request = pb.ExchangeTokenRequest(
        subject_token=rig.issuer.token(rig.clock.now()), audience=AS, dpop_jkt=thumbprint(1)
    )
    minted = await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    assert jwt.decode(minted.token, options={"verify_signature": False})["cnf"] == {"jkt": thumbprint(1)}
    assert minted.token_type == "N_A"


# --- actors -------------------------------------------------------------------------------------------------------


async def test_section_3_1_the_actor_is_named_with_its_issuer(rig: Rig, http: httpx2.AsyncClient) -> None:
    """At another server `sub` alone does not tell whose actor it is (RFC 8693 section 4.1)."""
    status, body, claims = await post(rig, http, leg_one(rig, **agent(rig)))
    assert status == 200, body
    assert claims["act"] == {"iss": ISSUER, "sub": "planner"}
    assert (claims["sub"], claims["client_id"]) == ("ada", "client-1")  # section 9.7: three parties


async def test_earlier_actors_stay_named_each_with_its_issuer(rig: Rig, http: httpx2.AsyncClient) -> None:
    foreign = {"sub": "bot", "act": {"sub": "older", "iss": "https://elsewhere.example"}}
    user = WORK.token(rig.clock.now(), sub="w1", act=foreign, jti=f"u{next(NUMBERS)}", email=None)
    first = leg_one(rig, AGENTS, subject_token=user, requested_token_type=ACCESS_TOKEN) | agent(rig)
    _, body, claims = await post(rig, http, first)
    outer = {"sub": "planner", "act": {"iss": WORK.url, **foreign}}
    assert claims["act"] == outer, body
    again = leg_one(rig, subject_token=body["access_token"], subject_token_type=ACCESS_TOKEN)
    status, body, claims = await post(rig, http, again)
    assert status == 200, body
    assert claims["act"] == {"iss": ISSUER, **outer}


async def test_an_id_jag_names_actors_only_where_policy_has_them(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body, _ = await post(rig, http, leg_one(rig, SILENT_AS, **agent(rig)))
    assert (status, body["reason"]) == (400, "ACTOR_DENIED")
    _, _, claims = await post(rig, http, leg_one(rig, HIDING_AS, **agent(rig)))
    assert "act" not in claims  # impersonation
    _, _, claims = await post(rig, http, leg_one(rig))
    assert "act" not in claims


@pytest.mark.parametrize(
    ("resource", "act", "expected"),
    [
        (OPEN, {"sub": "bot"}, "ACTOR_DENIED"),
        (AGENTS, {"sub": "bot"}, {"iss": WORK.url, "sub": "bot"}),
        (AGENTS, {"sub": "bot", "iss": WORK.url}, {"iss": WORK.url, "sub": "bot"}),
        (AGENTS, {"sub": "bot", "role": "x", "act": {"sub": "b2"}},
         {"iss": WORK.url, "sub": "bot", "act": {"iss": WORK.url, "sub": "b2"}}),
        (AGENTS, {"sub": "agent", "iss": POD.url}, "ACTOR_DENIED"),  # another provider's
        (AGENTS, {"sub": "planner", "iss": ISSUER}, "ACTOR_DENIED"),  # ours
        (AGENTS, {"iss": WORK.url}, "ACTOR_DENIED"),
        (AGENTS, "bot", "ACTOR_DENIED"),
        (AGENTS, {"sub": "1", "act": {"sub": "2", "act": {"sub": "3", "act": {"sub": "4", "act": {"sub": "5"}}}}},
         "ACTOR_DENIED"),
    ],
)  # fmt: skip
async def test_the_actor_of_an_accepted_id_jag_stays_named(
    rig: Rig, http: httpx2.AsyncClient, resource: str, act: Any, expected: Any
) -> None:
    status, body, claims = await post(rig, http, leg_two(rig, resource, act=act))
    if status != 200:
        assert (body["error"], body["reason"]) == ("invalid_grant", expected)
        return
    assert (claims["act"], claims["sub"]) == (expected, "ada")


async def test_an_id_jag_is_no_actor_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    acting = {"actor_token": leg_two(rig)["assertion"], "actor_token_type": ID_JAG}
    assert (await post(rig, http, leg_one(rig, **acting)))[0] == 400
    request = pb.ExchangeTokenRequest(
        subject_token=leg_two(rig, AGENTS)["assertion"], subject_token_type=ID_JAG,
        actor_token=agent(rig)["actor_token"], actor_token_type=ID_TOKEN,
    )  # fmt: skip
    assert (await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))).reason == "INVALID_REQUEST"


# --- parties that are gone ----------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("the provider's table", "UNKNOWN_ISSUER"),
        ("the provider's kind", "UNSUPPORTED_TOKEN_TYPE"),
        ("the provider's tokens", "REVOKED"),
        ("the provider at the audience", "PROVIDER_DENIED"),
        ("the client at the audience", "WRONG_AUDIENCE"),
        ("the client's table", "CALLER_UNAUTHENTICATED"),
    ],
)
async def test_a_provider_or_client_that_is_gone_has_no_grant(
    rig: Rig, http: httpx2.AsyncClient, way: str, expected: str
) -> None:
    """A token that was verified before is refused too: neither its signature nor anything else of it is remembered."""
    before = leg_two(rig)
    assert (await post(rig, http, before | {"scope": "unknown"}))[1]["reason"] == "SCOPE_DENIED"
    text = rig.config.read_text()
    at, end = text.index("[providers.work]"), text.index("[providers.pod]")
    gone = {
        "the provider's table": text[:at] + text[end:].replace(', "work"', "").replace('["work"]', '["pod"]'),
        "the provider's kind": text.replace('["id_token", "id_jag"]', '["id_token"]'),
        "the provider at the audience": text.replace('providers = ["work"]', 'providers = ["pod"]'),
        "the client at the audience": text.replace(
            'clients = ["web"]\nproviders = ["work"]', 'clients = ["batch"]\nproviders = ["work"]'
        ),
        "the client's table": text.replace("[clients.web]", "[clients.other]")
        .replace('["web"', '["other"').replace("{ web =", "{ other ="),
    }  # fmt: skip
    if way == "the provider's tokens":
        revoke = revocation_pb.RevokeTokensRequest(provider="work", reason="it was taken over")
        await rig.revocation.RevokeTokens(revoke, **rig.auth("root"))
    else:
        assert gone[way] != text
        rig.config.write_text(gone[way])
        await rig.app.reload(rig.settings())
    for form in (before, leg_two(rig)):
        status, body, _ = await post(rig, http, form)
        error = "invalid_client" if expected == "CALLER_UNAUTHENTICATED" else "invalid_grant"
        assert (status, body["error"], body["reason"]) == (401 if error == "invalid_client" else 400, error, expected)
        request = pb.ExchangeTokenRequest(subject_token=form["assertion"], subject_token_type=ID_JAG)
        assert (await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))).reason == expected

"""Every kind of JWT at every place that takes one: a kind is accepted at its own places, and at no other.

RFC 8725 sections 2.8 and 3.11: one kind of JWT must not pass for another.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

import grpc
import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.rig import Rig, Serve
from tests.signals import CAEP, LOGOUT
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.model.drafts import DRAFTS
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_JAG_TYP, ID_TOKEN, JWT, TXN_TOKEN, TXN_TOKEN_TYP
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, TARGET, NEXT, AS, SVIDS, DOMAIN = (
    "https://tokens.example",
    "https://target.example",
    "https://next.example",
    "https://as.example",
    "https://svids.example",
    "trust-domain.example",
)
EXCHANGE, BEARER_GRANT = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
BEARER, SPIFFE = (f"urn:ietf:params:oauth:client-assertion-type:jwt-{name}" for name in ("bearer", "spiffe"))
WORK, POD, MESH = (Issuer(url=f"https://{name}.example", key=rsa_key(number)) for number, name in
                   enumerate(("work", "pod", "mesh"), start=3))  # fmt: skip
NUMBERS = count()
TRANSACTION = {"requested_token_type": TXN_TOKEN, "scope": "read"}
BUNDLE = json.dumps({"keys": [key | {"use": "jwt-svid"} for key in json.loads(MESH.jwks())["keys"]]})
KEYS = json.dumps({"keys": [jwk(ec_key(5), kid="c")]})
EXTRA = f"""
[oauth]
enabled = true
drafts = {json.dumps(DRAFTS)}

[providers.work]
issuer = "{WORK.url}"
audiences = ["app"]
token_types = ["id_token", "access_token", "id_jag"]
jwks = '''{WORK.jwks().decode()}'''
[providers.work.signals]
deliveries = ["secevent", "logout", "apple"]

[providers.pod]
issuer = "{POD.url}"
audiences = ["{ISSUER}"]
jwks = '''{POD.jwks().decode()}'''

[providers.mesh]
use = "spiffe"
trust_domain = "mesh.example"
audiences = ["{ISSUER}"]
jwks = '''{BUNDLE}'''

[audiences."{TARGET}"]
clients = ["web", "keys", "pod", "mesh"]
providers = ["work"]
reexchange_from = ["{NEXT}"]
on_missing_profile = "without"
[audiences."{TARGET}".actors]
providers = ["pod"]
without_may_act = true

[audiences."{NEXT}"]
clients = ["web"]
providers = ["work"]
scopes = ["read"]
status_list = true
on_missing_profile = "without"

[audiences."{AS}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{AS}".id_jag]
clients = {{ web = "x" }}

[spiffe]
trust_domain = "tokens.example"
[audiences."{SVIDS}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{SVIDS}".spiffe]
[audiences."{ISSUER}/oauth2/token"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{ISSUER}/oauth2/token".spiffe]
[audiences."{DOMAIN}"]
clients = ["web"]
providers = ["work"]
scopes = ["read"]
reexchange_from = ["{NEXT}", "{DOMAIN}"]
on_missing_profile = "without"
[audiences."{DOMAIN}".txn_token]
subject_scopes = "='read'"

[clients.keys]
jwks = '''{KEYS}'''
[clients.pod]
workloads = [{{ provider = "pod", subject = "agent" }}]
[clients.mesh]
workloads = [{{ provider = "mesh", subject = "spiffe://mesh.example/agent" }}]
"""


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
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def once() -> str:
    return f"j{next(NUMBERS)}"


async def ours(rig: Rig, http: httpx2.AsyncClient, audience: str, **form: str) -> str:
    """A token that the service mints for an audience."""
    body = (await exchange(rig, http, work(rig), ID_TOKEN, audience, **form)).json()
    token: str = body["access_token"]
    return token


async def listed(rig: Rig, http: httpx2.AsyncClient) -> str:
    """The status list of a token."""
    claims = jwt.decode(await ours(rig, http, NEXT), options={"verify_signature": False})
    return (await http.get(claims["status"]["status_list"]["uri"].removeprefix(ISSUER))).text


def work(rig: Rig, typ: str | None = "JWT", **changes: Any) -> str:
    return WORK.token(rig.clock.now(), headers={"typ": typ}, **({"jti": once(), "email": None} | changes))


async def tokens_of(rig: Rig, http: httpx2.AsyncClient) -> dict[str, str]:
    """A token of each kind. All are genuine, and in force."""
    now = int(rig.clock.now())
    by_hand = {"iss": "keys", "sub": "keys", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": once()}
    assertion = jwt.encode(by_hand, ec_key(5), algorithm="ES256", headers={"kid": "c"})
    again = by_hand | {"jti": once()}
    typed = {"kid": "c", "typ": "client-authentication+jwt"}
    return {
        "a user's ID token": work(rig),
        "a user's access token": work(rig, "at+jwt"),
        "an ID-JAG": work(rig, ID_JAG_TYP, aud=ISSUER, client_id="web", scope="read"),
        "a provider's transaction token": work(rig, TXN_TOKEN_TYP, txn="t", req_wl="x", scope="read", aud=DOMAIN),
        "its transaction token for us": work(rig, TXN_TOKEN_TYP, txn="t", req_wl="x", scope="read"),
        "a logout token": work(rig, "logout+jwt", events={LOGOUT: {}}, sub="another"),
        "a security event": work(rig, "secevent+jwt", events={CAEP + "session-revoked": {}}, sub="another"),
        "Apple's notification": work(rig, events=json.dumps({"type": "account-delete", "sub": "another"})),
        "a workload's token": POD.token(now, sub="agent", aud=ISSUER, jti=once()),
        "a JWT-SVID": MESH.token(now, iss=None, sub="spiffe://mesh.example/agent", aud=[ISSUER]),
        "a client's assertion": assertion,
        "a client's typed assertion": jwt.encode(again, ec_key(5), algorithm="ES256", headers=typed),
        "a DPoP proof": dpop_proof(jti=once(), htu=f"{ISSUER}/oauth2/token", iat=now).reveal(),
        "an issued access token": await ours(rig, http, NEXT),
        "an issued ID-JAG": await ours(rig, http, AS),
        "an issued JWT-SVID": await ours(rig, http, SVIDS),
        "an issued JWT-SVID for us": await ours(rig, http, f"{ISSUER}/oauth2/token"),
        "an issued transaction token": await ours(rig, http, DOMAIN, **TRANSACTION),
        "a status list": await listed(rig, http),
    }  # fmt: skip


# --- the places ---------------------------------------------------------------------------------------------------

Place = Callable[[Rig, httpx2.AsyncClient, str], Awaitable[bool]]


def secret(rig: Rig) -> dict[str, str]:
    return {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}


async def exchange(
    rig: Rig, http: httpx2.AsyncClient, token: str, kind: str, audience: str = TARGET, **form: str
) -> httpx2.Response:
    given = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind, "audience": audience}
    authenticated = {} if "client_assertion" in form else secret(rig)
    return await http.post("/oauth2/token", data=authenticated | given | form)


def as_subject(kind: str) -> Place:
    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        return (await exchange(rig, http, token, kind)).status_code == 200

    return place


def as_origin(kind: str) -> Place:
    """The subject of a transaction, which a transaction token can only go on with."""

    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        return (await exchange(rig, http, token, kind, DOMAIN, **TRANSACTION)).status_code == 200

    return place


def as_actor(kind: str) -> Place:
    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        acting = {"actor_token": token, "actor_token_type": kind}
        return (await exchange(rig, http, work(rig), ID_TOKEN, **acting)).status_code == 200

    return place


def as_assertion(kind: str) -> Place:
    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        client = {"client_assertion": token, "client_assertion_type": kind}
        return (await exchange(rig, http, work(rig), ID_TOKEN, **client)).status_code == 200

    return place


async def as_grant(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
    form = {"grant_type": BEARER_GRANT, "assertion": token, "audience": TARGET}
    return (await http.post("/oauth2/token", data=secret(rig) | form)).status_code == 200


def as_grant_for(audience: str) -> Place:
    """A grant for a token that is no access token, by either transport."""

    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        form = {"grant_type": BEARER_GRANT, "assertion": token, "audience": audience}
        if (await http.post("/oauth2/token", data=secret(rig) | form)).status_code == 200:
            return True
        kind = TXN_TOKEN if audience == DOMAIN else ""
        request = pb.ExchangeTokenRequest(
            subject_token=token, subject_token_type=ID_JAG, audience=audience, requested_token_type=kind,
            scopes=["read"] if audience == DOMAIN else [],
        )  # fmt: skip
        try:
            await rig.exchange.ExchangeToken(request, **rig.auth("web"))
        except grpc.aio.AioRpcError:
            return False
        return True

    return place


async def as_introspected(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
    answer = await http.post("/oauth2/introspect", data=secret(rig) | {"token": token})
    return bool(answer.json()["active"])


async def as_proof(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
    form = {"grant_type": EXCHANGE, "subject_token": work(rig), "subject_token_type": ID_TOKEN, "audience": TARGET}
    answer = await http.post("/oauth2/token", data=secret(rig) | form, headers={"DPoP": token})
    return answer.status_code == 200


def as_signal(media_type: str, body: str = "{}") -> Place:
    async def place(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
        content = body.format(token)
        answer = await http.post("/signals/work", content=content, headers={"Content-Type": media_type})
        return answer.status_code < 300

    return place


async def as_workload_over_grpc(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
    return await _over_grpc(rig, "tokenmint-workload-token", token)


async def as_assertion_over_grpc(rig: Rig, http: httpx2.AsyncClient, token: str) -> bool:
    return await _over_grpc(rig, "tokenmint-client-assertion", token)


async def _over_grpc(rig: Rig, key: str, token: str) -> bool:
    try:
        await rig.exchange.ExchangeToken(rig.request(work(rig), TARGET), metadata=((key, token),), timeout=20)
    except grpc.aio.AioRpcError:
        return False
    return True


PLACES: dict[str, tuple[Place, frozenset[str]]] = {
    "subject, id_token": (as_subject(ID_TOKEN), frozenset({"a user's ID token"})),
    "subject, access_token": (as_subject(ACCESS_TOKEN), frozenset({"a user's access token", "an issued access token"})),
    "subject, jwt": (
        as_subject(JWT), frozenset({"a user's ID token", "a user's access token", "an issued access token"})
    ),
    "subject, id-jag": (as_subject(ID_JAG), frozenset()),
    "subject, txn_token": (as_subject(TXN_TOKEN), frozenset()),
    "origin, id_token": (as_origin(ID_TOKEN), frozenset({"a user's ID token"})),
    "origin, access_token": (
        as_origin(ACCESS_TOKEN), frozenset({"a user's access token", "an issued access token"})
    ),
    "origin, jwt": (
        as_origin(JWT), frozenset({"a user's ID token", "a user's access token", "an issued access token"})
    ),
    "origin, id-jag": (as_origin(ID_JAG), frozenset()),
    "replaced, txn_token": (as_origin(TXN_TOKEN), frozenset({"an issued transaction token"})),
    "actor, id_token": (as_actor(ID_TOKEN), frozenset({"a workload's token"})),
    "actor, access_token": (as_actor(ACCESS_TOKEN), frozenset()),
    "actor, jwt": (as_actor(JWT), frozenset({"a workload's token"})),
    "actor, id-jag": (as_actor(ID_JAG), frozenset()),
    "actor, txn_token": (as_actor(TXN_TOKEN), frozenset()),
    "grant": (as_grant, frozenset({"an ID-JAG"})),
    "grant for an ID-JAG": (as_grant_for(AS), frozenset()),
    "grant for a JWT-SVID": (as_grant_for(SVIDS), frozenset()),
    "grant for a transaction token": (as_grant_for(DOMAIN), frozenset()),
    "client, jwt-bearer": (
        as_assertion(BEARER),
        frozenset({"a workload's token", "a client's assertion", "a client's typed assertion"}),
    ),
    "client, jwt-spiffe": (as_assertion(SPIFFE), frozenset({"a JWT-SVID"})),
    "client over gRPC, workload": (as_workload_over_grpc, frozenset({"a workload's token", "a JWT-SVID"})),
    "client over gRPC, assertion": (
        as_assertion_over_grpc, frozenset({"a client's assertion", "a client's typed assertion"})
    ),
    "introspection": (as_introspected, frozenset({"an issued access token", "an issued transaction token"})),
    "DPoP": (as_proof, frozenset({"a DPoP proof"})),
    "signal, pushed": (as_signal("application/secevent+jwt"), frozenset({"a security event"})),
    "signal, logout": (
        as_signal("application/x-www-form-urlencoded", "logout_token={}"), frozenset({"a logout token"})
    ),
    "signal, Apple's": (
        as_signal("application/json", '{{"payload": "{}"}}'), frozenset({"Apple's notification"})
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
async def test_rfc_8725_section_3_11_nothing_is_accepted_off_the_diagonal(
    rig: Rig, http: httpx2.AsyncClient, name: str
) -> None:
    place, expected = PLACES[name]
    tokens = await tokens_of(rig, http)
    assert expected <= tokens.keys()
    accepted = {kind for kind, token in tokens.items() if await place(rig, http, token)}
    assert accepted == expected

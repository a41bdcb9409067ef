"""Actors that providers' tokens name: whose they are, and their end (RFC 8693 section 4.1, RFC 7662 section 2.2)."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, refusal

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARTNER, SHARED, MESH = (
    Issuer(url=f"https://{n}.example", key=rsa_key(k)) for k, n in enumerate(("partner", "shared", "mesh"), 3)
)
FIRST, TABLE, AGENTS = "https://first.example", "https://table.example", "https://agents.example"
SVID_KEYS = json.dumps({"keys": [key | {"use": "jwt-svid"} for key in json.loads(MESH.jwks())["keys"]]})
ACTORS = 'providers = ["idp"]\nwithout_may_act = true\n'
EXTRA = f"""
[providers.partner]
issuer = "{PARTNER.url}"
audiences = ["app"]
jwks = '''{PARTNER.jwks().decode()}'''

[providers.here]
issuer = "{SHARED.url}"
audiences = ["app"]
where = {{ tenant = "here" }}
jwks = '''{SHARED.jwks().decode()}'''

[providers.there]
issuer = "{SHARED.url}"
audiences = ["app"]
where = {{ tenant = "there" }}
jwks = '''{SHARED.jwks().decode()}'''

[providers.mesh]
use = "spiffe"
trust_domain = "mesh.example"
audiences = ["app"]
jwks = '''{SVID_KEYS}'''

[audiences."{FIRST}"]
clients = ["web"]
providers = ["idp", "partner", "here", "there", "mesh"]
scopes = ["read", "write"]
on_missing_profile = "without"
[audiences."{FIRST}".actors]
{ACTORS}

[audiences."{TABLE}"]
clients = ["web"]
providers = ["idp", "partner", "here", "mesh"]
reexchange_from = ["{FIRST}"]
scopes = ["read", "write"]
on_missing_profile = "without"
[audiences."{TABLE}".actors]
{ACTORS}
scopes_by_actor = {{ planner = ["read", "write"] }}

[audiences."{AGENTS}"]
clients = ["web"]
providers = ["idp", "partner"]
on_missing_profile = "without"
condition = "size(actor.chain) == 0 || 'agent' in actor.profile.roles"
[audiences."{AGENTS}".actors]
{ACTORS}
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            planner = [Identity(provider="idp", subject="p")]
            agent = [Identity(provider="here", subject="agent")]
            await service.create(
                Profile(principal="planner", identities=planner, roles=["agent"]),
                Profile(principal="agent", identities=agent),
                Profile(principal="gone", disabled=True),
            )
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


def theirs(rig: Rig, issuer: Issuer, **claims: Any) -> str:
    return issuer.token(rig.clock.now(), **({"sub": "u", "aud": "app"} | claims))


def svid(rig: Rig, **claims: Any) -> str:
    return theirs(rig, MESH, **({"iss": None, "sub": "spiffe://mesh.example/orders"} | claims))


async def mint(rig: Rig, audience: str, token: str, kind: str = ID_TOKEN) -> str:
    request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=audience)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def active(rig: Rig, token: str) -> bool:
    told = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
    return told.active


async def test_a_provider_names_its_own_actors_and_no_other_providers(rig: Rig) -> None:
    """The partner vouches for its own agents. If it named an agent of `idp`, it would get that one's scopes."""
    own = rig.issuer.token(rig.clock.now(), sub="1842", act={"sub": "p"})
    assert set(claims_of(await mint(rig, TABLE, own))["scope"].split()) == {"read", "write"}
    for audience in (FIRST, TABLE):
        for issuer in (rig.issuer.url, SHARED.url):
            forged = theirs(rig, PARTNER, act={"sub": "p", "iss": issuer})
            assert (await refusal(mint(rig, audience, forged))).reason == "ACTOR_DENIED"
    unknown = theirs(rig, PARTNER, act={"sub": "p", "iss": "https://x.example"})
    assert "scope" not in claims_of(await mint(rig, TABLE, unknown)), "an actor that nobody knows"
    earlier = {"sub": "b", "act": {"sub": "p", "iss": rig.issuer.url}}
    assert "scope" not in claims_of(await mint(rig, TABLE, theirs(rig, PARTNER, act=earlier))), "it does not act now"


async def test_an_actor_that_nobody_knows_is_not_nobody(rig: Rig) -> None:
    """The condition of the guide: it has no principal, and `actor.chain` names it."""
    await mint(rig, AGENTS, theirs(rig, PARTNER))
    await mint(rig, AGENTS, rig.issuer.token(rig.clock.now(), sub="1842", act={"sub": "p"}))
    for token in (
        theirs(rig, PARTNER, act={"sub": "p"}), theirs(rig, PARTNER, act={"sub": "p", "iss": "https://x.example"}),
        rig.issuer.token(rig.clock.now(), sub="1842", act={"sub": "stranger"}),
    ):  # fmt: skip
        assert (await refusal(mint(rig, AGENTS, token))).reason == "CONDITION_DENIED"


async def test_the_audit_tells_a_foreign_actor_from_a_principal_of_that_name(rig: Rig) -> None:
    for act, expected in (
        ({"sub": "planner"}, f"planner {PARTNER.url}"),
        ({"sub": "planner", "iss": "https://x.example"}, "planner https://x.example"),
    ):
        token = theirs(rig, PARTNER, act=act)
        digest = hashlib.sha256(token.encode()).hexdigest()
        with structlog.testing.capture_logs() as lines:
            await mint(rig, FIRST, token)
        assert [line["actor"] for line in lines if line.get("token_sha256") == digest] == [expected]


async def test_a_token_without_an_issuer_names_no_actor_of_ours(rig: Rig) -> None:
    """SPIFFE's tokens need no `iss`. Their `act` would have names without an issuer: our own principals."""
    assert claims_of(await mint(rig, FIRST, svid(rig)))["aud"] == FIRST
    for act in (
        {"sub": "planner"},
        {"sub": "gone"},
        {"sub": "a", "iss": "https://x.example", "act": {"sub": "planner"}},
    ):
        for audience in (FIRST, TABLE):
            assert (await refusal(mint(rig, audience, svid(rig, act=act)))).reason == "ACTOR_DENIED", act


async def test_an_empty_issuer_of_an_actor_tells_nothing_about_our_principals(rig: Rig) -> None:
    for name in ("planner", "gone", "nobody", "x" * 5000):
        for act in ({"sub": name, "iss": ""}, {"sub": "a", "act": {"sub": name, "iss": ""}}):
            told = await refusal(mint(rig, FIRST, theirs(rig, PARTNER, act=act)))
            assert told.reason == "ACTOR_DENIED", name


@pytest.mark.alone
async def test_the_kill_switch_reaches_an_agent_whose_issuer_two_providers_have(rig: Rig) -> None:
    token = theirs(rig, SHARED, tenant="here", act={"sub": "agent"})
    nested = theirs(rig, SHARED, tenant="here", act={"sub": "b", "act": {"sub": "agent"}})
    before = [await mint(rig, FIRST, one) for one in (token, nested)]
    assert [await active(rig, one) for one in before] == [True, True]
    assert "scope" not in claims_of(await mint(rig, TABLE, before[0], ACCESS_TOKEN))
    profile = Profile(principal="agent", disabled=True)
    update = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    assert (await refusal(mint(rig, FIRST, token))).reason == "PRINCIPAL_DISABLED"
    assert [await active(rig, one) for one in before] == [False, False]
    for one in before:
        assert (await refusal(mint(rig, TABLE, one, ACCESS_TOKEN))).reason == "PRINCIPAL_DISABLED"


@pytest.mark.alone
async def test_the_agents_of_a_provider_that_is_removed_end_with_it_only_in_two_steps(rig: Rig) -> None:
    """A token names an actor by its issuer. Only the provider's table leads from there to the disabled profile.

    So a provider is removed from the audiences first, and its table goes once the last token has expired. Without it
    nobody knows the actor: rules by actor give it nothing, and a condition sees it in `actor.chain`.
    """
    await rig.create(Profile(principal="bot", identities=[Identity(provider="partner", subject="bot")]))
    acted = await mint(rig, FIRST, theirs(rig, PARTNER, act={"sub": "bot"}))
    update = profiles_pb.UpdateProfileRequest(
        profile=Profile(principal="bot", disabled=True), update_mask=FieldMask(paths=["disabled"])
    )
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    assert not await active(rig, acted)
    before = rig.config.read_text()
    unused = before.replace('"partner", ', "").replace(', "partner"', "")
    table = before[before.index("[providers.partner]") : before.index("[providers.here]")]
    try:
        rig.config.write_text(unused)
        await rig.app.reload(rig.settings())
        assert (await refusal(mint(rig, FIRST, theirs(rig, PARTNER)))).reason == "PROVIDER_DENIED"
        assert not await active(rig, acted), "its table leads to the disabled agent"
        assert (await refusal(mint(rig, TABLE, acted, ACCESS_TOKEN))).reason == "PRINCIPAL_DISABLED"
        rig.config.write_text(unused.replace(table, ""))
        await rig.app.reload(rig.settings())
        assert (await refusal(mint(rig, FIRST, theirs(rig, PARTNER)))).reason == "UNKNOWN_ISSUER"
        assert await active(rig, acted), "nobody knows the actor any more"
        assert "scope" not in claims_of(await mint(rig, TABLE, acted, ACCESS_TOKEN))
    finally:
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
    assert not await active(rig, acted)

"""The actor in policy: conditions, claims and scopes that depend on it, and its end (RFC 8693 sections 1.1 and 4.1)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve, person, refusal

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import revocation_admin_service_pb2 as revocation_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("told", "team", "chained", "both", "table", "cel", "open", "next", "own", "quiet", "session")
TOLD, TEAM, CHAINED, BOTH, TABLE, CEL, OPEN, NEXT, OWN, QUIET, SESSION = (
    f"https://{name}-actors.example" for name in NAMES
)
ACTORS = 'providers = ["idp"]\nwithout_may_act = true\n'
RULES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    TOLD: ("", ACTORS + f'audiences = ["{OWN}"]', {
        "by": "actor.principal", "team": "actor.profile.claims.team", "roles": "actor.profile.roles",
        "level": "actor.claims.level", "through": "actor.client", "of": "actor.provider",
        "chain": "= actor.chain.map(one, one.sub)", "none": "= actor.principal == ''",
    }),
    TEAM: ("condition = \"actor.principal == '' || ('agent' in actor.profile.roles && actor.claims.level == 'high')\"",
           ACTORS, {}),
    CHAINED: (f"reexchange_from = {[OPEN, NEXT]}\ncondition = \"actor.chain.all(one, one.sub != 'rogue')\"",
              ACTORS, {}),
    BOTH: (f"reexchange_from = {[OPEN]}", ACTORS + 'scopes = "intersection"', {}),
    TABLE: ("", ACTORS + 'scopes_by_actor = { planner = ["read"] }', {}),
    CEL: ("", ACTORS + 'scopes = "intersection"\nsubject_scopes = "= profile.roles"\n'
          'actor_scopes = "= actor.claims.scope"', {}),
    OPEN: ("", ACTORS, {}),
    NEXT: (f"reexchange_from = {[OPEN, NEXT, SESSION]}", ACTORS, {}),
    SESSION: ('reference = { idle = "10m" }', ACTORS, {}),
    OWN: ("", ACTORS, {}),
    QUIET: ("", ACTORS + "impersonation = true", {"by": "actor.principal"}),
}  # fmt: skip
EXTRA = "".join(
    f"""
[audiences."{name}"]
clients = ["web"]
providers = ["idp"]
scopes = ["read", "write", "admin"]
on_missing_profile = "without"
{rules}
[audiences."{name}".actors]
{actors}
[audiences."{name}".claims]
"""
    + "\n".join(f'{claim} = "{source}"' for claim, source in claims.items())
    for name, (rules, actors, claims) in RULES.items()
)


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA, transport=transport) as service:
            await service.create(
                person("ada", "1842", "read", "admin", scopes=["read", "write"]),
                person("planner", "p", "agent", team="plans", scopes="read admin"),
                person("rogue", "r"),
                person("helper", "h", "agent", scopes=["read", "write", "admin"]),
            )
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


def token_of(rig: Rig, subject: str, **claims: Any) -> str:
    return rig.issuer.token(rig.clock.now(), sub=subject, **claims)


async def mint(rig: Rig, audience: str, actor: str = "", parent: str = "", **fields: Any) -> str:
    """Exchange Ada's token, or ``parent``; ``actor``: the actor's token."""
    acting = {"actor_token": actor, "actor_token_type": fields.pop("actor_type", ID_TOKEN)} if actor else {}
    request = pb.ExchangeTokenRequest(
        subject_token=parent or fields.pop("subject", "") or token_of(rig, "1842"),
        subject_token_type=ACCESS_TOKEN if parent else ID_TOKEN, audience=audience, **acting, **fields,
    )  # fmt: skip
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def scopes_of(token: str) -> set[str]:
    return set(claims_of(token).get("scope", "").split())


async def active(rig: Rig, token: str) -> bool:
    told = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
    return told.active


# --- conditions and claims ----------------------------------------------------------------------------------------


async def test_claims_come_from_the_actors_token_and_profile(rig: Rig) -> None:
    planner = token_of(rig, "p", level="high")
    told = claims_of(await mint(rig, TOLD, planner))
    expected = {"by": "planner", "team": "plans", "roles": ["agent"], "level": "high", "of": "idp"}
    expected |= {"chain": ["planner"]}
    assert {name: told.get(name) for name in expected} == expected
    assert told["none"] is False
    assert "through" not in told
    own = await mint(rig, OWN, subject=token_of(rig, "p"))
    told = claims_of(await mint(rig, TOLD, own, actor_type=ACCESS_TOKEN))
    assert (told["by"], told["through"], told["of"]) == ("planner", "web", "@tokenmint")
    alone = claims_of(await mint(rig, TOLD))
    assert not alone.keys() & {"by", "team", "roles", "level", "through", "of"}
    assert (alone["none"], alone["chain"]) == (True, [])


async def test_a_condition_sees_the_actors_claims_profile_and_chain(rig: Rig) -> None:
    await mint(rig, TEAM)
    await mint(rig, TEAM, token_of(rig, "p", level="high"))
    for actor in (token_of(rig, "p"), token_of(rig, "p", level="low"), token_of(rig, "r", level="high")):
        assert (await refusal(mint(rig, TEAM, actor))).reason == "CONDITION_DENIED"
    first = await mint(rig, OPEN, token_of(rig, "r"))
    await mint(rig, CHAINED, parent=await mint(rig, OPEN, token_of(rig, "p")))
    for actor in ("", token_of(rig, "p")):
        assert (await refusal(mint(rig, CHAINED, actor, first))).reason == "CONDITION_DENIED"


async def test_an_impersonated_subject_s_token_hides_the_actor_and_a_mapped_claim_does_not(rig: Rig) -> None:
    told = claims_of(await mint(rig, QUIET, token_of(rig, "p")))
    assert "act" not in told
    assert told["by"] == "planner"


# --- scopes -------------------------------------------------------------------------------------------------------


async def test_an_actor_gets_what_the_subject_has_and_the_actor_may(rig: Rig) -> None:
    assert scopes_of(await mint(rig, BOTH, token_of(rig, "p"))) == {"read"}
    assert scopes_of(await mint(rig, BOTH, token_of(rig, "h"))) == {"read", "write"}
    assert scopes_of(await mint(rig, BOTH, token_of(rig, "r"))) == set(), "an actor without any"
    assert scopes_of(await mint(rig, BOTH)) == {"read", "write", "admin"}, "nobody acts"
    assert scopes_of(await mint(rig, BOTH, token_of(rig, "h"), subject=token_of(rig, "nobody"))) == set()
    for actor, asked in (("p", "write"), ("p", "admin"), ("h", "admin"), ("r", "read")):
        told = await refusal(mint(rig, BOTH, token_of(rig, actor), scopes=["read", asked]))
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_DENIED"), (actor, asked)


async def test_scopes_by_actor_and_sources_in_cel(rig: Rig) -> None:
    assert scopes_of(await mint(rig, TABLE, token_of(rig, "p"))) == {"read"}
    assert scopes_of(await mint(rig, TABLE, token_of(rig, "h"))) == set()
    assert scopes_of(await mint(rig, TABLE)) == {"read", "write", "admin"}
    assert scopes_of(await mint(rig, CEL, token_of(rig, "p", scope="read write"))) == {"read"}
    assert scopes_of(await mint(rig, CEL, token_of(rig, "p", scope=["admin", 5]))) == {"admin"}
    assert scopes_of(await mint(rig, CEL, token_of(rig, "p", scope=7))) == set()


async def test_scopes_are_never_widened_along_a_chain(rig: Rig) -> None:
    """An actor that only the subject token names is limited too. A further one has no more than those before it."""
    delegated = await mint(rig, OPEN, token_of(rig, "p"))
    assert scopes_of(delegated) == {"read", "write", "admin"}
    assert scopes_of(await mint(rig, BOTH, parent=delegated)) == {"read"}, "the planner still acts"
    assert (await refusal(mint(rig, BOTH, parent=delegated, scopes=["write"]))).reason == "SCOPE_DENIED"
    narrow = await mint(rig, OPEN, token_of(rig, "p"), scopes=["read"])
    assert scopes_of(await mint(rig, NEXT, token_of(rig, "h"), narrow)) == {"read"}
    assert (await refusal(mint(rig, NEXT, token_of(rig, "h"), narrow, scopes=["write"]))).reason == "SCOPE_DENIED"
    foreign = token_of(rig, "1842", act={"sub": "x", "iss": "https://x.example"})
    assert scopes_of(await mint(rig, BOTH, subject=foreign)) == set(), "nobody knows that actor"
    known = token_of(rig, "1842", act={"sub": "p"})
    assert scopes_of(await mint(rig, BOTH, subject=known)) == {"read"}, "the same identity as the planner's"


async def test_a_confused_deputy_gets_nothing_by_another_client_s_delegated_token(rig: Rig) -> None:
    delegated = await mint(rig, OPEN, token_of(rig, "p"))
    request = pb.ExchangeTokenRequest(subject_token=delegated, subject_token_type=ACCESS_TOKEN, audience=NEXT)
    told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("batch")))
    assert told.code is grpc.StatusCode.PERMISSION_DENIED


# --- the chain ----------------------------------------------------------------------------------------------------


async def test_rfc_8693_section_4_1_a_foreign_act_is_kept_whole_and_bounded(rig: Rig) -> None:
    three = {"sub": "a", "act": {"sub": "b", "act": {"sub": "c"}}}
    kept = claims_of(await mint(rig, OPEN, token_of(rig, "p"), subject=token_of(rig, "1842", act=three)))["act"]
    names = []
    while kept:
        names.append((kept.get("iss", ""), kept["sub"]))
        kept = kept.get("act")
    assert names == [("", "planner"), (rig.issuer.url, "a"), (rig.issuer.url, "b"), (rig.issuer.url, "c")]
    for act in (
        {"sub": "z", "act": three}, {"sub": "a" * 2049}, {"sub": ""}, {"sub": "a", "iss": ""}, {"sub": "a", "act": {}},
    ):  # fmt: skip
        told = await refusal(mint(rig, OPEN, token_of(rig, "p"), subject=token_of(rig, "1842", act=act)))
        assert told.reason == "ACTOR_DENIED", act


async def test_a_provider_can_not_forge_an_actor_of_ours(rig: Rig) -> None:
    for act in (
        {"sub": "planner", "iss": "https://tokens.example"},
        {"sub": "a", "act": {"sub": "planner", "iss": "https://tokens.example"}},
    ):
        told = await refusal(mint(rig, OPEN, subject=token_of(rig, "1842", act=act)))
        assert told.reason == "ACTOR_DENIED"
    kept = claims_of(await mint(rig, OPEN, subject=token_of(rig, "1842", act={"sub": "planner"})))["act"]
    assert kept == {"sub": "planner", "iss": rig.issuer.url}, "never a principal of ours"


# --- the end of an agent ------------------------------------------------------------------------------------------


async def update(rig: Rig, **fields: Any) -> None:
    profile = Profile(principal="planner", identities=[Identity(provider="idp", subject="p")], **fields)
    request = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=list(fields)))
    await rig.profiles.UpdateProfile(request, **rig.auth("root"))


@pytest.mark.alone
@pytest.mark.parametrize("way", ["disabled", "deleted", "revoked"])
async def test_the_kill_switch_ends_an_agent_wherever_it_is_in_the_chain(rig: Rig, way: str) -> None:
    planner = token_of(rig, "p")
    first = await mint(rig, OPEN, planner)
    deep = await mint(rig, NEXT, token_of(rig, "h"), first)
    deeper = await mint(rig, NEXT, parent=deep)
    foreign = token_of(rig, "1842", act={"sub": "h", "act": {"sub": "p"}})
    outside = await mint(rig, OPEN, subject=foreign)
    own = await mint(rig, OWN, subject=planner)
    unrelated = await mint(rig, OPEN, token_of(rig, "h"))
    before = [first, deep, deeper, outside]
    assert [await active(rig, token) for token in (*before, unrelated)] == [True] * 5
    if way == "disabled":
        await update(rig, disabled=True)
    elif way == "deleted":
        await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal="planner"), **rig.auth("root"))
    else:
        revoke = profiles_pb.RevokePrincipalTokensRequest(principal="planner")
        await rig.profiles.RevokePrincipalTokens(revoke, **rig.auth("root"))
    reason = "REVOKED" if way == "revoked" else "PRINCIPAL_DISABLED"
    for call in (
        mint(rig, OPEN, planner), mint(rig, NEXT, parent=first), mint(rig, NEXT, parent=deep),
        mint(rig, NEXT, parent=deeper), mint(rig, NEXT, token_of(rig, "h"), deep), mint(rig, OPEN, subject=foreign),
        mint(rig, TOLD, own, actor_type=ACCESS_TOKEN), mint(rig, QUIET, planner),
    ):  # fmt: skip
        assert (await refusal(call)).reason == reason
    assert [await active(rig, token) for token in before] == [False] * 4
    assert await active(rig, unrelated), "nobody else's"
    await mint(rig, OPEN, token_of(rig, "h"))


@pytest.mark.alone
async def test_the_kill_switch_ends_sessions_and_batches_of_an_agent(rig: Rig) -> None:
    planner, targets = token_of(rig, "p"), [pb.BatchExchangeTarget(audience=name) for name in (OPEN, NEXT)]
    session = await mint(rig, SESSION, planner)
    first = await mint(rig, OPEN, planner)
    acting = pb.BatchExchangeTokensRequest(
        subject_token=token_of(rig, "1842"), actor_token=planner, actor_token_type=ID_TOKEN, targets=targets
    )
    parents = [
        pb.BatchExchangeTokensRequest(subject_token=one, subject_token_type=ACCESS_TOKEN, targets=targets[1:])
        for one in (first, session)
    ]
    for batch in (acting, *parents):
        results = (await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))).results
        assert all(one.HasField("token") for one in results)
    assert await active(rig, session)
    await update(rig, disabled=True)
    assert [await active(rig, one) for one in (session, first)] == [False, False]
    for batch in (acting, *parents):
        told = await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))
        assert told.reason == "PRINCIPAL_DISABLED"


@pytest.mark.alone
async def test_the_kill_switch_ends_an_agent_without_a_profile_too(rig: Rig) -> None:
    bot = token_of(rig, "bot")
    minted = [await mint(rig, name, bot) for name in (OPEN, SESSION)]
    minted.append(await mint(rig, OPEN, subject=token_of(rig, "1842", act={"sub": "bot"})))
    principal = claims_of(minted[0])["act"]["sub"]
    assert [await active(rig, one) for one in minted] == [True] * 3
    revoke = revocation_pb.RevokeTokensRequest(principal=principal, reason="it went wrong")
    await rig.revocation.RevokeTokens(revoke, **rig.auth("root"))
    assert [await active(rig, one) for one in minted] == [False] * 3
    for call in (mint(rig, OPEN, bot), mint(rig, NEXT, parent=minted[0]), mint(rig, NEXT, parent=minted[1])):
        assert (await refusal(call)).reason == "REVOKED"

"""Delegation (RFC 8693 sections 1.1, 4.1, 4.4): policy permits it, and may hide the actor from the token."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, person, refusal

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID = "urn:ietf:params:oauth:token-type:id_token"
PLAIN, ACTED, ANYBODY, SILENT = (f"https://{name}.example" for name in ("plain", "acted", "anybody", "silent"))
OWN, BOT, NEXT, BOUND = (f"https://{name}.example" for name in ("own", "bot", "next", "bound"))
HANDLE, JOB = "https://handle.example", "https://job.example"
UNASKED, CHAINED = "https://unasked.example", "https://chained.example"
CI = Issuer(url="https://ci.example", key=rsa_key(3))
JKT = "A" * 43
NEXT_RULES = f"""reexchange_from = {[PLAIN, ACTED, ANYBODY, SILENT, OWN, BOUND, NEXT]}
[audiences."{NEXT}".actors]
providers = ["idp"]
audiences = ["{BOT}"]
without_may_act = true"""
EXTRA = f"""
[providers.ci]
issuer = "{CI.url}"
audiences = ["app"]
single_use = true
jwks = '''{CI.jwks().decode()}'''
""" + "".join(
    f"""
[audiences."{name}"]
clients = ["web"]
providers = ["idp"]
scopes = ["read"]
on_missing_profile = "without"
{rules}
"""
    for name, rules in (
        (PLAIN, ""),
        (BOT, "max_lifetime = '1h'"),
        (ACTED, f'[audiences."{ACTED}".actors]\nproviders = ["idp"]'),
        (JOB, f'[audiences."{JOB}".actors]\nproviders = ["ci"]\nwithout_may_act = true'),
        (ANYBODY, f'[audiences."{ANYBODY}".actors]\nproviders = ["idp"]\nwithout_may_act = true'),
        (SILENT, f'[audiences."{SILENT}".actors]\nproviders = ["idp"]\nimpersonation = true'),
        (OWN, f'[audiences."{OWN}".actors]\naudiences = ["{BOT}"]\nwithout_may_act = true'),
        (NEXT, NEXT_RULES),
        (HANDLE, f'reexchange_from = {[ANYBODY]!r}\n[audiences."{HANDLE}".reference]\n[audiences."{HANDLE}".actors]'),
        (UNASKED, f"reexchange_from = {[ANYBODY]!r}"),
        (CHAINED, f'reexchange_from = {[ANYBODY]!r}\n[audiences."{CHAINED}".actors]'),
        (BOUND, 'bound = "dpop"'),
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        people = (("ada", "1842"), ("bot", "b"), ("crew", "c"), ("dev", "d"), ("eve", "e"))
        async with serve(EXTRA, transport=transport) as service:
            await service.create(*(person(*names) for names in people))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


def theirs(rig: Rig, subject: str, **claims: Any) -> str:
    return rig.issuer.token(rig.clock.now(), sub=subject, **claims)


def acting(rig: Rig, subject: str = "b", **claims: Any) -> dict[str, str]:
    return {"actor_token": theirs(rig, subject, **claims), "actor_token_type": ID}


def ask(rig: Rig, audience: str, parent: str = "", subject: str = "", **fields: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(
        subject_token=parent or subject or theirs(rig, "1842"), subject_token_type=ACCESS if parent else ID,
        audience=audience, **fields,
    )  # fmt: skip


async def mint(rig: Rig, audience: str, parent: str = "", **fields: Any) -> str:
    answer = await rig.exchange.ExchangeToken(ask(rig, audience, parent, **fields), **rig.auth("web"))
    return answer.token


async def denied(rig: Rig, audience: str, parent: str = "", **fields: Any) -> str:
    told = await refusal(mint(rig, audience, parent, **fields))
    assert told.code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
    return told.reason


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def exchanges(rig: Rig) -> list[dict[str, Any]]:
    """The audit events of exchanges."""
    await rig.parts.audit.flush()
    store = rig.parts.store
    raw = await store.server.client.xrange(f"{store.prefix}audit")
    found = [json.loads(fields[b"event"]) for _, fields in raw]
    return [event for event in found if event["method"].endswith("/ExchangeToken")]


async def test_rfc_8693_section_4_1_a_delegated_token_is_exchanged_only_where_policy_has_actors(rig: Rig) -> None:
    """The current actor counts for access control. An audience without rules for actors has none that would hold."""
    parent = await mint(rig, ANYBODY, **acting(rig))
    assert claims_of(parent)["act"] == {"sub": "bot"}
    assert await denied(rig, UNASKED, parent) == "ACTOR_DENIED"
    assert claims_of(await mint(rig, CHAINED, parent))["act"] == {"sub": "bot"}
    assert claims_of(await mint(rig, UNASKED, await mint(rig, ANYBODY)))["aud"] == UNASKED
    # An empty table takes chains, and no actor token.
    assert await denied(rig, CHAINED, await mint(rig, ANYBODY), **acting(rig)) == "ACTOR_DENIED"


# --- delegation and impersonation ---------------------------------------------------------------------------------


async def test_delegation_names_the_actor_and_impersonation_is_the_audiences_rule(rig: Rig) -> None:
    may = theirs(rig, "1842", may_act={"sub": "b"})
    named = claims_of(await mint(rig, ACTED, subject=may, **acting(rig)))
    assert (named["sub"], named["act"]) == ("ada", {"sub": "bot"})
    silent = claims_of(await mint(rig, SILENT, subject=may, **acting(rig)))
    assert silent["sub"] == "ada"
    assert "act" not in silent
    # Nothing in a request makes it one or the other, and where nobody may act, nobody does.
    assert await denied(rig, PLAIN, subject=may, **acting(rig)) == "ACTOR_DENIED"
    assert "act" not in claims_of(await mint(rig, PLAIN, subject=may))


@pytest.mark.alone
async def test_who_acted_is_recorded_also_where_the_token_does_not_say_it(rig: Rig) -> None:
    may = theirs(rig, "1842", may_act={"sub": "b"})
    for audience in (ACTED, SILENT):
        await mint(rig, audience, subject=may, **acting(rig))
    assert [(event["principal"], event["actor"]) for event in await exchanges(rig)] == [("ada", "bot")] * 2


@pytest.mark.parametrize(
    ("case", "audience", "may_act", "allowed"),
    [
        ("named", ACTED, {"sub": "b"}, True),
        ("named with its issuer", ACTED, {"sub": "b", "iss": "ISSUER"}, True),
        ("named with all that it says", ACTED, {"sub": "b", "email": "b@example.com"}, True),
        ("nobody is named", ACTED, None, False),
        ("another is named", ACTED, {"sub": "c"}, False),
        ("of another issuer", ACTED, {"sub": "b", "iss": "https://other.example"}, False),
        ("something of it is not so", ACTED, {"sub": "b", "email": "c@example.com"}, False),
        ("something of it is not known", ACTED, {"sub": "b", "role": "admin"}, False),
        ("no sub", ACTED, {"iss": "ISSUER"}, False),
        ("an empty object", ACTED, {}, False),
        ("a text", ACTED, "b", False),
        ("a list", ACTED, [{"sub": "b"}], False),
        ("true", ACTED, True, False),
        ("nobody has to be named", ANYBODY, None, True),
        ("... but who is named counts", ANYBODY, {"sub": "c"}, False),
        ("impersonation needs it as well", SILENT, None, False),
        ("impersonation by another", SILENT, {"sub": "c"}, False),
    ],
)
async def test_rfc_8693_section_4_4_may_act_names_who_may(
    rig: Rig, case: str, audience: str, may_act: Any, allowed: bool
) -> None:
    if isinstance(may_act, dict) and may_act.get("iss") == "ISSUER":
        may_act = may_act | {"iss": rig.issuer.url}
    subject = theirs(rig, "1842", may_act=may_act)
    wanted: dict[str, Any] = {"subject": subject, **acting(rig, email="b@example.com")}
    if allowed:
        assert claims_of(await mint(rig, audience, **wanted))["sub"] == "ada", case
    else:
        assert await denied(rig, audience, **wanted) == "ACTOR_DENIED", case


@pytest.mark.parametrize(
    ("case", "actor", "reason"),
    [
        ("expired", {"exp": 1_800_000_000 - 300, "iat": 1_800_000_000 - 600}, "EXPIRED"),
        ("for somebody else", {"aud": "other"}, "WRONG_AUDIENCE"),
        ("of nobody known", {"iss": "https://evil.example"}, "UNKNOWN_ISSUER"),
        ("itself delegated", {"act": {"sub": "c"}}, "ACTOR_DENIED"),
        ("of the wrong kind", {"events": {}}, "UNSUPPORTED_TOKEN_TYPE"),
    ],
)
async def test_an_actor_token_is_proved_like_a_subject_token(rig: Rig, case: str, actor: Any, reason: str) -> None:
    assert await denied(rig, ANYBODY, **acting(rig, "b", **actor)) == reason, case


@pytest.mark.alone
async def test_an_actor_who_is_disabled_acts_no_longer(rig: Rig) -> None:
    profile = Profile(principal="bot", identities=[Identity(provider="idp", subject="b")], disabled=True)
    update = profiles_pb.UpdateProfileRequest(profile=profile)
    update.update_mask.paths.append("disabled")
    token = await mint(rig, ANYBODY, **acting(rig))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    assert await denied(rig, ANYBODY, **acting(rig)) == "PRINCIPAL_DISABLED"
    inspected = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
    assert not inspected.active  # nor what it got before
    assert await denied(rig, NEXT, token) == "PRINCIPAL_DISABLED"


@pytest.mark.alone
async def test_an_actor_token_that_may_be_used_once_is_used_once(rig: Rig) -> None:
    job = CI.token(rig.clock.now(), sub="job-7", jti="j1")
    wanted: dict[str, str] = {"actor_token": job, "actor_token_type": ID}
    assert (await explain(rig, ask(rig, JOB, **wanted)))[-1] == ("replay.unclaimed", "")
    retried = {"request_id": "11111111-2222-3333-4444-555555555555", "subject": theirs(rig, "1842")}
    for _ in range(2):
        assert claims_of(await mint(rig, JOB, **wanted, **retried))["sub"] == "ada"
    assert (await explain(rig, ask(rig, JOB, **wanted)))[-1] == ("replay.unclaimed", "REPLAYED")
    assert await denied(rig, JOB, **wanted) == "REPLAYED"
    batch = pb.BatchExchangeTokensRequest(
        subject_token=theirs(rig, "1842"), targets=[pb.BatchExchangeTarget(audience=JOB)], **wanted
    )
    told = await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))
    assert told.reason == "REPLAYED"
    # What was refused leaves it unused.
    other = {"actor_token": CI.token(rig.clock.now(), sub="job-7", jti="j2"), "actor_token_type": ID}
    assert await denied(rig, ACTED, **other) == "ACTOR_DENIED"
    assert claims_of(await mint(rig, JOB, **other))["sub"] == "ada"


# --- tokens of our own as actor tokens ----------------------------------------------------------------------------


def own(token: str) -> dict[str, str]:
    return {"actor_token": token, "actor_token_type": ACCESS}


async def test_a_token_of_ours_proves_an_actor_where_its_audience_is_named(rig: Rig) -> None:
    bot = await mint(rig, BOT, subject=theirs(rig, "b"))
    assert claims_of(await mint(rig, OWN, **own(bot)))["act"] == {"sub": "bot"}
    assert await denied(rig, OWN, **acting(rig)) == "ACTOR_DENIED"  # the provider's own tokens are not named there
    elsewhere = await mint(rig, PLAIN, subject=theirs(rig, "b"))
    assert await denied(rig, OWN, **own(elsewhere)) == "ACTOR_DENIED"
    assert await denied(rig, ANYBODY, **own(bot)) == "ACTOR_DENIED"
    assert await denied(rig, OWN, actor_token=bot, actor_token_type=ID) == "UNKNOWN_ISSUER"
    delegated = await mint(rig, ANYBODY, subject=theirs(rig, "b"), **acting(rig, "c"))
    assert await denied(rig, OWN, **own(delegated)) == "ACTOR_DENIED"


async def test_an_own_actor_token_that_is_over_or_revoked_proves_nobody(rig: Rig) -> None:
    bot = await mint(rig, BOT, subject=theirs(rig, "b"), lifetime=Duration(seconds=60))
    clock: Any = rig.clock
    await rig.set_time(clock.now() + 60)
    assert await denied(rig, OWN, **own(bot)) == "EXPIRED"
    bot = await mint(rig, BOT, subject=theirs(rig, "b"))
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=bot), **rig.auth("web"))
    assert await denied(rig, OWN, **own(bot)) == "REVOKED"


async def test_an_own_actor_token_that_is_bound_needs_its_key(rig: Rig) -> None:
    bot = await mint(rig, BOT, subject=theirs(rig, "b"), dpop_jkt=JKT)
    assert await denied(rig, OWN, **own(bot)) == "POSSESSION_NOT_PROVED"


# --- chains -------------------------------------------------------------------------------------------------------


async def test_rfc_8693_section_4_1_actors_are_nested_the_current_one_outermost(rig: Rig) -> None:
    token, expected = await mint(rig, ANYBODY, **acting(rig, "b")), {"sub": "bot"}
    assert claims_of(token)["act"] == expected
    for subject, principal in (("c", "crew"), ("d", "dev"), ("e", "eve")):
        token = await mint(rig, NEXT, token, **acting(rig, subject))
        expected = {"sub": principal, "act": expected}  # type: ignore[dict-item]  # nested
        assert claims_of(token)["act"] == expected
    assert await denied(rig, NEXT, token, **acting(rig, "b")) == "ACTOR_DENIED"  # the fifth
    told = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
    assert MessageToDict(told.claims)["act"] == expected
    # Without an actor token the chain stays as it is: leaving it out would be impersonation.
    first = await mint(rig, ANYBODY, **acting(rig))
    assert claims_of(await mint(rig, NEXT, first))["act"] == {"sub": "bot"}


async def test_a_provider_s_own_act_is_kept_with_its_issuer_and_only_where_actors_are_known(rig: Rig) -> None:
    delegated = theirs(rig, "1842", act={"sub": "b", "act": {"sub": "c", "iss": "https://x.example"}, "role": "root"})
    assert await denied(rig, PLAIN, subject=delegated) == "ACTOR_DENIED"
    kept = {"iss": rig.issuer.url, "sub": "b", "act": {"iss": "https://x.example", "sub": "c"}}
    assert claims_of(await mint(rig, ANYBODY, subject=delegated))["act"] == kept
    extended = claims_of(await mint(rig, ANYBODY, subject=delegated, **acting(rig, "d")))["act"]
    assert extended == {"sub": "dev", "act": kept}
    for broken in ("b", ["b"], {"iss": "x"}, {"sub": 1}, {"sub": "b", "iss": 1}, {"sub": "b", "act": "c"}):
        assert await denied(rig, ANYBODY, subject=theirs(rig, "1842", act=broken)) == "ACTOR_DENIED"


# --- explained ----------------------------------------------------------------------------------------------------


async def explain(rig: Rig, exchange: pb.ExchangeTokenRequest) -> list[tuple[str, str]]:
    stub: Any = TokenExchangeServiceStub(rig.admin)
    answer = await stub.ExplainExchange(
        pb.ExplainExchangeRequest(exchange=exchange, client_id="web"), **rig.auth("root")
    )
    assert not any(token and token in str(answer) for token in (exchange.subject_token, exchange.actor_token))
    assert all(step.outcome == pb.ExplainStep.OUTCOME_PASSED for step in answer.steps[:-1])
    return [(step.name, step.reason) for step in answer.steps]


PROVED = [f"assertion.{name}" for name in
          ("form", "issuer", "kind", "signature", "times", "audience", "nonce", "claims")]  # fmt: skip
BEFORE = ["policy.client", *PROVED, "profile.find"]
ACTOR = [f"actor.{name}" for name in (*PROVED, "profile.find")]
OURS = ["own.signature", "policy.own_token", "own.revocation", "profile.find"]
AFTER = ["profile.missing", "policy.decision", "minting.signer", "replay.unclaimed"]


async def test_an_explanation_says_where_an_actor_is_proved_and_admitted(rig: Rig) -> None:
    steps = await explain(rig, ask(rig, ANYBODY, **acting(rig)))
    assert [name for name, _ in steps] == [*BEFORE, *ACTOR, "policy.provider", "policy.actor", *AFTER]
    assert (await explain(rig, ask(rig, ACTED, **acting(rig))))[-1] == ("policy.actor", "ACTOR_DENIED")
    assert (await explain(rig, ask(rig, PLAIN, **acting(rig))))[-1] == ("policy.client", "ACTOR_DENIED")
    late = ask(rig, ANYBODY, **acting(rig, exp=1_800_000_000 - 300))
    assert (await explain(rig, late))[-1] == ("actor.assertion.times", "EXPIRED")


async def test_an_explanation_follows_a_token_of_ours(rig: Rig) -> None:
    parent = await mint(rig, PLAIN)
    steps = await explain(rig, ask(rig, NEXT, parent))
    assert [name for name, _ in steps] == ["policy.client", *OURS, "policy.provider", *AFTER]
    assert (await explain(rig, ask(rig, ACTED, parent)))[-1] == ("policy.provider", "REEXCHANGE_DENIED")
    bot = await mint(rig, BOT, subject=theirs(rig, "b"))
    steps = await explain(rig, ask(rig, NEXT, parent, **own(bot)))
    assert [name for name, _ in steps] == [
        "policy.client", *OURS, *(f"actor.{name}" for name in OURS), "policy.provider", "policy.actor", *AFTER,
    ]  # fmt: skip
    assert (await explain(rig, ask(rig, NEXT, parent, scopes=["read"], lifetime=Duration(seconds=3600))))[-1] == (
        "policy.decision", "LIFETIME_DENIED",
    )  # fmt: skip
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=parent), **rig.auth("web"))
    assert (await explain(rig, ask(rig, NEXT, parent)))[-1] == ("own.revocation", "REVOKED")
    assert (await explain(rig, ask(rig, NEXT, parent[:-8] + "AAAAAAAA")))[-1] == ("own.signature", "BAD_SIGNATURE")


async def test_an_explanation_takes_possession_for_shown_and_judges_the_binding(rig: Rig) -> None:
    assert (await explain(rig, ask(rig, BOUND)))[-1] == ("policy.decision", "CONFIRMATION_DENIED")
    assert (await explain(rig, ask(rig, BOUND, dpop_jkt=JKT)))[-1][0] == "replay.unclaimed"
    parent = await mint(rig, BOUND, dpop_jkt=JKT)
    assert await denied(rig, NEXT, parent) == "POSSESSION_NOT_PROVED"
    # An explanation has no proof of the key of the client that would ask, so it goes on without one.
    assert (await explain(rig, ask(rig, NEXT, parent)))[-1][0] == "replay.unclaimed"
    other = ask(rig, NEXT, parent, dpop_jkt="B" * 42 + "A")
    assert (await explain(rig, other))[-1] == ("policy.decision", "CONFIRMATION_DENIED")


async def test_explaining_a_handle_that_slides_is_no_use_of_it(rig: Rig) -> None:
    parent = await mint(rig, ANYBODY)
    handle = await mint(rig, HANDLE, parent)
    assert handle.startswith("tmr_")
    assert (await explain(rig, ask(rig, NEXT, handle)))[-1] == ("policy.provider", "REEXCHANGE_DENIED")
    store = rig.parts.store
    keys = [key async for key in store.server.client.scan_iter(match=f"{store.prefix}reference:*")]
    assert len(keys) == 1

"""One trace through an exchange: explain, audit and metrics say the same of it, live and dry."""

import ast
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.pages import ROOT
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig, Serve

from tokenmint.base.errors import TokenmintError
from tokenmint.exchange.attempt import Trace
from tokenmint.exchange.explain import Outcome, explain
from tokenmint.model.policy import Client, ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN

MOST_PARAMETERS = 5
BOUND_AUDIENCE = "https://bound.example"
CHAINED_AUDIENCE = "https://chained.example"
EXTRA = f"""
[audiences."{BOUND_AUDIENCE}"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
bound = "dpop"

[audiences."{CHAINED_AUDIENCE}"]
clients = ["web"]
reexchange_from = ["{LEGACY_AUDIENCE}"]
on_missing_profile = "without"
[audiences."{CHAINED_AUDIENCE}".actors]
audiences = ["{LEGACY_AUDIENCE}"]
without_may_act = true
"""


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    async with serve(EXTRA) as service:
        yield service


def ask(rig: Rig, audience: str, token: str = "", **fields: Any) -> ExchangeRequest:
    return ExchangeRequest(Secret(token or rig.issuer.token(rig.clock.now())), audience, **fields)


def web(rig: Rig) -> Client:
    return rig.base.settings.clients["web"]


async def live(rig: Rig, request: ExchangeRequest) -> tuple[Trace, str]:
    """Exchange; return the trace, and the reason where it was refused."""
    trace = Trace()
    try:
        await rig.parts.exchange.exchange(request, web(rig), trace)
    except TokenmintError as error:
        return trace, error.reason
    return trace, ""


@pytest.mark.parametrize("audience", [LEGACY_AUDIENCE, OPEN_AUDIENCE])
async def test_a_dry_run_takes_the_steps_of_the_exchange(rig: Rig, audience: str) -> None:
    request = ask(rig, audience)
    dry = [step.name for step in (await explain(rig.parts.exchange, request, web(rig))).steps]
    trace, reason = await live(rig, request)
    assert reason == ""
    assert dry[-2:] == ["minting.signer", "replay.unclaimed"]
    assert trace.steps == [*dry[:-2], "minting", *(["replay.claim"] if audience == OPEN_AUDIENCE else [])]
    assert [(name, minted.subject) for name, minted in trace.minted] == [(audience, trace.principal)]
    assert trace.facts()["provider"] == "idp"


async def test_so_it_does_of_a_token_of_ours_and_an_actor(rig: Rig) -> None:
    first = await rig.parts.exchange.exchange(ask(rig, LEGACY_AUDIENCE), web(rig))
    second = await rig.parts.exchange.exchange(
        ask(rig, LEGACY_AUDIENCE, rig.issuer.token(rig.clock.now(), sub="bot")), web(rig)
    )
    request = ask(
        rig, CHAINED_AUDIENCE, first.token.reveal(), subject_token_type=ACCESS_TOKEN,
        actor_token=second.token, actor_token_type=ACCESS_TOKEN,
    )  # fmt: skip
    dry = [step.name for step in (await explain(rig.parts.exchange, request, web(rig))).steps]
    trace, reason = await live(rig, request)
    assert (reason, trace.provider, trace.actor) == ("", "@tokenmint", second.subject)
    assert [*dry[:-2], "minting"] == trace.steps
    assert [name for name in dry if name.startswith("actor.")] == [
        "actor.own.signature", "actor.policy.own_token", "actor.own.revocation", "actor.profile.find",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("audience", "claims", "fields", "step", "reason"),
    [
        ("https://unknown.example", {}, {}, "policy.client", "AUDIENCE_DENIED"),
        (AUDIENCE, {"aud": "other"}, {}, "assertion.audience", "WRONG_AUDIENCE"),
        (AUDIENCE, {}, {"nonce": "other"}, "assertion.nonce", "WRONG_NONCE"),
        (AUDIENCE, {}, {}, "profile.missing", "PRINCIPAL_UNKNOWN"),
        (BOUND_AUDIENCE, {}, {}, "policy.decision", "CONFIRMATION_DENIED"),
    ],
)
async def test_both_end_at_the_same_step_for_the_same_reason(
    rig: Rig, audience: str, claims: dict[str, Any], fields: dict[str, Any], step: str, reason: str
) -> None:
    request = ask(rig, audience, rig.issuer.token(rig.clock.now(), **claims), **fields)
    steps = (await explain(rig.parts.exchange, request, web(rig))).steps
    trace, refused = await live(rig, request)
    assert (steps[-1].name, steps[-1].outcome, steps[-1].reason) == (step, Outcome.FAILED, reason)
    assert (trace.steps[-1], refused) == (step, reason)
    assert trace.steps == [one.name for one in steps]
    assert {one.outcome for one in steps[:-1]} <= {Outcome.PASSED}
    assert trace.minted == []


async def test_a_batch_leaves_one_trace_and_the_metrics_count_by_it(rig: Rig) -> None:
    request = ask(rig, LEGACY_AUDIENCE)
    targets = [request, ask(rig, AUDIENCE, request.subject_token.reveal())]
    targets.append(ask(rig, BOUND_AUDIENCE, request.subject_token.reveal()))
    trace = Trace()
    results = await rig.parts.exchange.exchange_batch(targets, web(rig), trace)
    refused = [result.reason for result in results if isinstance(result, TokenmintError)]
    assert refused == ["PRINCIPAL_UNKNOWN", "CONFIRMATION_DENIED"]
    assert [name for name, _ in trace.minted] == [LEGACY_AUDIENCE]
    assert trace.steps.count("assertion.signature") == 1
    assert trace.steps.count("policy.client") == 3


def signatures() -> Iterator[tuple[str, int]]:
    for file in (ROOT / "service" / "tokenmint" / "exchange").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                count = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
                yield f"{file.name}: {node.name}", count


def test_no_signature_of_the_exchange_is_long() -> None:
    counted = dict(signatures())
    assert len(counted) > 15
    assert {name: count for name, count in counted.items() if count > MOST_PARAMETERS} == {}

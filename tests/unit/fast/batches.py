"""Scenarios about batches alone, in which both ways have to agree."""

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
from google.protobuf.duration_pb2 import Duration
from tests.both_ways import SMALL_AUDIENCE, BothWays
from tests.issuer import ec_key, jwk
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE
from tests.unit.fast.once import once

from tokenmint.v1 import token_exchange_service_pb2 as pb

Scenario = Callable[[BothWays], Awaitable[None]]
USUAL = {"audience": AUDIENCE}
_MORE = """
[audiences."https://elsewhere.example"]
clients = ["web"]
providers = ["elsewhere"]
[providers.elsewhere]
issuer = "https://elsewhere.example"
audiences = ["app"]
jwks = {jwks}
"""


def in_batches(scenario: Scenario) -> Scenario:
    """A scenario whose requests are batches."""

    @functools.wraps(scenario)
    async def batched(ways: BothWays) -> None:
        with ways.in_batches():
            await scenario(ways)

    return batched


def batch(ways: BothWays, *targets: dict[str, Any], token: str | None = None, **fields: Any) -> bytes:
    """The bytes of a batch."""
    return pb.BatchExchangeTokensRequest(
        subject_token=ways.token() if token is None else token,
        targets=[pb.BatchExchangeTarget(**target) for target in targets],
        **fields,
    ).SerializeToString()


@in_batches
async def batches_of_any_size(ways: BothWays) -> None:
    """A batch of 1 to 16 targets is one call; each target counts for the rate limit."""
    for number in (1, 2, 8, 16):
        outcome = await ways.check(batch(ways, *[USUAL] * number), recognised=True)
        assert outcome.spent["rate:client:web"] == number
        assert len(outcome.answers) == number
        [event] = outcome.events
        assert event["audience"] == [AUDIENCE] * number
        assert event["refused"] == []
    for number in (0, 17):
        outcome = await ways.check(batch(ways, *[USUAL] * number), recognised=False)
        assert outcome.answer is None, number


@in_batches
async def batches_of_several_kinds(ways: BothWays) -> None:
    """Each target has its own audience, scopes, lifetime, claims and algorithm, and its signature is good."""
    email = ways.rig.issuer.token(ways.rig.clock.now(), email="ada@example.com")
    targets = (
        {"audience": LEGACY_AUDIENCE}, USUAL, {"audience": SMALL_AUDIENCE},
        {"audience": LEGACY_AUDIENCE}, {"audience": LEGACY_AUDIENCE}, {"audience": AUDIENCE, "scopes": ["read"]},
        {"audience": AUDIENCE, "lifetime": Duration(seconds=60)}, {"audience": LEGACY_AUDIENCE}, USUAL,
        {"audience": AUDIENCE, "requested_token_type": "urn:ietf:params:oauth:token-type:jwt"},
    )  # fmt: skip
    for order in (targets[1:2], targets[1:4], targets, targets[::-1]):
        request = batch(ways, *order, token=email)
        await ways.check(request, recognised=True)
        found = await ways.by_fast(request, ways.metadata())
        assert [ways.claims(one)["aud"] for one in found.answers] == [target["audience"] for target in order]
        for one in found.answers:
            published = ways.rig.parts.signing_keys.published_key(one.key_id)
            assert published is not None
            key = jwt.PyJWK.from_dict({**published.public_jwk, "alg": published.algorithm})
            try:
                jwt.PyJWS().decode(one.token, key, [published.algorithm])
            except jwt.InvalidSignatureError:
                raise AssertionError("a signature of another token") from None


@in_batches
async def batches_with_a_refused_target(ways: BothWays) -> None:
    """A batch is not recognised if any target would be refused, wherever it stands; the full way mints the others."""
    for refused in (
        {"audience": "https://unknown.example"}, {"audience": ""}, {"audience": AUDIENCE, "scopes": ["admin"]},
        {"audience": AUDIENCE, "lifetime": Duration(seconds=3601)},
        {"audience": AUDIENCE, "requested_token_type": "urn:x"}, {"audience": LEGACY_AUDIENCE, "scopes": ["read"]},
    ):  # fmt: skip
        await in_each_place(ways, refused)
    large = ways.rig.issuer.token(ways.rig.clock.now(), email="e" * 1400)
    await in_each_place(ways, {"audience": SMALL_AUDIENCE}, token=large)
    for size in range(700, 960, 8):  # some are too long by their signature alone
        token = ways.rig.issuer.token(ways.rig.clock.now(), email="e" * size)
        targets = {"audience": SMALL_AUDIENCE}, USUAL, {"audience": SMALL_AUDIENCE}
        await ways.check(batch(ways, *targets, token=token))


async def in_each_place(ways: BothWays, refused: dict[str, Any], token: str | None = None) -> None:
    for place in range(3):
        targets = [USUAL, USUAL]
        targets.insert(place, refused)
        outcome = await ways.check(batch(ways, *targets, token=token), recognised=False)
        assert outcome.answer is None, (refused, place)


@in_batches
async def batches_with_a_single_use_target(ways: BothWays) -> None:
    """A token that is used up by one of the tokens is consumed, wherever that stands."""
    for place in range(3):
        targets = [USUAL, USUAL]
        targets.insert(place, {"audience": OPEN_AUDIENCE})
        request = batch(ways, *targets, token=ways.token(jti=once()))
        outcome = await ways.check(request, recognised=False)
        assert len(outcome.answers) == 3, place
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None, place


@in_batches
async def batches_with_targets_of_another_provider(ways: BothWays) -> None:
    """A provider that proves tokens for one target proves none for another."""
    jwks = json.dumps({"keys": [jwk(ec_key(1), kid="k1", use="sig")]})
    before = ways.rig.config.read_text()
    try:
        await ways.configure(before + _MORE.format(jwks=json.dumps(jwks)))
        for place in range(3):
            targets = [USUAL, USUAL]
            targets.insert(place, {"audience": "https://elsewhere.example"})
            outcome = await ways.check(batch(ways, *targets), recognised=False)
            assert outcome.answer is None, place
    finally:
        await ways.configure(before)
        await ways.warm()


ALONE = (
    batches_of_any_size, batches_of_several_kinds, batches_with_a_refused_target, batches_with_a_single_use_target,
    batches_with_targets_of_another_provider,
)  # fmt: skip

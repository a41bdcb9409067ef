"""Scenarios of CEL, in which both ways have to agree: it decides, or computes claims, with each token anew."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from tests.both_ways import BothWays
from tests.rig import AUDIENCE

_IN_AUDIENCE = 'max_lifetime = "1h"', 'audiences = ["app"]'


async def conditions_and_claims(ways: BothWays) -> None:
    """A condition holds for a token or not; a claim is a value, or none."""
    ada, eve = ways.token(), ways.rig.issuer.token(ways.rig.clock.now(), email="eve@example.com", n=5)
    for setting, of_ada, of_eve in (
        ("condition = \"assertion.email.startsWith('ada')\"", True, False),
        ('condition = "has(assertion.n) && assertion.n > 4"', False, True),
        ('condition = "assertion.n > 4"', False, True),  # without the member it can't be evaluated
        ("condition = \"provider.name == 'idp' && client.id == 'web'\"", True, True),
        ("condition = \"profile.principal == 'ada' && 'clerk' in profile.roles\"", True, True),
        ("condition = \"profile.claims.tenant == 'engines'\"", True, True),
        ("condition = \"profile.claims.tenant == 'wheels'\"", False, False),
        (f"condition = \"request.audience == '{AUDIENCE}' && request.lifetime == 0\"", True, True),
        ("condition = \"actor.principal == 'x'\"", False, False),
    ):
        async with ways.with_text(_IN_AUDIENCE[0], f"{_IN_AUDIENCE[0]}\n{setting}"):
            for token, holds in ((ada, of_ada), (eve, of_eve), (ada, of_ada)):
                outcome = await ways.check(ways.request(token), recognised=holds)
                assert (outcome.answer is not None) is holds, setting


async def claims_by_cel(ways: BothWays) -> None:
    """A computed claim has the value that the full way computes, of each token its own."""
    now = ways.rig.clock.now()
    tokens = [ways.rig.issuer.token(now, email=f"{name}@example.com", m={"x": [1, None]}) for name in ("ada", "eve")]
    for expression, value in (
        ("assertion.email + '!'", "ada@example.com!"), ("assertion.m", {"x": [1, None]}), ("profile.roles", ["clerk"]),
        ("[client.id, provider.name]", ["web", "idp"]), ("assertion.exp - assertion.iat", 300), ("1.5", 1.5),
        ("assertion.nothing", ...), ("size(request.scopes)", 0), ("{'a': profile.claims}", ...),
    ):  # fmt: skip
        async with ways.with_text('roles = "profile.roles"', f'roles = "profile.roles"\nnew = "= {expression}"'):
            for token in (*tokens, tokens[0]):
                outcome = await ways.check(ways.request(token), recognised=True)
            assert outcome.answer is not None
            if value is not ...:
                assert ways.claims(outcome.answer)["new"] == value, expression
            email = ways.claims(outcome.answer)["email"]
            assert email == "ada@example.com"


async def what_cel_can_not_read(ways: BothWays) -> None:
    """A value that CEL can't read is a refusal where CEL is used, and none elsewhere; so is a claim without a value."""
    odd = [ways.token(x="a\x00"), ways.token(x=2**70)]
    for token in odd:
        outcome = await ways.check(ways.request(token))
        assert outcome.answer is not None
    for setting in ('condition = "true"', 'condition = "assertion.x == assertion.x"'):
        async with ways.with_text(_IN_AUDIENCE[0], f"{_IN_AUDIENCE[0]}\n{setting}"):
            for token in odd:
                outcome = await ways.check(ways.request(token), recognised=False)
                assert outcome.answer is None


async def providers_rules_by_cel(ways: BothWays) -> None:
    """A provider's condition and its computed claims count for all of its tokens, in every audience."""
    now = ways.rig.clock.now()
    ada, eve = ways.token(), ways.rig.issuer.token(now, email="eve@example.com")
    for setting, of_ada, of_eve in (
        ('condition = "true"', True, True),
        ("condition = \"assertion.email.startsWith('ada')\"", True, False),
        ('condition = "request.scopes == []"', True, True),
        ("condition = \"request.scopes == ['read']\"", False, False),
        ('claims = { email = "\'computed\'", more = "assertion.sub" }', True, True),
        ('claims = { email = "assertion.nothing" }', True, True),
    ):
        async with ways.with_text(_IN_AUDIENCE[1], f"{_IN_AUDIENCE[1]}\n{setting}"):
            for token, holds in ((ada, of_ada), (eve, of_eve), (ada, of_ada)):
                outcome = await ways.check(ways.request(token), recognised=holds)
                assert (outcome.answer is not None) is holds, setting
    setting = 'claims = { email = "\'computed\'", more = "assertion.sub" }'
    async with ways.with_text(_IN_AUDIENCE[1], f"{_IN_AUDIENCE[1]}\n{setting}"):
        outcome = await ways.check(ways.request(ways.rig.issuer.token(now)), recognised=True)
        assert outcome.answer is not None
        assert ways.claims(outcome.answer)["email"] == "computed"


async def plans_with_cel_of_other_requests(ways: BothWays) -> None:
    """Each request has its own lifetime, scopes and audience, also where CEL decides."""
    setting = f"{_IN_AUDIENCE[0]}\ncondition = \"request.lifetime != 7 && request.scopes != ['write']\""
    async with ways.with_text(_IN_AUDIENCE[0], setting):
        fields: dict[str, Any]
        for fields, holds in (
            ({}, True), ({"scopes": ["read"]}, True), ({"scopes": ["write"]}, False),
            ({"lifetime": Duration(seconds=60)}, True), ({"lifetime": Duration(seconds=7)}, False),
            ({"scopes": ["read", "write"], "lifetime": Duration(seconds=8)}, True),
        ):  # fmt: skip
            for _ in range(2):
                outcome = await ways.check(ways.request(**fields), recognised=holds)
                assert (outcome.answer is not None) is holds, fields


async def times_that_pass_with_cel(ways: BothWays) -> None:
    """Each token has the times of its own second, is signed by the key that signs then, and has its own id."""
    async with ways.with_text(_IN_AUDIENCE[0], f'{_IN_AUDIENCE[0]}\ncondition = "true"'):
        for second in (0.0, 0.9, 1.0, 2.5):
            await ways.rig.set_time(ways.rig.clock.now() + second)
            await ways.check(ways.request(), recognised=True)
        for size in range(560, 1100, 60):
            setting = f'{_IN_AUDIENCE[0]}\ncondition = "true"\nmax_token_bytes = 1200'
            token = ways.rig.issuer.token(ways.rig.clock.now(), email="e" * size)
            async with ways.with_text(f'{_IN_AUDIENCE[0]}\ncondition = "true"', setting):
                await ways.check(ways.request(token))


ALL = (
    conditions_and_claims, claims_by_cel, what_cel_can_not_read, providers_rules_by_cel,
    plans_with_cel_of_other_requests, times_that_pass_with_cel,
)  # fmt: skip

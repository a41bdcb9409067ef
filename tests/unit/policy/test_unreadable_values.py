"""Values that CEL would read as others: an exchange with one is refused, and none decides anything."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.policy.test_grant import ASSERTION, AUDIENCE, CLIENT, PROFILE, ask, policy

from tokenmint.base.errors import ConditionDenied
from tokenmint.model.policy import Actor
from tokenmint.policy import conditions
from tokenmint.policy.grant import Policy

UNREADABLE: list[dict[str, Any]] = [
    {"email": "a@x\0@evil"}, {"email\0": "a@x", "email": "evil"}, {"email": ["a@x\0"]}, {"email": {"a@x": [{"\0": 1}]}},
    {"other": "\0", "email": "a@x"}, {"email": "a@x", "n": 2**64}, {"email": "a@x", "n": [-(2**63) - 1]},
]  # fmt: skip


@pytest.mark.parametrize("claims", UNREADABLE)
def test_a_value_that_cel_would_read_as_another_is_refused(claims: dict[str, Any]) -> None:
    """The library ends texts at U+0000: `a@x\\u0000@evil` would equal `a@x`, and end with `@x`."""
    token, asked, profile = replace(ASSERTION, claims=claims), ask(), replace(PROFILE, claims=claims)
    for facts in (
        (token, CLIENT, asked),
        (ASSERTION, CLIENT, replace(asked, request_details=claims)),
        (ASSERTION, CLIENT, replace(asked, request_context=claims)),
        (ASSERTION, CLIENT, asked, profile),
        (ASSERTION, CLIENT, asked, PROFILE, Actor("x", token)),
        (ASSERTION, CLIENT, asked, PROFILE, Actor("x", ASSERTION, profile)),
    ):
        with pytest.raises(ConditionDenied, match="U\\+0000"):
            conditions.facts(*facts)


@pytest.mark.parametrize("claims", UNREADABLE)
def test_neither_a_condition_nor_a_computed_claim_is_decided_by_such_a_value(claims: dict[str, Any]) -> None:
    token, claim = replace(ASSERTION, claims=claims), (("who", "=assertion.email"),)
    for changes in ({"condition": "assertion.email == 'a@x'"}, {"claims": claim}):
        rules = policy(**changes)
        audience = rules.admit(CLIENT, ask())
        with pytest.raises(ConditionDenied):
            rules.decide(ask(), CLIENT, audience, token, PROFILE, now=0)
    of_provider = Policy({AUDIENCE.name: AUDIENCE}, "https://me", {"idp": "has(assertion.email)"}, {"idp": claim})
    with pytest.raises(ConditionDenied):
        of_provider.admit_subject(AUDIENCE, token, CLIENT, ask())
    assert of_provider.admits_workload(ASSERTION, CLIENT)
    assert not of_provider.admits_workload(token, CLIENT)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**63, 0])
def test_the_largest_numbers_are_read_as_they_are(number: int) -> None:
    known = conditions.facts(replace(ASSERTION, claims={"n": number}), CLIENT, ask())
    assert conditions.compute(conditions.compile_claim("assertion.n"), known) == number

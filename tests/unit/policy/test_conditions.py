"""Conditions and computed claims in CEL: an error is never true, and nothing grows without bound."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.test_grant import ASSERTION, AUDIENCE, CLIENT, PROFILE, ask, decide, policy

from tokenmint.errors import ConditionDenied, ConfigurationError
from tokenmint.policy import conditions
from tokenmint.policy.grant import Policy

KNOWN = conditions.facts(ASSERTION, CLIENT, ask(scopes=("a",), lifetime=60), PROFILE)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("assertion.email == 'a@x'", True),
        ("assertion.email.endsWith('@x')", True),
        ("'clerk' in profile.roles", True),
        ("'king' in profile.roles", False),
        ("profile.claims.tenant == 't' && provider.name == 'idp' && client.id == 'web'", True),
        ("request.audience == 'https://api' && 'a' in request.scopes && request.lifetime <= 60", True),
        ("profile.principal == 'ada'", True),
        ("has(assertion.missing)", False),
        ("assertion.missing == 'x'", False),
        ("assertion.missing != 'x'", False),
        ("!(assertion.missing == 'x')", False),
        ("assertion.email > 5", False),
        ("1 / assertion.zero == 1", False),
        ("assertion.email.matches('(')", False),
        ("assertion['https://x.example/r'].exists(r, r == 'q')", True),
        ("assertion.missing == 'x' || true", True),
        ("dyn('text') == true", False),
        ("[1,2,3].all(a, [1,2,3].all(b, a + b > 0))", True),
    ],
)
def test_what_holds(source: str, expected: bool) -> None:
    assert conditions.holds(conditions.compile_condition(source), KNOWN) is expected


def test_a_budget_ends_what_would_take_long() -> None:
    nested = "assertion.l.all(a, assertion.l.all(b, assertion.l.all(c, assertion.l.all(d, a + b + c + d >= 0))))"
    known = {**KNOWN, "assertion": {"l": list(range(200))}}
    assert conditions.holds(conditions.compile_condition(nested), known) is False


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("x", "undeclared reference to 'x'"),
        ("assertion.email ==", "Syntax error"),
        ("assertion.email", "is of type DYN and has to be BOOL"),
        ("'text'", "is of type STRING"),
        ("1 + 'a' == 2", "no matching overload"),
        ("true" + " && true" * 1000, "longer than 4096"),
    ],
)
def test_what_is_no_condition_is_told_at_load(source: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        policy(condition=source)
    assert error.value.problems[0].startswith('audiences."https://api".condition: ')
    assert why in error.value.problems[0]
    with pytest.raises(ConfigurationError) as error:
        Policy({}, "https://me", {"idp": source})
    assert error.value.problems[0].startswith("providers.idp.condition: ")


def test_conditions_of_an_audience_and_of_a_provider_deny() -> None:
    assert decide(ask(), condition="'clerk' in profile.roles")
    with pytest.raises(ConditionDenied) as refused:
        decide(ask(), condition="'king' in profile.roles")
    assert "king" not in refused.value.message  # the detail is for the log
    assert "king" in refused.value.detail
    rules = Policy({"https://api": AUDIENCE}, "https://me", {"idp": "assertion.email == 'a@x'"})
    rules.admit_assertion(AUDIENCE, ASSERTION, CLIENT, ask())
    with pytest.raises(ConditionDenied):
        rules.admit_assertion(AUDIENCE, replace(ASSERTION, claims={"email": "b@x"}), CLIENT, ask())


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("=assertion.email", "a@x"),
        ("= profile.roles.map(r, 'role:' + r)", ["role:clerk"]),
        ("={'city': assertion.address.city, 'n': 1}", {"city": "Turin", "n": 1}),
        ("=profile.claims.tenant == 't'", True),
        ("=assertion.missing", None),
        ("=1/0", None),
        ("=null", None),
        ("=b'bytes'", None),
        ("=timestamp('2026-01-01T00:00:00Z')", None),
        ("=double('nan')", None),
        ("='x' + assertion.long + assertion.long", None),
    ],
)
def test_computed_claims(source: str, value: object) -> None:
    rules = policy(claims=(("x", source),))
    long = replace(ASSERTION, claims={**ASSERTION.claims, "long": "y" * 3000})
    grant = rules.decide(ask(), CLIENT, AUDIENCE, long, PROFILE, now=1.0)
    assert dict(grant.claims) == ({} if value is None else {"x": value})


@given(st.text(max_size=30))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        expression = conditions.compile_claim(text)
    except ValueError:
        return
    conditions.compute(expression, KNOWN)
    conditions.holds(expression, KNOWN)


def test_a_providers_computed_claims_are_there_for_mappings_and_conditions_and_replace_nothing() -> None:
    audience = replace(AUDIENCE, claims=(("team", "assertion.team"), ("email", "assertion.email")))
    computed = [("team", "=assertion.address.city + '-team'"), ("email", "'forged'"), ("broken", "assertion.none")]
    rules = Policy(
        {"https://api": audience}, "https://me", {"idp": "assertion.team == 'Turin-team'"}, {"idp": computed}
    )
    derived = rules.derive(ASSERTION, CLIENT, ask())
    assert "broken" not in derived.claims
    rules.admit_assertion(audience, derived, CLIENT, ask())
    grant = rules.decide(ask(), CLIENT, audience, derived, PROFILE, now=1.0)
    assert dict(grant.claims) == {"team": "Turin-team", "email": "a@x"}
    with pytest.raises(ConfigurationError) as error:
        Policy({}, "https://me", {}, {"idp": [("x", "nonsense")]})
    assert error.value.problems[0].startswith("providers.idp.claims.x: ")
    assert "undeclared reference to 'nonsense'" in error.value.problems[0]

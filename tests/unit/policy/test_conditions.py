"""Conditions and computed claims in CEL: an error is never true, and nothing grows without bound."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.test_grant import ASSERTION, AUDIENCE, CLIENT, PROFILE, ask, decide, policy

from tokenmint.base.errors import ConditionDenied, ConfigurationError, TokenmintError
from tokenmint.model.policy import Client
from tokenmint.model.profile import Profile
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
        ("assertion.email == '\udc80'", "not valid Unicode"),
        ("true" + " && true" * 1000, "longer than 4096"),
        ("true\0 && false", "has U+0000"),
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
    rules.admit_subject(AUDIENCE, ASSERTION, CLIENT, ask())
    with pytest.raises(ConditionDenied):
        rules.admit_subject(AUDIENCE, replace(ASSERTION, claims={"email": "b@x"}), CLIENT, ask())


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


NAMES = [
    "assertion",
    "client",
    "profile",
    "provider",
    "request",
    "a",
    "b",
    "claims",
    "id",
    "principal",
    "roles",
    "scopes",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from([2**63, -(2**63) - 1, 10**40, "\ud800", "a\0b", "\x1b[31m"])
)
"""Values that JSON may hold, and values that it should not: a provider may put any of them into its tokens."""
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), VALUES, max_size=4)
PIECES = st.sampled_from(
    [
        *NAMES,
        ".",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        "in",
        "true",
        "false",
        "null",
        "'x'",
        "1",
        "1u",
        "1.5",
        "b'x'",
        "has(",
        "size(",
        ".exists(a, ",
        ".all(a, ",
        ".map(a, ",
        "dyn(",
        ".matches(",
        "timestamp(",
        "duration(",
        "string(",
        "int(",
        " ",
    ]
)
EXPRESSIONS = st.lists(PIECES, max_size=14).map("".join) | st.text(st.characters(), max_size=30)


@st.composite
def sound(draw: st.DrawFn) -> str:
    """An expression that mostly compiles."""
    path = st.sampled_from(
        [
            "assertion.a",
            "assertion.b.a",
            "profile.claims.a",
            "profile.roles",
            "request.scopes",
            "client.id",
            "1",
            "'x'",
            "assertion['a']",
            "profile.claims",
            "assertion",
        ]
    )
    left, right = draw(path), draw(path)
    return draw(
        st.sampled_from(
            [
                f"{left} == {right}",
                f"{left} in {right}",
                f"{left} < {right}",
                f"size({left}) > 0",
                f"dyn({left}) && dyn({right})",
                f"{left}.exists(x, x == {right})",
                f"{left}.all(x, x != {right})",
                f"!({left} == {right})",
                "has(assertion.a.b)",
                f"dyn({left}) ? true : dyn({right})",
                f"string({left}) == {right}",
                f"{left} + {right} == {right}",
            ]
        )
    )


@given(
    source=EXPRESSIONS | sound(),
    claims=OBJECTS,
    profile=OBJECTS,
    roles=st.lists(st.text(max_size=4), max_size=2),
    caller=st.text(max_size=6),
    scopes=st.lists(st.text(max_size=4), max_size=2),
    lifetime=st.none() | st.integers(),
)
def test_any_expression_on_any_values_is_refused_at_load_or_decides_without_an_accident(
    source: str, claims: Any, profile: Any, roles: list[str], caller: str, scopes: list[str], lifetime: int | None
) -> None:
    changes: dict[str, Any] = {"claims": (("x", "=" + source),), "on_missing_profile": "deny"}
    try:
        rules = Policy({"https://api": replace(AUDIENCE, condition=source, **changes)}, "https://me", {"idp": source})
    except ConfigurationError:
        try:
            rules = Policy({"https://api": replace(AUDIENCE, **changes)}, "https://me", {}, {"idp": (("y", source),)})
        except ConfigurationError:
            return
    client, request = Client(caller), ask(scopes=tuple(scopes), lifetime=lifetime)
    verified, person = replace(ASSERTION, claims=claims), Profile("ada", claims=profile, roles=tuple(roles))
    try:
        derived = rules.derive(verified, client, request)
        rules.admit_subject(AUDIENCE, derived, client, request)
        grant = rules.decide(request, client, AUDIENCE, derived, person, now=1.0)
    except TokenmintError:
        return
    json.dumps(dict(grant.claims), allow_nan=False)  # what is granted can be minted


@st.composite
def failing(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression that is an error with every input, under operators that hand an error on."""
    if depth == 0:
        return draw(
            st.sampled_from(
                [
                    "assertion.missing",
                    "assertion['missing']",
                    "dyn(1 / 0)",
                    "dyn([1][7])",
                    "dyn({'a': 1}.b)",
                    "profile.claims.missing.er",
                    "dyn(int('x'))",
                    "dyn(timestamp('never'))",
                    "dyn({'a': 1, 'a': 2})",  # the library raises here, and returns the others
                ]
            )
        )
    inner = draw(failing(depth - 1))
    other = draw(st.sampled_from(["true", "false", "assertion.a", "'x'", "1", inner]))
    return draw(
        st.sampled_from(
            [
                f"({inner} == {other})",
                f"({inner} != {other})",
                f"!dyn({inner})",
                f"dyn({inner} && true)",
                f"dyn({inner} || false)",
                f"(dyn({inner}) ? true : true)",
                f"[{inner}].exists(x, x == {other})",
                f"(string({inner}) == 'x')",
                f"({inner} in [dyn({other})])",
                f"(type({inner}) == type({other}))",
                f"[dyn({inner})].all(x, true)",
            ]
        )
    )


@given(source=failing(), claims=OBJECTS)
def test_an_error_is_never_true_and_neither_is_its_opposite(source: str, claims: Any) -> None:
    known = {
        **KNOWN,
        "assertion": {k: v for k, v in claims.items() if k != "missing"},
        "profile": {"claims": {}, "roles": []},
    }
    for text in (
        f"dyn({source}) == true",
        f"dyn({source}) == false",
        f"!(dyn({source}) == true)",
        f"true && ({source} == true)",
    ):
        try:
            condition = conditions.compile_condition(text)
        except ValueError:
            continue
        assert conditions.holds(condition, known) is False, text
    try:
        value = conditions.compile_claim(source)
    except ValueError:
        return
    assert conditions.compute(value, known) is None


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
    rules.admit_subject(audience, derived, CLIENT, ask())
    grant = rules.decide(ask(), CLIENT, audience, derived, PROFILE, now=1.0)
    assert dict(grant.claims) == {"team": "Turin-team", "email": "a@x"}
    with pytest.raises(ConfigurationError) as error:
        Policy({}, "https://me", {}, {"idp": [("x", "nonsense")]})
    assert error.value.problems[0].startswith("providers.idp.claims.x: ")
    assert "undeclared reference to 'nonsense'" in error.value.problems[0]


@pytest.mark.parametrize("name", ["act", "cnf"])
def test_a_provider_computes_no_claim_that_is_read_before(name: str) -> None:
    """A computed actor would be in the minted token, and neither its end nor its scopes would count."""
    with pytest.raises(ConfigurationError, match=f"providers.idp.claims.{name}: is read before"):
        Policy({}, "https://me", {}, {"idp": [(name, "{'sub': assertion.agent}")]})
    Policy({}, "https://me", {}, {"idp": [("may_act", "{'sub': assertion.agent}"), ("actor", "assertion.agent")]})

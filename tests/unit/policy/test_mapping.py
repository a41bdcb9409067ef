"""Claim mapping: every form, over any claims."""

import copy
import json
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.model.policy import Actor, Client
from tokenmint.model.profile import Profile
from tokenmint.model.tokens import ID_TOKEN, JsonValue, VerifiedToken
from tokenmint.policy import mapping

CLIENT: Final = Client("web")

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
quotable = st.text(min_size=1, max_size=30).filter(lambda name: "'" not in name)
plain = st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True)


def verified(claims: dict[str, Any]) -> VerifiedToken:
    return VerifiedToken(
        provider="idp", issuer="https://idp", subject="1", token_type=ID_TOKEN, claims=MappingProxyType(claims),
        issued_at=0.0, expires_at=300.0, fingerprint="f", replay_id="r", single_use=False,
    )  # fmt: skip


def value(expression: str, claims: dict[str, Any] | None = None, profile: Profile | None = None) -> JsonValue:
    return mapping.evaluate(mapping.parse(expression), verified(claims or {}), profile or Profile("ada"), CLIENT)


@given(quotable, json_values)
def test_any_name_is_reached_in_brackets(name: str, held: JsonValue) -> None:
    assert value(f"assertion['{name}']", {name: held}) == held
    assert value(f"profile.claims['{name}']", profile=Profile("ada", claims={name: held})) == held


@given(st.lists(plain, min_size=1, max_size=5), json_values)
def test_dots_and_brackets_are_the_same_way_down(path: list[str], held: JsonValue) -> None:
    claims: Any = held
    for name in reversed(path):
        claims = {name: claims}
    assert value("assertion" + "".join(f".{name}" for name in path), claims) == held
    assert value("assertion" + "".join(f"['{name}']" for name in path), claims) == held
    assert value("assertion" + "".join(f".{name}" for name in [*path, "x"]), claims) == (
        held.get("x") if isinstance(held, dict) else None
    )


@given(st.text(max_size=40).filter(lambda text: "'" not in text))
def test_any_text_without_quotes_can_be_a_literal(text: str) -> None:
    assert value(f"'{text}'") == text


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.sampled_from(["assertion.a.b", "assertion.a"]))
def test_looking_changes_nothing(claims: dict[str, Any], expression: str) -> None:
    before = copy.deepcopy(claims)
    assert value(expression, claims) == value(expression, claims)
    assert json.dumps(claims) == json.dumps(before)


@pytest.mark.parametrize("held", [0, "", False, [], {}, 0.0])
def test_what_is_empty_is_a_value_too(held: JsonValue) -> None:
    assert value("assertion.x", {"x": held}) == held
    assert value("assertion.x", {"x": held}) is not None


@pytest.mark.parametrize(
    ("expression", "claims"),
    [
        ("assertion.x", {}), ("assertion.x", {"x": None}),
        ("assertion.x.y", {"x": "y"}), ("assertion.x.y", {"x": None}),
        ("assertion.x.0", {"x": ["first"]}),  # lists are taken whole
        ("assertion['x.y']", {"x": {"y": 1}}), ("assertion.x.y", {"x.y": 1}),
    ],
)  # fmt: skip
def test_what_is_not_there_is_no_value(expression: str, claims: dict[str, Any]) -> None:
    assert value(expression, claims) is None


@pytest.mark.parametrize(
    ("expression", "with_token", "by_act"),
    [
        ("actor.principal", "bot", "bot"), ("actor.client", "gateway", None), ("actor.provider", "idp", None),
        ("actor.claims.level", 3, None), ("actor.claims.x", None, None), ("actor.profile.roles", ["agent"], ["agent"]),
        ("actor.profile.claims.team", "a", "a"), ("actor.profile.claims['team'].x", None, None),
    ],
)  # fmt: skip
def test_an_actor_has_a_token_a_profile_both_or_neither(
    expression: str, with_token: JsonValue, by_act: JsonValue
) -> None:
    source, ada, token = mapping.parse(expression), Profile("ada", roles=("admin",)), verified({"level": 9})
    profile = Profile("bot", roles=("agent",), claims={"team": "a"})
    for actor, expected in (
        (Actor("bot", verified({"level": 3}), profile, "gateway"), with_token), (Actor("bot", profile=profile), by_act),
        (Actor(""), None), (None, None),
    ):  # fmt: skip
        assert mapping.evaluate(source, token, ada, CLIENT, actor) == expected


def test_a_profile_without_roles_has_no_roles_claim() -> None:
    assert value("profile.roles") is None
    assert value("profile.roles", profile=Profile("ada", roles=("b", "a"))) == ["b", "a"]


@pytest.mark.parametrize("name", ["provider", "issuer", "subject", "fingerprint", "replay_id", "claims", "__class__"])
def test_only_claims_of_the_token_are_reached_and_not_what_holds_them(name: str) -> None:
    assert value(f"assertion.{name}") is None
    assert value(f"assertion['{name}']", {name: "the claim"}) == "the claim"


@pytest.mark.parametrize(
    "expression",
    ["Assertion.x", " assertion.x", "assertion.x ", "assertion.x\n", "assertion['']", 'assertion["x"]', "assertion[0]",
     "assertion['x'", "assertion.é", "assertion['a'b']", "'it's'", '"text"', "client.id.x", "profile.principal.x",
     "profile.identities", "profile.disabled", "profile.etag", "request.audience", "client.secret_hashes",
     "actor", "actor.", "actor.sub", "actor.principal.x", "actor.claims", "actor.profile", "actor.profile.claims",
     "actor.profile.identities", "actor.profile.roles.x", "actor.chain", "actor.verified.claims.x"],
)  # fmt: skip
def test_near_misses_are_refused(expression: str) -> None:
    with pytest.raises(ValueError) as refused:
        mapping.parse(expression)
    assert str(refused.value) == mapping.FORMS

"""The scopes of a grant: MCP's enterprise-managed authorization, sections 7.2.1 and 7.6.2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tokenmint.base.errors import GrantScopesDenied
from tokenmint.formats.jwt import FORMAT
from tokenmint.model.policy import Audience, Client
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, JWT_GRANT, JsonValue, VerifiedToken
from tokenmint.policy.acting import scopes_of_grant

API = "https://api.example"
ALL, NOTHING = Client("web"), Client("web", scopes={})
READER = Client("web", scopes={API: frozenset({"read"})})


def left(
    kind: str,
    claims: Mapping[str, JsonValue],
    *,
    client: Client = ALL,
    actor: frozenset[str] | None = None,
    ours: frozenset[str] = frozenset({"read", "write"}),
    drops: bool = False,
) -> frozenset[str] | None:
    audience = Audience(
        API, clients=frozenset({"web"}), providers=frozenset({"idp"}), format=FORMAT.traits, scopes=ours,
        drops_foreign_scopes=drops,
    )  # fmt: skip
    verified = VerifiedToken(
        "idp", "https://idp.example", "1", kind, MappingProxyType(dict(claims)), 0, 0, "f", "r", True
    )
    return scopes_of_grant(audience, client, verified, actor)


@pytest.mark.parametrize("kind", [ID_JAG, JWT_GRANT])
def test_section_7_2_1_scopes_are_the_intersection(kind: str) -> None:
    assert left(kind, {"scope": "read foreign"}) == frozenset({"read"})
    assert left(kind, {"scope": "read write"}, client=READER) == frozenset({"read"})
    assert left(kind, {"scope": "read write"}, actor=frozenset({"write", "more"})) == frozenset({"write"})
    assert left(kind, {"scope": ""}) == frozenset()


@pytest.mark.parametrize("kind", [ID_JAG, JWT_GRANT])
@pytest.mark.parametrize("drops", [False, True])
def test_section_7_6_2_scopes_of_which_none_is_left_refuse_the_grant(kind: str, drops: bool) -> None:
    cases: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("foreign ones", "other more", {}),
        ("of another client", "write", {"client": READER}),
        ("that its actor has not", "write", {"actor": frozenset({"read"})}),
        ("where the actor has none", "read", {"actor": frozenset()}),
    )
    for case, scope, limits in cases:
        with pytest.raises(GrantScopesDenied) as refused:
            left(kind, {"scope": scope}, drops=drops, **limits)
        assert scope.split()[0] in refused.value.message, case


@pytest.mark.parametrize("kind", [ID_JAG, JWT_GRANT])
def test_where_no_token_has_scopes_those_of_a_grant_are_refused_or_dropped(kind: str) -> None:
    cases: tuple[dict[str, Any], ...] = ({"ours": frozenset()}, {"client": NOTHING})
    for limits in cases:
        with pytest.raises(GrantScopesDenied):
            left(kind, {"scope": "read"}, **limits)
        assert left(kind, {"scope": "read"}, drops=True, **limits) == frozenset()


def test_without_scopes_an_id_jag_gives_none_and_others_are_not_limited() -> None:
    assert left(ID_JAG, {}) == frozenset()
    assert left(JWT_GRANT, {}) is None
    assert left(ACCESS_TOKEN, {"scope": "other"}, actor=frozenset({"read"})) == frozenset({"read"})

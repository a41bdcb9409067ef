"""The rules for ID-JAGs that need other configurations (draft-ietf-oauth-identity-assertion-authz-grant)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.verification.test_selection import of

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.model.tokens import ID_JAG, ID_TOKEN, JWT_GRANT, JsonValue
from tokenmint.verification.grants import check_grant
from tokenmint.verification.provider import ClaimCheck

ISSUER, NOW = "https://tokens.example", 1_800_000_000
PLAIN = of("work")
CLAIMS: Mapping[str, JsonValue] = {
    "sub": "u",
    "aud": ISSUER,
    "client_id": "web",
    "jti": "j",
    "iat": NOW,
    "exp": NOW + 300,
}
ONE = ClaimCheck(("tenant",), "one_of", frozenset({"acme"}))


def check(configured: Any, **changes: Any) -> None:
    check_grant(configured, {**CLAIMS, **changes}, ISSUER, NOW + 300)


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("where", {"where": {"tenant": "acme"}}),
        ("checks", {"checks": (ONE,)}),
        ("checks of ID-JAGs", {"checks": (replace(ONE, token_types=frozenset({ID_JAG})),)}),
        ("subject_claims", {"subject_claims": (("tenant",), ("sub",))}),
        ("subject_claims_by_type", {"subject_claims_by_type": {ID_JAG: (("tenant",), ("sub",))}}),
    ],
)
def test_section_6_3_a_tenant_counts_where_the_configuration_reads_it(case: str, settings: dict[str, Any]) -> None:
    check(replace(PLAIN, **settings), tenant="acme")
    with pytest.raises(ClaimRejected, match="aud_tenant"):
        check(replace(PLAIN, **settings), tenant="acme", aud_tenant="here")


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("nothing", {}),
        ("another claim", {"where": {"org": "acme"}}),
        ("checks of ID tokens", {"checks": (replace(ONE, token_types=frozenset({ID_TOKEN})),)}),
        ("a deeper claim", {"checks": (replace(ONE, path=("x", "tenant")),)}),
        ("other names of ID-JAGs", {"subject_claims": (("tenant",),), "subject_claims_by_type": {ID_JAG: (("sub",),)}}),
    ],
)
def test_section_6_3_two_tenants_users_with_one_sub_are_never_one(case: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ClaimRejected, match="tenant"):
        check(replace(PLAIN, **settings), tenant="acme")
    check(replace(PLAIN, **settings))


@pytest.mark.parametrize("token_type", [ID_JAG, JWT_GRANT])
def test_a_grant_lives_an_hour_at_most_to_the_second(token_type: str) -> None:
    for issued_at, refused in ((NOW - 3300, False), (NOW - 3301, True), (NOW + 0.5, False), (None, True), ("0", True)):
        claims = {**CLAIMS, "iat": issued_at}
        if refused:
            with pytest.raises(ClaimRejected, match="a grant"):
                check_grant(PLAIN, claims, ISSUER, NOW + 300, token_type)
        else:
            check_grant(PLAIN, claims, ISSUER, NOW + 300, token_type)


@pytest.mark.parametrize("name", ["jti", "client_id"])
def test_an_id_jag_needs_the_claims_that_another_grant_may_leave_out(name: str) -> None:
    missing = {key: value for key, value in CLAIMS.items() if key != name}
    check_grant(PLAIN, missing, ISSUER, NOW + 300, JWT_GRANT)
    with pytest.raises(ClaimRejected, match=name):
        check_grant(PLAIN, missing, ISSUER, NOW + 300, ID_JAG)
    wrong: list[JsonValue] = ["", None, 5, ["x"]]
    for value in wrong:
        for token_type in (ID_JAG, JWT_GRANT):
            with pytest.raises(ClaimRejected, match=name):
                check_grant(PLAIN, {**CLAIMS, name: value}, ISSUER, NOW + 300, token_type)

"""Names of principals: by which claims, of which types, and never one name for two inputs."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.issuer import Issuer
from tests.unit.verification.proving import ME, NOW, prove

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.config.providers import provider_from_table
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.verification.provider import Provider
from tokenmint.verification.subjects import joined, subject

IDP = Issuer()


def of(**table: Any) -> Provider:
    """Any OpenID provider with these settings."""
    common = {"issuer": IDP.url, "audiences": ["app"], "jwks": IDP.jwks().decode(), "untyped_access_tokens": True}
    kinds = {"token_types": ["id_token", "access_token", "jwt"]}
    return provider_from_table("idp", {**common, **kinds, **table}, own_issuer=ME)


async def named(provider: Provider, kind: str = ID_TOKEN, **changes: Any) -> str:
    return (await prove(IDP.token(NOW, **changes), provider, kind=kind)).subject


async def test_sub_is_needed_only_where_it_names_the_principal() -> None:
    by_client = of(subject_claims=["client_id"])
    for sub in (None, "", 7):
        assert await named(by_client, sub=sub, client_id="billing") == "billing"
    for changes in ({"sub": None}, {"sub": ""}):
        with pytest.raises(ClaimRejected, match="sub is not a string of 1 to 255 characters: it is missing"):
            await named(of(), **changes)
    with pytest.raises(ClaimRejected, match=r"client_id, which names the principal, is not a string .*: it is missing"):
        await named(by_client)


@pytest.mark.parametrize("value", [True, False, 1.5, 4.0, [4], {"a": 4}, []])
@pytest.mark.parametrize("mode", ["refuse", "accept", "as_text"])
async def test_what_is_neither_a_text_nor_a_whole_number_is_no_subject(value: Any, mode: str) -> None:
    with pytest.raises(ClaimRejected, match="neither a text nor a whole number"):
        await named(of(numeric_subjects=mode), sub=value)


async def test_whole_numbers_are_subjects_where_the_configuration_says_so() -> None:
    with pytest.raises(ClaimRejected, match="numeric_subjects"):
        await named(of(), sub=4)
    accept, as_text = of(numeric_subjects="accept"), of(numeric_subjects="as_text")
    assert await named(accept, sub=4) == await named(as_text, sub=4) == await named(as_text, sub="4") == "4"
    assert await named(accept, sub=-(2**53) - 1) == str(-(2**53) - 1)
    with pytest.raises(ClaimRejected, match="looks like a number"):
        await named(accept, sub="4")
    assert await named(accept, sub="04") == "04"
    assert await named(of(), sub="4") == "4"
    with pytest.raises(ClaimRejected, match="it is longer"):
        await named(of(numeric_subjects="accept", max_subject=3), sub=1842)


values = st.text(max_size=8) | st.integers() | st.text("/%2F25a", max_size=8) | st.integers().map(str)


@given(st.lists(values, min_size=2, max_size=3), st.lists(values, min_size=2, max_size=3))
def test_two_inputs_never_give_one_subject(one: list[Any], other: list[Any]) -> None:
    assume(len(one) == len(other) and one != other)
    provider = of(numeric_subjects="accept", subject_claims=[f"c{number}" for number in range(len(one))])
    names = []
    for parts in (one, other):
        try:
            names.append(subject(provider, {f"c{number}": part for number, part in enumerate(parts)}, ID_TOKEN))
        except ClaimRejected:
            return
    assert names[0] != names[1]


parts_of = st.lists(st.text("/%2F5a", min_size=1, max_size=6), min_size=2, max_size=3)


@given(parts_of, parts_of)
def test_a_pair_has_one_encoding_and_no_other_pair_has_it(one: list[str], other: list[str]) -> None:
    if len(one) == len(other):
        assert (joined(one) == joined(other)) is (one == other)


def test_pairs_as_they_were_always_written_stay_so() -> None:
    assert joined(["tid", "oid"]) == "tid/oid"
    assert joined(["a%2Fb", "c"]) == "a%2Fb/c"
    assert joined(["a/b", "c%"]) == "a%2Fb//c%25"
    assert joined(["a/b"]) == "a/b"


OKTA = {
    "subject_claims": ["sub"],
    "subject_claims_by_type": {"access_token": ["uid"]},
    "subject_claims_instead": {"access_token": ["cid"]},
}


async def test_the_kind_of_the_token_says_which_claim_names_the_principal() -> None:
    okta = of(**OKTA)
    assert await named(okta, sub="00u1", uid="00u9") == "00u1"
    assert await named(okta, ACCESS_TOKEN, sub="ada@example.com", uid="00u1", cid="0oa1") == "00u1"
    assert await named(okta, ACCESS_TOKEN, sub="0oa2", cid="0oa2") == "0oa2"
    # A token that has the first claim chooses nothing by what it has there.
    for uid in ("", 5, True):
        with pytest.raises(ClaimRejected, match="uid"):
            await named(okta, ACCESS_TOKEN, sub="x", uid=uid, cid="0oa1")
    with pytest.raises(ClaimRejected, match="uid"):
        await named(of(subject_claims_by_type={"access_token": ["uid"]}), ACCESS_TOKEN, sub="x", cid="0oa1")


async def test_iat_is_optional_where_the_configuration_says_so() -> None:
    with pytest.raises(ClaimRejected, match="iat_required"):
        await prove(IDP.token(NOW, iat=None), of())
    assert (await prove(IDP.token(NOW, iat=None), of(iat_required=False))).issued_at is None
    assert (await prove(IDP.token(NOW, iat=None, nbf=int(NOW) - 5), of(iat_required=False))).issued_at == NOW - 5
    assumed = of(iat_required=False, token_lifetime="10m")
    assert (await prove(IDP.token(NOW, iat=None, exp=int(NOW) + 60), assumed)).issued_at == NOW - 540
    assert (await prove(IDP.token(NOW, iat=None, exp=int(NOW) + 60, nbf=int(NOW)), assumed)).issued_at == NOW
    with pytest.raises(ClaimRejected):
        await prove(IDP.token(NOW, iat=None, exp=None, nbf=int(NOW)), assumed)
    for wrong in ("now", True, NOW * 1000):
        with pytest.raises(ClaimRejected, match="iat is not a time"):
            await prove(IDP.token(NOW, iat=wrong), assumed)

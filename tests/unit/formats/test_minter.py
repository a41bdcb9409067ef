"""Minted tokens, verified with somebody else's library."""

import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeEntropy

from tokenmint.base.errors import ClaimsTooLarge, SignerUnavailable
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt import FORMAT, signing_input
from tokenmint.formats.minter import Minter
from tokenmint.keys.signers import local
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.policy import TokenGrant
from tokenmint.model.reserved_claims import RESERVED_CLAIMS
from tokenmint.model.tokens import ACCESS_TOKEN
from tokenmint.verification.jws import decode_segment

KEY = local.generate("ES256")
SIGNER = LocalSigner("kid-1", "ES256", KEY)


def grant(**changes: Any) -> TokenGrant:
    fields: dict[str, Any] = {
        "principal": "ada", "audience": "https://api", "client_id": "web", "scopes": ("a", "b"),
        "token_type": ACCESS_TOKEN, "algorithm": "ES256", "format": FORMAT.traits, "claims": {"email": "a@x"},
        "issued_at": 1_800_000_000, "expires_at": 1_800_000_600, "max_token_bytes": 8192,
    }  # fmt: skip
    return TokenGrant(**(fields | changes))


def minter() -> Minter:
    return Minter(Kit("https://me", lambda _: SIGNER, FakeEntropy()))


async def test_a_library_that_is_not_ours_verifies_it() -> None:
    minted = await minter().mint(grant())
    claims = jwt.decode(
        minted.token.reveal(), KEY.public_key(), algorithms=["ES256"], audience="https://api", issuer="https://me",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )  # fmt: skip
    assert claims == {
        "iss": "https://me", "sub": "ada", "aud": "https://api", "client_id": "web", "scope": "a b", "email": "a@x",
        "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_600, "jti": minted.token_id,
    }  # fmt: skip
    assert jwt.get_unverified_header(minted.token.reveal()) == {"alg": "ES256", "kid": "kid-1", "typ": "at+jwt"}
    assert minted.token.reveal() not in repr(minted)


async def test_a_plan_has_the_claims_and_the_key_of_the_token_that_is_minted() -> None:
    planned, minted = minter().plan(grant()), await minter().mint(grant())
    claims = json.loads(decode_segment(minted.token.reveal_bytes().split(b".")[1], "payload"))
    assert claims.pop("jti")
    assert (planned.claims, planned.key_id) == (claims, minted.key_id)
    plain = replace(FORMAT.traits, name="reference", signed_by_ring=False)
    assert minter().plan(grant(format=plain)).key_id == ""
    assert minter().plan(grant(format=plain)).claims == claims


async def test_every_token_has_an_id_of_its_own_and_no_scope_is_no_claim() -> None:
    one = minter()
    first, second = await one.mint(grant(scopes=())), await one.mint(grant(scopes=()))
    assert first.token_id != second.token_id
    assert len(decode_segment(first.token_id.encode(), "jti")) == 16
    payload = json.loads(decode_segment(first.token.reveal_bytes().split(b".")[1], "payload"))
    assert "scope" not in payload


async def test_the_size_is_bounded_to_the_byte() -> None:
    size = len((await minter().mint(grant())).token)
    assert await minter().mint(grant(max_token_bytes=size))
    for limit in (size - 1, 10):
        with pytest.raises(ClaimsTooLarge):
            await minter().mint(grant(max_token_bytes=limit))


async def test_without_a_signer_nothing_is_minted() -> None:
    def none(_: str) -> LocalSigner:
        raise SignerUnavailable()

    with pytest.raises(SignerUnavailable):
        await Minter(Kit("https://me", none, FakeEntropy())).mint(grant())


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
def test_cve_2024_29892_no_grant_overwrites_a_reserved_claim(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        signing_input(grant(claims={name: "x"}), issuer="i", key_id="k", token_id="t")


@given(
    st.dictionaries(
        st.text().filter(lambda name: name not in RESERVED_CLAIMS and not name.startswith("tm_")),
        st.text() | st.integers() | st.booleans() | st.lists(st.text(), max_size=3),
        max_size=5,
    )
)
def test_claims_arrive_as_they_were(claims: dict[str, Any]) -> None:
    unsigned = signing_input(grant(claims=claims), issuer="i", key_id="k", token_id="t")
    payload = json.loads(decode_segment(unsigned.split(b".")[1], "payload"))
    assert {name: payload[name] for name in claims} == claims
    assert payload["sub"] == "ada"

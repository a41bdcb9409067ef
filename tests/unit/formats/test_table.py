"""The formats that are shipped, and what no format may be."""

from dataclasses import replace

import pytest
from tests.fakes import FakeEntropy
from tests.unit.formats.test_minter import SIGNER, grant

from tokenmint.base.errors import FormatDenied
from tokenmint.config.tables import audience_table
from tokenmint.formats import jwt, reference
from tokenmint.formats.format import Format, Kit, has_one_issuer
from tokenmint.formats.jwt import JwtFormat, signed
from tokenmint.formats.minter import Minter
from tokenmint.formats.table import by_name, header_types, prefixes, shipped, without_table
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant

KIT = Kit("https://me", lambda _: SIGNER, FakeEntropy())


class Undeclared(Format):
    """Signs with the key ring, and does not say so."""

    traits = replace(jwt.FORMAT.traits, name="undeclared", signed_by_ring=False)
    table = reference.ReferenceTable

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        return await signed(grant, kit)


class Unsigned(JwtFormat):
    """Would be taken for ours when it comes back, with keys that may be withdrawn by then."""

    traits = Undeclared.traits
    table = reference.ReferenceTable


async def test_the_ring_signs_for_no_format_that_does_not_declare_it() -> None:
    form = Undeclared()
    with pytest.raises(ValueError, match="does not declare that the key ring signs"):
        await Minter(KIT, by_name(jwt.FORMAT, form)).mint(grant(format=form.traits))


async def test_a_format_that_is_not_there_mints_nothing() -> None:
    minter = Minter(KIT, by_name(jwt.FORMAT))
    for form in (Undeclared.traits, reference.FORMAT.traits):
        with pytest.raises(FormatDenied):
            await minter.mint(grant(format=form))
        with pytest.raises(FormatDenied):
            minter.check(grant(format=form))


def test_formats_that_contradict_each_other_or_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="the same name"):
        by_name(jwt.FORMAT, Undeclared(), Undeclared())
    for formats, words in (
        ((), "exactly one"),
        ((Undeclared(),), "exactly one"),
        ((jwt.FORMAT, JwtFormat()), "same name"),
    ):
        with pytest.raises(ValueError, match=words):
            by_name(*formats)
    with pytest.raises(ValueError, match="the key ring has to sign"):
        by_name(jwt.FORMAT, Unsigned())


def test_a_format_has_no_name_that_is_a_key_of_audiences() -> None:
    with pytest.raises(ValueError, match="audiences have keys of these names"):
        audience_table((("claims", reference.ReferenceTable),))


def test_each_shipped_format_is_a_module_and_jwts_need_no_table() -> None:
    assert without_table(shipped()) is jwt.FORMAT
    assert header_types(shipped()) == {"at+jwt", "JWT", "txntoken+jwt"}
    assert prefixes(shipped()) == ("tmr_",)
    ours = [name for name, form in shipped().items() if form.traits.signed_by_ring]
    assert ours == ["id_jag", "jwt", "jwt_grant", "spiffe", "txn_token"]
    abroad = [name for name, form in shipped().items() if form.traits.grants_elsewhere]
    assert abroad == ["id_jag", "jwt_grant"]
    never_back = [name for name, form in shipped().items() if not form.comes_back]
    assert never_back == ["app_service", "firebase", "id_jag", "jwt_grant", "spiffe"]


@pytest.mark.parametrize(
    ("providers", "reexchange_from", "expected"),
    [
        ({"idp"}, set(), True), ({"idp", "other"}, set(), False), ({"idp"}, {"https://x"}, False),
        (set(), {"https://x"}, False), (set(), {"https://x", "https://y"}, False),
    ],
)  # fmt: skip
def test_claims_are_unique_only_within_one_provider(
    providers: set[str], reexchange_from: set[str], *, expected: bool
) -> None:
    """An issued token may hold the claims of several providers' tokens, for any audience."""
    audience = Audience(
        "https://api", frozenset(), frozenset(providers), jwt.FORMAT.traits, reexchange_from=frozenset(reexchange_from)
    )
    assert has_one_issuer(audience) is expected

"""The claims of ID-JAGs, as a dry run shows them and as they are minted."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from tests.fakes import FakeEntropy
from tests.unit.formats.test_jwt import grant, signer

from tokenmint.base.errors import ConfirmationDenied, FormatDenied
from tokenmint.formats.format import Kit
from tokenmint.formats.id_jag import FORMAT, IdJagOptions
from tokenmint.model.policy import Binding, TokenGrant
from tokenmint.model.tokens import ID_JAG

TRAITS = replace(FORMAT.traits, options=IdJagOptions(MappingProxyType({"web": "client-1"})))
KIT = Kit("https://me", signer, FakeEntropy())


def assertion(**changes: Any) -> TokenGrant:
    return grant(format=TRAITS, token_type=ID_JAG, **changes)


async def test_a_dry_run_shows_the_claims_that_are_minted() -> None:
    given = assertion(binding=Binding(jkt="k"), act={"sub": "bot"}, resources=("https://a", "https://b"))
    minted = jwt.decode((await FORMAT.mint(given, KIT)).token.reveal(), options={"verify_signature": False})
    assert {name: value for name, value in minted.items() if name != "jti"} == FORMAT.claims(given, KIT)
    assert (minted["client_id"], minted["cnf"]) == ("client-1", {"jkt": "k"})
    assert minted["resource"] == ["https://a", "https://b"]


async def test_rfc_8693_section_4_1_each_actor_without_an_issuer_gets_ours() -> None:
    act = {"sub": "1", "act": {"sub": "2", "iss": "https://other", "act": {"sub": "3"}}}
    named = {"iss": "https://me", "sub": "1", "act": {"sub": "2", "iss": "https://other",
                                                      "act": {"iss": "https://me", "sub": "3"}}}  # fmt: skip
    assert FORMAT.claims(assertion(act=act), KIT)["act"] == named


async def test_section_9_8_a_certificate_is_no_key_of_an_id_jag() -> None:
    given = assertion(binding=Binding(x5t_s256="c"))
    with pytest.raises(ConfirmationDenied):
        FORMAT.check(given, KIT)
    with pytest.raises(ConfirmationDenied):
        await FORMAT.mint(given, KIT)


async def test_a_client_without_an_id_at_the_other_server_gets_none() -> None:
    with pytest.raises(FormatDenied):
        FORMAT.check(assertion(client_id="other"), KIT)

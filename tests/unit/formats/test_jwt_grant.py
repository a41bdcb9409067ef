"""The claims of JWT authorization grants, as a dry run shows them and as they are minted."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from tests.fakes import FakeEntropy
from tests.unit.formats.test_jwt import grant, signer

from tokenmint.base.errors import ConfirmationDenied
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt_grant import FORMAT, JwtGrantOptions
from tokenmint.model.policy import Binding, TokenGrant
from tokenmint.model.tokens import JWT

TRAITS = replace(FORMAT.traits, options=JwtGrantOptions(MappingProxyType({"web": "client-1"})))
KIT = Kit("https://me", signer, FakeEntropy())


def authorization(**changes: Any) -> TokenGrant:
    return grant(format=TRAITS, token_type=JWT, **changes)


async def test_a_dry_run_shows_the_claims_that_are_minted() -> None:
    given = authorization(binding=Binding(jkt="k"), act={"sub": "bot"}, ancestors=("a",), resources=("https://a",))
    minted = jwt.decode((await FORMAT.mint(given, KIT)).token.reveal(), options={"verify_signature": False})
    assert {name: value for name, value in minted.items() if name != "jti"} == FORMAT.claims(given, KIT)
    assert (minted["client_id"], minted["cnf"], minted["resource"]) == ("client-1", {"jkt": "k"}, "https://a")
    assert minted["act"] == {"iss": "https://me", "sub": "bot"}
    assert "tm_lineage" not in minted


def test_section_2_3_1_the_other_server_is_no_resource_of_itself() -> None:
    server = "https://as.example/auth"
    for names, kept in (
        ((server,), None), (("HTTPS://AS.example:443/auth", "https://api"), "https://api"),
        (("https://a", server, "https://b"), ["https://a", "https://b"]),
    ):  # fmt: skip
        assert FORMAT.claims(authorization(audience=server, resources=names), KIT).get("resource") == kept


async def test_a_certificate_is_no_key_of_a_grant() -> None:
    given = authorization(binding=Binding(x5t_s256="c"))
    with pytest.raises(ConfirmationDenied):
        FORMAT.check(given, KIT)
    with pytest.raises(ConfirmationDenied):
        await FORMAT.mint(given, KIT)


def test_a_client_without_an_id_at_the_other_server_is_not_named() -> None:
    assert "client_id" not in FORMAT.claims(authorization(client_id="other"), KIT)

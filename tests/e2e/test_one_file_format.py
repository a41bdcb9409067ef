"""A format is one file: this one has a format that the service does not know, and uses it from end to end."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, Literal

import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.rig import AUDIENCE, Rig, Serve, refusal

from tokenmint.base.config_values import Table
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import signed
from tokenmint.formats.table import by_name, shipped
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2 import RotateSigningKeyRequest
from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest

# --- the format


class StampTable(Table):
    ink: Literal["red", "blue"]


class StampFormat(Format):
    traits = FormatTraits(name="stamp", token_types=("urn:x:stamp",), signed_by_ring=True, header_type="stamp+jwt")
    table = StampTable
    header_types = frozenset({"stamp+jwt"})

    def configure(self, table: StampTable, audience: Audience, reading: Reading) -> FormatTraits:
        return replace(self.traits, options=table.ink)

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        return await signed(replace(grant, claims={**grant.claims, "ink": str(grant.format.options)}), kit)


# --- its use

FORMATS: Final = by_name(*shipped().values(), StampFormat())
STAMPED: Final = "https://stamped.example"
DAY: Final = 86400
EXTRA: Final = f"""
[audiences."{STAMPED}"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
max_lifetime = "24h"
[audiences."{STAMPED}".stamp]
ink = "red"
"""


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    async with serve(EXTRA, transport=transport, formats=FORMATS) as service:
        yield service


async def minted(rig: Rig, **fields: Any) -> pb.ExchangeTokenResponse:
    token = rig.issuer.token(rig.clock.now())
    request = pb.ExchangeTokenRequest(subject_token=token, audience=STAMPED, **fields)
    return await rig.exchange.ExchangeToken(request, **rig.auth("web"))


async def introspected(rig: Rig, token: str) -> pb.IntrospectTokenResponse:
    return await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))


async def published(rig: Rig) -> str:
    return (await rig.key_set.GetKeySet(GetKeySetRequest())).jwks_json


async def test_it_is_configured_minted_and_introspected(rig: Rig) -> None:
    answer = await minted(rig)
    assert answer.issued_token_type == "urn:x:stamp"
    header = jwt.get_unverified_header(answer.token)
    keys = jwt.PyJWKSet.from_json(await published(rig))
    key = next(key for key in keys.keys if key.key_id == header["kid"])
    claims = jwt.decode(answer.token, key.key, ["ES256"], audience=STAMPED, options={"verify_exp": False,
                        "verify_iat": False, "verify_nbf": False})  # fmt: skip
    assert (header["typ"], claims["ink"], claims["iss"]) == ("stamp+jwt", "red", "https://tokens.example")
    told = await introspected(rig, answer.token)
    assert told.active
    assert told.claims["ink"] == "red"


async def test_its_keys_stay_published_for_as_long_as_its_tokens_live(rig: Rig) -> None:
    answer = await minted(rig, lifetime=Duration(seconds=DAY))
    key_id = jwt.get_unverified_header(answer.token)["kid"]
    rotate = RotateSigningKeyRequest(algorithm="ES256", force=True)
    await rig.keys.RotateSigningKey(rotate, **rig.auth("root"))
    began = rig.clock.now()
    for later, alive in ((3600, True), (DAY - 1, True), (DAY, False)):
        await rig.set_time(began + later)
        await rig.parts.signing.rotator.tick()
        assert key_id in await published(rig)
        assert (await introspected(rig, answer.token)).active is alive
    await rig.set_time(began + DAY + 3600)
    await rig.parts.signing.rotator.tick()
    assert key_id not in await published(rig)


async def test_what_it_does_not_declare_it_does_not_carry(rig: Rig) -> None:
    asked = pb.ExchangeTokenRequest(
        subject_token=rig.issuer.token(rig.clock.now()), audience=STAMPED, dpop_jkt="A" * 43
    )
    assert (await refusal(rig.exchange.ExchangeToken(asked, **rig.auth("web")))).reason == "CONFIRMATION_DENIED"
    asked = pb.ExchangeTokenRequest(
        subject_token=rig.issuer.token(rig.clock.now()), audience=STAMPED, requested_token_type="urn:other"
    )
    assert (await refusal(rig.exchange.ExchangeToken(asked, **rig.auth("web")))).reason == "FORMAT_DENIED"


@pytest.mark.parametrize(
    ("was", "now", "problem"),
    [
        ('ink = "red"', 'ink = "green"', "stamp.ink: "),
        ('ink = "red"', "", "stamp.ink: is required"),
        ('max_lifetime = "24h"', 'reuse_window = "5s"', "[stamp] mints others"),
        ('max_lifetime = "24h"', 'token_type = "JWT"', "token_type: tokens of the kind stamp have none"),
        ('max_lifetime = "24h"', 'scopes = ["read"]', "scopes: tokens of the kind stamp have none"),
        ('ink = "red"', f'ink = "red"\n[audiences."{STAMPED}".reference]', "an audience has one kind of token"),
        (".stamp]", ".seal]", "there is no such key"),
    ],
)
async def test_its_table_is_judged_with_all_others(rig: Rig, was: str, now: str, problem: str) -> None:
    text = rig.config.read_text()
    head, _, tail = text.partition(f'[audiences."{STAMPED}"]')
    rig.config.write_text(f'{head}[audiences."{STAMPED}"]{tail.replace(was, now)}')
    with pytest.raises(ConfigurationError) as refused:
        rig.settings()
    assert any(problem in line for line in refused.value.problems), refused.value.problems


async def test_a_service_without_it_knows_neither_its_table_nor_its_lifetimes(rig: Rig) -> None:
    with pytest.raises(ConfigurationError, match=r"stamp: there is no such key"):
        load(rig.config, {})
    assert rig.base.settings.schedule.max_lifetime == DAY
    assert {audience.format.name for audience in rig.base.settings.audiences.values()} == {"jwt", "stamp"}
    assert AUDIENCE in rig.base.settings.audiences

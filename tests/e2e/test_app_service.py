"""App Service and Azure Functions: our metadata as Microsoft.IdentityModel reads it, and `x-zumo-auth` tokens.

What is read follows OpenIdConnectConfigurationRetriever, OpenIdConnectConfigurationValidator and
JsonWebKeySet.GetSigningKeys; docs/architecture.md has it as a list.
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from tests import plain_http
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.v1 import token_exchange_service_pb2 as pb

in_one_loop = pytest.mark.asyncio(loop_scope="module")
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ZUMO = "urn:tokenmint:token-type:app-service"
SITE = "https://site.azurewebsites.example/"
KEY = bytes(range(200, 240))
SITES = {  # App Service's own signing key is hex; others may have theirs in another spelling
    SITE: ("hex", KEY.hex().upper()),
    "https://two.example": ("base64", base64.b64encode(KEY).decode()),
    "https://three.example": ("utf-8", "a key of words, of thirty-two bytes and more"),
}
TABLE = """
[audiences."{site}"]
clients = ["web"]
providers = ["idp"]
max_lifetime = "2h"
claims = {{ email = "assertion.email", roles = "profile.roles" }}
[audiences."{site}".app_service]
key_file = "{file}"
key_encoding = "{encoding}"
"""
NO_TIMES: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}


def tables(directory: Path) -> str:
    text = ""
    for number, (site, (encoding, key)) in enumerate(SITES.items()):
        (directory / f"key{number}").write_text(key + "\n")
        text += TABLE.format(site=site, file=f"key{number}", encoding=encoding)
    return text


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(tables(serve.directory), transport=transport) as service:
            await service.create(person("ada", "1842", "clerk"))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def mint(rig: Rig, audience: str, **fields: Any) -> Any:
    token = rig.issuer.token(rig.clock.now(), email="ada@example.com")
    request = pb.ExchangeTokenRequest(subject_token=token, audience=audience, **fields)
    return await rig.exchange.ExchangeToken(request, **rig.auth("web"))


# --- metadata -----------------------------------------------------------------------------------------------------


def signing_keys(document: dict[str, Any], key_set: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The keys that Microsoft.IdentityModel verifies with, by kid; what it would stop at is an error."""
    for name, value in document.items():  # a text where it expects a list, or the other way round, is one
        listed = name.endswith(("_supported", "_locations"))
        assert isinstance(value, list if listed else str), name
    assert document["issuer"]
    assert urlsplit(document["jwks_uri"]).scheme == "https"  # RequireHttpsMetadata
    found = {}
    for key in key_set["keys"]:
        assert key.get("use") in (None, "", "sig")
        needed = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}.get(key["kty"])
        if needed is None:
            continue  # OKP (EdDSA) is passed over
        assert all(isinstance(key[name], str) and key[name] for name in (*needed, "kid"))
        assert key.get("crv") in (None, "P-256", "P-384", "P-521")
        assert "x5c" not in key  # would be read before n and e
        found[key["kid"]] = key
    assert found  # IDX21817, IDX21818: there has to be one at least
    return found


async def read(rig: Rig) -> dict[str, dict[str, str]]:
    async with plain_http.client(timeout=20, follow_redirects=False) as http:
        answers = [
            await http.get(rig.url("http", f"/.well-known/{name}")) for name in ("openid-configuration", "jwks.json")
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    document, key_set = (answer.json() for answer in answers)
    # The address is the issuer with the path that JwtBearer's `Authority` puts behind it; the issuer is compared as is.
    assert document["issuer"] == rig.base.issuer == "https://tokens.example"
    assert document["jwks_uri"] == "https://tokens.example/.well-known/jwks.json"
    return signing_keys(document, key_set)


@pytest.mark.alone
@pytest.mark.rsa
@pytest.mark.parametrize(("audience", "algorithm"), [(AUDIENCE, "ES256"), (LEGACY_AUDIENCE, "RS256")])
@in_one_loop
async def test_identitymodel_finds_what_it_verifies_our_tokens_with(rig: Rig, audience: str, algorithm: str) -> None:
    keys = await read(rig)
    token = (await mint(rig, audience)).token
    header = jwt.get_unverified_header(token)
    assert (header["alg"], isinstance(header["kid"], str)) == (algorithm, True)
    key = jwt.PyJWK(keys[header["kid"]])  # found by kid, among all
    claims = jwt.decode(
        token, key, algorithms=[algorithm], audience=audience, issuer="https://tokens.example", options=NO_TIMES
    )
    # JwtBearer's defaults: a lifetime with an end, an audience, an issuer of the metadata, a key of the metadata.
    assert {"exp", "nbf", "aud", "iss"} <= claims.keys()
    assert all(isinstance(claims[name], int) for name in ("exp", "nbf", "iat"))


def test_the_list_in_the_docs_is_the_one_that_is_checked() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text()
    section = text.partition("## What Microsoft.IdentityModel reads")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
    assert named == {"issuer", "jwks_uri", "keys", "kty", "kid", "use", "n", "crv"}


# --- x-zumo-auth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", SITES)
@in_one_loop
async def test_an_x_zumo_auth_token_is_the_sites_own(rig: Rig, site: str) -> None:
    encoding, spelt = SITES[site]
    key = KEY if encoding != "utf-8" else spelt.encode()
    answer = await mint(rig, site)
    assert jwt.get_unverified_header(answer.token) == {"alg": "HS256", "typ": "JWT"}  # no kid: there is one key
    claims = jwt.decode(answer.token, key, algorithms=["HS256"], audience=site, issuer=site, options=NO_TIMES)
    now = int(rig.clock.now())
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": site, "aud": site, "sub": "ada", "ver": "3", "iat": now, "nbf": now, "exp": now + 600,
        "email": "ada@example.com", "roles": ["clerk"],
    }  # fmt: skip
    assert (answer.issued_token_type, answer.token_type, answer.key_id) == (ZUMO, "N_A", "")
    for other, (_, text) in SITES.items():
        if other != site:
            foreign = text.encode() if "key" in text else KEY[::-1]
            with pytest.raises(jwt.InvalidSignatureError):
                jwt.decode(answer.token, foreign, algorithms=["HS256"], audience=site, options=NO_TIMES)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lifetime": Duration(seconds=7201)}, "LIFETIME_DENIED"),
        ({"scopes": ["read"]}, "SCOPE_DENIED"),
        ({"requested_token_type": ACCESS}, "FORMAT_DENIED"),
        ({"dpop_jkt": "A" * 43}, "CONFIRMATION_DENIED"),
        ({"actor_token": "x.y.z", "actor_token_type": ACCESS}, "ACTOR_DENIED"),
    ],
)
@in_one_loop
async def test_what_an_x_zumo_auth_token_can_not_say_is_not_asked_of_it(rig: Rig, fields: Any, reason: str) -> None:
    told = await refusal(mint(rig, SITE, **fields))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)


@in_one_loop
async def test_the_end_of_an_x_zumo_auth_token_is_capped(rig: Rig) -> None:
    longest = await mint(rig, SITE, lifetime=Duration(seconds=7200), requested_token_type=ZUMO)
    assert longest.expire_time.seconds - int(rig.clock.now()) == 7200


@pytest.mark.alone
@pytest.mark.rsa
@in_one_loop
async def test_the_sites_key_is_in_no_document_and_its_tokens_are_none_of_ours(rig: Rig) -> None:
    token = (await mint(rig, SITE)).token
    async with plain_http.client(timeout=20) as http:
        published = (await http.get(rig.url("http", "/.well-known/jwks.json"))).text
    spellings = {KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode()}
    assert not any(spelling[:24] in published for spelling in spellings)
    assert {key["kty"] for key in json.loads(published)["keys"]} == {"EC", "RSA"}
    inspected = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
    assert not inspected.active
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **rig.auth("web"))  # none of ours: no error
    for kind in (ACCESS, "urn:ietf:params:oauth:token-type:id_token"):
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=AUDIENCE)
        assert (await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))).reason == "UNKNOWN_ISSUER"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('key_encoding = "hex"', ""), "key_encoding: is required"),
        (('key_encoding = "hex"', 'key_encoding = "guess"'), "key_encoding"),
        (('key_encoding = "hex"', 'key_encoding = "base64"'), None),  # capitals in hex are base64 too: so it is asked
        (('key_file = "key0"', 'key_file = "key2"'), "is not hex"),
        (('key_file = "key0"', 'key_file = "short"'), "has 31 bytes as hex, and HS256 takes 32"),
        ((f'"{SITE}"', '"http://site.example"'), "begins with https://"),
        (('email = "assertion.email"', 'ver = "assertion.email"'), "is a claim that App Service sets"),
        (('email = "assertion.email"', 'sub = "assertion.email"'), "is a reserved claim name"),
        (('max_lifetime = "2h"', 'bound = "dpop"'), "tokens of the kind app_service have none"),
        (('max_lifetime = "2h"', 'algorithm = "ES256"'), "tokens of the kind app_service have none"),
        (('max_lifetime = "2h"', 'scopes = ["read"]'), "tokens of the kind app_service have none"),
    ],
)
def test_what_can_not_be_an_app_services_audience(tmp_path: Path, change: tuple[str, str], told: str | None) -> None:
    (tmp_path / "short").write_text("ab" * 31)
    text = tables(tmp_path).partition('[audiences."https://two.example"]')[0].replace(*change)
    config = tmp_path / "tokenmint.toml"
    config.write_text(
        'issuer = "https://t.example"\n[providers.idp]\nissuer = "https://i.example"\naudiences = ["a"]\n'
        '[clients.web]\nsecrets = ["sha256:' + "0" * 64 + '"]\n' + text
    )
    if told is None:
        load(config, {})
        return
    with pytest.raises(ConfigurationError) as error:
        load(config, {})
    assert any(told in problem for problem in error.value.problems), error.value.problems


@pytest.mark.alone
@in_one_loop
async def test_a_renewed_site_key_signs_the_next_token_and_a_broken_one_none(
    rig: Rig, tmp_path: Path, clock: FakeClock
) -> None:
    """The site has a new key, and the old one is of no use from then on: no restart, and no reload."""
    new = bytes(range(100, 140))

    async def signed_by(key: bytes) -> bool:
        token = (await mint(rig, SITE)).token
        try:
            jwt.decode(token, key, algorithms=["HS256"], audience=SITE, options=NO_TIMES)
        except jwt.InvalidSignatureError:
            return False
        return True

    async def until(problem: str, generation: int) -> None:
        def so() -> bool:
            told = rig.base.readiness.details().get("files", "")
            return problem in told and rig.parts.rules.files[0].generation == generation

        await rig.until(so)

    assert await signed_by(KEY)
    for broken in ("", "00", "no hex"):
        (tmp_path / "key0").write_text(broken)
        await rig.let_pass(1)
        await until("app_service.key_file", 0)
        assert await signed_by(KEY)
    (tmp_path / "key0").write_text(new.hex())
    await until("", 1)
    assert await signed_by(new)
    assert not await signed_by(KEY)
    await rig.app.reload(await asyncio.to_thread(rig.settings))
    assert await signed_by(new)

"""Which provider's rules a token is judged by, where several share an issuer; and audiences of tokens without `aud`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import Issuer, rsa_key
from tests.unit.verification.proving import ME, NOW, prove

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.token_errors import (
    BadSignature,
    ClaimRejected,
    UnknownIssuer,
    UnsupportedTokenType,
    WrongAudience,
)
from tokenmint.config.load import load
from tokenmint.config.providers import provider_from_table
from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_TOKEN, JWT, JWT_GRANT
from tokenmint.verification.provider import Provider
from tokenmint.verification.selection import disjoint

ONE, TWO = Issuer(), Issuer(key=rsa_key(1))


def of(name: str, signer: Issuer = ONE, **table: Any) -> Provider:
    """A provider of one issuer, with the keys of ``signer``."""
    common: dict[str, Any] = {"issuer": ONE.url, "audiences": ["app"], "jwks": signer.jwks().decode()}
    return provider_from_table(name, {**common, **table}, own_issuer=ME)


async def test_two_providers_of_one_issuer_are_told_apart_by_an_exact_claim() -> None:
    both = of("signin", where={"tfp": "B2C_1_signin"}), of("custom", TWO, where={"tfp": "B2C_1A_custom"})
    assert (await prove(ONE.token(NOW, tfp="B2C_1_signin"), *both)).provider == "signin"
    assert (await prove(TWO.token(NOW, tfp="B2C_1A_custom"), *both)).provider == "custom"
    for signed_by, policy in ((ONE, "B2C_1A_custom"), (TWO, "B2C_1_signin")):  # one's key proves not the other's token
        with pytest.raises(Exception, match="signature"):
            await prove(signed_by.token(NOW, tfp=policy), *both)
    for other in (None, "b2c_1_signin", ["B2C_1_signin"], "other"):
        with pytest.raises(ClaimRejected, match="tfp"):
            await prove(ONE.token(NOW, tfp=other), *both)
    with pytest.raises(ClaimRejected, match="tfp"):
        await prove(ONE.token(NOW), both[0])


async def test_two_providers_of_one_issuer_are_told_apart_by_audience() -> None:
    both = of("web", audiences=["web"], checks=[{"claim": "hd", "kind": "present"}]), of("app", audiences=["app", "b"])
    assert (await prove(ONE.token(NOW, aud="app"), *both)).provider == "app"
    assert (await prove(ONE.token(NOW, aud="web", hd="x"), *both)).provider == "web"
    with pytest.raises(ClaimRejected, match="hd"):
        await prove(ONE.token(NOW, aud="web"), *both)
    with pytest.raises(WrongAudience, match="several providers"):
        await prove(ONE.token(NOW, aud=["app", "web"], azp="app"), *both)
    for audience in ("other", None, [], ["other", 7], 7, ""):
        with pytest.raises(WrongAudience):
            await prove(ONE.token(NOW, aud=audience), *both)


GRANTS: dict[str, Any] = {"token_types": ["id_token", "id_jag"]}


def grant(**changes: Any) -> str:
    return ONE.token(NOW, {"typ": "oauth-id-jag+jwt"}, aud=ME, client_id="web", jti="j", **changes)


async def test_section_4_4_1_an_id_jag_belongs_to_the_one_provider_of_its_issuer_that_accepts_id_jags() -> None:
    """Its audience is always our issuer, which is no audience of a provider."""
    web, app = of("web", audiences=["web"], **GRANTS), of("app", TWO, audiences=["app"])
    for both in ((web, app), (app, web)):
        assert (await prove(grant(), *both, kind=ID_JAG)).provider == "web"
    with pytest.raises(WrongAudience):  # no other token is chosen by its kind
        await prove(ONE.token(NOW, aud=ME), web, app)
    with pytest.raises(UnsupportedTokenType):
        await prove(grant(), of("web", audiences=["web"]), app, kind=ID_JAG)
    with pytest.raises(UnsupportedTokenType):
        await prove(grant(), web, app)
    tenants = [of(name, audiences=["web"], where={"tenant": name}, **GRANTS) for name in "ab"]
    assert (await prove(grant(tenant="b"), *tenants, kind=ID_JAG)).provider == "b"
    for_us = of("us", audiences=[ME], **GRANTS)
    assert (await prove(grant(), web, for_us, kind=ID_JAG)).provider == "us"
    with pytest.raises(WrongAudience, match="several providers of this issuer accept its ID-JAGs"):
        await prove(grant(), web, of("other", **GRANTS), kind=ID_JAG)


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("", "", False),
        ('\nwhere = { tenant = "a" }', '\nwhere = { tenant = "b" }', True),
        ("", '\ntoken_types = ["id_token"]', True),
    ],
)
def test_the_configuration_refuses_providers_whose_id_jags_nothing_tells_apart(
    tmp_path: Path, first: str, second: str, apart: bool
) -> None:
    kinds = '\ntoken_types = ["id_token", "id_jag"]'
    tables = [
        f'audiences = ["{name}"]{"" if "token_types" in rest else kinds}{rest}'
        for name, rest in (("x", first), ("y", second))
    ]
    path = tmp_path / "tokenmint.toml"
    path.write_text(f'[oauth]\nenabled = true\ndrafts = ["{IDENTITY_ASSERTION}"]\n' + configuration(*tables))
    if apart:
        assert set(load(path, {}).providers) == {"a", "b"}
        return
    with pytest.raises(ConfigurationError, match=r"providers\.b\.token_types: has the grants of providers\.a"):
        load(path, {})


async def test_another_grant_belongs_to_the_one_provider_of_its_issuer_that_accepts_grants() -> None:
    """Nothing but its audience, which is our issuer alone, tells it from the issuer's other tokens."""
    granting, app = of("b", audiences=["x"], token_types=["jwt_grant"]), of("app", TWO, audiences=["app"])
    token = ONE.token(NOW, aud=ME, jti="j")
    for both in ((granting, app), (app, granting)):
        assert (await prove(token, *both, kind=JWT_GRANT)).provider == "b"
        assert (await prove(ONE.token(NOW, aud=[ME], jti="j"), *both, kind=JWT_GRANT)).provider == "b"
        for audience in (["app", ME], "app"):  # app's, and app takes no grants
            with pytest.raises((UnsupportedTokenType, WrongAudience, BadSignature)):
                await prove(ONE.token(NOW, aud=audience), *both, kind=JWT_GRANT)
    with pytest.raises(UnsupportedTokenType):
        await prove(token, granting, app)
    with pytest.raises(WrongAudience):
        await prove(token, granting, of("c", audiences=["y"], token_types=["jwt_grant"]), kind=JWT_GRANT)


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ('["jwt_grant"]', '["id_token"]', ""),
        ('["jwt_grant"]', '["jwt_grant"]', "providers.b.token_types: has the grants of providers.a"),
        ('["jwt_grant"]', '["id_token"]|ME', "providers.b.token_types: has the grants of providers.a"),
        ('["jwt_grant"]|ME', '["id_token"]', "providers.b.token_types: has the grants of providers.a"),
        ('["jwt_grant", "jwt"]', '["id_token"]', ""),
        ('["jwt_grant", "jwt"]|ME', "", "providers.a.token_types: has jwt_grant and other kinds"),
        ('["jwt_grant", "id_jag"]|ME', "", ""),
    ],
)
def test_the_configuration_refuses_grants_that_nothing_tells_from_other_tokens(
    tmp_path: Path, first: str, second: str, problem: str
) -> None:
    tables = []
    for name, settings in (("x", first), ("y", second)):
        kinds, _, ours = settings.partition("|")
        if kinds:
            audiences = f'["{name}", "{ME}"]' if ours else f'["{name}"]'
            tables.append(f"audiences = {audiences}\ntoken_types = {kinds}")
    path = tmp_path / "tokenmint.toml"
    drafts = json.dumps([IDENTITY_ASSERTION, IDENTITY_CHAINING])
    path.write_text(f'issuer = "{ME}"\n[oauth]\nenabled = true\ndrafts = {drafts}\n' + configuration(*tables))
    if not problem:
        load(path, {})
        return
    with pytest.raises(ConfigurationError) as refused:
        load(path, {})
    assert problem in refused.value.message


def configuration(*tables: str) -> str:
    head = '[audiences."https://api.example"]\nclients = ["web"]\nproviders = ["a"]\n[clients.web]\npublic = true\n'
    keys = f"jwks = '{ONE.jwks().decode()}'\nissuer = 'https://idp.example'\n"
    return head + "".join(f"[providers.{name}]\n{keys}{rest}\n" for name, rest in zip("abc", tables, strict=False))


@pytest.mark.parametrize(
    ("tables", "apart"),
    [
        (('audiences = ["x"]', 'audiences = ["y"]'), True),
        (('audiences = ["x"]', 'audiences = ["x"]'), False),
        (('audiences = ["x", "z"]', 'audiences = ["y", "z"]'), False),
        (('audiences = ["x"]\nwhere = { tfp = "a" }', 'audiences = ["x"]\nwhere = { tfp = "b" }'), True),
        (('audiences = ["x"]\nwhere = { tfp = "a" }', 'audiences = ["x"]\nwhere = { acr = "b" }'), False),
        (('audiences = ["x"]\nwhere = { tfp = "a" }', 'audiences = ["x"]'), False),
        (('audiences = ["x"]', 'audiences = ["y"]', 'audiences = ["y"]'), False),
    ],
)
def test_the_configuration_refuses_providers_whose_tokens_nothing_tells_apart(
    tmp_path: Any, tables: tuple[str, ...], apart: bool
) -> None:
    path = tmp_path / "tokenmint.toml"
    path.write_text(configuration(*tables))
    if apart:
        assert set(load(path, {}).providers) == set("abc"[: len(tables)])
        return
    with pytest.raises(ConfigurationError, match="nothing distinguishes their tokens"):
        load(path, {})


texts = st.sampled_from(["a", "b"])
tables = st.fixed_dictionaries(
    {"audiences": st.lists(texts, min_size=1, unique=True)},
    optional={"where": st.dictionaries(st.sampled_from(["p", "q"]), texts)},
)


@given(tables, tables, st.lists(texts, max_size=2), st.dictionaries(st.sampled_from(["p", "q"]), texts))
def test_a_token_that_is_for_one_of_two_disjoint_providers_is_not_for_the_other(
    one: Any, other: Any, audiences: list[str], claims: dict[str, str]
) -> None:
    first, second = of("one", **one), of("two", **other)
    assert disjoint(first, second) is disjoint(second, first)
    fit = [
        all(claims.get(name) == value for name, value in provider.where.items())
        and provider.audiences == set(audiences)
        for provider in (first, second)
    ]
    assert not (disjoint(first, second) and all(fit))


async def test_a_provider_with_several_issuers_is_one_provider() -> None:
    issuers = [ONE.url, "http://adfs.example/adfs/services/trust"]
    adfs = of("adfs", issuer=issuers)
    for issuer in issuers:
        verified = await prove(ONE.token(NOW, iss=issuer), adfs)
        assert (verified.provider, verified.issuer, verified.subject) == ("adfs", issuer, "1842")
    for other in (f"{ONE.url}/", "https://adfs.example/adfs/services/trust"):
        with pytest.raises(UnknownIssuer):
            await prove(ONE.token(NOW, iss=other), adfs)
    for wrong in (list[str](), ["https://a.example", "https://*.example"], ["https://a.example", ME], [""]):
        with pytest.raises(ConfigurationError, match="issuer"):
            of("adfs", issuer=wrong)


async def test_claims_stand_for_an_audience_that_is_missing_where_the_configuration_says_so() -> None:
    cognito = of("cognito", audience_claims=["client_id", "azp"])
    nothing: list[Any] = [None, []]
    for missing in nothing:
        with pytest.raises(WrongAudience):
            await prove(ONE.token(NOW, aud=missing, client_id="app"), of("idp"))
        assert await prove(ONE.token(NOW, aud=missing, client_id="app"), cognito)
        assert await prove(ONE.token(NOW, aud=missing, azp="app"), cognito)
        for claims in ({}, {"client_id": "other"}, {"client_id": "other", "azp": "app"}, {"client_id": ["app"]}):
            with pytest.raises(WrongAudience):
                await prove(ONE.token(NOW, aud=missing, **claims), cognito)
    for audience in ("other", ["other"], [""], "", 7):  # a token with an aud is judged by it
        with pytest.raises(WrongAudience):
            await prove(ONE.token(NOW, aud=audience, client_id="app"), cognito)


async def test_oidc_core_errata_set_2_azp_is_asked_for_in_id_tokens_alone() -> None:
    idp = of("idp", token_types=["id_token", "access_token", "jwt"], untyped_access_tokens=True)
    several = ONE.token(NOW, aud=["app", "https://idp.example/userinfo"], azp="spa")
    assert await prove(several, idp, kind=ACCESS_TOKEN)
    with pytest.raises(WrongAudience, match="check_authorized_party"):
        await prove(several, idp)
    with pytest.raises(WrongAudience, match="check_authorized_party"):
        await prove(several, idp, kind=JWT)
    named = of("idp", token_types=["access_token"], untyped_access_tokens=True, authorized_parties=["mobile"])
    with pytest.raises(WrongAudience):  # parties that the configuration names count for every kind
        await prove(several, named, kind=ACCESS_TOKEN)


@pytest.mark.parametrize(
    ("kind", "parties", "accepted"),
    [
        (ACCESS_TOKEN, {"client_id": "mobile"}, True),
        (ACCESS_TOKEN, {"azp": "mobile", "client_id": "spa"}, True),
        (ACCESS_TOKEN, {"azp": "spa", "client_id": "mobile"}, False),
        (ACCESS_TOKEN, {"azp": "", "client_id": "mobile"}, False),
        (ACCESS_TOKEN, {"azp": ["mobile"], "client_id": "mobile"}, False),
        (ACCESS_TOKEN, {"client_id": "spa"}, False),
        (ACCESS_TOKEN, {"client_id": ["mobile"]}, False),
        (ID_TOKEN, {"client_id": "mobile"}, False),
    ],
)
async def test_rfc_9068_section_2_2_client_id_names_the_party_of_an_access_token_without_azp(
    kind: str, parties: dict[str, Any], accepted: bool
) -> None:
    table: dict[str, Any] = {"token_types": ["id_token", "access_token"], "untyped_access_tokens": True}
    named = of("idp", **table, authorized_parties=["mobile"])
    token = ONE.token(NOW, aud=["app", "other"], **parties)
    if accepted:
        assert await prove(token, named, kind=kind)
    else:
        with pytest.raises(WrongAudience, match="authorized_parties"):
            await prove(token, named, kind=kind)


def svid(**table: Any) -> Provider:
    common = {"use": "spiffe", "trust_domain": "prod.example", "audiences": ["mint"], "jwks": ONE.jwks().decode()}
    return provider_from_table("mesh", {**common, **table}, own_issuer=ME)


async def test_spiffe_an_issuer_says_nothing_of_the_trust_domain() -> None:
    claims: dict[str, Any] = {"sub": "spiffe://prod.example/web", "aud": ["mint"]}
    for issuer in (None, "https://oidc.prod.example", ""):
        assert (await prove(ONE.token(NOW, iss=issuer, **claims), svid())).provider == "mesh"
    with pytest.raises(UnknownIssuer):
        await prove(ONE.token(NOW, iss=ME, **claims), svid())
    with pytest.raises(UnknownIssuer):
        await prove(ONE.token(NOW, iss="https://x.example", **claims | {"sub": "spiffe://other.example/web"}), svid())
    with pytest.raises(WrongAudience):  # an issuer of another provider leads there
        await prove(ONE.token(NOW, **claims), svid(), of("idp"))

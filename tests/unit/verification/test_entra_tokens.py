"""Entra ID: issuers of both versions, tenants and their keys, who a token is about, applications without a user."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.issuer import Issuer, jwk, rsa_key
from tests.unit.verification.proving import IDP, NOW, prove, shipped

from tokenmint.base.token_errors import (
    BadSignature,
    ClaimRejected,
    TokenRejected,
    UnknownIssuer,
    UnknownKey,
    UnsupportedTokenType,
    WrongAudience,
)
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
SECOND = "aaaaaaaa-86f1-41af-91ab-2d7cd011db47"
STRANGER = "bbbbbbbb-86f1-41af-91ab-2d7cd011db47"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"  # Microsoft accounts
OID = "11111111-2222-3333-4444-555555555555"
APP = "99999999-2222-3333-4444-555555555555"
OTHER_APP = "88888888-2222-3333-4444-555555555555"


def v2(tenant: str = TENANT, **changes: Any) -> dict[str, Any]:
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    return {"iss": issuer, "tid": tenant, "ver": "2.0", "oid": OID, **changes}


def v1(tenant: str = TENANT, **changes: Any) -> dict[str, Any]:
    return {"iss": f"https://sts.windows.net/{tenant}/", "tid": tenant, "ver": "1.0", "oid": OID, **changes}


def entra(*tenants: str, jwks: Callable[[], bytes] = IDP.jwks, **table: Any) -> Any:
    return shipped("entra", jwks, tenants=list(tenants or (TENANT,)), **{"audiences": ["app"], **table})


ONE, TWO = entra(), entra(TENANT, SECOND)
API: dict[str, Any] = {"token_types": ["access_token"]}
BASE = "https://login.microsoftonline.com"


@pytest.mark.parametrize(
    ("case", "entry", "claims", "refusal", "words"),
    [
        ("single tenant, version 2", ONE, v2(), None, ""),
        ("single tenant, version 1", ONE, v1(), None, ""),
        ("multi-tenant, the second", TWO, v2(SECOND), None, ""),
        ("multi-tenant, the second, version 1", TWO, v1(SECOND), None, ""),
        ("not on the list", TWO, v2(STRANGER), UnknownIssuer, "Entra ID token, of a tenant that is not configured"),
        ("not on the list, version 1", TWO, v1(STRANGER), UnknownIssuer, "of a tenant that is not configured"),
        ("personal accounts are a tenant like any other", ONE, v2(PERSONAL), UnknownIssuer, "tenant"),
        ("... and may be listed", entra(PERSONAL), v2(PERSONAL), None, ""),
        ("the template itself", ONE, v2(iss=f"{BASE}/{{tenantid}}/v2.0"), UnknownIssuer, "tenant"),
        ("the template as tid too", ONE, v2("{tenantid}"), UnknownIssuer, "tenant"),
        ("common", ONE, v2(iss=f"{BASE}/common/v2.0"), UnknownIssuer, "tenant"),
        ("organizations", ONE, v2(iss=f"{BASE}/organizations/v2.0"), UnknownIssuer, "tenant"),
        ("a domain for the GUID", ONE, v2(iss=f"{BASE}/contoso.onmicrosoft.com/v2.0"), UnknownIssuer, "tenant"),
        ("upper case", ONE, v2(iss=f"{BASE}/{TENANT.upper()}/v2.0"), UnknownIssuer, "tenant"),
        ("a slash more", ONE, v2(iss=f"{BASE}/{TENANT}/v2.0/"), UnknownIssuer, "tenant"),
        ("a slash less, version 1", ONE, v1(iss=f"https://sts.windows.net/{TENANT}"), UnknownIssuer, "tenant"),
        ("a path through another tenant", ONE, v2(iss=f"{BASE}/{STRANGER}/../{TENANT}/v2.0"), UnknownIssuer, "tenant"),
        ("a look-alike host", ONE, v2(iss=f"https://login.microsoftonline.com.evil.example/{TENANT}/v2.0"),
         UnknownIssuer, "not a configured provider"),
        ("another cloud's host", ONE, v2(iss=f"https://login.microsoftonline.us/{TENANT}/v2.0"), UnknownIssuer, ""),
        ("tid of another tenant", TWO, v2() | {"tid": SECOND}, ClaimRejected, "tid is not the issuer's"),
        ("tid of another tenant, version 1", TWO, v1() | {"tid": SECOND}, ClaimRejected, "tid"),
        ("no tid", ONE, v2() | {"tid": None}, ClaimRejected, "tid"),
        ("tid is a list", ONE, v2() | {"tid": [TENANT]}, ClaimRejected, "tid"),
        ("version 1 at version 2's issuer", ONE, v2(ver="1.0"), ClaimRejected, "ver is not the issuer's"),
        ("version 2 at version 1's issuer", ONE, v1(ver="2.0"), ClaimRejected, "ver"),
        ("no version", ONE, v2(ver=None), ClaimRejected, "ver"),
        ("the version is a number", ONE, v2(ver=2.0), ClaimRejected, "ver"),
        ("no oid", ONE, v2(oid=None), ClaimRejected, "oid is missing"),
        ("oid is no GUID", ONE, v2(oid="ada@contoso.com"), ClaimRejected, "oid"),
        ("another application's", ONE, v2(aud=OTHER_APP), WrongAudience, "another audience"),
        ("an application ID URI", entra(audiences=["api://app", "app"]), v1(aud="api://app"), None, ""),
    ],
)  # fmt: skip
async def test_issuers_tenants_and_versions(
    case: str, entry: Any, claims: Any, refusal: type[TokenRejected] | None, words: str
) -> None:
    for kind in (ID_TOKEN, JWT):
        if refusal is None:
            proved = await prove(IDP.token(NOW, **claims), entry, kind=kind)
            assert proved.subject == f"{claims['tid']}/{OID}", case
        else:
            with pytest.raises(refusal) as refused:
                await prove(IDP.token(NOW, **claims), entry, kind=kind)
            assert words in refused.value.message, case


async def test_sovereign_clouds_have_hosts_of_their_own() -> None:
    us = entra(host="login.microsoftonline.us", v1_host="sts.windows.us")
    hosted = {"iss": f"https://login.microsoftonline.us/{TENANT}/v2.0"}
    assert await prove(IDP.token(NOW, **(v2() | hosted)), us)
    with pytest.raises(UnknownIssuer):
        await prove(IDP.token(NOW, **v2()), us)


def keys(*issuers: str | None) -> Callable[[], bytes]:
    def made() -> bytes:
        named = [{"issuer": issuer} if issuer is not None else {} for issuer in issuers]
        pairs = zip((rsa_key(), rsa_key(1)), named, strict=False)
        found = [jwk(key, kid=f"k{index + 1}", **members) for index, (key, members) in enumerate(pairs)]
        return json.dumps({"keys": found}).encode()

    return made


async def test_a_key_signs_for_the_issuer_that_it_names() -> None:
    first, second = Issuer(key=rsa_key(), key_id="k1"), Issuer(key=rsa_key(1), key_id="k2")
    # k1 is one tenant's, k2 signs for all.
    entry = entra(TENANT, SECOND, jwks=keys(f"{BASE}/{TENANT}/v2.0", f"{BASE}/{{tenantid}}/v2.0"))
    for issuer, claims, accepted in (
        (first, v2(), True),
        (first, v1(), True),
        (first, v2(SECOND), False),
        (first, v1(SECOND), False),
        (second, v2(), True),
        (second, v2(SECOND), True),
        (second, v1(SECOND), True),
    ):
        if accepted:
            assert await prove(issuer.token(NOW, **claims), entry)
        else:
            with pytest.raises(UnknownKey, match="signs for another issuer"):
                await prove(issuer.token(NOW, **claims), entry)
    # A key of personal accounts, published beside the others', signs for nobody who is not configured.
    foreign = entra(jwks=keys(f"{BASE}/{PERSONAL}/v2.0"))
    for claims in (v2(), v2(tid=PERSONAL), v1()):
        with pytest.raises(UnknownKey):
            await prove(IDP.token(NOW, **claims), foreign)
    with pytest.raises(UnknownKey):  # an issuer that is the template of another provider
        await prove(IDP.token(NOW, **v2()), entra(jwks=keys("https://evil.example/{tenantid}/v2.0")))
    assert await prove(IDP.token(NOW, **v2()), entra(jwks=keys(None)))  # sovereign clouds name none


@pytest.mark.parametrize(
    "name", [{"upn": "root@contoso.com"}, {"preferred_username": "root@contoso.com"}, {"email": "root@contoso.com"},
             {"unique_name": "root"}, {"sub": "pairwise-another"}]
)  # fmt: skip
async def test_who_somebody_is_does_not_follow_from_a_name_that_can_change_hands(name: dict[str, str]) -> None:
    for claims in (v1(), v2()):
        proved = await prove(IDP.token(NOW, **(claims | name)), ONE)
        assert proved.subject == f"{TENANT}/{OID}"
        assert name.items() <= proved.claims.items()  # to be mapped: `upn = "assertion.upn"`
    other = await prove(IDP.token(NOW, **v2(oid=APP, **name)), ONE)
    assert other.subject == f"{TENANT}/{APP}"


@pytest.mark.parametrize(
    ("claims", "overage"),
    [
        ({"groups": [OID]}, False),
        ({}, False),
        ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}, True),
        ({"hasgroups": True}, True),
        ({"_claim_names": {"other": "src1"}}, False),
    ],
)
async def test_more_groups_than_a_token_holds_are_an_outcome_of_its_own(claims: Any, overage: bool) -> None:
    if overage:
        with pytest.raises(ClaimRejected, match="more groups than the token holds"):
            await prove(IDP.token(NOW, **v2(), **claims), ONE)
        assert "groups" not in (await prove(IDP.token(NOW, **v2(), **claims), entra(groups_overage="ignore"))).claims
    else:
        assert await prove(IDP.token(NOW, **v2(), **claims), ONE)


USER: dict[str, Any] = {"scp": "access", "azp": APP, "azpacr": "1"}
USER_V1: dict[str, Any] = {"scp": "access", "appid": APP, "appidacr": "1"}
ALONE: dict[str, Any] = {"azp": APP, "azpacr": "1", "roles": ["Orders.Read"], "sub": OID}
ALONE_V1: dict[str, Any] = {"appid": APP, "appidacr": "1", "roles": ["Orders.Read"], "sub": OID}


@pytest.mark.parametrize(
    ("case", "table", "claims", "words"),
    [
        ("a user's", {}, v2(**USER), None),
        ("a user's, version 1", {}, v1(**USER_V1), None),
        ("a user's that says so", {}, v2(**USER, idtyp="user"), None),
        ("an application's, by default", {}, v2(**ALONE, idtyp="app"), "application's own token"),
        ("... also where the optional claim is missing", {}, v2(**ALONE), "scp is missing"),
        ("... in version 1", {}, v1(**ALONE_V1), "scp is missing"),
        ("... with a scp beside it", {}, v2(**USER, idtyp="app"), "application's own token"),
        ("a type that is not a text", {}, v2(**USER, idtyp=["app"]), "application's own token"),
        ("accepted", {"app_only": "accept"}, v2(**ALONE, idtyp="app"), None),
        ("accepted, version 1", {"app_only": "accept"}, v1(**ALONE_V1), None),
        ("accepted beside users", {"app_only": "accept"}, v2(**USER), None),
        ("required", {"app_only": "require"}, v2(**ALONE, idtyp="app"), None),
        ("required, a user's", {"app_only": "require"}, v2(**USER, idtyp="user"), "no application's own token"),
        ("required, and it does not say", {"app_only": "require"}, v2(**ALONE), "optional claim idtyp"),
        ("by a named application", {"applications": [APP]}, v2(**USER), None),
        ("by a named application, version 1", {"applications": [APP]}, v1(**USER_V1), None),
        ("by another", {"applications": [OTHER_APP]}, v2(**USER), "none of the applications"),
        ("by another, version 1", {"applications": [OTHER_APP]}, v1(**USER_V1), "none of the applications"),
        ("by nobody", {"applications": [APP]}, v2(scp="access"), "none of the applications"),
        ("azp counts before appid", {"applications": [APP]}, v2(scp="a", azp=OTHER_APP, appid=APP), "none of the app"),
        ("an application alone, named", {"applications": [APP], "app_only": "require"}, v2(**ALONE, idtyp="app"), None),
    ],
)  # fmt: skip
async def test_access_tokens_of_users_and_of_applications(
    case: str, table: Any, claims: Any, words: str | None
) -> None:
    entry, token = entra(**API, **table), IDP.token(NOW, **claims)
    if words is None:
        assert (await prove(token, entry, kind=ACCESS_TOKEN)).subject == f"{TENANT}/{OID}", case
    else:
        with pytest.raises(ClaimRejected) as refused:
            await prove(token, entry, kind=ACCESS_TOKEN)
        assert words in refused.value.message, case


async def test_an_access_token_does_not_pass_for_an_id_token() -> None:
    # Both are `JWT` for the same audience; what is said of applications would not be looked at.
    for claims in (v2(**USER), v1(**USER_V1), v2(**ALONE), v1(**ALONE_V1), v2(idtyp="app"), v2(scp="access")):
        for kind in (ID_TOKEN, JWT):
            with pytest.raises(ClaimRejected, match="this is an access token"):
                await prove(IDP.token(NOW, **claims), entra(applications=[OTHER_APP]), kind=kind)
    with pytest.raises(UnsupportedTokenType):  # and access tokens as such are accepted where that is configured
        await prove(IDP.token(NOW, **v2(**USER)), ONE, kind=ACCESS_TOKEN)


async def test_a_token_for_microsoft_graph_is_named() -> None:
    graph = v1(aud="https://graph.microsoft.com", **USER_V1)
    token = Issuer(key=rsa_key(1)).token(NOW, {"nonce": "n"}, **graph)  # its signature is over something else
    with pytest.raises(BadSignature, match="Microsoft Graph"):
        await prove(token, entra(**API), kind=ACCESS_TOKEN)
    with pytest.raises(WrongAudience):
        await prove(IDP.token(NOW, {"nonce": "n"}, **graph), entra(**API), kind=ACCESS_TOKEN)

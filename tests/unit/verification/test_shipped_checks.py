"""The checks of the shipped providers, each with tokens that it accepts and refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.issuer import jwk, rsa_key
from tests.unit.verification.proving import IDP, ME, NOW, prove, provider, shipped

from tokenmint.base.token_errors import (
    ClaimRejected,
    TokenExpired,
    TokenTooOld,
    UnknownIssuer,
    UnknownKey,
    WrongAudience,
)
from tokenmint.config.providers import provider_from_table

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
OTHER_TENANT = "aaaaaaaa-86f1-41af-91ab-2d7cd011db47"
OID = "11111111-2222-3333-4444-555555555555"
ENTRA: dict[str, Any] = {"tenants": [TENANT], "audiences": ["app"]}

V2: dict[str, Any] = {
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "tid": TENANT,
    "ver": "2.0",
    "oid": OID,
}

V1: dict[str, Any] = {"iss": f"https://sts.windows.net/{TENANT}/", "tid": TENANT, "ver": "1.0", "oid": OID}

GITHUB: dict[str, Any] = {
    "iss": "https://token.actions.githubusercontent.com",
    "sub": "repo:o/r:ref:refs/heads/main",
    "jti": "j",
}

FIREBASE: dict[str, Any] = {"iss": "https://securetoken.google.com/proj", "aud": "proj", "auth_time": int(NOW)}

KUBE: dict[str, Any] = {"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "n", "uid": OID}}}


@pytest.mark.parametrize(
    ("name", "table", "claims", "refusal"),
    [
        ("google", {"audiences": ["app"]}, {"iss": "https://accounts.google.com"}, None),
        ("google", {"audiences": ["app"]}, {"iss": "accounts.google.com"}, None),
        ("google", {"audiences": ["app"]}, {"iss": "https://accounts.google.com/"}, UnknownIssuer),
        ("google", {"audiences": ["app"], "hosted_domains": ["x.com"]},
         {"iss": "accounts.google.com", "hd": "x.com"}, None),
        ("google", {"audiences": ["app"], "hosted_domains": ["x.com"]},
         {"iss": "accounts.google.com", "email": "a@x.com"}, ClaimRejected),
        ("entra", ENTRA, V2, None),
        ("entra", ENTRA, V1, None),
        ("entra", ENTRA, V2 | {"ver": "1.0"}, ClaimRejected),
        ("entra", ENTRA, V2 | {"tid": OTHER_TENANT}, ClaimRejected),
        ("entra", ENTRA, V2 | {"iss": f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"}, UnknownIssuer),
        ("entra", ENTRA, V2 | {"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}, UnknownIssuer),
        ("entra", ENTRA, V2 | {"oid": None}, ClaimRejected),
        ("entra", ENTRA, V2 | {"_claim_names": {"groups": "src1"}}, ClaimRejected),
        ("entra", ENTRA | {"groups_overage": "ignore"}, V2 | {"_claim_names": {"groups": "src1"}}, None),
        ("github-actions", {"audiences": ["app"], "repository_ids": ["7"]}, GITHUB | {"repository_id": "7"}, None),
        ("github-actions", {"audiences": ["app"], "repository_ids": ["7"]}, GITHUB | {"repository_id": "8"},
         ClaimRejected),
        ("github-actions", {"audiences": ["app"], "repository_owner_ids": ["9"]},
         GITHUB | {"repository_owner_id": "9", "jti": None}, ClaimRejected),
        ("gitlab", {"audiences": ["app"], "project_ids": ["7"]}, {"iss": "https://gitlab.com", "project_id": "7"},
         None),
        ("gitlab", {"audiences": ["app"], "project_ids": ["7"]}, {"iss": "https://gitlab.com"}, ClaimRejected),
        ("firebase", {"project": "proj"}, FIREBASE, None),
        ("firebase", {"project": "proj"}, FIREBASE | {"aud": "other"}, WrongAudience),
        ("firebase", {"project": "proj"}, FIREBASE | {"auth_time": NOW + 3600}, ClaimRejected),
        ("firebase", {"project": "proj"}, FIREBASE | {"sub": "s" * 129}, ClaimRejected),
        ("firebase", {"project": "proj", "tenants": ["t"]}, FIREBASE | {"firebase": {"tenant": "u"}}, ClaimRejected),
        ("firebase-session-cookie", {"project": "proj"},
         FIREBASE | {"iss": "https://session.firebase.google.com/proj"}, None),
        ("firebase-session-cookie", {"project": "proj"}, FIREBASE, UnknownIssuer),
        ("auth0", {"domain": "x.auth0.com", "audiences": ["app"]}, {"iss": "https://x.auth0.com/"}, None),
        ("auth0", {"domain": "x.auth0.com", "audiences": ["app"]}, {"iss": "https://x.auth0.com"}, UnknownIssuer),
        ("apple", {"audiences": ["app"]}, {"iss": "https://appleid.apple.com"}, None),
        ("kubernetes", {"issuer": "https://k", "audiences": ["app"], "namespaces": ["ns"]},
         {"iss": "https://k", "sub": "system:serviceaccount:ns:n", **KUBE}, None),
        ("kubernetes", {"issuer": "https://k", "audiences": ["app"], "namespaces": ["other"]},
         {"iss": "https://k", **KUBE}, ClaimRejected),
        ("kubernetes", {"issuer": "https://k", "audiences": ["app"]}, {"iss": "https://k"}, ClaimRejected),
    ],
)  # fmt: skip
async def test_the_shipped_providers_check_what_is_theirs(name: str, table: Any, claims: Any, refusal: Any) -> None:
    found = shipped(name, **table)
    if refusal is None:
        assert await prove(IDP.token(NOW, **claims), found)
    else:
        with pytest.raises(refusal):
            await prove(IDP.token(NOW, **claims), found)


async def test_how_the_shipped_providers_name_their_principals() -> None:
    assert (await prove(IDP.token(NOW, **V2), shipped("entra", **ENTRA))).subject == f"{TENANT}/{OID}"
    kube = shipped("kubernetes", issuer="https://k", audiences=["app"])
    account = "system:serviceaccount:ns:n"
    assert (await prove(IDP.token(NOW, iss="https://k", sub=account, **KUBE), kube)).subject == f"{account}/{OID}"
    with_slash = await prove(IDP.token(NOW, iss="https://k", sub=f"{account}/b", **KUBE), kube)
    assert with_slash.subject == f"{account}%2Fb//{OID}"
    github = shipped("github-actions", audiences=["app"], repository_ids=["7"])
    assert (await prove(IDP.token(NOW, **GITHUB, repository_id="7"), github)).single_use


async def test_entra_keys_of_one_tenant_sign_for_that_tenant_alone() -> None:
    def keys(issuer: str) -> Callable[[], bytes]:
        return lambda: json.dumps({"keys": [jwk(rsa_key(), kid="k1", issuer=issuer)]}).encode()

    base = "https://login.microsoftonline.com"
    for issuer in (f"{base}/{{tenantid}}/v2.0", f"{base}/{TENANT}/v2.0"):
        for claims in (V1, V2):
            assert await prove(IDP.token(NOW, **claims), shipped("entra", keys(issuer), **ENTRA))
    for issuer in (f"{base}/{OTHER_TENANT}/v2.0", "https://evil.example/{tenantid}/v2.0"):
        for claims in (V2, V2 | {"tid": None}):
            with pytest.raises(UnknownKey, match="another issuer"):
                await prove(IDP.token(NOW, **claims), shipped("entra", keys(issuer), **ENTRA))


def svid(subject: object = "spiffe://prod.example/ns/shop/sa/web", **changes: Any) -> str:
    return IDP.token(NOW, iss=None, sub=subject, iat=None, **changes)


async def test_spiffe_jwt_svids_are_matched_by_trust_domain() -> None:
    def bundle() -> bytes:
        return json.dumps({"keys": [jwk(rsa_key(), kid="k1", use="jwt-svid")]}).encode()

    domain = shipped("spiffe", bundle, trust_domain="prod.example", audiences=["app"])
    proved = await prove(svid(headers={"typ": "JOSE"}), domain)
    assert (proved.subject, proved.issued_at) == ("spiffe://prod.example/ns/shop/sa/web", None)
    assert await prove(svid("spiffe://prod.example/" + "x" * 2000), domain)
    for subject in (
        "spiffe://prod.example", "spiffe://prod.example/", "spiffe://prod.example.evil/x", "spiffe://evil/prod.example/x",
        "spiffe://PROD.example/x", "spiffe://prod.example/a/../b", "spiffe://prod.example//x", "spiffe://prod.example/x?y",
        "https://prod.example/x", "prod.example/x", None, 5,
    ):  # fmt: skip
        with pytest.raises(UnknownIssuer):
            await prove(svid(subject), domain)
    assert await prove(IDP.token(NOW, sub="spiffe://prod.example/x"), domain)  # as SPIRE with jwt_issuer makes them
    with pytest.raises(TokenExpired):
        await prove(svid(exp=int(NOW) - 60), domain)
    with pytest.raises(WrongAudience):
        await prove(svid(aud="x"), domain)
    with pytest.raises(TokenTooOld):
        await prove(svid(), replace(domain, max_age=60.0))


async def test_apples_booleans_and_googles_authority_over_email() -> None:
    apple = shipped("apple", audiences=["app"])
    token = IDP.token(NOW, iss="https://appleid.apple.com", email_verified="true", is_private_email="false")
    claims = (await prove(token, apple)).claims
    assert (claims["email_verified"], claims["is_private_email"]) == (True, False)
    google = shipped("google", audiences=["app"])
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"email": "a@gmail.com"}, True),
        ({"email": "a@x.com", "email_verified": True, "hd": "x.com"}, True),
        ({"email": "a@x.com", "email_verified": True}, False),
        ({"email": "a@x.com", "hd": "x.com"}, False),
        ({"email": "a@x.com", "email_authoritative": True}, False),
        ({}, False),
    ]
    for given, expected in cases:
        token = IDP.token(NOW, iss="accounts.google.com", **given)
        assert (await prove(token, google)).claims["email_authoritative"] is expected, given


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (None, None),
        (False, None),
        (True, ClaimRejected),
        ("true", ClaimRejected),
        ("false", ClaimRejected),
        (0, ClaimRejected),
    ],
)
async def test_what_has_not_to_be_true_is_missing_or_false(value: Any, refusal: Any) -> None:
    check = {"claim": "is_anonymous", "kind": "not_true"}
    table = {"issuer": IDP.url, "audiences": ["app"], "jwks": IDP.jwks().decode(), "checks": [check]}
    found = provider_from_table("p", table, own_issuer=ME)
    if refusal is None:
        assert await prove(IDP.token(NOW, is_anonymous=value), found)
    else:
        with pytest.raises(refusal, match="is_anonymous is neither missing nor false"):
            await prove(IDP.token(NOW, is_anonymous=value), found)


async def test_vercel_an_act_that_names_nobody_is_no_actor_and_one_that_does_stays() -> None:
    entry = shipped("vercel", audiences=["app"], team="acme", owner_ids=["team_1"])
    claims: dict[str, Any] = {
        "iss": "https://oidc.vercel.com/acme",
        "owner_id": "team_1",
        "project_id": "prj_1",
        "environment": "production",
    }
    for act, kept in (
        ({"aud": "x", "iat": 1}, False),
        ({"sub": "admin"}, True),
        ({"sub": None}, True),
        ("admin", True),
    ):
        proved = await prove(IDP.token(NOW, **claims, act=act), entry)
        assert ("act" in proved.claims) is kept
    other = provider()
    assert "act" in (await prove(IDP.token(NOW, act={"aud": "x"}), other)).claims

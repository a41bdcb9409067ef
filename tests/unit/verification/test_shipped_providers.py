"""Google, Auth0, Apple, GitHub Actions, GitLab, Kubernetes, SPIFFE and any other: what is particular to each."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.issuer import Issuer, jwk, rsa_key
from tests.tls import certificate
from tests.unit.verification.proving import IDP, ME, NOW, prove, shipped

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.token_errors import (
    AlgorithmNotAllowed,
    ClaimRejected,
    TokenExpired,
    TokenRejected,
    UnknownIssuer,
    UnknownKey,
    UnsupportedTokenType,
    WrongAudience,
    WrongNonce,
)
from tokenmint.config.providers import provider_from_table
from tokenmint.config.shared_issuers import shared_issuers
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT

UID = "11111111-2222-3333-4444-555555555555"


async def judged(entry: Any, claims: dict[str, Any], refusal: type[TokenRejected] | None, **how: Any) -> Any:
    if refusal is None:
        return await prove(IDP.token(NOW, **claims), entry, **how)
    with pytest.raises(refusal) as refused:
        await prove(IDP.token(NOW, **claims), entry, **how)
    return refused.value


# --- Google -------------------------------------------------------------------------------------------------------

GOOGLE = {"iss": "https://accounts.google.com", "aud": "web.apps.example", "azp": "web.apps.example"}
WORKSPACE = {"hosted_domains": ["corp.example", "sub.corp.example"]}


@pytest.mark.parametrize(
    ("case", "table", "changes", "refusal"),
    [
        ("with the scheme", {}, {}, None),
        ("without it", {}, {"iss": "accounts.google.com"}, None),
        ("another scheme", {}, {"iss": "http://accounts.google.com"}, UnknownIssuer),
        ("another host of Google's", {}, {"iss": "https://www.google.com"}, UnknownIssuer),
        ("the second client id", {}, {"aud": "android.apps.example"}, None),
        ("for the web, from an Android app", {}, {"azp": "android.apps.example"}, None),
        ("somebody else's client id", {}, {"aud": "evil.apps.example"}, WrongAudience),
        ("a service account, by its id", {}, {"azp": "100000000000000000001"}, ClaimRejected),
        ("a service account, by its address", {}, {"azp": None, "email": "x@P.iam.GServiceAccount.com"}, ClaimRejected),
        ("of the default kind", {}, {"azp": None, "email": "1-compute@developer.gserviceaccount.com"}, ClaimRejected),
        ("an address that is none", {}, {"azp": None, "email": 7}, ClaimRejected),
        ("an address that only contains it", {}, {"email": "x@iam.gserviceaccount.com.example"}, None),
        ("where they are asked for", {"service_accounts": "accept"}, {"azp": "1", "email": "x@p.gserviceaccount.com"},
         None),
        ("ours among others, without azp", {}, {"aud": ["web.apps.example", "x"], "azp": None}, WrongAudience),
        ("any account, where no domain is asked for", {}, {"email": "a@gmail.com"}, None),
        ("a Workspace account", WORKSPACE, {"hd": "corp.example"}, None),
        ("of the second domain", WORKSPACE, {"hd": "sub.corp.example"}, None),
        ("of none", WORKSPACE, {"email": "a@corp.example", "email_verified": True}, ClaimRejected),
        ("of another", WORKSPACE, {"hd": "evil.example", "email": "a@corp.example"}, ClaimRejected),
        ("of a part of ours", WORKSPACE, {"hd": "orp.example"}, ClaimRejected),
        ("of one below ours", WORKSPACE, {"hd": "x.corp.example"}, ClaimRejected),
        ("hd in capitals", WORKSPACE, {"hd": "CORP.example"}, ClaimRejected),
        ("hd as a list", WORKSPACE, {"hd": ["corp.example"]}, ClaimRejected),
    ],
)  # fmt: skip
async def test_google(case: str, table: Any, changes: Any, refusal: Any) -> None:
    entry = shipped("google", audiences=["web.apps.example", "android.apps.example"], **table)
    proved = await judged(entry, GOOGLE | changes, refusal)
    if refusal is None:
        assert proved.subject == "1842"  # never the e-mail address


# --- Auth0 --------------------------------------------------------------------------------------------------------

AUTH0 = {"iss": "https://acme.eu.auth0.com/", "sub": "auth0|1842"}
API = ["https://api.example", "https://acme.eu.auth0.com/userinfo"]


async def test_auth0_the_issuers_slash_counts_and_domains_may_be_ones_own() -> None:
    own = shipped("auth0", domain="login.acme.example", audiences=["app"])
    entry = shipped("auth0", domain="acme.eu.auth0.com", audiences=["app"])
    assert (await judged(entry, AUTH0, None)).subject == "auth0|1842"
    assert await judged(own, AUTH0 | {"iss": "https://login.acme.example/"}, None)
    for issuer in ("https://acme.eu.auth0.com", "https://acme.eu.auth0.com//", "https://acme.us.auth0.com/"):
        await judged(entry, AUTH0 | {"iss": issuer}, UnknownIssuer)
    await judged(own, AUTH0, UnknownIssuer)  # its own domain is the only one


async def test_auth0_an_access_token_is_for_two_audiences_and_names_the_client_that_has_it() -> None:
    table: dict[str, Any] = {"domain": "acme.eu.auth0.com", "audiences": ["https://api.example"]}
    table["token_types"] = ["access_token"]
    entry = shipped("auth0", **table, authorized_parties=["spa"])
    await judged(entry, AUTH0 | {"aud": API, "azp": "spa"}, None, kind=ACCESS_TOKEN)
    for party in ("other", None, "https://api.example", ["spa"]):
        await judged(entry, AUTH0 | {"aud": API, "azp": party}, WrongAudience, kind=ACCESS_TOKEN)
    await judged(shipped("auth0", **table), AUTH0 | {"aud": API, "azp": "spa"}, None, kind=ACCESS_TOKEN)
    machine = AUTH0 | {"sub": "spa@clients", "azp": "spa", "gty": "client-credentials", "aud": "https://api.example"}
    assert (await judged(entry, machine, None, kind=ACCESS_TOKEN)).subject == "spa@clients"


# --- Apple --------------------------------------------------------------------------------------------------------

APPLE = {"iss": "https://appleid.apple.com", "sub": "001842.aa.1234", "nonce_supported": True}


@pytest.mark.parametrize(
    ("given", "read"),
    [("true", True), ("false", False), (True, True), (False, False), ("True", "True"), ("1", "1"), (1, 1)],
)
async def test_apples_booleans_may_be_texts(given: object, read: object) -> None:
    entry = shipped("apple", audiences=["app"])
    proved = await judged(entry, APPLE | {"email_verified": given, "is_private_email": given, "other": given}, None)
    assert (proved.claims["email_verified"], proved.claims["is_private_email"]) == (read, read)
    assert proved.claims["other"] == given


async def test_apple_nonces_and_notifications() -> None:
    entry = shipped("apple", audiences=["app"])
    assert (await judged(entry, APPLE | {"nonce": "n"}, None, nonce="n")).subject == "001842.aa.1234"
    await judged(entry, APPLE | {"nonce": "m"}, WrongNonce, nonce="n")
    await judged(entry, APPLE, WrongNonce, nonce="n")
    # What Apple's servers send about accounts is signed by the same keys for the same audience.
    await judged(entry, APPLE | {"events": '{"type":"consent-revoked"}'}, UnsupportedTokenType)


# --- CI -----------------------------------------------------------------------------------------------------------

GITHUB = {
    "iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo/web:ref:refs/heads/main", "jti": "j",
    "repository": "octo/web", "repository_owner": "octo", "repository_id": "74", "repository_owner_id": "65",
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "table", "changes", "refusal"),
    [
        ("by repository", {"repository_ids": ["74"]}, {}, None),
        ("by owner", {"repository_owner_ids": ["65"]}, {}, None),
        ("by both", {"repository_ids": ["74"], "repository_owner_ids": ["65"]}, {}, None),
        ("both have to hold", {"repository_ids": ["74"], "repository_owner_ids": ["66"]}, {}, ClaimRejected),
        ("the other format of sub", {"repository_ids": ["74"]}, {"sub": "repo:octo@65/web@74:environment:prod"}, None),
        ("a sub of their own making", {"repository_ids": ["74"]}, {"sub": "repository_id:74:" + "x" * 900}, None),
        ("the name was taken over", {"repository_ids": ["74"]}, {"repository_id": "75"}, ClaimRejected),
        ("sub says what the id does not", {"repository_ids": ["74"]},
         {"repository_id": "75", "sub": "repository_id:74"}, ClaimRejected),
        ("an id is not a prefix", {"repository_ids": ["74"]}, {"repository_id": "742"}, ClaimRejected),
        ("an id that is a number", {"repository_ids": ["74"]}, {"repository_id": 74}, None),
        ("no id", {"repository_ids": ["74"]}, {"repository_id": None}, ClaimRejected),
        ("no jti: nothing to remember it by", {"repository_ids": ["74"]}, {"jti": None}, ClaimRejected),
        ("the audience of everybody", {"repository_ids": ["74"]}, {"aud": "https://github.com/octo"}, WrongAudience),
    ],
)  # fmt: skip
async def test_github_actions(case: str, table: Any, changes: Any, refusal: Any) -> None:
    proved = await judged(shipped("github-actions", audiences=["app"], **table), GITHUB | changes, refusal)
    assert refusal is not None or proved.single_use


def test_github_actions_the_audience_that_everybody_gets_is_none_of_ours() -> None:
    for audience in ("https://github.com/octo", "https://github.com/octo/web"):
        with pytest.raises(ConfigurationError, match="have them issued for your own"):
            shipped("github-actions", audiences=["app", audience], repository_ids=["74"])


@pytest.mark.parametrize(
    ("issuer", "audience", "own"),
    [
        ("https://git.acme.example/_services/token", "https://git.acme.example/acme", False),
        ("https://git.acme.example:8443/_services/token", "https://git.acme.example:8443/acme", False),
        ("https://token.actions.acme.ghe.com", "https://acme.ghe.com/acme", False),
        ("https://token.actions.githubusercontent.com/acme", "https://github.com/acme", False),
        ("https://git.acme.example/_services/token", "https://gitXacme.example/acme", True),
        ("https://git.acme.example/_services/token", "https://tokens.acme.example", True),
    ],
)
def test_github_enterprise_the_audience_that_everybody_there_gets_is_none_of_ours(
    issuer: str, audience: str, own: bool
) -> None:
    if own:
        assert shipped("github-actions", issuer=issuer, audiences=[audience], repository_ids=["74"])
        return
    with pytest.raises(ConfigurationError, match="have them issued for your own"):
        shipped("github-actions", issuer=issuer, audiences=[audience], repository_ids=["74"])


@pytest.mark.parametrize("issuer", sorted(shared_issuers()))
async def test_an_issuer_that_signs_for_all_customers_needs_to_know_which_ones_are_ours(issuer: str) -> None:
    table = {"issuer": issuer, "audiences": ["app"], "jwks": IDP.jwks().decode()}
    for checks in (
        [],
        [{"claim": "sub", "kind": "present"}],
        [{"claim": shared_issuers()[issuer].claims[0], "kind": "present"}],
    ):
        with pytest.raises(ConfigurationError, match="tokens of all its customers are accepted"):
            provider_from_table("p", {**table, "checks": checks}, own_issuer="https://me.example")
    ours = {"claim": shared_issuers()[issuer].claims[0], "kind": "one_of", "values": ["ours"]}
    for gap in ({"token_types": ["access_token"]}, {"or_claim": "sub"}):  # tokens of another kind, or without the claim
        with pytest.raises(ConfigurationError, match="tokens of all its customers are accepted"):
            provider_from_table("p", {**table, "checks": [{**ours, **gap}]}, own_issuer="https://me.example")
    entry = provider_from_table("p", {**table, "checks": [ours]}, own_issuer="https://me.example")
    await judged(entry, {"iss": issuer, shared_issuers()[issuer].claims[0]: "ours"}, None)
    for other in ("theirs", None, ["ours"]):
        await judged(entry, {"iss": issuer, shared_issuers()[issuer].claims[0]: other}, ClaimRejected)
    for condition in ("true", "assertion.ref == 'refs/heads/main'", "assertion.subject_x == 'x'"):
        with pytest.raises(ConfigurationError, match="the tokens of all its customers are accepted"):
            provider_from_table("p", {**table, "condition": condition}, own_issuer="https://me.example")
    for condition in ("assertion.sub == 'x'", f"assertion['{shared_issuers()[issuer].claims[0]}'] in ['x']"):
        assert provider_from_table("p", {**table, "condition": condition}, own_issuer="https://me.example")
    # The entry of another provider checks other claims.
    with pytest.raises(ConfigurationError, match="the tokens of all its customers are accepted"):
        shipped("okta", domain="acme.okta.com", audiences=["app"], issuer=issuer)
    for other, claim in (("gitlab", "project_id"), ("github-actions", "repository_id")):
        if claim not in shared_issuers()[issuer].claims:
            keys: dict[str, Any] = {f"{claim}s": ["1"]}
            with pytest.raises(ConfigurationError, match="the tokens of all its customers are accepted"):
                shipped(other, audiences=["app"], issuer=issuer, **keys)


@pytest.mark.parametrize(
    ("entry", "settings"),
    [
        ("zitadel", {"host": "agent.buildkite.com"}),
        ("clerk", {"domain": "accounts.google.com"}),
        ("auth0", {"domain": "accounts.google.com"}),  # with a slash, so that Google's tokens do not have it
        ("gitlab", {"host": "app.terraform.io", "project_ids": ["1"]}),
        ("terraform-cloud", {"host": "gitlab.com", "workspace_ids": ["ws-1"]}),
    ],
)
def test_an_entry_with_the_host_of_a_shared_issuer_has_to_name_customers_as_well(
    entry: str, settings: dict[str, Any]
) -> None:
    if entry == "auth0":
        assert shipped(entry, audiences=["app"], **settings)
        return
    with pytest.raises(ConfigurationError, match="the tokens of all its customers are accepted"):
        shipped(entry, audiences=["app"], **settings)


async def test_google_without_its_entry_needs_to_know_whose_tokens_are_accepted() -> None:
    table = {"issuer": "https://accounts.google.com", "audiences": ["app"], "jwks": IDP.jwks().decode()}
    with pytest.raises(ConfigurationError, match='use = "google"'):
        provider_from_table("p", table, own_issuer="https://me.example")


async def test_gitlab_writes_lists_of_audiences_and_no_azp() -> None:
    entry = shipped("gitlab", audiences=["app"], project_ids=["22"])
    await judged(entry, GITLAB | {"aud": ["app", "https://vault.example"]}, None)
    await judged(entry, GITLAB | {"aud": ["other", "https://vault.example"]}, WrongAudience)


GITLAB = {"iss": "https://gitlab.com", "sub": "project_path:g/p:ref_type:branch:ref:main", "project_id": "22",
          "namespace_id": "72"}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "table", "changes", "refusal"),
    [
        ("by project", {"project_ids": ["22"]}, {}, None),
        ("by namespace", {"namespace_ids": ["72"]}, {}, None),
        ("both have to hold", {"project_ids": ["22"], "namespace_ids": ["1"]}, {}, ClaimRejected),
        ("another project", {"project_ids": ["22"]}, {"project_id": "2"}, ClaimRejected),
        ("no project", {"project_ids": ["22"]}, {"project_id": None}, ClaimRejected),
        ("somebody's own GitLab", {"project_ids": ["22"]}, {"iss": "https://git.example"}, UnknownIssuer),
        ("our own", {"project_ids": ["22"], "host": "git.example:8443"}, {"iss": "https://git.example:8443"}, None),
        ("our own is the only one then", {"project_ids": ["22"], "host": "git.example"}, {}, UnknownIssuer),
        ("a long sub", {"project_ids": ["22"]}, {"sub": "p" * 1024}, None),
        ("too long", {"project_ids": ["22"]}, {"sub": "p" * 1025}, ClaimRejected),
    ],
)
async def test_gitlab(case: str, table: Any, changes: Any, refusal: Any) -> None:
    await judged(shipped("gitlab", audiences=["app"], **table), GITLAB | changes, refusal)


# --- Kubernetes ---------------------------------------------------------------------------------------------------

ISSUER = "https://kubernetes.default.svc.cluster.local"


def pod(namespace: object = "shop", name: object = "web", uid: object = UID) -> dict[str, Any]:
    account = {key: value for key, value in (("name", name), ("uid", uid)) if value is not None}
    return {"namespace": namespace, "serviceaccount": account, "pod": {"name": "web-1", "uid": UID}, "warnafter": 1}


KUBERNETES = {"iss": ISSUER, "aud": ["tokenmint", ISSUER], "sub": "system:serviceaccount:shop:web",
              "kubernetes.io": pod()}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "changes", "refusal"),
    [
        ("a projected token, for two audiences and without azp", {}, None),
        ("for us alone", {"aud": ["tokenmint"]}, None),
        ("for the API server", {"aud": [ISSUER]}, WrongAudience),
        ("another cluster's", {"iss": "https://other.example"}, UnknownIssuer),
        ("another namespace", {"kubernetes.io": pod("evil"), "sub": "system:serviceaccount:evil:web"}, ClaimRejected),
        ("no uid: the account could be another of the name", {"kubernetes.io": pod(uid=None)}, ClaimRejected),
        ("no account", {"kubernetes.io": {"namespace": "shop"}}, ClaimRejected),
        ("no claims of its own", {"kubernetes.io": None}, ClaimRejected),
        ("not an account's subject", {"sub": "system:node:n1"}, ClaimRejected),
        ("a person's", {"sub": "ada"}, ClaimRejected),
        ("for ever", {"exp": None}, ClaimRejected),
        ("expired", {"exp": int(NOW) - 30}, TokenExpired),
    ],
)
async def test_kubernetes(case: str, changes: Any, refusal: Any) -> None:
    entry = shipped("kubernetes", issuer=ISSUER, audiences=["tokenmint"], namespaces=["shop"])
    proved = await judged(entry, KUBERNETES | changes, refusal)
    assert refusal is not None or proved.subject == f"system:serviceaccount:shop:web/{UID}"


async def test_kubernetes_the_old_kind_of_token_is_named() -> None:
    entry = shipped("kubernetes", issuer=ISSUER, audiences=["tokenmint"])
    refused = await judged(entry, {"iss": "kubernetes/serviceaccount", "aud": None, "exp": None}, UnknownIssuer)
    assert "projected" in refused.message


def test_kubernetes_keys_of_a_private_issuer_are_pinned_or_fetched_elsewhere(tmp_path: Path) -> None:
    table: dict[str, Any] = {"use": "kubernetes", "issuer": ISSUER, "audiences": ["tokenmint"]}
    file = tmp_path / "jwks.json"
    file.write_bytes(IDP.jwks())
    pinned = provider_from_table("k", {**table, "jwks_file": str(file)}, own_issuer=ME)
    assert (pinned.key_source.kind, pinned.key_source.path) == ("file", file)
    authority, _ = certificate(tmp_path)
    elsewhere = {
        **table,
        "jwks_url": "https://10.0.0.1:6443/openid/v1/jwks",
        "ca_file": str(authority),
        "allow_private": True,
    }
    source = provider_from_table("k", elsewhere, own_issuer=ME).key_source
    assert (source.kind, source.url, source.ca_file) == ("jwks", "https://10.0.0.1:6443/openid/v1/jwks", str(authority))
    assert source.allow_private
    assert provider_from_table("k", table, own_issuer=ME).key_source.kind == "discovery"


# --- SPIFFE -------------------------------------------------------------------------------------------------------


async def test_spiffe_a_bundles_keys_for_certificates_sign_no_tokens() -> None:
    def bundle(use: str) -> bytes:
        keys = [jwk(rsa_key(), kid="k1", use=use), jwk(rsa_key(1), kid="k2", use="jwt-svid")]
        return json.dumps({"keys": keys, "spiffe_sequence": 1, "spiffe_refresh_hint": 300}).encode()

    claims = {"iss": None, "iat": None, "sub": "spiffe://td.example/web"}
    table = {"trust_domain": "td.example", "audiences": ["app"]}
    assert await judged(shipped("spiffe", lambda: bundle("jwt-svid"), **table), claims, None)
    await judged(shipped("spiffe", lambda: bundle("x509-svid"), **table), claims, UnknownKey)


@pytest.mark.parametrize(
    ("case", "headers", "changes", "refusal"),
    [
        ("no typ", {"typ": None}, {}, None),
        ("JOSE", {"typ": "JOSE"}, {}, None),
        ("at+jwt", {"typ": "at+jwt"}, {}, UnsupportedTokenType),
        ("with iat", {}, {"iat": int(NOW)}, None),
        ("no exp", {}, {"exp": None}, ClaimRejected),
        ("no aud", {}, {"aud": None}, WrongAudience),
        ("aud is a list", {}, {"aud": ["app", "other"]}, None),
        ("not for us", {}, {"aud": ["other"]}, WrongAudience),
        ("another trust domain", {}, {"sub": "spiffe://other.example/web"}, UnknownIssuer),
        ("with an issuer, as SPIRE's jwt_issuer makes them", {}, {"iss": "https://td.example"}, None),
        ("2048 characters", {}, {"sub": "spiffe://td.example/" + "x" * 2028}, None),
        ("2049", {}, {"sub": "spiffe://td.example/" + "x" * 2029}, UnknownIssuer),
    ],
)
async def test_spiffe_jwt_svids(case: str, headers: Any, changes: Any, refusal: Any) -> None:
    entry = shipped("spiffe", trust_domain="td.example", audiences=["app"])
    claims = {"iss": None, "iat": None, "sub": "spiffe://td.example/web", **changes}
    token = IDP.token(NOW, headers, **claims)
    if refusal is None:
        assert (await prove(token, entry)).subject == claims["sub"], case
    else:
        with pytest.raises(refusal):
            await prove(token, entry)


# --- any other ----------------------------------------------------------------------------------------------------


async def test_any_openid_provider_needs_its_issuer_and_an_audience() -> None:
    made = {"issuer": "https://keycloak.example/realms/a", "audiences": ["app"], "jwks": IDP.jwks().decode()}
    entry = provider_from_table("kc", made, own_issuer=ME)
    claims = {"iss": "https://keycloak.example/realms/a"}
    for kind in (ID_TOKEN, JWT):
        assert (await judged(entry, claims, None, kind=kind)).subject == "1842"
    await judged(entry, claims, UnsupportedTokenType, kind=ACCESS_TOKEN)
    await judged(entry, claims | {"iss": "https://keycloak.example/realms/b"}, UnknownIssuer)
    await judged(entry, claims | {"aud": ["app", "account"]}, WrongAudience)
    await judged(entry, claims | {"aud": ["app", "account"], "azp": "app"}, None)
    with pytest.raises(AlgorithmNotAllowed):
        await prove(Issuer(url=claims["iss"], algorithm="PS256").token(NOW), entry)

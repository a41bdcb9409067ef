"""The attack catalogue and every boundary second, against the verifier with a real key."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.issuer import Issuer, b64, ec_key, jwk, rsa_key, segment
from tests.unit.verification.proving import IDP, NOW, prove, provider, shipped

from tokenmint.base.token_errors import (
    AlgorithmNotAllowed,
    BadSignature,
    ClaimRejected,
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    TokenRejected,
    TokenTooOld,
    UnknownIssuer,
    UnknownKey,
    UnsupportedTokenType,
    WrongAudience,
    WrongNonce,
)
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT
from tokenmint.verification.provider import ClaimCheck
from tokenmint.verification.refusal_hints import FIREBASE_CUSTOM_TOKEN


async def test_a_good_token_is_proved() -> None:
    token = IDP.token(NOW, jti="j", email="a@example.com")
    proved = await prove(token)
    assert (proved.provider, proved.issuer, proved.subject) == ("idp", IDP.url, "1842")
    assert (proved.issued_at, proved.expires_at) == (NOW, NOW + 300)
    assert proved.claims["email"] == "a@example.com"
    assert proved.fingerprint == Secret(token).fingerprint()
    with pytest.raises(TypeError):
        proved.claims["email"] = "b"  # type: ignore[index]  # it is what must not work


def resigned(header: Mapping[str, object], claims: object | None = None, key: Any = None) -> str:
    """A token with any header, signed with RS256 whatever the header says."""
    signing_input = f"{segment(header)}.{segment(IDP.claims(NOW) if claims is None else claims)}"
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signer: Any = key or IDP.key
    signature = signer.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signing_input}.{b64(signature)}"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS512", "rs256", "ES256K"]
)
async def test_rfc_8725_section_3_1_only_the_providers_algorithms(algorithm: str) -> None:
    for token in (
        resigned({"alg": algorithm, "kid": "k1"}),
        f"{segment({'alg': algorithm})}.{segment(IDP.claims(NOW))}.",
    ):
        with pytest.raises(AlgorithmNotAllowed):
            await prove(token)


async def test_an_algorithm_has_to_fit_the_key() -> None:
    with pytest.raises(AlgorithmNotAllowed, match="does not fit"):
        await prove(resigned({"alg": "ES256", "kid": "k1"}))
    bound = json.dumps({"keys": [jwk(rsa_key(), kid="k1", alg="PS256")]}).encode()
    with pytest.raises(AlgorithmNotAllowed, match="does not fit"):
        await prove(IDP.token(NOW), provider(bound))


async def test_an_algorithm_that_fits_the_key_has_to_be_the_providers_too() -> None:
    strict = provider(algorithms=frozenset({"PS256", "ES256"}))
    with pytest.raises(AlgorithmNotAllowed, match="not accepted from this provider"):
        await prove(IDP.token(NOW), strict)


async def test_embedded_keys_are_never_used() -> None:
    attacker = rsa_key(1)
    embedded: dict[str, dict[str, object]] = {
        "CVE-2018-0114 jwk": {"jwk": jwk(attacker)},
        "jku": {"jku": "https://evil.example/jwks.json"},
        "x5u": {"x5u": "https://evil.example/cert"},
        "x5c": {"x5c": ["AAAA"]},
    }
    for name, value in embedded.items():
        with pytest.raises(BadSignature):
            await prove(resigned({"alg": "RS256", "kid": "k1", **value}, key=attacker)), name


@pytest.mark.parametrize(
    "key_id", ["../../etc/passwd", "' OR 1=1 --", "k1 ", "K1", "k1/", "https://evil.example/k1", "\uff4b1"]
)
async def test_a_kid_is_only_compared(key_id: str) -> None:
    with pytest.raises(UnknownKey):
        await prove(IDP.token(NOW, headers={"kid": key_id}))


async def test_a_token_without_kid_needs_a_provider_with_one_key() -> None:
    token = IDP.token(NOW, headers={"kid": None})
    assert (await prove(token)).subject == "1842"
    two = json.dumps({"keys": [jwk(rsa_key(), kid="k1"), jwk(rsa_key(1), kid="k2")]}).encode()
    with pytest.raises(UnknownKey):
        await prove(token, provider(two))


async def test_the_same_kid_at_two_providers_is_two_keys() -> None:
    other = Issuer(url="https://other.example", key=rsa_key(1))
    second = provider_from_table(
        "other", {"issuer": other.url, "audiences": ["app"], "jwks": other.jwks().decode()}, own_issuer=""
    )
    assert (await prove(other.token(NOW), provider(), second)).provider == "other"
    for forged in (replace(other, url=IDP.url).token(NOW), replace(IDP, url=other.url).token(NOW)):
        with pytest.raises(BadSignature):
            await prove(forged, provider(), second)


@pytest.mark.parametrize(
    "issuer",
    [
        "", None, "https://idp.example/", "https://idp.exampl", "https://idp.example.evil.example", "HTTPS://IDP.EXAMPLE",
        "https://idp.example#", "https://idp.example:443", "http://idp.example", "https://id\u0440.example", " https://idp.example",
    ],
)  # fmt: skip
async def test_the_issuer_is_compared_byte_by_byte(issuer: str | None) -> None:
    with pytest.raises(UnknownIssuer):
        await prove(IDP.token(NOW, iss=issuer))


async def test_our_own_issuer_is_no_provider_whatever_the_configuration_says() -> None:
    own = replace(provider(), issuers={"https://me.example": {}})
    with pytest.raises(UnknownIssuer, match="tokenmint itself minted this token"):
        await prove(IDP.token(NOW, iss="https://me.example"), own)


async def test_our_own_tokens_and_firebase_custom_tokens_are_named() -> None:
    with pytest.raises(UnknownIssuer, match="tokenmint itself minted this token"):
        await prove(IDP.token(NOW, iss="https://me.example"))
    with pytest.raises(WrongAudience, match="custom token"):
        await prove(IDP.token(NOW, iss="sa@p.iam.gserviceaccount.com", aud=FIREBASE_CUSTOM_TOKEN))


@pytest.mark.parametrize(
    "audience", [None, "", "App", "app ", "ap", "application", [], ["other"], [1], ["app", 1], {"app": 1}, True, 5]
)
async def test_the_audience_has_to_be_ours(audience: object) -> None:
    with pytest.raises(WrongAudience):
        await prove(resigned({"alg": "RS256", "kid": "k1"}, IDP.claims(NOW) | {"aud": audience}))


async def test_oidc_core_3_1_3_7_several_audiences_need_our_azp() -> None:
    assert await prove(IDP.token(NOW, aud=["app"]))
    assert await prove(IDP.token(NOW, aud=["app", "other"], azp="app"))
    for party in (None, "other", 1):
        with pytest.raises(WrongAudience, match="azp"):
            await prove(resigned({"alg": "RS256", "kid": "k1"}, IDP.claims(NOW) | {"aud": ["app", "x"], "azp": party}))
    assert await prove(IDP.token(NOW, aud=["app", "other"]), provider(check_authorized_party=False))
    named = provider(authorized_parties=frozenset({"mobile"}))
    assert await prove(IDP.token(NOW, aud=["app", "other"], azp="mobile"), named)
    with pytest.raises(WrongAudience):
        await prove(IDP.token(NOW, aud=["app", "other"], azp="app"), named)


@pytest.mark.parametrize(
    ("changes", "now", "refusal"),
    [
        ({"exp": NOW}, NOW + 29, None),
        ({"exp": NOW}, NOW + 29.999, None),
        ({"exp": NOW}, NOW + 30, TokenExpired),
        ({"iat": NOW + 30}, NOW, None),
        ({"iat": NOW + 31}, NOW, TokenNotYetValid),
        ({"nbf": NOW + 30}, NOW, None),
        ({"nbf": NOW + 31}, NOW, TokenNotYetValid),
        ({"nbf": NOW - 1000}, NOW, None),
    ],
)
async def test_rfc_7519_section_4_1_boundary_seconds(changes: Any, now: float, refusal: Any) -> None:
    token = IDP.token(NOW, **changes)
    if refusal is None:
        assert await prove(token, now=now)
    else:
        with pytest.raises(refusal):
            await prove(token, now=now)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1800000000", True, [1], -1, 253402300800, {"a": 1}, None])
async def test_times_are_numbers_of_this_era(name: str, value: object) -> None:
    with pytest.raises(ClaimRejected):
        await prove(resigned({"alg": "RS256", "kid": "k1"}, IDP.claims(NOW) | {name: value}))


@pytest.mark.parametrize("name", ["exp", "iat"])
async def test_exp_and_iat_are_required(name: str) -> None:
    with pytest.raises(ClaimRejected, match="exp and iat"):
        await prove(IDP.token(NOW, **{name: None}))


async def test_a_maximum_age_counts_from_iat() -> None:
    strict = provider(max_age=60.0)
    token = IDP.token(NOW, exp=NOW + 3600)
    assert await prove(token, strict, now=NOW + 90)
    with pytest.raises(TokenTooOld):
        await prove(token, strict, now=NOW + 90.5)


@pytest.mark.parametrize("subject", [None, "", 1, ["a"], "s" * 256])
async def test_the_subject_is_a_string_of_bounded_length(subject: object) -> None:
    with pytest.raises(ClaimRejected, match="sub"):
        await prove(resigned({"alg": "RS256", "kid": "k1"}, IDP.claims(NOW) | {"sub": subject}))


@pytest.mark.parametrize(
    ("typ", "kind", "accepted"),
    [
        ("JWT", ID_TOKEN, True), ("jwt", ID_TOKEN, True), ("JWT", JWT, True),
        ("at+jwt", ID_TOKEN, False), ("application/at+jwt", ID_TOKEN, False), ("logout+jwt", ID_TOKEN, False),
        ("secevent+jwt", JWT, False), ("dpop+jwt", ID_TOKEN, False), ("oauth-authz-req+jwt", ID_TOKEN, False),
        ("at+jwt", ACCESS_TOKEN, True), ("JWT", ACCESS_TOKEN, False), ("logout+jwt", ACCESS_TOKEN, False),
    ],
)  # fmt: skip
async def test_rfc_8725_section_3_11_one_kind_of_token_is_not_another(typ: str, kind: str, accepted: bool) -> None:
    every = provider(token_types=frozenset({ID_TOKEN, JWT, ACCESS_TOKEN}))
    token = IDP.token(NOW, headers={"typ": typ})
    if accepted:
        assert await prove(token, every, kind=kind)
    else:
        with pytest.raises(UnsupportedTokenType):
            await prove(token, every, kind=kind)


async def test_kinds_that_the_provider_is_not_configured_for() -> None:
    with pytest.raises(UnsupportedTokenType):
        await prove(IDP.token(NOW, headers={"typ": "at+jwt"}), kind=ACCESS_TOKEN)
    with pytest.raises(UnsupportedTokenType, match="not accepted"):
        await prove(IDP.token(NOW, events={}))  # OpenID Connect Back-Channel Logout section 2.4
    loose = provider(token_types=frozenset({ACCESS_TOKEN}), untyped_access_tokens=True)
    assert await prove(IDP.token(NOW), loose, kind=ACCESS_TOKEN)


async def test_the_nonce() -> None:
    assert await prove(IDP.token(NOW, nonce="n"), nonce="n")
    assert await prove(IDP.token(NOW, nonce="n"))
    for given in (None, "N", "n ", 5):
        with pytest.raises(WrongNonce):
            await prove(IDP.token(NOW, nonce=given), nonce="n")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (ClaimCheck(("a",), "present"), [0, "", False, "x"], [None]),
        (ClaimCheck(("a",), "absent"), [None], [0, "x"]),
        (ClaimCheck(("a",), "true"), [True], ["true", 1, False, None]),
        (ClaimCheck(("a",), "one_of", frozenset({"x", "7"})), ["x", 7], ["X", "", None, True, ["x"], 7.0]),
        (ClaimCheck(("a",), "none_of", frozenset({"x"})), ["X", "", None], ["x", True, 7, ["x"]]),
        (ClaimCheck(("a",), "prefix", frozenset({"x:", "y:"})), ["x:", "y:z"], ["x", "z:x:", None, 5, ["x:"]]),
        (ClaimCheck(("b",), "one_of", frozenset({"x"}), or_path=("a",)), ["x"], ["y", None]),
        (ClaimCheck(("a",), "past"), [NOW, NOW + 60, 0], [NOW + 61, "1", True, -1, None]),
        (ClaimCheck(("a",), "uuid"), ["72f988bf-86f1-41af-91ab-2d7cd011db47"], ["72f988bf", "", None, "x" * 36]),
    ],
)
async def test_conditions_on_claims(check: ClaimCheck, good: list[object], bad: list[object]) -> None:
    strict = provider(checks=(check,))
    for value in good:
        assert await prove(IDP.token(NOW, a=value), strict), value
    for value in bad:
        with pytest.raises(ClaimRejected):
            await prove(IDP.token(NOW, a=value), strict)


async def test_conditions_reach_into_objects_and_no_further() -> None:
    strict = provider(checks=(ClaimCheck(("firebase", "tenant"), "one_of", frozenset({"t"}), "set tenants"),))
    assert await prove(IDP.token(NOW, firebase={"tenant": "t"}), strict)
    for value in ({"tenant": "u"}, "t", None, ["t"]):
        with pytest.raises(ClaimRejected, match="set tenants"):
            await prove(IDP.token(NOW, firebase=value), strict)


async def test_what_a_single_use_token_is_remembered_by() -> None:
    def token(**changes: Any) -> str:
        return IDP.token(NOW, **changes)

    first = await prove(token(jti="a"))
    assert (await prove(token(jti="a", email="x"))).replay_id == first.replay_id
    assert (await prove(token(jti="b"))).replay_id != first.replay_id
    without = await prove(token())
    assert (await prove(token())).replay_id == without.replay_id
    assert (await prove(token(email="x"))).replay_id != without.replay_id
    elliptic = Issuer(key=ec_key(), key_id="e", algorithm="ES256")
    one, two = elliptic.token(NOW), elliptic.token(NOW)
    assert one != two  # ECDSA: two signatures of one token
    both = [await prove(text, provider(elliptic.jwks())) for text in (one, two)]
    assert both[0].replay_id == both[1].replay_id
    other = Issuer(url="https://idp.example/b")
    second = replace(provider(), name="b", issuers={other.url: {}})
    assert (await prove(other.token(NOW, jti="a"), second)).replay_id != first.replay_id  # a jti is its issuer's
    for value in ("", 1, ["a"]):
        with pytest.raises(ClaimRejected, match="jti"):
            await prove(resigned({"alg": "RS256", "kid": "k1"}, IDP.claims(NOW) | {"jti": value}))


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_no_character_of_a_token_may_change(part: int) -> None:
    parts = IDP.token(NOW).split(".")
    for position in range(0, len(parts[part]), 7):
        text = parts[part]
        changed = "B" if text[position] == "A" else "A"
        forged = ".".join([*parts[:part], text[:position] + changed + text[position + 1 :], *parts[part + 1 :]])
        with pytest.raises(TokenRejected):
            await prove(forged)


# --- the shipped providers ----------------------------------------------------------------------------------------

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
    with pytest.raises(ClaimRejected, match="separates"):
        await prove(IDP.token(NOW, iss="https://k", sub=f"{account}/b", **KUBE), kube)
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
    with pytest.raises(UnknownIssuer):  # a token with an issuer is not one of them
        await prove(IDP.token(NOW, sub="spiffe://prod.example/x"), domain)
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


async def test_the_token_itself_appears_in_no_refusal() -> None:
    token = IDP.token(NOW, aud="other")
    with pytest.raises(WrongAudience) as refused:
        await prove(token)
    assert not any(part in repr(vars(refused.value)) for part in token.split("."))
    with pytest.raises(MalformedToken):
        await prove("x" * 100)
    assert isinstance(rsa_key(), rsa.RSAPrivateKey)
    assert jwt.get_unverified_header(token)["kid"] == "k1"

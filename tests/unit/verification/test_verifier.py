"""The attack catalogue and every boundary second, against the verifier with a real key."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.fakes import FakeClock
from tests.issuer import Issuer, b64, ec_key, jwk, rsa_key, segment
from tests.unit.verification.proving import IDP, NOW, no_fetch, prove, provider

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
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import ClaimCheck
from tokenmint.verification.refusal_hints import FIREBASE_CUSTOM_TOKEN
from tokenmint.verification.verifier import Verifier


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
    """A token with any header, signed with RS256 even where the header says otherwise."""
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


async def test_a_token_without_kid_needs_a_key_that_fits() -> None:
    token = IDP.token(NOW, headers={"kid": None})
    assert (await prove(token)).subject == "1842"
    two = json.dumps({"keys": [jwk(rsa_key(), kid="k1"), jwk(rsa_key(1), kid="k2")]}).encode()
    assert (await prove(token, provider(two))).subject == "1842"
    with pytest.raises(UnknownKey):
        await prove(token, provider(two, key_id_required=True))


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
        ("application/jwt", ID_TOKEN, True), ("Application/JWT", JWT, True), ("application/jwt", ACCESS_TOKEN, False),
        ("AT+JWT", ACCESS_TOKEN, True), ("at+jwt", JWT, True), ("text/jwt", ID_TOKEN, False),
        ("application/x/jwt", ID_TOKEN, False), ("client-authentication+jwt", JWT, False),
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


async def test_an_access_token_that_is_sent_as_a_jwt_is_judged_as_what_it_is() -> None:
    token = IDP.token(NOW, headers={"typ": "at+jwt"})
    check = ClaimCheck(("client_id",), "present", token_types=frozenset({ACCESS_TOKEN}))
    every = provider(token_types=frozenset({ID_TOKEN, JWT, ACCESS_TOKEN}), checks=(check,))
    with pytest.raises(ClaimRejected, match="client_id"):
        await prove(token, every, kind=JWT)
    assert (
        await prove(IDP.token(NOW, headers={"typ": "at+jwt"}, client_id="c"), every, kind=JWT)
    ).token_type == ACCESS_TOKEN
    for kinds in (frozenset({JWT}), frozenset({ID_TOKEN, JWT})):
        with pytest.raises(UnsupportedTokenType, match="send it as urn:ietf:params:oauth:token-type:access_token"):
            await prove(token, provider(token_types=kinds), kind=JWT)


async def test_rfc_9864_ed25519_and_eddsa_are_one_algorithm_for_a_provider_too() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    keys = json.dumps({"keys": [jwk(private, kid="k1", alg="EdDSA")]}).encode()
    for algorithm in ("EdDSA", "Ed25519"):
        table = {"issuer": IDP.url, "audiences": ["app"], "jwks": keys.decode(), "algorithms": [algorithm]}
        entry = provider_from_table("ed", table, own_issuer="https://me.example")
        for named in ("EdDSA", "Ed25519"):
            signed = f"{segment({'alg': named, 'kid': 'k1'})}.{segment(IDP.claims(NOW))}"
            token = f"{signed}.{b64(private.sign(signed.encode()))}"
            assert await prove(token, entry)


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        ({"token_types": frozenset({ID_TOKEN})}, {}, "the token_types of idp do not list urn:ietf:params:oauth"),
        ({}, {}, "untyped_access_tokens = true accepts"),
        ({"untyped_access_tokens": True}, {"aud": None}, "the token has no aud: audience_claims names"),
        ({"untyped_access_tokens": True, "audience_claims": ("azp",)}, {"aud": None}, "neither aud nor a text"),
    ],
)
async def test_a_refused_access_token_names_the_setting_that_would_accept_it(
    settings: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    every = provider(**{"token_types": frozenset({ACCESS_TOKEN}), **settings})
    with pytest.raises(TokenRejected) as refused:
        await prove(IDP.token(NOW, **changes), every, kind=ACCESS_TOKEN)
    assert words in f"{refused.value} {refused.value.detail}"


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


async def test_the_token_itself_appears_in_no_refusal() -> None:
    token = IDP.token(NOW, aud="other")
    with pytest.raises(WrongAudience) as refused:
        await prove(token)
    assert not any(part in repr(vars(refused.value)) for part in token.split("."))
    with pytest.raises(MalformedToken):
        await prove("x" * 100)
    assert isinstance(rsa_key(), rsa.RSAPrivateKey)
    assert jwt.get_unverified_header(token)["kid"] == "k1"


async def test_the_longest_token_is_a_setting_with_a_ceiling() -> None:
    token = IDP.token(NOW, roles=["orders"] * 2500)
    with pytest.raises(MalformedToken, match="longer than 16384"):
        await prove(token)
    one = provider()
    sets = KeySets({one.name: one.key_source}, fetch=no_fetch, clock=FakeClock(NOW))
    larger = Verifier({one.name: one}, sets, own_issuer="https://me.example", max_token=32 * 1024)
    assert await larger.verify(Secret(token), ID_TOKEN, nonce=None, now=NOW)
    with pytest.raises(MalformedToken, match="longer than 32768"):
        await larger.verify(Secret(IDP.token(NOW, x="y" * 40_000)), ID_TOKEN, nonce=None, now=NOW)

"""Firebase: ID tokens and session cookies, the bad ones that its SDKs document, and what is said of each."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes import FakeClock
from tests.issuer import Issuer, rsa_key, segment
from tests.unit.verification.proving import IDP, ME, NOW, prove, shipped

from tokenmint.base.token_errors import (
    AlgorithmNotAllowed,
    BadSignature,
    ClaimRejected,
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    TokenRejected,
    UnknownIssuer,
    UnknownKey,
    WrongAudience,
)
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JWT
from tokenmint.verification.key_source import FetchResult, KeySource
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.refusal_hints import FIREBASE_CUSTOM_TOKEN
from tokenmint.verification.verifier import Verifier

ID_TOKEN: dict[str, Any] = {
    "iss": "https://securetoken.google.com/proj",
    "aud": "proj",
    "auth_time": int(NOW) - 60,
    "user_id": "1842",
    "firebase": {"identities": {"google.com": ["4711"]}, "sign_in_provider": "google.com"},
}
COOKIE = ID_TOKEN | {"iss": "https://session.firebase.google.com/proj"}
FIREBASE = shipped("firebase", project="proj")
COOKIES = shipped("firebase-session-cookie", project="proj")
EITHER = pytest.mark.parametrize(
    ("entry", "claims"), [(FIREBASE, ID_TOKEN), (COOKIES, COOKIE)], ids=["ID token", "session cookie"]
)


def token(claims: dict[str, Any], headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return IDP.token(NOW, headers, **(claims | changes))


def hmac_signed(claims: dict[str, Any]) -> str:
    return jwt.encode(IDP.claims(NOW, **claims), b"k" * 32, algorithm="HS256", headers={"kid": "k1"})


@EITHER
async def test_a_good_one_is_proved(entry: Any, claims: dict[str, Any]) -> None:
    proved = await prove(token(claims), entry)
    assert (proved.subject, proved.issuer) == ("1842", claims["iss"])
    assert proved.claims["firebase"] == claims["firebase"]  # for mappings and conditions: the provider of the sign-in
    assert (await prove(token(claims), entry, kind=JWT)).subject == "1842"
    assert (await prove(token(claims, sub="s" * 128), entry)).subject == "s" * 128


# The eleven that firebase-admin's own tests go through, in its order; then what else its verifiers tell apart.
@EITHER
@pytest.mark.parametrize(
    ("case", "headers", "changes", "refusal", "words"),
    [
        ("1 no kid", {"kid": None}, {}, UnknownKey, "header has no kid"),
        ("2 unknown kid", {"kid": "foo"}, {}, UnknownKey, "key set"),
        ("3 wrong audience", {}, {"aud": "bad-audience"}, WrongAudience, "another audience"),
        ("4 wrong issuer", {}, {"iss": "https://securetoken.google.com/wrong-issuer"}, UnknownIssuer,
         "Firebase ID token, of a project that is not configured"),
        ("5 empty sub", {}, {"sub": ""}, ClaimRejected, "1 to 128"),
        ("6 sub is a number", {}, {"sub": 10}, ClaimRejected, "1 to 128"),
        ("7 sub of 129 characters", {}, {"sub": "a" * 129}, ClaimRejected, "1 to 128"),
        ("8 from the future", {}, {"iat": int(NOW) + 1000}, TokenNotYetValid, "not valid yet"),
        ("9 expired long ago", {}, {"iat": int(NOW) - 10000, "exp": int(NOW) - 3600}, TokenExpired, "expired"),
        ("10 expired beyond the skew", {}, {"iat": int(NOW) - 10000, "exp": int(NOW) - 30}, TokenExpired, "expired"),
        ("no sub", {}, {"sub": None}, ClaimRejected, "sub is not a string"),
        ("sub is a list", {}, {"sub": ["1842"]}, ClaimRejected, "sub is not a string"),
        ("no aud", {}, {"aud": None}, WrongAudience, "aud"),
        ("the project among other audiences", {}, {"aud": ["proj", "other"]}, WrongAudience, "several audiences"),
        ("no exp", {}, {"exp": None}, ClaimRejected, "exp and iat"),
        ("no auth_time", {}, {"auth_time": None}, ClaimRejected, "auth_time"),
        ("auth_time in the future", {}, {"auth_time": int(NOW) + 61}, ClaimRejected, "auth_time"),
        ("kid of another kind", {"kid": ""}, {}, UnknownKey, "key set"),
        ("a sibling's issuer", {}, {"iss": "https://securetoken.google.com/proj/"}, UnknownIssuer, "not configured"),
        ("Google's own issuer", {}, {"iss": "https://accounts.google.com"}, UnknownIssuer, "not a configured"),
    ],
)  # fmt: skip
async def test_the_bad_ones_of_firebases_sdks(
    entry: Any,
    claims: dict[str, Any],
    case: str,
    headers: Any,
    changes: Any,
    refusal: type[TokenRejected],
    words: str,
) -> None:
    with pytest.raises(refusal) as refused:
        await prove(token(claims, headers, **changes), entry)
    assert words in refused.value.message, case


@EITHER
async def test_the_bad_ones_that_are_not_made_by_changing_a_claim(entry: Any, claims: dict[str, Any]) -> None:
    for bad in ("foobar", "", "a.b", "a.b.c", "..", token(claims) + "."):  # the eleventh: bad format
        with pytest.raises(MalformedToken):
            await prove(bad, entry)
    with pytest.raises(AlgorithmNotAllowed):
        await prove(hmac_signed(claims), entry)
    with pytest.raises(AlgorithmNotAllowed):
        await prove(f"{segment({'alg': 'none', 'kid': 'k1'})}.{segment(IDP.claims(NOW, **claims))}.", entry)
    with pytest.raises(BadSignature):
        await prove(Issuer(key=rsa_key(1)).token(NOW, **claims), entry)
    with pytest.raises(BadSignature):
        await prove(token(claims)[:-12] + "AAAAAAAAAAAA", entry)


async def test_what_was_sent_in_an_id_tokens_place_is_named() -> None:
    custom = {"iss": "sa@proj.iam.gserviceaccount.com", "sub": "sa@proj.iam.gserviceaccount.com", "uid": "1842",
              "aud": FIREBASE_CUSTOM_TOKEN}  # fmt: skip
    legacy = jwt.encode({"v": 0, "d": {"uid": "1842"}, "iat": int(NOW)}, b"s" * 32, algorithm="HS256")
    cases: list[tuple[Any, str, type[TokenRejected], str]] = [
        (FIREBASE, token(custom, {"kid": None}), WrongAudience, "Firebase custom token: sign in to Firebase with it"),
        (COOKIES, token(custom), WrongAudience, "Firebase custom token"),
        (FIREBASE, legacy, WrongAudience, "legacy Firebase custom token"),
        (FIREBASE, token(COOKIE), UnknownIssuer, "session cookie of a Firebase project"),
        (COOKIES, token(ID_TOKEN), UnknownIssuer, "Firebase ID token"),
        (FIREBASE, "ya29.a0AfH6SMBx", MalformedToken, "opaque"),  # an OAuth access token of Google's
        (FIREBASE, "AMf-vBw0Zl1k", MalformedToken, "opaque"),  # a refresh token
    ]
    for entry, given, refusal, words in cases:
        with pytest.raises(refusal) as refused:
            await prove(given, entry)
        assert words in refused.value.message
        assert given not in repr(vars(refused.value))


async def test_no_key_set_is_asked_for_another_kinds_tokens() -> None:
    # Each has keys of its own: an ID token that a cookie's key has signed is none, and the other way round.
    other = Issuer(key=rsa_key(1))
    both = (shipped("firebase", project="proj"), provider_from_table(
        "cookies", {"use": "firebase-session-cookie", "project": "proj", "jwks": other.jwks().decode()}, own_issuer=ME
    ))  # fmt: skip
    assert (await prove(token(ID_TOKEN), *both)).provider == "p"
    assert (await prove(other.token(NOW, **COOKIE), *both)).provider == "cookies"
    for crossed in (other.token(NOW, **ID_TOKEN), token(COOKIE)):
        with pytest.raises(BadSignature):
            await prove(crossed, *both)


@pytest.mark.parametrize(("name", "claims"), [("firebase", ID_TOKEN), ("firebase-session-cookie", COOKIE)])
async def test_a_tenants_users_are_that_tenants_alone(name: str, claims: dict[str, Any]) -> None:
    def of(tenant: object) -> str:
        return token(claims, firebase={"sign_in_provider": "password", "tenant": tenant})

    none, some = shipped(name, project="proj"), shipped(name, project="proj", tenants=["acme-1", "bolt-2"])
    with pytest.raises(ClaimRejected, match="names no tenants"):
        await prove(of("acme-1"), none)
    # The same uid in two tenants is two people.
    assert (await prove(of("acme-1"), some)).subject == "acme-1/1842"
    assert (await prove(of("bolt-2"), some)).subject == "bolt-2/1842"
    for tenant in ("acme-2", "", None, ["acme-1"], {"acme-1": 1}, 1):
        with pytest.raises(ClaimRejected, match="none of the tenants"):
            await prove(of(tenant), some)
    with pytest.raises(ClaimRejected, match="none of the tenants"):
        await prove(token(claims, firebase=None), some)
    slash = await prove(token(claims, sub="x/1842", firebase={"tenant": "acme-1"}), some)
    assert slash.subject == "acme-1//x%2F1842"


async def test_claims_that_came_back_through_a_custom_token_are_there_and_name_nobody() -> None:
    proved = await prove(token(ID_TOKEN, roles=["admin"], tenant="acme", user_id="somebody-else"), FIREBASE)
    assert proved.subject == "1842"
    assert proved.claims["roles"] == ["admin"]  # the provider did say it; only a mapping of `assertion.roles` uses it


def certificate(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + timedelta(days=16)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return built.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("name", "claims", "url"),
    [
        ("firebase", ID_TOKEN,
         "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"),
        ("firebase-session-cookie", COOKIE, "https://www.googleapis.com/identitytoolkit/v3/relyingparty/publicKeys"),
        ("google", {"iss": "https://accounts.google.com"}, "https://www.googleapis.com/oauth2/v1/certs"),
    ],
)  # fmt: skip
async def test_keys_come_as_a_map_of_certificates_from_where_google_publishes_them(
    name: str, claims: dict[str, Any], url: str
) -> None:
    asked = []

    async def fetch(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        asked.append(url)
        body = json.dumps({"k1": certificate(rsa_key()), "k2": certificate(rsa_key(1))}).encode()
        return FetchResult(200, {"cache-control": "public, max-age=19802, must-revalidate"}, body)

    table: dict[str, Any] = {"project": "proj"} if name != "google" else {"audiences": ["app"], "x509_url": url}
    entry = provider_from_table("p", {"use": name, **table}, own_issuer=ME)
    sets = KeySets({"p": entry.key_source}, fetch=fetch, clock=FakeClock(NOW))
    verifier = Verifier({"p": entry}, sets, own_issuer=ME)
    for issuer in (Issuer(), Issuer(key=rsa_key(1), key_id="k2")):
        given = Secret(issuer.token(NOW, **claims))
        assert (await verifier.verify(given, JWT, nonce=None, now=NOW)).subject == "1842"
    assert asked == [url]  # once, for as long as max-age says
    status = sets.status("p")
    assert status.fresh_until is not None
    assert status.fresh_until - NOW == 19802


def test_the_jwk_variant_of_the_certificates_serves_as_well() -> None:
    url = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
    entry = provider_from_table("p", {"use": "firebase", "project": "proj", "jwks_url": url}, own_issuer=ME)
    assert (entry.key_source.kind, entry.key_source.url) == ("jwks", url)

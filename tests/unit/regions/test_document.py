"""The document of a region: forged, foreign and hostile ones are refused."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.regions import make_identity

from tokenmint.base.errors import ConfigurationError
from tokenmint.keys.signers.local import generate, key_id_of, public_jwk
from tokenmint.keys.types import RegionKey
from tokenmint.regions import document, given_up
from tokenmint.regions.document import MOST_KEYS, Document, RevocationPage
from tokenmint.regions.identity import DOCUMENT, REQUEST, Identity, RegionRefused, proved, read_identity
from tokenmint.verification.jwk_set import parse_jwks

ISSUER: Final = "https://tokens.example"
_, EU = make_identity("eu")
_, US = make_identity("us")
_, AUTHORITY = make_identity("authority")
JWK: Final = public_jwk(generate("ES256"))
KEY: Final = RegionKey(key_id_of(JWK, "eu"), "ES256", JWK)
PAGE: Final = RevocationPage(4096, ("1 0 1800000000 token:abc",), "5-0", more=True)
WRITTEN: Final = Document("eu", "ring", 7, 1000.5, 3600.0, (KEY,), {"eu.gone": 900.0}, ("statement",), PAGE)


def pinned(identity: Identity) -> Any:
    """Return the public keys of an identity, as a file of them is read."""
    return parse_jwks(json.dumps({"keys": [identity.public_jwk]}).encode()).keys


def read(text: str, **expected: str) -> Document:
    """Read a document that `eu` wrote for `us`."""
    names = {"issuer": ISSUER, "region": "eu", "to": "us"} | expected
    return document.read(text.encode(), pinned(EU), **names)


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of the document, with changes."""
    made = document.write(EU, ISSUER, WRITTEN, "us")
    found: dict[str, Any] = jwt.decode(made, options={"verify_signature": False})
    return found | changed


def test_a_document_is_read_as_it_was_written() -> None:
    assert read(document.write(EU, ISSUER, WRITTEN, "us")) == WRITTEN


def test_another_library_proves_it_by_the_public_key() -> None:
    made = document.write(EU, ISSUER, WRITTEN, "us")
    found = jwt.decode(
        made, jwt.PyJWK(EU.public_jwk), algorithms=["ES256"], audience="us", options={"verify_iat": False}
    )
    assert found["keys"] == [{"kid": KEY.key_id, "alg": "ES256", **JWK}]
    assert jwt.get_unverified_header(made)["typ"] == DOCUMENT


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: document.write(US, ISSUER, WRITTEN, "us"), "none of the pinned keys"),
        (lambda: EU.sign(REQUEST, claims()), "another typ"),
        (lambda: document.write(EU, ISSUER, WRITTEN, "ap"), "its aud is"),
        (lambda: document.write(EU, "https://other.example", WRITTEN, "us"), "its iss is"),
        (lambda: document.write(EU, ISSUER, replace(WRITTEN, region="us"), "us"), "its region is"),
        (lambda: document.write(EU, ISSUER, WRITTEN, "us")[:-4] + "AAAA", "none of the pinned keys"),
        (lambda: "not a document", "not a signed document"),
        (lambda: jwt.encode(claims(), "", algorithm="none", headers={"typ": DOCUMENT}), "none of the pinned keys"),
    ],
)
def test_a_document_of_another_origin_is_refused(made: Callable[[], str], reason: str) -> None:
    with pytest.raises(RegionRefused, match=reason):
        read(made())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"keys": [{"kid": key_id_of(JWK, "us"), "alg": "ES256", **JWK}]}, "does not have the id eu"),
        ({"keys": [{"kid": key_id_of(JWK, ""), "alg": "ES256", **JWK}]}, "does not have the id eu"),
        ({"keys": [{"kid": "eu.other", "alg": "ES256", **JWK}]}, "does not have the id eu"),
        ({"keys": [{"kid": KEY.key_id, "alg": "ES256", **JWK}] * 2}, "occurs twice"),
        ({"keys": [{"kid": KEY.key_id, **JWK, "alg": "RS256"}]}, "can't be used"),
        ({"keys": [{"kid": "eu.x", "kty": "oct", "k": "AAAA"}]}, "can't be used"),
        ({"keys": [{"kid": KEY.key_id, "alg": "ES256", **JWK}] * (MOST_KEYS + 1)}, "more than 64 keys"),
        ({"keys": "none"}, "keys is missing"),
        ({"revoked": {"us.key": 1.0}}, "not one of this region"),
        ({"revoked": {f"eu.{number}": 1.0 for number in range(201)}}, "more than 200"),
        ({"revoked": {"eu.key": "yesterday"}}, "not a number"),
        ({"generation": -1}, "generation"),
        ({"generation": 2**60}, "generation"),
        ({"generation": True}, "generation"),
        ({"iat": "now"}, "iat"),
        ({"ring": ""}, "ring"),
        ({"given_up": [1]}, "given_up"),
        ({"given_up": ["x" * 5000]}, "given_up"),
        ({"revocations": {"epoch": 1, "entries": [], "following": "x", "more": False}}, "not a place"),
        ({"revocations": {"epoch": 1, "entries": ["x"] * 1001, "following": "1-0", "more": False}}, "more than 1000"),
    ],
)
def test_a_region_can_say_nothing_but_what_is_its_own(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(RegionRefused, match=reason):
        read(EU.sign(DOCUMENT, claims(**changed)))


def test_long_keys_are_refused_before_their_weakness_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each of 8192 bits takes a second, and a document could have new ones each time.
    looked_at: list[int] = []

    def noted(key: Any) -> str:
        looked_at.append(key.public_key.key_size)
        return ""

    monkeypatch.setattr(document, "weakness", noted)
    made = {bits: rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key() for bits in (2048, 3072, 3080, 8192)}
    for bits, public in made.items():
        jwk = public_jwk(public)
        text = EU.sign(DOCUMENT, claims(keys=[{"kid": key_id_of(jwk, "eu"), "alg": "RS256", **jwk}]))
        if bits > 3072:
            with pytest.raises(RegionRefused, match="more than 3072 bits"):
                read(text)
        else:
            assert len(read(text).keys) == 1
    assert looked_at == [2048, 3072]


def test_a_weak_key_is_refused() -> None:
    jwk = public_jwk(rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key())  # it has a small factor
    with pytest.raises(RegionRefused, match="can't be used"):
        read(EU.sign(DOCUMENT, claims(keys=[{"kid": key_id_of(jwk, "eu"), "alg": "RS256", **jwk}])))


def test_private_members_of_a_key_are_not_taken_over() -> None:
    with pytest.raises(RegionRefused, match="can't be used"):
        read(EU.sign(DOCUMENT, claims(keys=[{"kid": KEY.key_id, "alg": "ES256", **JWK, "d": "AAAA"}])))
    found = read(EU.sign(DOCUMENT, claims(keys=[{"kid": KEY.key_id, "alg": "ES256", **JWK, "x5u": "https://a"}])))
    assert found.keys == (KEY,)


@given(st.binary(max_size=200) | st.text(alphabet="eyJhbGciOi.AB-_", max_size=100).map(str.encode))
def test_any_bytes_are_a_refusal(text: bytes) -> None:
    with pytest.raises(RegionRefused):
        document.read(text, pinned(EU), issuer=ISSUER, region="eu", to="us")


@given(
    st.dictionaries(st.sampled_from(list(claims())), st.none() | st.integers() | st.text() | st.lists(st.integers()))
)
def test_any_claims_are_read_or_refused(changed: dict[str, Any]) -> None:
    with contextlib.suppress(RegionRefused):
        read(EU.sign(DOCUMENT, claims(**changed)))


def test_only_the_authority_gives_up_a_region() -> None:
    statement = given_up.state(AUTHORITY, ISSUER, "eu", 1000.0)
    assert given_up.region_of(statement, pinned(AUTHORITY), ISSUER) == "eu"
    with pytest.raises(RegionRefused):
        given_up.region_of(given_up.state(US, ISSUER, "eu", 1000.0), pinned(AUTHORITY), ISSUER)
    with pytest.raises(RegionRefused, match="another issuer"):
        given_up.region_of(statement, pinned(AUTHORITY), "https://other.example")
    with pytest.raises(RegionRefused, match="another typ"):
        given_up.region_of(AUTHORITY.sign(DOCUMENT, {"iss": ISSUER, "region": "eu"}), pinned(AUTHORITY), ISSUER)


def test_a_private_key_of_another_kind_is_refused() -> None:
    for content in (b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ConfigurationError, match=r"regions\.key_file"):
            read_identity("regions.key_file", [content])


def test_a_token_of_the_issuer_is_no_document() -> None:
    token = EU.sign("at+jwt", {"iss": ISSUER, "aud": "us", "region": "eu"})
    with pytest.raises(RegionRefused, match="another typ"):
        proved(token.encode(), DOCUMENT, pinned(EU), 10_000)

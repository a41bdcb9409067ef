"""DPoP proofs, by the sections of RFC 9449."""

import base64
import hashlib
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeClock
from tests.issuer import b64, ec_key, jwk, rsa_key, segment

from tokenmint.base.errors import ProofRejected
from tokenmint.model.secret import Secret
from tokenmint.storage.redis import Store
from tokenmint.verification.dpop import MAX_AGE, MAX_AHEAD, check_proof
from tokenmint.verification.replay import ReplayGuard

NOW = 1_800_000_000.0
URL = "https://tokens.example/oauth2/token"
TOKEN = Secret("an.access.token")


def ath(token: Secret) -> str:
    return b64(hashlib.sha256(token.reveal_bytes()).digest())


def proof(headers: dict[str, Any] | None = None, key: Any = None, alg: str = "ES256", **changes: Any) -> Secret:
    """A good proof; a change to None removes a member."""
    signer = key or ec_key()
    header = {"typ": "dpop+jwt", "jwk": jwk(signer), **(headers or {})}
    claims = {"jti": "j1", "htm": "POST", "htu": URL, "iat": int(NOW), **changes}
    return Secret(
        jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            signer,
            algorithm=alg,
            headers={name: value for name, value in header.items() if value is not None},
        )
    )


def check(given_proof: Secret, now: float = NOW, token: Secret | None = None) -> str:
    return check_proof(given_proof, method="POST", url=URL, now=now, access_token=token).thumbprint


def test_section_6_1_the_thumbprint_is_that_of_the_key() -> None:
    public = jwk(ec_key())
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{public["x"]}","y":"{public["y"]}"}}'.encode()
    assert check(proof()) == base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    assert check(proof(key=rsa_key(), alg="RS256")) != check(proof())
    assert check(proof(key=rsa_key(), alg="PS256")) == check(proof(key=rsa_key(), alg="RS256"))


def unsigned() -> Secret:
    header = {"typ": "dpop+jwt", "alg": "none", "jwk": jwk(ec_key())}
    return Secret(f"{segment(header)}.{segment({'jti': 'j', 'htm': 'POST', 'htu': URL, 'iat': int(NOW)})}.")


def symmetric() -> Secret:
    header = {"typ": "dpop+jwt", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}}
    return Secret(jwt.encode({"jti": "j"}, b"k" * 32, algorithm="HS256", headers=header))


def private() -> dict[str, Any]:
    return {"jwk": jwk(ec_key(), d=b64(b"d" * 32))}


@pytest.mark.parametrize(
    ("section", "refused", "why"),
    [
        ("4.3 check 2: one well-formed JWT", Secret("no.jwt"), "well-formed"),
        ("4.3 check 2: not two", Secret(proof().reveal() + "," + proof().reveal()), "well-formed"),
        ("4.3 check 3: jti", proof(jti=None), "jti"),
        ("4.3 check 3: jti is a string", proof(jti=5), "jti"),
        ("4.3 check 3: jti is not empty", proof(jti=""), "jti"),
        ("4.3 check 3: jti is not boundless", proof(jti="j" * 256), "jti"),
        ("4.3 check 3: htm", proof(htm=None), "htm"),
        ("4.3 check 3: htu", proof(htu=None), "htu"),
        ("4.3 check 3: iat", proof(iat=None), "iat"),
        ("4.3 check 3: iat is a number", proof(iat="now"), "iat"),
        ("4.3 check 3: iat is no boolean", proof(iat=True), "iat"),
        ("4.3 check 3: iat is no number beyond doubles", proof(iat=-(10**400)), "well-formed"),
        ("4.3 check 3: iat is none far away", proof(iat=-(10**300)), "older"),
        ("4.3 check 3: nor far ahead", proof(iat=10**300), "future"),
        ("4.3 check 4: typ", proof({"typ": "JWT"}), "typ"),
        ("4.3 check 4: typ missing", proof({"typ": None}), "typ"),
        ("4.3 check 5: none", unsigned(), "alg"),
        ("4.3 check 5: symmetric", symmetric(), "alg"),
        ("4.3 check 5: alg and key differ", proof({"jwk": jwk(rsa_key())}), "fit"),
        ("4.3 check 6: another's key", proof({"jwk": jwk(ec_key(1))}), "signature"),
        ("4.3 check 6: no key", proof({"jwk": None}), "jwk"),
        ("4.3 check 7: a private key", proof(private()), "private"),
        ("4.3 check 8: another method", proof(htm="GET"), "htm"),
        ("4.3 check 8: the method's case", proof(htm="post"), "htm"),
        ("4.3 check 9: another path", proof(htu="https://tokens.example/oauth2/revoke"), "htu"),
        ("4.3 check 9: another host", proof(htu="https://tokens.example.org/oauth2/token"), "htu"),
        ("4.3 check 9: another scheme", proof(htu="http://tokens.example/oauth2/token"), "htu"),
        ("4.3 check 9: user info", proof(htu="https://x@tokens.example/oauth2/token"), "htu"),
        ("4.3 check 9: no URL", proof(htu="https://[x/oauth2/token"), "htu"),
        ("4.3 check 9: a trailing slash", proof(htu=URL + "/"), "htu"),
        ("4.3 check 9: a tab, which URL parsers leave out", proof(htu="https://tokens.example/oauth2/\ttoken"), "htu"),
        ("4.3 check 9: a line's end", proof(htu=URL + "\n"), "htu"),
        ("4.3 check 9: a space", proof(htu=" " + URL), "htu"),
        ("4.3 check 9: a backslash", proof(htu="https://tokens.example\\oauth2/token"), "htu"),
        ("4.3 check 9: another port", proof(htu="https://tokens.example:8443/oauth2/token"), "htu"),
        ("4.3 check 9: port 0", proof(htu="https://tokens.example:0/oauth2/token"), "htu"),
        ("4.3 check 9: dots that lead elsewhere", proof(htu="https://tokens.example/oauth2/x/../../token"), "htu"),
        ("4.3 check 9: an escaped slash", proof(htu="https://tokens.example/oauth2%2Ftoken"), "htu"),
        ("4.3 check 9: an escape that is none", proof(htu="https://tokens.example/oauth2/%7token"), "htu"),
        ("4.3 check 9: an escape of an escape", proof(htu="https://tokens.example/oauth2/%2574oken"), "htu"),
        ("4.3 check 9: a host's dot", proof(htu="https://tokens.example./oauth2/token"), "htu"),
        ("4.3 check 9: a look-alike", proof(htu="https://tokens.ex\u0430mple/oauth2/token"), "htu"),
        ("4.3 check 9: a list", proof(htu=[URL]), "htu"),
        ("RFC 7515 4.1.11: crit", proof({"crit": ["exp"], "exp": 1}), "well-formed"),
        ("RFC 8725 3.2: weak RSA", proof({"jwk": {**jwk(rsa_key()), "e": "AQ"}}, rsa_key(), "RS256"), "exponent"),
    ],
)  # fmt: skip
def test_section_4_3_what_is_refused(section: str, refused: Secret, why: str) -> None:
    with pytest.raises(ProofRejected) as error:
        check(refused)
    assert why in error.value.message


@pytest.mark.parametrize(
    "htu",
    [
        "https://tokens.example/x/../oauth2/token", "https://tokens.example/./oauth2/a/../%74oken",
        "https://tokens.example/../oauth2/%74%6f%6Ben",
        URL + "?a=b", URL + "#part", "HTTPS://Tokens.Example/oauth2/token", URL.replace("/oauth2", ":443/oauth2")],
)  # fmt: skip
def test_section_4_3_check_9_query_fragment_and_spelling_do_not_count(htu: str) -> None:
    assert check(proof(htu=htu))


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [(MAX_AHEAD, True), (MAX_AHEAD + 1, False), (0, True), (1 - MAX_AGE, True), (-MAX_AGE, False)],
)
def test_section_11_1_the_window_of_iat(offset: float, accepted: bool) -> None:
    made = proof(iat=int(NOW + offset))
    if accepted:
        assert check(made)
    else:
        with pytest.raises(ProofRejected, match=r"iat|older"):
            check(made)


def test_section_4_2_a_token_that_is_presented_has_its_hash_in_ath() -> None:
    assert check(proof(ath=ath(TOKEN)), token=TOKEN)
    for wrong in (None, "", 7, ath(Secret("another")), ath(TOKEN) + "=", "\u00e9"):
        with pytest.raises(ProofRejected, match="ath"):
            check(proof(ath=wrong), token=TOKEN)


async def test_section_11_1_a_proof_is_used_once(store: Store, clock: FakeClock) -> None:
    guard = ReplayGuard(store)
    first = check_proof(proof(), method="POST", url=URL, now=NOW)
    await guard.consume_proof(first, now=NOW)
    with pytest.raises(ProofRejected, match="used before"):
        await guard.consume_proof(first, now=NOW + 1)
    await guard.consume_proof(check_proof(proof(jti="j2"), method="POST", url=URL, now=NOW), now=NOW)
    # Another key's jti is another one: nobody can use up somebody else's.
    other = check_proof(proof(key=rsa_key(), alg="RS256"), method="POST", url=URL, now=NOW)
    await guard.consume_proof(other, now=NOW)


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_refused_in_words(raw: bytes) -> None:
    with pytest.raises(ProofRejected):
        check(Secret(raw))


@pytest.mark.parametrize("typ", ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt", "Application/DPOP+jwt"])
def test_rfc_7515_section_4_1_9_the_typ_is_a_media_type(typ: str) -> None:
    assert check(proof({"typ": typ}))
    for other in (f"x{typ}", f"text/{typ}", f"application/application/{typ}", ""):
        with pytest.raises(ProofRejected, match="typ"):
            check(proof({"typ": other}))

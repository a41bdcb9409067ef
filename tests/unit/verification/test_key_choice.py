"""Which key a token may be signed with (RFC 7515 section 6), over real key sets and real signatures."""

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.issuer import Issuer, b64, ec_key, jwk, rsa_key
from tests.unit.verification.proving import NOW, prove, provider
from tests.unit.verification.test_jwk import certificate

from tokenmint.base.token_errors import BadSignature, TokenRejected, UnknownKey
from tokenmint.verification.jwk import parse_jwk
from tokenmint.verification.jwk_set import parse_x509_map
from tokenmint.verification.key_choice import MOST_TRIED

CLAIMS = Issuer().claims(NOW)


def key_set(*members: dict[str, Any]) -> bytes:
    return json.dumps({"keys": members}).encode()


def token(index: int, header: dict[str, Any]) -> str:
    return jwt.encode(CLAIMS, rsa_key(index), algorithm="RS256", headers=header)


async def test_x5t_and_x5t_s256_name_a_key_by_what_it_says_of_its_certificate() -> None:
    for name in ("x5t", "x5t#S256"):
        by_member = key_set(jwk(rsa_key(0), kid="a", **{name: "A"}), jwk(rsa_key(1), kid="b", **{name: "B"}))
        by_kid = key_set(jwk(rsa_key(0), kid="A"), jwk(rsa_key(1), kid="B"))
        for keys in (by_member, by_kid):
            assert await prove(token(1, {name: "B"}), provider(keys))
            with pytest.raises(BadSignature):
                await prove(token(1, {name: "A"}), provider(keys))
            for unknown in ("C", "", 7, None, ["B"], "B" * 200):
                with pytest.raises(TokenRejected) as refused:
                    await prove(token(1, {name: unknown}), provider(keys))
                assert isinstance(refused.value, UnknownKey)
    # Both have to name the same key.
    both = key_set(
        jwk(rsa_key(0), kid="a", **{"x5t": "A", "x5t#S256": "1"}),
        jwk(rsa_key(1), kid="b", **{"x5t": "B", "x5t#S256": "2"}),
    )
    assert await prove(token(1, {"x5t": "B", "x5t#S256": "2"}), provider(both))
    with pytest.raises(UnknownKey):
        await prove(token(1, {"x5t": "B", "x5t#S256": "1"}), provider(both))


async def test_a_certificate_in_x5c_names_its_own_key_alone() -> None:
    pem = certificate(rsa_key(1))
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    chain = [base64.b64encode(der).decode()]
    names = {"x5t": b64(hashlib.sha1(der).digest()), "x5t#S256": b64(hashlib.sha256(der).digest())}  # noqa: S324
    keys = key_set(jwk(rsa_key(0), kid="a", x5c=chain), jwk(rsa_key(1), kid="b", x5c=chain))
    for name, value in names.items():
        assert await prove(token(1, {name: value}), provider(keys))
    assert parse_jwk(jwk(rsa_key(0), x5c=chain)).certificates == frozenset()
    for wrong in (["%%%"], [7], "text", [b64(b"no certificate")], [], [chain[0] * 9]):
        assert parse_jwk(jwk(rsa_key(0), x5c=wrong)).certificates == frozenset()
    assert parse_x509_map(json.dumps({"a": pem}).encode()).keys[0].certificates == set(names.items())


async def test_a_kid_that_no_key_has_is_refused_also_where_a_certificate_fits() -> None:
    keys = key_set(jwk(rsa_key(0), kid="a", x5t="A"), jwk(rsa_key(1), kid="b", x5t="B"))
    assert await prove(token(1, {"kid": "b", "x5t": "B"}), provider(keys))
    with pytest.raises(UnknownKey):
        await prove(token(1, {"kid": "c", "x5t": "B"}), provider(keys))


async def test_a_token_that_names_no_key_is_tried_with_those_that_fit() -> None:
    keys = key_set(
        jwk(ec_key()), jwk(rsa_key(0), use="enc"), jwk(rsa_key(0), alg="PS256"), *[jwk(rsa_key(i)) for i in (0, 1)]
    )
    assert await prove(token(1, {}), provider(keys))
    with pytest.raises(BadSignature):
        await prove(token(2, {}), provider(keys))
    many = [jwk(rsa_key(0), kid=str(number)) for number in range(MOST_TRIED)]
    assert await prove(token(1, {}), provider(key_set(*many[1:], jwk(rsa_key(1)))))
    with pytest.raises(BadSignature):  # a fifth key is not tried
        await prove(token(1, {}), provider(key_set(*many, jwk(rsa_key(1)))))
    with pytest.raises(UnknownKey):
        await prove(token(1, {}), provider(keys, key_id_required=True))
    with pytest.raises(UnknownKey):
        await prove(token(1, {}), provider(key_set(jwk(ec_key()), jwk(ec_key(1)))))


async def test_of_many_keys_with_one_name_a_few_are_tried() -> None:
    """A thousand keys of P-521 with one kid took 0.7 s of a processor for each token that names it."""
    for name in ("kid", "x5t"):
        first = [jwk(ec_key(), **{name: "a"})] + [jwk(rsa_key(0), **{name: "a"}) for _ in range(MOST_TRIED - 1)]
        assert await prove(token(1, {name: "a"}), provider(key_set(*first, jwk(rsa_key(1), **{name: "a"}))))
        many = [*first, jwk(rsa_key(0), **{name: "a"}), jwk(rsa_key(1), **{name: "a"})]
        with pytest.raises(BadSignature):  # a fifth key of the token's algorithm is not tried
            await prove(token(1, {name: "a"}), provider(key_set(*many)))


async def test_a_single_key_without_a_name_is_tried_with_any_name() -> None:
    assert await prove(token(0, {"kid": "any"}), provider(key_set(jwk(rsa_key(0)))))
    assert await prove(token(0, {"x5t": "any"}), provider(key_set(jwk(rsa_key(0)))))
    with pytest.raises(BadSignature):
        await prove(token(1, {"kid": "any"}), provider(key_set(jwk(rsa_key(0)))))
    for keys in (key_set(jwk(rsa_key(0), kid="a")), key_set(jwk(rsa_key(0)), jwk(rsa_key(1)))):
        with pytest.raises(UnknownKey):
            await prove(token(0, {"kid": "any"}), provider(keys))
    with pytest.raises(UnknownKey):
        await prove(token(0, {"x5t": "any"}), provider(key_set(jwk(rsa_key(0), x5t="its own"))))

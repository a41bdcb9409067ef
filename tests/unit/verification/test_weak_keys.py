"""Keys that anybody can sign for are refused, with the reason; each is judged once."""

import hashlib
import json
import math
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import FakeClock
from tests.issuer import b64, jwk, rsa_key, segment
from tests.unit.verification.fetching import FakeFetch, sets

from tokenmint.base.errors import KeySetInvalid, ProofRejected
from tokenmint.base.threads import Threads
from tokenmint.model.secret import Secret
from tokenmint.verification import weak_keys
from tokenmint.verification.dpop import check_proof
from tokenmint.verification.jwk import BadKey, parse_jwk
from tokenmint.verification.jwk_set import parse_jwks, parse_x509_map
from tokenmint.verification.weak_keys import Verdicts, ed25519_weakness, rsa_weakness

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 section 5.1
NOW = 1_800_000_000


def uint(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8))


@cache
def prime(bits: int = 2048) -> int:
    """A prime of so many bits: one of a key's of twice as many."""
    return rsa_key(0, 2 * bits).private_numbers().p


def coprime(number: int) -> int:
    """The next number without small factors, so that only what was put into it gives it away."""
    number |= 1
    while math.gcd(number, weak_keys._small_primes()) != 1:
        number += 2
    return number


def noise(seed: bytes) -> int:
    """2048 bits, half of them ones."""
    return int.from_bytes(hashlib.shake_256(seed).digest(256))


@cache
def weak_moduli() -> dict[str, tuple[int, str]]:
    honest = rsa_key().public_key().public_numbers().n
    return {
        "a prime": (prime(2048), "prime number"),
        "a prime of Mersenne": (2**2203 - 1, "repeat"),
        "a square": (prime(1024) ** 2, "close"),
        "a cube": (prime(1024) ** 3, "power"),
        "a fifth power": (prime(1024) ** 5, "power"),
        "the largest factor below the bound": (65521 * prime(2048), "factor below"),
        "the factor 3": (3 * prime(2048), "factor below"),
        "words of 64 bits": (0xC8E1A7F35B9D2467 * ((2**2048 - 1) // (2**64 - 1)), "factor|repeat"),
        "words of 32 bits, the last one another": (coprime(0xC8E1A7F3 * ((2**2048 - 1) // (2**32 - 1))), "repeat"),
        "words of 24 bits": (coprime(int.from_bytes(b"\xc8\xe1\xa7" * 86)), "repeat"),
        "sixteen equal bytes": (
            coprime(honest >> 1024 << 1024 | 0x77 * (2**128 - 1) // 255 << 512 | honest % 2**512), "repeat"
        ),
        "far more ones than zeros": (
            coprime(1 << 2047 | noise(b"1") | noise(b"2")), "of one value"
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", weak_moduli())
def test_a_modulus_that_anybody_can_factor_is_refused_with_the_reason(name: str) -> None:
    modulus, why = weak_moduli()[name]
    with pytest.raises(BadKey, match=why):
        parse_jwk({"kty": "RSA", "n": uint(modulus), "e": "AQAB"})


def test_words_that_repeat_are_found_where_small_factors_do_not_give_them_away() -> None:
    honest = rsa_key().public_key().public_numbers().n
    text = honest.to_bytes(256)
    for size in (4, 8, 16, 32):
        repeated = text[:64] + text[64 : 64 + size] * (64 // size) + text[128:]
        assert "repeat" in rsa_weakness(coprime(int.from_bytes(repeated))), size


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_an_honest_modulus_is_used(bits: int) -> None:
    assert rsa_weakness(rsa_key(0, bits).public_key().public_numbers().n) == ""


def test_both_ways_of_fermats_test_agree() -> None:
    for number, expected in [(prime(2048), True), (rsa_key().public_key().public_numbers().n, False)]:
        assert weak_keys._passes_in_library(number) is weak_keys._passes_in_steps(number) is expected
    assert weak_keys._library_can()


def forged(modulus: int, phi: int, signed: bytes) -> bytes:
    """An RS256 signature by the private exponent that follows from phi: nothing secret is used."""
    exponent = pow(65537, -1, phi)
    padded = weak_keys._padded(signed, 256)
    return pow(padded, exponent, modulus).to_bytes(256)


def test_a_signature_made_from_the_public_key_alone_would_verify() -> None:
    """Why such keys have to go: the library takes the signature."""
    modulus = prime(2048)
    rsa.RSAPublicNumbers(65537, modulus).public_key().verify(
        forged(modulus, modulus - 1, b"m"), b"m", padding.PKCS1v15(), hashes.SHA256()
    )


def small_order() -> set[bytes]:
    """Every encoding of a point of small order, by the points of order 8 found on the curve."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    found = {0, 1, FIELD - 1}
    for y in range(2, FIELD):
        # A point times the group's odd order has small order: one of order 8 is met soon.
        point = weak_keys._decoded(y.to_bytes(32, "little"))
        if point is None:
            continue
        order = 2**252 + 27742317777372353535851937790883648493
        total: tuple[int, int] = (0, 1)
        while order:
            if order & 1:
                total = plus(total, point, d)
            point = plus(point, point, d)
            order >>= 1
        found.add(total[1])
        if len(found) == 5:
            break
    ys = found | {y + FIELD for y in found if y + FIELD < 2**255}
    return {(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)}


def plus(one: tuple[int, int], other: tuple[int, int], d: int) -> tuple[int, int]:
    (a, b), (x, y) = one, other
    product = d * a * b * x * y % FIELD
    return (
        (a * y + b * x) * pow(1 + product, -1, FIELD) % FIELD,
        (b * y + a * x) * pow(1 - product, -1, FIELD) % FIELD,
    )


def test_points_of_small_order_in_every_encoding_are_no_keys() -> None:
    encodings = small_order()
    assert len(encodings) == 14
    for encoding in encodings:
        with pytest.raises(BadKey, match=r"small order|encoding"):
            parse_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64(encoding)})


def test_the_base_point_and_those_a_small_order_away_are_no_keys() -> None:
    base = (4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little")
    for encoding in (base, base[:31] + bytes([base[31] | 0x80])):
        assert "base point" in ed25519_weakness(encoding)
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    point = weak_keys._decoded(base)
    assert point is not None
    x, y = plus(point, (0, FIELD - 1), d)
    assert "base point" in ed25519_weakness((y | (x & 1) << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("scalar", [2, 3, 16])
def test_a_small_multiple_of_the_base_point_of_ed25519_is_no_key(scalar: int) -> None:
    """The scalar signs as well as the seed does, which nobody needs."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    base = weak_keys._decoded((4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little"))
    assert base is not None
    point = base
    for _ in range(scalar - 1):
        point = plus(point, base, d)

    def encoded(x: int, y: int) -> bytes:
        return (y | (x & 1) << 255).to_bytes(32, "little")

    public = encoded(*point)

    def forged(data: bytes) -> bytes:  # with 0 for the secret nonce, and no secret at all
        identity = encoded(0, 1)
        challenge = int.from_bytes(hashlib.sha512(identity + public + data).digest(), "little")
        return identity + (challenge * scalar % ORDER).to_bytes(32, "little")

    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(forged(b"any text"), b"any text")
    key: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
    with pytest.raises(BadKey, match="small multiple of the base point"):
        parse_jwk(key)
    with pytest.raises(ProofRejected, match="small multiple of the base point"):
        check_proof(
            dpop_proof({"alg": "EdDSA", "jwk": key}, forged), method="POST", url="https://t.example/token", now=NOW
        )
    negative = encoded(FIELD - point[0], point[1])
    assert "small multiple" in ed25519_weakness(negative)


@given(st.binary(min_size=32, max_size=32))
def test_what_is_no_point_is_no_key_and_what_a_library_makes_is_one(seed: bytes) -> None:
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert ed25519_weakness(public) == ""
    assert weak_keys._decoded(seed) is not None or "encoding" in ed25519_weakness(seed)


def dpop_proof(header: dict[str, Any], sign: Any) -> Secret:
    claims = {"jti": "j", "htm": "POST", "htu": "https://t.example/token", "iat": NOW}
    signed = f"{segment({'typ': 'dpop+jwt', **header})}.{segment(claims)}"
    return Secret(f"{signed}.{b64(sign(signed.encode()))}")


def test_a_dpop_proof_that_was_made_without_a_private_key_is_refused() -> None:
    """With the identity as key, R = [S]B verifies for every S: S = 0 and R the identity for every message."""
    identity = (1).to_bytes(32, "little")
    header = {"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(identity)}}
    with pytest.raises(ProofRejected, match="small order"):
        check_proof(
            dpop_proof(header, lambda _: identity + bytes(32)), method="POST", url="https://t.example/token", now=NOW
        )


def test_a_dpop_proof_by_a_prime_modulus_is_refused_and_large_keys_are_not_judged_at_all() -> None:
    modulus = prime(2048)
    header = {"alg": "RS256", "jwk": {"kty": "RSA", "n": uint(modulus), "e": "AQAB"}}
    forgery = dpop_proof(header, lambda signed: forged(modulus, modulus - 1, signed))
    with pytest.raises(ProofRejected, match="prime number"):
        check_proof(forgery, method="POST", url="https://t.example/token", now=NOW)
    large = dpop_proof({"alg": "RS256", "jwk": jwk(rsa_key(0, 4096))}, lambda _: bytes(512))
    with pytest.raises(ProofRejected, match="3072 bits"):
        check_proof(large, method="POST", url="https://t.example/token", now=NOW)


def test_a_key_is_judged_once_for_all_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def judge(modulus: int) -> str:
        judged.append(modulus)
        return "weak"

    monkeypatch.setattr(weak_keys, "rsa_weakness", judge)
    verdicts = Verdicts()
    assert [verdicts.of_rsa("one", 5) for _ in range(3)] == ["weak"] * 3
    assert verdicts.of_rsa("two", 7) == "weak"
    assert judged == [5, 7]


def test_verdicts_are_bounded() -> None:
    verdicts = Verdicts(entries=10)
    for number in range(50):
        verdicts.of_ed25519(f"{number:043}", bytes(32))
    assert len(verdicts) == 10


def test_a_weak_key_is_left_out_of_a_set_and_the_others_stay() -> None:
    weak = {"kty": "RSA", "n": uint(prime(2048)), "e": "AQAB", "kid": "weak\n"[:4]}
    parsed = parse_jwks(json.dumps({"keys": [weak, jwk(rsa_key(), kid="good")]}).encode())
    assert [key.key_id for key in parsed.keys] == ["good"]
    assert parsed.skipped[0].startswith("key 0 ('weak'): its RSA modulus is a prime number")


async def test_keys_are_judged_beside_other_work_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred keys of 3072 bits, which a hostile provider makes at no cost, kept every caller waiting for 1.5 s."""
    judged: list[str] = []

    def noted(kind: str) -> Callable[[object], str]:
        def judge(_: object) -> str:
            judged.append(f"{kind}, {threading.current_thread() is threading.main_thread()}")
            return ""

        return judge

    monkeypatch.setattr(weak_keys, "rsa_weakness", noted("RSA"))
    monkeypatch.setattr(weak_keys, "ed25519_weakness", noted("Ed25519"))
    fetch, clock = FakeFetch(), FakeClock(NOW)
    edwards = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    members = [jwk(rsa_key(21), kid="usual"), {"kty": "OKP", "crv": "Ed25519", "x": b64(edwards), "kid": "ed"}]
    fetch.serve(json.dumps({"keys": members}).encode())
    key_sets = sets(fetch, clock)
    for _ in range(2):
        assert (await key_sets.refresh("idp")).key_ids == ("usual", "ed")
    assert judged == ["RSA, False", "Ed25519, False"]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("scalar", [1, 2, 16])
def test_a_small_multiple_of_the_base_point_is_no_key(curve: ec.EllipticCurve, scalar: int) -> None:
    known = ec.derive_private_key(scalar, curve)
    with pytest.raises(BadKey, match="small multiple of the base point"):
        parse_jwk(jwk(known))
    if curve.name != "secp256r1":
        return
    header = {"alg": "ES256", "jwk": jwk(known)}

    def signed(data: bytes) -> bytes:
        r, s = decode_dss_signature(known.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    with pytest.raises(ProofRejected, match="small multiple of the base point"):
        check_proof(dpop_proof(header, signed), method="POST", url="https://t.example/token", now=NOW)


async def test_each_key_is_judged_in_a_thread_and_what_was_found_stays_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[str] = []
    run = Threads.run

    async def counted(self: Threads, function: Any, *arguments: Any) -> Any:
        threads.append(self._name)
        return await run(self, function, *arguments)

    monkeypatch.setattr(Threads, "run", counted)
    fetch, clock = FakeFetch(), FakeClock(NOW)
    fetch.serve(json.dumps({"keys": [jwk(rsa_key(7, 3080), kid="large"), jwk(rsa_key(22), kid="usual")]}).encode())
    key_sets = sets(fetch, clock)
    for _ in range(2):
        await key_sets.refresh("idp")
    assert threads == ["keys"] * 2
    assert key_sets.status("idp").key_ids == ("large", "usual")


async def test_a_set_of_weak_keys_alone_is_none() -> None:
    fetch, clock = FakeFetch(), FakeClock(NOW)
    fetch.serve(json.dumps({"keys": [{"kty": "RSA", "n": uint(prime(2048)), "e": "AQAB", "kid": "w"}]}).encode())
    with pytest.raises(KeySetInvalid, match="prime number"):
        await sets(fetch, clock).refresh("idp")


def test_certificates_keys_are_judged_too() -> None:
    from tests.unit.verification.test_jwk import certificate

    assert parse_x509_map(json.dumps({"a": certificate(rsa_key())}).encode()).keys


@settings(max_examples=20)
@given(st.integers(min_value=2**64, max_value=2**65), st.integers(min_value=3, max_value=30))
def test_powers_are_recognised(base: int, exponent: int) -> None:
    assert weak_keys._is_power(base**exponent)
    assert not weak_keys._is_power(base**exponent + 2)


def test_a_root_is_drawn_only_where_a_number_may_be_a_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roots took three quarters of the time of all checks, which holders of proofs of possession could cause."""
    drawn: list[int] = []
    root = weak_keys._root

    def counted(n: int, exponent: int) -> int:
        drawn.append(exponent)
        return root(n, exponent)

    monkeypatch.setattr(weak_keys, "_root", counted)
    honest = rsa_key(0, 3072).public_key().public_numbers().n
    assert not weak_keys._is_power(honest)
    assert len(drawn) <= 2
    drawn.clear()
    for exponent in (2, 3, 5, 97, 109):
        assert weak_keys._is_power(prime(1024) ** exponent if exponent < 97 else 65537**exponent)
        assert drawn[-1] == exponent

"""Weak public keys, whose private half any party can find, or whose signatures any party can forge.

A signature by such a key proves nothing. Each check needs only the public key: a modulus that is a prime number or a
power (its phi follows), small factors, primes that are close (CVE-2022-26320), the fingerprint of CVE-2017-15361,
repeated words, bits far from random; Ed25519 points of small order (RFC 8032 section 5.1.3, RFC 8725 section 3.4);
points of any curve whose private half is a small number, also those of Ed25519 a small order away from them.

The test for a prime modulus costs milliseconds, so its result is cached by the key's thumbprint: it runs once for a
key, not once for a token or for a fetch.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from math import gcd, isqrt, prod
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tokenmint.base.bounded_cache import Remembered

SMALL: Final = 1 << 16  # the search for factors ends here
WINDOW: Final = 12  # bytes of a modulus that do not occur twice by chance (once in 2^80 keys)
BIAS: Final = 10  # hundredths by which the share of 1 bits may differ from a half: nine standard deviations
VERDICTS: Final = 2048  # cached keys, with 43 characters and a reason each
_FERMAT_ROUNDS: Final = 100
_MULTIPLES: Final = 16  # private halves that anybody would try first
LIBRARY_BITS: Final = 3072
"""Up to so many bits, OpenSSL accepts an exponent as long as the modulus. For more, the test takes 0.2 s or longer."""
# Powers of 65537 modulo small primes: the moduli of CVE-2017-15361 (ROCA) are all such powers, others hardly ever.
_ROCA_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip
_STEP: Final = 8  # bits of the exponent for one call: other threads run between calls
_FIELD: Final = 2**255 - 19  # RFC 8032 section 5.1
_D: Final = -121665 * pow(121666, -1, _FIELD) % _FIELD
_BASE_Y: Final = 4 * pow(5, -1, _FIELD) % _FIELD
_CURVES: Final = {curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}
_Point = tuple[int, int]


class Verdicts:
    """Caches, by thumbprint, the reasons against keys; "" for keys that are used."""

    def __init__(self, entries: int = VERDICTS) -> None:
        self._known: Remembered[str, str] = Remembered(entries=entries, size=entries * 1024, largest=1024)

    def __len__(self) -> int:
        return len(self._known)

    def known(self, thumbprint: str) -> bool:
        """Return whether the key was checked before."""
        return self._known.find(thumbprint) is not None

    def of_rsa(self, thumbprint: str, modulus: int) -> str:
        """Return the reason against an RSA key, "" if it is used."""
        return self._judged(thumbprint, lambda: rsa_weakness(modulus))

    def of_ed25519(self, thumbprint: str, encoded: bytes) -> str:
        """Return the reason against an Ed25519 key, "" if it is used."""
        return self._judged(thumbprint, lambda: ed25519_weakness(encoded))

    def _judged(self, thumbprint: str, judge: Callable[[], str]) -> str:
        reason = self._known.find(thumbprint)
        if reason is None:
            reason = judge()
            self._known.remember(thumbprint, reason, len(thumbprint) + len(reason))
        return reason


def rsa_weakness(n: int) -> str:
    """Return the weakness of a modulus ``n`` of 2048 bits or more; "" if none is found."""
    if n % 2 == 0 or all(n % prime in powers for prime, powers in _roca()):
        return "its RSA modulus is weak (CVE-2017-15361)"
    if gcd(n, _small_primes() % n) != 1:
        return f"its RSA modulus has a factor below {SMALL}"
    if _primes_are_close(n):
        return "its RSA modulus has two primes that are close together (CVE-2022-26320)"
    if _repeats(n):
        return "its RSA modulus has repeated words: it was not made at random"
    if abs(100 * n.bit_count() - 50 * n.bit_length()) > BIAS * n.bit_length():
        return "its RSA modulus has far more bits of one value than of the other: it was not made at random"
    if _is_power(n):
        return "its RSA modulus is a power, so its private half is easily found"
    if _passes_as_prime(n):
        return "its RSA modulus is a prime number, so its private half is easily found"
    return ""


@cache
def _roca() -> tuple[tuple[int, frozenset[int]], ...]:
    return tuple((prime, frozenset(pow(65537, exponent, prime) for exponent in range(prime))) for prime in _ROCA_PRIMES)


def _primes_below(most: int) -> Iterator[int]:
    sieve = bytearray([1]) * most
    for number in range(2, most):
        if sieve[number]:
            yield number
            sieve[number * number :: number] = bytes(len(range(number * number, most, number)))


@cache
def _small_primes() -> int:
    return prod(_primes_below(SMALL))


def _primes_are_close(n: int) -> bool:
    root = isqrt(n)
    for a in range(root + 1, root + 1 + _FERMAT_ROUNDS):
        rest = a * a - n
        if isqrt(rest) ** 2 == rest:
            return True
    return root * root == n


def _repeats(n: int) -> bool:
    """Return whether some bytes occur twice, as they do if a word of whole bytes is repeated."""
    text = n.to_bytes((n.bit_length() + 7) // 8)
    places = len(text) - WINDOW + 1
    return len({text[start : start + WINDOW] for start in range(places)}) < places


def _is_power(n: int) -> bool:
    """Return whether ``n`` is a power. Its base is at least ``SMALL``, which bounds the exponent."""
    return any(
        _may_be_power(n, exponent) and _root(n, exponent) ** exponent == n
        for exponent in _primes_below(n.bit_length() // 16 + 1)
    )


def _may_be_power(n: int, exponent: int) -> bool:
    """Return whether ``n`` is a power modulo some primes, as every power is (Fermat): this spares nearly all roots."""
    return all(pow(n % prime, (prime - 1) // exponent, prime) < 2 for prime in _moduli(exponent))


@cache
def _moduli(exponent: int) -> tuple[int, ...]:
    """Return four primes modulo which one number in ``exponent`` is such a power."""
    candidates = range(exponent + 1, SMALL, exponent)
    primes = (number for number in candidates if all(number % factor for factor in range(2, isqrt(number) + 1)))
    return tuple(islice(primes, 4))


def _root(n: int, exponent: int) -> int:
    """Return the whole part of a root of ``n``, by Newton's method from above."""
    guess = 1 << -(-n.bit_length() // exponent)
    while True:
        better = ((exponent - 1) * guess + n // guess ** (exponent - 1)) // exponent
        if better >= guess:
            return guess
        guess = better


def _passes_as_prime(n: int) -> bool:
    """Return whether ``n`` passes Fermat's test: every prime does, and a product of two secret primes never does."""
    if n.bit_length() <= LIBRARY_BITS and _library_can():
        return _passes_in_library(n)
    return _passes_in_steps(n)


def _passes_in_library(n: int) -> bool:
    """Run Fermat's test in OpenSSL, which is ten times as fast as Python.

    If n is prime, s^(n-1) = 1, so s^(n-2) is the inverse of s: the inverse of a padded hash is a "signature" with the
    exponent n-2.
    """
    size = (n.bit_length() + 7) // 8
    digest = hashes.SHA256()
    message = b"tokenmint"
    padded = _padded(message, size)
    try:
        inverse = pow(padded, -1, n)
        key = rsa.RSAPublicNumbers(n - 2, n).public_key()
    except ValueError:
        return False  # a common factor of n and the hash: n is not a prime
    try:
        key.verify(inverse.to_bytes(size), message, padding.PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True


def _padded(message: bytes, size: int) -> int:
    """Return the number that an RSA signature of ``message`` encodes (RFC 8017 section 9.2, SHA-256)."""
    hasher = hashes.Hash(hashes.SHA256())
    hasher.update(message)
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hasher.finalize()
    return int.from_bytes(b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info)


@cache
def _library_can() -> bool:
    """Return whether OpenSSL accepts such exponents, tested with a prime (Mersenne's for 2203)."""
    return _passes_in_library((1 << 2203) - 1)


def _passes_in_steps(n: int) -> bool:
    """Run Fermat's test to base 2, in steps between which other threads run."""
    exponent, power = n - 1, 1
    for shift in range((exponent.bit_length() - 1) // _STEP * _STEP, -1, -_STEP):
        power = (pow(power, 1 << _STEP, n) << ((exponent >> shift) & ((1 << _STEP) - 1))) % n
    return power == 1


def ed25519_weakness(encoded: bytes) -> str:
    """Return the reason against the 32 bytes of an Ed25519 public key; "" if none is found."""
    point = _decoded(encoded)
    if point is None:
        return "x is not a point of Ed25519 in its only encoding (RFC 8032 section 5.1.3)"
    eightfold = _eightfold(point)
    if eightfold == (0, 1):
        return "x is a point of small order, so signatures for it are easily forged"
    if eightfold[1] in _eightfold_multiples():
        return "x is a small multiple of the base point, so its private half is known"
    return ""


def ec_weakness(point: ec.EllipticCurvePublicNumbers) -> str:
    """Return the reason against a point of a NIST curve; "" if none is found. It costs little."""
    if point.x in _small_multiples(point.curve.name):
        return "its point is a small multiple of the base point, so its private half is known"
    return ""


@cache
def _small_multiples(curve: str) -> frozenset[int]:
    """Return the x coordinates of these points, which their negatives have too."""
    made = (ec.derive_private_key(scalar, _CURVES[curve]) for scalar in range(1, _MULTIPLES + 1))
    return frozenset(key.public_key().public_numbers().x for key in made)


def _decoded(encoded: bytes) -> _Point | None:
    number = int.from_bytes(encoded, "little")
    y, odd = number & ((1 << 255) - 1), number >> 255
    if y >= _FIELD:
        return None
    # x^2 = (y^2 - 1) / (d y^2 + 1); the denominator is never 0, since -1/d is not a square.
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _FIELD) % _FIELD
    x = pow(square, (_FIELD + 3) // 8, _FIELD)
    if (x * x - square) % _FIELD:
        x = x * pow(2, (_FIELD - 1) // 4, _FIELD) % _FIELD
    if (x * x - square) % _FIELD or (x == 0 and odd):
        return None
    return (x if x % 2 == odd else _FIELD - x), y


def _eightfold(point: _Point) -> _Point:
    for _ in range(3):
        point = _sum(point, point)
    return point


def _sum(one: _Point, other: _Point) -> _Point:
    """Add two points (RFC 8032 section 5.1.4, in affine coordinates)."""
    (x, y), (u, v) = one, other
    product = _D * x * u * y * v
    return (
        (x * v + u * y) * pow(1 + product, -1, _FIELD) % _FIELD,
        (y * v + x * u) * pow(1 - product, -1, _FIELD) % _FIELD,
    )


@cache
def _eightfold_multiples() -> frozenset[int]:
    """Return the y of eight times the small multiples of the base point, and so of their negatives, too."""
    base = _eightfold(_decoded(_BASE_Y.to_bytes(32, "little")) or (0, 1))
    point, found = base, set[int]()
    for _ in range(_MULTIPLES):
        found.add(point[1])
        point = _sum(point, base)
    return frozenset(found)

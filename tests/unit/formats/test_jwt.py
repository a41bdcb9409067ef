"""Minted tokens byte by byte: what is signed, with which key, and that no claim gets past the registered ones."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeEntropy

from tokenmint.base.errors import ClaimsTooLarge, SignerUnavailable
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt import FORMAT, encode, of_type, signing_input
from tokenmint.formats.minter import Minter
from tokenmint.keys.signers import local
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import TokenGrant
from tokenmint.model.reserved_claims import PREFIX, RESERVED_CLAIMS, is_reserved
from tokenmint.model.tokens import ACCESS_TOKEN, JWT, JsonValue
from tokenmint.verification.jws import MAX_DEPTH, parse_compact

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
KEYS: Final = {algorithm: local.generate(algorithm) for algorithm in ALGORITHMS}
NO_TIMES: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
REGISTERED: Final = {
    "iss": "https://me", "sub": "ada", "aud": "https://api", "exp": 1_800_000_600, "iat": 1_800_000_000,
    "nbf": 1_800_000_000, "client_id": "web", "scope": "a b",
}  # fmt: skip

numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)
names = st.text(max_size=30).filter(lambda name: not is_reserved(name))
RESERVED_NAMES: Final = [*sorted(RESERVED_CLAIMS), PREFIX, f"{PREFIX}x"]


def grant(**changes: Any) -> TokenGrant:
    fields: dict[str, Any] = {
        "principal": "ada", "audience": "https://api", "client_id": "web", "scopes": ("a", "b"),
        "token_type": ACCESS_TOKEN, "algorithm": "ES256", "format": FORMAT.traits, "claims": {},
        "issued_at": 1_800_000_000, "expires_at": 1_800_000_600, "max_token_bytes": 8192,
    }  # fmt: skip
    return TokenGrant(**(fields | changes))


def signer(algorithm: str) -> LocalSigner:
    return LocalSigner(f"kid of {algorithm}", algorithm, KEYS[algorithm])


async def mint(entropy: Callable[[int], bytes] | None = None, **changes: Any) -> MintedToken:
    return await Minter(Kit("https://me", signer, entropy or FakeEntropy())).mint(grant(**changes))


def segments(minted: MintedToken) -> list[bytes]:
    return minted.token.reveal_bytes().split(b".")


def raw(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def verify(algorithm: str, signature: bytes, signed: bytes) -> None:
    """Verify by RFC 7518 section 3 and RFC 8037 section 3.1 with nothing of a JOSE library in between."""
    key = KEYS[algorithm].public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        assert len(signature) == 64
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ed25519.Ed25519PublicKey)
        key.verify(signature, signed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_signature_is_of_the_header_and_the_payload_as_sent(algorithm: str) -> None:
    header, payload, signature = segments(await mint(algorithm=algorithm))
    verify(algorithm, raw(signature), header + b"." + payload)
    with pytest.raises(InvalidSignature):
        verify(algorithm, raw(signature), header + b"." + payload[:-1])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_pyjwt_takes_it_with_this_key_and_no_other(algorithm: str) -> None:
    token = (await mint(algorithm=algorithm)).token.reveal()
    asked: dict[str, Any] = {"algorithms": [algorithm], "audience": "https://api", "options": NO_TIMES}
    assert jwt.decode(token, KEYS[algorithm].public_key(), issuer="https://me", **asked)["sub"] == "ada"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, local.generate(algorithm).public_key(), **asked)
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, KEYS[algorithm].public_key(), **(asked | {"audience": "https://other"}))


@pytest.mark.parametrize("header_type", ["at+jwt", "JWT"])
async def test_the_header_is_what_it_has_to_be_and_nothing_else(header_type: str) -> None:
    minted = await mint(algorithm="EdDSA", format=of_type(header_type))
    expected = {"alg": "EdDSA", "kid": "kid of EdDSA", "typ": header_type}
    assert json.loads(raw(segments(minted)[0])) == expected
    assert minted.key_id == "kid of EdDSA"


async def test_compact_json_in_utf_8_and_base64url_without_padding() -> None:
    minted = await mint(claims={"name": "Zoë Łuk 日本 🗝"})
    assert b"=" not in minted.token.reveal_bytes()
    payload = raw(segments(minted)[1])
    assert '"name":"Zoë Łuk 日本 🗝"'.encode() in payload
    assert payload == json.dumps(json.loads(payload), ensure_ascii=False, separators=(",", ":")).encode()


async def test_the_answer_says_what_the_token_says() -> None:
    minted = await mint(token_type=JWT, entropy=lambda size: bytes(range(size)))
    payload = json.loads(raw(segments(minted)[1]))
    assert payload == REGISTERED | {"jti": "AAECAwQFBgcICQoLDA0ODw"}  # 16 bytes, 22 characters
    assert (minted.token_id, minted.subject, minted.expires_at) == (payload["jti"], payload["sub"], payload["exp"])
    assert (minted.token_type, minted.issued_token_type, minted.scopes) == ("Bearer", JWT, ("a", "b"))


@given(st.dictionaries(names, json_values, max_size=6))
async def test_any_claims_arrive_and_the_registered_ones_stay(claims: dict[str, JsonValue]) -> None:
    minted = await mint(claims=claims, max_token_bytes=1_000_000)
    payload = jwt.decode(
        minted.token.reveal(), KEYS["ES256"].public_key(), algorithms=["ES256"], audience="https://api",
        issuer="https://me", options=NO_TIMES,
    )  # fmt: skip
    expected = REGISTERED | {"jti": minted.token_id} | claims
    assert json.dumps(payload, sort_keys=True) == json.dumps(expected, sort_keys=True)  # 1, 1.0 and true differ


@given(st.dictionaries(names, json_values, max_size=3), st.sampled_from(RESERVED_NAMES), json_values)
def test_cve_2024_29892_not_among_other_claims_either(claims: dict[str, Any], name: str, value: JsonValue) -> None:
    with pytest.raises(ValueError, match="reserved"):
        signing_input(grant(claims=claims | {name: value}), issuer="i", key_id="k", token_id="t")


@pytest.mark.parametrize("name", sorted(REGISTERED))
async def test_cve_2024_29892_a_reserved_name_further_down_is_just_a_name(name: str) -> None:
    payload = json.loads(raw(segments(await mint(claims={"profile": {name: "mallory"}}))[1]))
    assert payload[name] == REGISTERED[name]
    assert payload["profile"] == {name: "mallory"}


async def test_cve_2024_29892_the_scope_that_was_not_granted_can_not_be_mapped() -> None:
    with pytest.raises(ValueError, match="reserved"):
        await mint(scopes=(), claims={"scope": "admin"})


@dataclass
class WatchedSigner:
    """Counts, and fails where it is told to."""

    key_id: str = "watched"
    algorithm: str = "ES256"
    failure: Exception | None = None
    signed: list[bytes] = field(default_factory=list)

    async def sign(self, signing_input: bytes) -> bytes:
        self.signed.append(signing_input)
        if self.failure is not None:
            raise self.failure
        return await LocalSigner(self.key_id, self.algorithm, KEYS["ES256"]).sign(signing_input)


def watched(signer: WatchedSigner, entropy: Callable[[int], bytes] | None = None) -> Minter:
    return Minter(Kit("https://me", lambda _: signer, entropy or FakeEntropy()))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("filling", [0, 1, 2, 3, 700])
async def test_the_largest_token_that_fits_by_algorithm(algorithm: str, filling: int) -> None:
    changes: dict[str, Any] = {"algorithm": algorithm, "claims": {"x": "é" * filling}}
    size = len((await mint(**changes)).token)
    assert len((await mint(**changes, max_token_bytes=size)).token) == size
    with pytest.raises(ClaimsTooLarge):
        await mint(**changes, max_token_bytes=size - 1)


async def test_what_is_too_large_before_it_is_signed_is_not_signed() -> None:
    one = WatchedSigner()
    unsigned = len(signing_input(grant(), issuer="https://me", key_id=one.key_id, token_id="x" * 22))
    with pytest.raises(ClaimsTooLarge):
        await watched(one).mint(grant(max_token_bytes=unsigned - 1))
    assert one.signed == []


def nested(levels: int) -> JsonValue:
    value: JsonValue = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


async def test_a_token_that_we_could_not_read_again_is_not_signed() -> None:
    """Such a token could be neither introspected nor revoked."""
    one = WatchedSigner()
    deepest = await mint(claims={"x": nested(MAX_DEPTH - 1)})
    assert parse_compact(deepest.token).claims["x"] == nested(MAX_DEPTH - 1)
    with pytest.raises(ClaimsTooLarge, match="deeper than 16 levels"):
        await watched(one).mint(grant(claims={"x": nested(MAX_DEPTH)}))
    assert one.signed == []


async def test_what_is_too_large_is_known_before_it_is_minted() -> None:
    one = WatchedSigner()
    unsigned = len(signing_input(grant(), issuer="https://me", key_id=one.key_id, token_id="x" * 22))
    watched(one).check(grant(max_token_bytes=unsigned))
    for changes in ({"max_token_bytes": unsigned - 1}, {"claims": {"x": nested(MAX_DEPTH)}}):
        with pytest.raises(ClaimsTooLarge):
            watched(one).check(grant(**changes))


async def test_what_the_signer_raises_is_what_the_caller_gets() -> None:
    failure = SignerUnavailable(detail="the key's replica lags")
    with pytest.raises(SignerUnavailable) as refused:
        await watched(WatchedSigner(failure=failure)).mint(grant())
    assert refused.value is failure


async def test_without_a_signer_not_even_an_id_is_drawn() -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    def none(_: str) -> LocalSigner:
        raise SignerUnavailable()

    refusing = Minter(Kit("https://me", none, entropy))
    with pytest.raises(SignerUnavailable):
        await refusing.mint(grant())
    with pytest.raises(SignerUnavailable):
        refusing.check(grant())
    assert drawn == []


async def test_the_signer_is_the_one_of_the_audience_s_algorithm() -> None:
    asked: list[str] = []

    def choose(algorithm: str) -> LocalSigner:
        asked.append(algorithm)
        return signer(algorithm)

    one = Minter(Kit("https://me", choose, FakeEntropy()))
    for algorithm in ALGORITHMS:
        assert (await one.mint(grant(algorithm=algorithm))).key_id == f"kid of {algorithm}"
    assert asked == list(ALGORITHMS)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_no_form_for_is_refused_and_not_minted_as_null(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"limit": [number]})

"""Signatures of issued tokens are checked once for each token and key."""

import json

import pytest
from tests.issuer import b64, ec_key, jwk
from tests.unit.fast.generated import signed

from tokenmint.base.token_errors import BadSignature, TokenExpired, UnknownKey
from tokenmint.issued import verifier as verifiers
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.keys.types import KeyState, SigningKey
from tokenmint.model.secret import Secret
from tokenmint.verification.jwk import VerificationKey

ISSUER = "https://tokens.example"


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    found: list[bytes] = []
    verify = VerificationKey.verify

    def noted(self: VerificationKey, algorithm: str, text: bytes, signature: bytes) -> bool:
        found.append(text)
        return verify(self, algorithm, text, signature)

    monkeypatch.setattr(VerificationKey, "verify", noted)
    return found


def published(index: int = 0) -> SigningKey:
    public = {name: value for name, value in jwk(ec_key(index)).items() if name in ("kty", "crv", "x", "y")}
    return SigningKey("k1", "ES256", KeyState.ACTIVE, public, 0.0, 0.0)


def verifier(keys: dict[str, SigningKey]) -> IssuedTokenVerifier:
    return IssuedTokenVerifier(
        issuer=ISSUER,
        key=keys.get,
        issued=None,  # type: ignore[arg-type]  # no store
        header_types=frozenset({"at+jwt"}),
        prefixes=("tmr_",),
    )


def token(number: int = 0, index: int = 0) -> Secret:
    claims = {"iss": ISSUER, "sub": "ada", "aud": "a", "exp": 1300, "iat": 1000, "jti": str(number), "client_id": "web"}
    return Secret(signed(b'{"alg":"ES256","kid":"k1","typ":"at+jwt"}', json.dumps(claims).encode(), ec_key(index)))


async def test_a_token_is_verified_once_and_its_times_each_time(verified: list[bytes]) -> None:
    own, one = verifier({"k1": published()}), token()
    for _ in range(3):
        assert (await own.identify(one, now=1100.0)).principal == "ada"
    assert len(verified) == 1
    with pytest.raises(TokenExpired):
        await own.identify(one, now=1300.0)
    await own.identify(token(1), now=1100.0)
    assert len(verified) == 2


async def test_another_signature_of_the_same_token_is_another_token(verified: list[bytes]) -> None:
    own, one = verifier({"k1": published()}), token()
    await own.identify(one, now=1100.0)
    unsigned = one.reveal().rpartition(".")[0]
    for forged in (b64(b"\x01" * 64), token(index=1).reveal().rpartition(".")[2]):
        for _ in range(2):
            with pytest.raises(BadSignature):
                await own.identify(Secret(f"{unsigned}.{forged}"), now=1100.0)
    assert len(verified) == 5, "a bad signature is not remembered"


async def test_a_key_that_was_withdrawn_proves_no_token_that_it_proved_before(verified: list[bytes]) -> None:
    keys = {"k1": published()}
    own, one = verifier(keys), token()
    await own.identify(one, now=1100.0)
    del keys["k1"]
    with pytest.raises(UnknownKey):
        await own.identify(one, now=1100.0)
    keys["k1"] = published(1)  # no ring gives an id twice: it is the thumbprint
    own._parsed.clear()
    with pytest.raises(BadSignature):
        await own.identify(one, now=1100.0)


async def test_remembered_signatures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "SIGNATURES", 3)
    own = verifier({"k1": published()})
    for number in range(6):
        await own.identify(token(number), now=1100.0)
    assert len(own._signatures) == 3

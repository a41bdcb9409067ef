"""Remembered signatures: the cryptography is done once for a token, and every other check each time."""

import json
from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, jwk, rsa_key

from tokenmint.base.token_errors import (
    BadSignature,
    TokenExpired,
    TokenRejected,
    UnknownKey,
    UnsupportedTokenType,
    WrongNonce,
)
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.jws import parse_compact
from tokenmint.verification.key_source import FetchResult, KeySource
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.signature_cache import CachedSignature, SignatureCache
from tokenmint.verification.verifier import Verifier

NOW = 1_800_000_000.0
IDP = Issuer()


class Served:
    """A provider whose key set may change."""

    def __init__(self) -> None:
        self.document = IDP.jwks()
        table = {"issuer": IDP.url, "audiences": ["app"], "jwks_url": "https://idp.example/jwks"}
        provider = provider_from_table("idp", table, own_issuer="https://me.example")
        self.sets = KeySets({"idp": provider.key_source}, fetch=self.fetch, clock=FakeClock(NOW))
        self.verifier = Verifier({"idp": provider}, self.sets, own_issuer="https://me.example")

    async def fetch(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        return FetchResult(200, {}, self.document)

    async def prove(self, token: str, kind: str = ID_TOKEN, nonce: str | None = None, now: float = NOW) -> Any:
        return await self.verifier.verify(Secret(token), kind, nonce=nonce, now=now)


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The key of each signature that was really checked."""
    keys: list[str] = []
    real = VerificationKey.verify

    def verify(self: VerificationKey, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        keys.append(self.thumbprint)
        return real(self, algorithm, signing_input, signature)

    monkeypatch.setattr(VerificationKey, "verify", verify)
    return keys


async def test_a_signature_is_checked_once_and_what_is_proved_is_the_same(served: Served, checked: list[str]) -> None:
    token = IDP.token(NOW, nonce="n", jti="j")
    first = await served.prove(token)
    assert await served.prove(token) == first
    assert await served.prove(token, nonce="n") == first
    assert len(checked) == 1


async def test_everything_but_the_signature_is_checked_each_time(served: Served) -> None:
    token = IDP.token(NOW, nonce="n")
    await served.prove(token)
    expires = NOW + 300 + 30  # and the skew
    assert await served.prove(token, now=expires - 1)
    with pytest.raises(TokenExpired):
        await served.prove(token, now=expires)
    with pytest.raises(WrongNonce):
        await served.prove(token, nonce="another")
    with pytest.raises(UnsupportedTokenType):
        await served.prove(token, ACCESS_TOKEN)


async def test_a_key_that_the_provider_took_back_proves_nothing_any_more(served: Served) -> None:
    token = IDP.token(NOW)
    await served.prove(token)
    served.document = json.dumps({"keys": [jwk(rsa_key(1), kid="k2")]}).encode()
    await served.sets.refresh("idp")
    with pytest.raises(UnknownKey):
        await served.prove(token)


async def test_another_key_of_the_same_name_has_to_fit_itself(served: Served, checked: list[str]) -> None:
    token = IDP.token(NOW)
    await served.prove(token)
    served.document = json.dumps({"keys": [jwk(rsa_key(1), kid="k1")]}).encode()
    await served.sets.refresh("idp")
    with pytest.raises(BadSignature):
        await served.prove(token)
    assert len(set(checked)) == 2


async def test_a_bad_signature_is_never_remembered(served: Served, checked: list[str]) -> None:
    good = IDP.token(NOW)
    await served.prove(good)
    head, _, signature = good.rpartition(".")
    bad = f"{head}.{'B' if signature[0] != 'B' else 'C'}{signature[1:]}"
    for _ in range(2):
        with pytest.raises(BadSignature):
            await served.prove(bad)
    assert len(checked) == 3
    assert len(served.verifier.signatures) == 1


async def test_a_refused_token_with_a_good_signature_is_refused_again(served: Served) -> None:
    for _ in range(2):
        with pytest.raises(TokenRejected):
            await served.prove(IDP.token(NOW, aud="another"))


def test_as_many_are_remembered_as_there_is_room_for() -> None:
    token = parse_compact(Secret(IDP.token(NOW)))
    verdicts = SignatureCache(entries=3)
    for number in range(5):
        verdicts.remember(str(number), CachedSignature(token, "idp", "thumbprint"))
    assert [verdicts.find(str(number)) is not None for number in range(5)] == [False, False, True, True, True]
    assert len(verdicts) == 3


def test_as_many_signers_are_noted_without_their_tokens() -> None:
    signatures = SignatureCache(entries=3)
    for number in range(5):
        signatures.note(str(number), ("idp", f"key {number}"))
    assert [signatures.signer(str(number)) for number in range(5)] == [
        None, None, ("idp", "key 2"), ("idp", "key 3"), ("idp", "key 4"),
    ]  # fmt: skip
    assert signatures.find("4") is None

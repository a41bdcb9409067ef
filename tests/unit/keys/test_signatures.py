"""Signatures that are made together."""

import threading
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.issuer import rsa_key

from tokenmint.base.errors import SignerUnavailable
from tokenmint.keys.signers import local, together
from tokenmint.keys.signers.local import LocalSigner, generate
from tokenmint.keys.signers.together import sign_all

SIZES = (1, 2, 30, 31, 32)
"""Bytes of the integers of a signature; nearly all have 31 or 32."""


@dataclass(frozen=True)
class Remote:
    """A key in another machine; one without an answer is out of reach."""

    key_id: str
    algorithm: str
    answer: bytes | None

    async def sign(self, signing_input: bytes) -> bytes:
        if self.answer is None:
            raise SignerUnavailable
        return self.answer + signing_input


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The thread of each signature with RSA from now on."""
    threads: list[str] = []
    sign = LocalSigner.sign_blocking

    def noted(self: LocalSigner, signing_input: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return sign(self, signing_input)

    monkeypatch.setattr(LocalSigner, "sign_blocking", noted)
    return threads


@pytest.mark.parametrize("cores", [1, 2, 5])
async def test_each_signature_is_that_of_its_text(monkeypatch: pytest.MonkeyPatch, jobs: list[str], cores: int) -> None:
    monkeypatch.setattr(together, "CORES", cores)
    signer = LocalSigner("r", "RS256", rsa_key())
    near, gone = Remote("k", "ES256", b"signed: "), Remote("g", "ES256", None)
    wanted = [(signer, b"%d" % number) for number in range(7)]
    found = await sign_all([*wanted[:3], (near, b"x"), *wanted[3:], (gone, b"y"), (near, b"z")])
    assert [found[3], *found[8:]] == [b"signed: x", None, b"signed: z"]
    public = rsa_key().public_key()
    for signature, (_, text) in zip([*found[:3], *found[4:8]], wanted, strict=True):
        assert signature is not None
        public.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    assert len(jobs) == 7
    assert threading.main_thread().name not in jobs


@pytest.mark.parametrize("r", SIZES)
@pytest.mark.parametrize("s", SIZES)
def test_a_signature_of_ours_is_converted_as_any_other(r: int, s: int) -> None:
    for first in (0x01, 0x7F, 0x80, 0xFF):
        integers = [first << 8 * (size - 1) for size in (r, s)]
        der = encode_dss_signature(*integers)
        assert local._raw_signature_of_ours(der) == local.raw_signature(der)


async def test_no_signatures_are_none() -> None:
    assert await sign_all([]) == []


async def test_a_key_that_signs_at_once_is_no_key_for_a_thread() -> None:
    with pytest.raises(TypeError):
        LocalSigner("e", "ES256", generate("ES256")).sign_blocking(b"x")

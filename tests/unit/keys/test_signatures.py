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
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The algorithm and the thread of each signature of ours from now on."""
    made: list[tuple[str, str]] = []
    sign = LocalSigner.sign_now

    def noted(self: LocalSigner, signing_input: bytes) -> bytes:
        made.append((self.algorithm, threading.current_thread().name))
        return sign(self, signing_input)

    monkeypatch.setattr(LocalSigner, "sign_now", noted)
    return made


@pytest.mark.parametrize("cores", [1, 2, 5])
async def test_each_signature_is_that_of_its_text(
    monkeypatch: pytest.MonkeyPatch, jobs: list[tuple[str, str]], cores: int
) -> None:
    monkeypatch.setattr(together, "CORES", cores)
    signer = LocalSigner("r", "RS256", rsa_key())
    curve = LocalSigner("e", "ES256", generate("ES256"))
    near, gone = Remote("k", "ES256", b"signed: "), Remote("g", "ES256", None)
    wanted = [(signer, b"%d" % number) for number in range(7)]
    found = await sign_all([*wanted[:3], (near, b"x"), *wanted[3:], (gone, b"y"), (near, b"z"), (curve, b"e")])
    assert [found[3], *found[8:10]] == [b"signed: x", None, b"signed: z"]
    public = rsa_key().public_key()
    for signature, (_, text) in zip([*found[:3], *found[4:8]], wanted, strict=True):
        assert signature is not None
        public.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    here = threading.main_thread().name
    assert [algorithm for algorithm, thread in jobs if thread == here] == ["ES256"]
    assert [algorithm for algorithm, thread in jobs if thread != here] == ["RS256"] * 7


@pytest.mark.parametrize("r", SIZES)
@pytest.mark.parametrize("s", SIZES)
def test_a_signature_of_ours_is_converted_as_any_other(r: int, s: int) -> None:
    for first in (0x01, 0x7F, 0x80, 0xFF):
        integers = [first << 8 * (size - 1) for size in (r, s)]
        der = encode_dss_signature(*integers)
        assert local._raw_signature_of_ours(der) == local.raw_signature(der)


async def test_no_signatures_are_none() -> None:
    assert await sign_all([]) == []

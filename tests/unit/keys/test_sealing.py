"""Private keys at rest: what opens, and what does not."""

import pytest
from tests.fakes import FakeEntropy

from tokenmint.base.errors import ConfigurationError, CorruptRecord
from tokenmint.keys.sealing import Sealer
from tokenmint.model.secret import Secret

KEK = Secret(b"k" * 32)


def test_what_is_sealed_opens_only_for_its_own_key_id() -> None:
    sealer = Sealer(KEK, FakeEntropy())
    sealed = sealer.seal("a", b"private")
    assert "private" not in sealed
    assert sealer.open("a", sealed) == b"private"
    assert sealer.seal("a", b"private") != sealed  # a nonce of its own each time
    head, _, body = sealed.rpartition(".")
    for key_id, text in (
        ("b", sealed),  # moved to another key
        ("a", f"{head}.{body[:-8]}AAAAAAA="),
        ("a", "v2" + sealed[2:]),
        ("a", f"{head}.{body[:12]}"),
        ("a", f"{head}.?"),
    ):
        with pytest.raises(CorruptRecord):
            sealer.open(key_id, text)


def test_another_key_encryption_key_opens_nothing_unless_it_is_named() -> None:
    sealed = Sealer(KEK, FakeEntropy()).seal("a", b"private")
    other = Secret(b"z" * 32)
    with pytest.raises(ConfigurationError, match="other_encryption_key_files") as refused:
        Sealer(other, FakeEntropy()).open("a", sealed)
    assert "k" * 8 not in refused.value.message
    following = Sealer(other, FakeEntropy(), [KEK])
    assert following.open("a", sealed) == b"private"
    resealed = following.reseal("a", sealed)
    assert resealed != sealed
    assert following.reseal("a", resealed) == resealed
    assert Sealer(other, FakeEntropy()).open("a", resealed) == b"private"

"""The fast way agrees with the full way, in every scenario."""

import pytest
from tests.both_ways import BothWays
from tests.unit.fast.scenarios import ALL

from tokenmint.verification.jwk import VerificationKey


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The signatures that are verified from now on."""
    signatures: list[bytes] = []
    verify = VerificationKey.verify

    def noted(self: VerificationKey, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        signatures.append(signature)
        return verify(self, algorithm, signing_input, signature)

    monkeypatch.setattr(VerificationKey, "verify", noted)
    return signatures


async def test_both_ways_agree(ways: BothWays) -> None:
    for scenario in (*ALL, *ALL):  # what the first time left behind changes nothing
        try:
            await scenario(ways)
        except Exception as error:
            error.add_note(f"the scenario {scenario.__name__}")
            raise
    assert ways.recognised > 100


async def test_a_call_that_the_fast_way_passes_on_is_verified_once(ways: BothWays, verified: list[bytes]) -> None:
    await ways.warm()
    for subject in ("stranger", "another"):
        verified.clear()
        await ways.check(ways.request(ways.token(sub=subject)), recognised=False)
        assert len(verified) == 1


async def test_a_signature_is_noted_for_the_full_way_only_if_it_is_good(ways: BothWays, verified: list[bytes]) -> None:
    await ways.warm()
    unsigned, _, signature = ways.token(sub="stranger").rpartition(".")
    forged = f"{unsigned}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for _ in range(2):
        verified.clear()
        outcome = await ways.check(ways.request(forged), recognised=False)
        assert outcome.answer is None
        assert len(verified) == 2  # each way by itself


async def test_no_call_is_tried_without_a_near_cache(
    ways: BothWays, verified: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await ways.warm()
    verified.clear()
    monkeypatch.setattr(ways.rig.parts.near, "_size", 0)
    assert ways.by_fast(ways.request(ways.token(jti="new")), ways.metadata()).nothing
    assert verified == []

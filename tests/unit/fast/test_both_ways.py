"""The fast way agrees with the full way, in every scenario."""

import hashlib
import tracemalloc

import pytest
from tests.both_ways import BothWays
from tests.depth import depth
from tests.unit.fast import computed
from tests.unit.fast.batches import ALONE
from tests.unit.fast.once import once
from tests.unit.fast.scenarios import ALL
from tests.unit.fast.tokens import tokens_that_are_taken

from tokenmint.fast import people
from tokenmint.model.policy import Client
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.profiles.near_entries import Noted
from tokenmint.rpc.fast_exchange import FastExchangeToken
from tokenmint.verification.jwk import VerificationKey

pytestmark = pytest.mark.slow
VARIANTS = [
    pytest.param(False, False, id="one token-profiles at hand"),
    pytest.param(True, True, id="batches-profiles read"),
    pytest.param(False, True, id="one token-profiles read"),
    pytest.param(True, False, id="batches-profiles at hand"),
]
"""Whether calls are batches, and whether their profiles are read."""


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


@pytest.mark.deep
@pytest.mark.parametrize(("batch", "cold"), VARIANTS[: depth(2, 4)])
async def test_both_ways_agree(ways: BothWays, batch: bool, cold: bool) -> None:
    ways.cold, ways.batch = cold, batch
    scenarios = (*ALL, *computed.ALL, *(ALONE if batch else ()))
    for scenario in (*scenarios, *scenarios):  # what the first time left behind changes nothing
        try:
            await scenario(ways)
        except Exception as error:
            error.add_note(f"the scenario {scenario.__name__}")
            raise
    assert ways.recognised > 100
    assert (ways.waited > 100) is cold


@pytest.mark.parametrize("batch", [False, True], ids=["one token", "batches"])
async def test_a_call_that_the_fast_way_passes_on_is_verified_once(
    ways: BothWays, verified: list[bytes], batch: bool
) -> None:
    await ways.warm()
    ways.batch = batch
    for changes in (
        {"sub": "stranger"}, {"sub": "another"}, {"email": 2**70}, {"email": "e" * 9000},
    ):  # fmt: skip
        verified.clear()
        token = ways.rig.issuer.token(ways.rig.clock.now(), jti=once(), **changes)
        await ways.check(ways.request(token), recognised=False)
        assert len(verified) == 1, changes


async def test_a_signature_is_noted_for_the_full_way_only_if_it_is_good(ways: BothWays, verified: list[bytes]) -> None:
    await ways.warm()
    unsigned, _, signature = ways.token(sub="stranger").rpartition(".")
    forged = f"{unsigned}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for _ in range(2):
        verified.clear()
        outcome = await ways.check(ways.request(forged), recognised=False)
        assert outcome.answer is None
        assert len(verified) == 2  # each way by itself


async def test_without_a_near_cache_a_profile_is_read_for_each_call(
    ways: BothWays, verified: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await ways.warm()
    verified.clear()
    ways.rig.parts.near.flush()
    monkeypatch.setattr(ways.rig.parts.near, "_limit", 0)
    for _ in range(2):
        ways.stock()
        outcome = await ways.by_fast(ways.request(ways.token(jti="new")), ways.metadata())
        assert outcome.answer is not None
    assert (ways.waited, len(verified)) == (2, 1)


async def test_a_token_that_the_fast_way_cannot_use_is_no_error(ways: BothWays, errors: list[BaseException]) -> None:
    for scenario in (tokens_that_are_taken, *computed.ALL):
        await scenario(ways)
    assert errors == []  # each would be a line of the log, which a client could fill


async def test_a_secret_is_looked_up_by_its_hash_for_known_and_unknown_clients_alike(ways: BothWays) -> None:
    looked_up: list[tuple[str, str]] = []

    class Noted(dict[tuple[str, str], Client]):
        def get(self, key: tuple[str, str], *_: object) -> None:  # type: ignore[override]  # as it is called
            looked_up.append(key)

    ways.fast._in_force()._by_secret = Noted()
    for name in ("web", "nobody"):
        metadata = ("tokenmint-client-id", name), ("tokenmint-client-secret", f"tms_{name}")
        assert (await ways.by_fast(ways.request(), metadata)).nothing
    # Else the time tells which clients there are.
    assert looked_up == [(name, hashlib.sha256(f"tms_{name}".encode()).hexdigest()) for name in ("web", "nobody")]


async def test_a_token_that_is_too_long_is_not_taken_apart(ways: BothWays) -> None:
    await ways.check(recognised=True)
    fast = FastExchangeToken(FastWayInForce(ways.rig.parts), 4 * 1024 * 1024)
    request, metadata = ways.request("." * 2_000_000), ways.metadata()
    tracemalloc.start()
    try:
        assert fast.answer(request, metadata) is None
        assert tracemalloc.get_traced_memory()[1] < 2 * len(request)
    finally:
        tracemalloc.stop()


async def test_claims_that_take_more_than_a_value_counts_for_are_not_kept(
    ways: BothWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ways.warm()
    ways.forget()
    near = ways.rig.parts.near
    monkeypatch.setattr(people, "OVERHEAD", -10_000)
    await ways.check(recognised=True)
    assert not any(isinstance(entry, Noted) for entry in near._entries.values())
    monkeypatch.undo()
    await ways.check(recognised=True)
    assert any(isinstance(entry, Noted) for entry in near._entries.values())

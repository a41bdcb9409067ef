"""The keychain against a real store: first start, following, changing, and when it stops signing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes import FakeClock, FakeEntropy

from tokenmint.errors import (
    ConfigurationError,
    Conflict,
    CorruptRecord,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    SignerUnavailable,
    WrongState,
)
from tokenmint.keys.keychain import Keychain
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers import local
from tokenmint.keys.store import RingStore, dump
from tokenmint.keys.types import KeyState
from tokenmint.secret import Secret
from tokenmint.storage.redis import Store

KEK = Secret(b"k" * 32)
Make = Callable[..., Keychain]


@pytest.fixture
def make(store: Store, clock: FakeClock) -> Make:
    """Make a replica on the test's store."""

    def make(algorithms: tuple[str, ...] = ("ES256",), kek: Secret = KEK, **schedule: float) -> Keychain:
        entropy = FakeEntropy(7)
        return Keychain(
            RingStore(store), Sealer(kek, entropy), Schedule(**schedule), algorithms, clock=clock, entropy=entropy
        )

    return make


async def test_two_replicas_that_start_at_once_share_one_ring(make: Make) -> None:
    first, second = make(), make()
    await asyncio.gather(first.start(), second.start())
    assert first.ring == second.ring
    assert first.signer("ES256").key_id == second.signer("ES256").key_id
    assert first.published() == second.published()


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_what_it_signs_verifies_with_what_it_publishes(make: Make, algorithm: str) -> None:
    keychain = make((algorithm,))
    await keychain.start()
    signer = keychain.signer(algorithm)
    jwk = next(key for key in keychain.published().keys if key["kid"] == signer.key_id)
    assert jwk["alg"] == algorithm
    signature = await signer.sign(b"message")
    verify = jwt.get_algorithm_by_name(algorithm)
    assert verify.verify(b"message", jwt.PyJWK(jwk).key, signature)
    assert not verify.verify(b"other", jwt.PyJWK(jwk).key, signature)


async def test_a_restart_signs_with_the_same_key(make: Make) -> None:
    before = make()
    await before.start()
    after = make()
    await after.start()
    assert after.ring == before.ring
    assert after.signer("ES256").key_id == before.signer("ES256").key_id


async def test_another_key_encryption_key_is_refused_with_the_way_out(make: Make) -> None:
    await make().start()
    with pytest.raises(ConfigurationError, match="sealed under another key-encryption key"):
        await make(kek=Secret(b"x" * 32)).start()


async def test_a_rotation_is_seen_at_once_here_and_with_the_next_look_elsewhere(make: Make) -> None:
    here, there = make(), make()
    await here.start()
    await there.start()
    old = here.signer("ES256").key_id
    done = await here.rotate(None, force=True)
    assert here.signer("ES256").key_id == done.active.key_id != old
    assert done.retiring is not None
    assert done.retiring.key_id == old
    assert done.verifiers_may_miss == pytest.approx(there.schedule.ahead)
    assert there.signer("ES256").key_id == old
    await there._refresh()
    assert there.signer("ES256").key_id == done.active.key_id
    assert {key["kid"] for key in there.published().keys} == {old, done.active.key_id, done.prepared.key_id}


async def test_replicas_hear_of_a_change_without_polling(make: Make) -> None:
    here, there = make(), make()
    await here.start()
    await there.start()
    runner = asyncio.ensure_future(there.run())
    updates = there.subscribe()
    first = await anext(updates)
    following = asyncio.ensure_future(anext(updates))
    done = await here.rotate("ES256", force=True)
    async with asyncio.timeout(10):
        second = await following
    assert done.prepared.key_id in second.jwks_json.decode()
    assert first.etag != second.etag
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)


async def test_signing_stops_when_the_ring_was_not_confirmed_within_r(make: Make, clock: FakeClock) -> None:
    keychain = make()
    await keychain.start()
    clock.advance(10)
    assert keychain.signer("ES256")
    clock.advance(0.001)
    with pytest.raises(SignerUnavailable):
        keychain.signer("ES256")
    assert keychain.published()  # verifiers are served from memory ...
    clock.advance(keychain.schedule.ahead - keychain.schedule.max_age - 10)
    with pytest.raises(DependencyUnavailable):  # ... until a key that was prepared elsewhere could be missed
        keychain.published()
    await keychain._refresh()
    assert keychain.signer("ES256")


async def test_an_algorithm_that_is_not_configured_has_no_signer(make: Make) -> None:
    keychain = make()
    await keychain.start()
    with pytest.raises(SignerUnavailable):
        keychain.signer("RS256")
    with pytest.raises(InvalidRequest):
        await keychain.prepare("RS256")
    with pytest.raises(InvalidRequest):
        await make(("ES256", "EdDSA")).rotate(None, force=True)


async def test_preparing_is_idempotent_and_activation_waits(make: Make, clock: FakeClock) -> None:
    keychain = make()
    await keychain.start()
    prepared = await keychain.prepare("ES256")
    assert (await keychain.prepare(None)) == prepared
    with pytest.raises(WrongState):
        await keychain.activate(prepared.key_id, force=False)
    clock.advance(keychain.schedule.ahead)
    await keychain._refresh()
    done = await keychain.activate(prepared.key_id, force=False)
    assert (done.key.state, done.verifiers_may_miss) == (KeyState.ACTIVE, 0.0)
    again = await keychain.activate(prepared.key_id, force=False)
    assert again.key == done.key


async def test_revocation_says_for_how_long_caches_may_be_wrong(make: Make) -> None:
    keychain = make()
    await keychain.start()
    active = keychain.signer("ES256").key_id
    with pytest.raises(NotFound):
        await keychain.revoke("unknown", "x")
    done = await keychain.revoke(active, "leaked")
    assert done.revoked.state is KeyState.REVOKED
    assert done.active is not None
    assert done.active.key_id == keychain.signer("ES256").key_id != active
    assert done.verifiers_may_accept == 3660  # a token lives no longer, whatever is cached
    assert done.verifiers_may_miss == pytest.approx(keychain.schedule.ahead)
    assert active not in keychain.published().jwks_json.decode()


async def test_an_etag_that_is_not_current_is_a_conflict(make: Make) -> None:
    keychain = make()
    await keychain.start()
    etag = keychain.ring.etag
    await keychain.rotate(None, force=True, etag=etag)
    with pytest.raises(Conflict):
        await keychain.rotate(None, force=True, etag=etag)


async def test_a_store_that_lost_or_forgot_the_ring_gets_it_back(make: Make, store: Store) -> None:
    keychain = make()
    await keychain.start()
    old = await store.get("ring")
    done = await keychain.revoke(keychain.signer("ES256").key_id, "leaked")
    current = await store.get("ring")
    assert old is not None
    await store.swap("ring", current, old)  # a failover to a replica that lagged
    await keychain._refresh()
    _, ring = await RingStore(store).read()
    assert ring is not None
    revoked = ring.find(done.revoked.key_id)
    assert revoked is not None
    assert revoked.state is KeyState.REVOKED
    assert ring.generation > keychain.ring.generation - 1


async def test_a_ring_of_another_lineage_is_not_served(make: Make, store: Store, clock: FakeClock) -> None:
    keychain = make()
    await keychain.start()
    raw = await store.get("ring")
    await store.swap("ring", raw, dump(replace(keychain.ring, lineage="another")))
    with pytest.raises(CorruptRecord):
        await keychain._refresh()
    clock.advance(11)
    with pytest.raises(SignerUnavailable):
        keychain.signer("ES256")


async def test_scheduled_rotation_by_the_loop(make: Make, clock: FakeClock) -> None:
    keychain = make()
    await keychain.start()
    prepared = keychain.ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    clock.advance(keychain.schedule.rotation_interval)
    await keychain._refresh()
    await keychain._advance()
    assert keychain.signer("ES256").key_id == prepared.key_id
    assert keychain.ring.only("ES256", KeyState.PREPARED)


def test_what_is_sealed_opens_only_for_its_own_key_id() -> None:
    sealer = Sealer(KEK, FakeEntropy())
    sealed = sealer.seal("a", b"private")
    assert "private" not in sealed
    assert sealer.open("a", sealed) == b"private"
    assert sealer.seal("a", b"private") != sealed
    for key_id, text in (("b", sealed), ("a", sealed[:-4] + "AAAA"), ("a", "v2" + sealed[2:]), ("a", sealed[:30])):
        with pytest.raises(CorruptRecord):
            sealer.open(key_id, text)
    with pytest.raises(ConfigurationError):
        Sealer(Secret(b"z" * 32), FakeEntropy()).open("a", sealed)


def test_private_keys_read_as_they_were_written() -> None:
    for algorithm in ("ES256", "RS256", "EdDSA"):
        key = local.generate(algorithm)
        assert local.public_jwk(local.from_bytes(local.to_bytes(key))) == local.public_jwk(key)
    with pytest.raises(ValueError, match="no signer"):
        local.generate("HS256")
    with pytest.raises(ValueError):
        local.from_bytes(b"x")
    from cryptography.hazmat.primitives.asymmetric import x25519

    with pytest.raises(ValueError, match="of ours"):
        local.from_bytes(local.to_bytes(x25519.X25519PrivateKey.generate()))  # type: ignore[arg-type]
    assert isinstance(local.generate("ES256"), ec.EllipticCurvePrivateKey)

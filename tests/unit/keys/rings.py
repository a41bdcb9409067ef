"""Key rings, made in a step or two."""

from dataclasses import replace

from tokenmint.keys import ring as rings
from tokenmint.keys import ring_merge
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

NOW = 1_800_000_000.0
SCHEDULE = Schedule()

EVERYBODY = 1 << 40  # a generation that every replica serves


class Supply:
    """Fresh keys, without the cost of making them."""

    def __init__(self) -> None:
        self.made = 0

    def key(self, now: float, algorithm: str = "ES256") -> SigningKey:
        self.made += 1
        key_id = f"{algorithm}-{self.made}"
        return SigningKey(key_id, algorithm, KeyState.PREPARED, {"kty": "EC", "x": key_id}, now, now, sealed="sealed")

    def fresh(self, ring: KeyRing, now: float, algorithms: tuple[str, ...] = ("ES256",)) -> dict[str, list[SigningKey]]:
        counts = rings.fresh_keys_needed(ring, algorithms, SCHEDULE, now, EVERYBODY)
        return {name: [self.key(now, name) for _ in range(count)] for name, count in counts.items()}


def first(supply: Supply, now: float = NOW, algorithms: tuple[str, ...] = ("ES256",)) -> KeyRing:
    empty = KeyRing("line")
    ring = rings.advance(empty, SCHEDULE, now, supply.fresh(empty, now, algorithms), EVERYBODY)
    return replace(ring, generation=1)


def only(ring: KeyRing, state: KeyState, algorithm: str = "ES256") -> SigningKey:
    key = ring.only(algorithm, state)
    assert key is not None
    return key


def merge(stored: KeyRing, held: KeyRing, now: float = NOW) -> KeyRing:
    return ring_merge.merge(stored, held, SCHEDULE, now)


def rotated(ring: KeyRing, supply: Supply, now: float = NOW) -> KeyRing:
    done = rings.rotate(ring, "ES256", supply.key(now), SCHEDULE, now, force=True, acknowledged=EVERYBODY)
    return replace(done, generation=ring.generation + 1)


def revoked(ring: KeyRing, key_id: str, supply: Supply, now: float = NOW) -> KeyRing:
    done = rings.revoke(ring, key_id, "x", supply.key(now), SCHEDULE, now, acknowledged=EVERYBODY)
    return replace(done, generation=ring.generation + 1)

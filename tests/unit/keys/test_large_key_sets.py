"""A key set with more keys than verifiers keep: of all regions and algorithms the current and next keys come first."""

from dataclasses import replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tokenmint.keys.publication import Publication
from tokenmint.keys.published import MOST_KEPT, NO_REGIONS, own_keys, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, RegionKey, RegionKeys, SigningKey
from tokenmint.regions.answers import keys_to_tell
from tokenmint.regions.document import MOST_KEYS

SCHEDULE: Final = Schedule()


def ring(region: str, old: int, algorithms: tuple[str, ...] = ("ES256", "EdDSA", "RS256")) -> KeyRing:
    """Return a ring: for each algorithm many retiring keys, one that signs, and the next one."""
    states = [*[KeyState.RETIRING] * old, KeyState.ACTIVE, KeyState.PREPARED]
    keys = [
        SigningKey(f"{region}.{algorithm}-{number}", algorithm, state, {"kty": "EC"}, number, number, key_ref="model")
        for algorithm in algorithms
        for number, state in enumerate(states)
    ]
    return KeyRing(f"ring-{region}", generation=1, keys=tuple(keys))


def others(*regions: str, old: int) -> RegionKeys:
    return RegionKeys(
        tuple(
            RegionKey(key.key_id, key.algorithm, key.public_jwk)
            for region in regions
            for key in own_keys(ring(region, old))
        )
    )


def published(own: KeyRing, more: RegionKeys = NO_REGIONS) -> list[str]:
    return [key["kid"] for key in publish(own, SCHEDULE, more).keys]


def signing(own: KeyRing) -> set[str]:
    return {key.key_id for key in own.keys if key.state is not KeyState.RETIRING}


def test_the_current_and_next_keys_of_every_region_are_among_the_keys_that_verifiers_keep() -> None:
    own, regions = ring("eu", 12), ("ap", "sa", "us", "za")
    found = published(own, others(*regions, old=12))
    assert len(found) == len(set(found)) == 5 * 3 * 14
    needed = signing(own).union(*(signing(ring(region, 12)) for region in regions))
    assert set(found[: len(needed)]) == needed
    kept = found[len(needed) : MOST_KEPT]
    assert {key_id.rpartition("-")[2] for key_id in kept} == {"11", "10", "9", "8", "7"}  # then the newest of the old
    assert {key_id.partition(".")[0] for key_id in kept} == {"eu", *regions}


def test_the_last_algorithm_of_a_region_alone_is_among_them_too() -> None:
    own = ring("", 40)
    assert signing(own) <= set(published(own)[:MOST_KEPT])


def test_a_set_that_verifiers_keep_whole_keeps_its_order() -> None:
    own, more = ring("eu", 5), others("us", old=5)
    assert published(own, more) == [*(key.key_id for key in own_keys(own)), *(key.key_id for key in more.keys)]


@given(st.permutations(range(42)))
def test_every_replica_publishes_the_same_order(order: list[int]) -> None:
    own, more = ring("eu", 40, ("ES256",)), others("us", old=40)
    shuffled = replace(own, keys=tuple(own.keys[number] for number in order))
    assert published(own, more) == published(shuffled, more)
    assert sorted(published(own, more)) == sorted(
        [*(key.key_id for key in own.keys), *(key.key_id for key in more.keys)]
    )


def test_operators_are_told_of_a_set_that_verifiers_do_not_keep_whole() -> None:
    publication = Publication(SCHEDULE)
    publication.of_ring(ring("eu", 10))
    publication.of_others(others("us", old=10))
    assert publication.detail() == ""
    publication.of_others(others("ap", "us", old=10))
    assert "the key set has 108 keys, and verifiers keep 100" in publication.detail()


def test_the_other_regions_are_told_of_the_keys_that_they_need_most() -> None:
    own = ring("eu", 30)
    told = keys_to_tell(own, "eu")
    assert len(told) == MOST_KEYS
    assert signing(own) <= {key.key_id for key in told}
    ordered = [key.key_id for key in own_keys(own)]
    assert [ordered.index(key.key_id) for key in told] == sorted(ordered.index(key.key_id) for key in told)
    assert keys_to_tell(own, "us") == ()

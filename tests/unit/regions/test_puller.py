"""Pulling from another region: what it says is in the store before it counts, and nothing it says is without bounds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.fakes import FakeClock
from tests.polling import until
from tests.regions import make_identity

from tokenmint.base.background import Unit
from tokenmint.base.errors import DependencyUnavailable, RevocationsFull
from tokenmint.base.telemetry import Metrics
from tokenmint.keys.publication import Publication
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.signers.local import generate, key_id_of, public_jwk
from tokenmint.keys.types import RegionKey
from tokenmint.regions import document, given_up, records
from tokenmint.regions.directory import Regions, Times
from tokenmint.regions.document import Document, RevocationPage
from tokenmint.regions.identity import Identity
from tokenmint.regions.options import OtherRegion, RegionOptions
from tokenmint.regions.puller import LONGEST_LIFE, RegionPuller
from tokenmint.regions.pulling import PullParts
from tokenmint.regions.store import RegionStore
from tokenmint.revocation.entries import MARGIN, Kind, Revocation, parse
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage.redis import Store
from tokenmint.verification.jwk_set import parse_jwks
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource

ISSUER: Final = "https://tokens.example"
LONGEST: Final = 3600.0
_, EU = make_identity("eu")
_, US = make_identity("us")
_, AUTHORITY = make_identity("authority")


@dataclass
class Pinned:
    """A file of keys, read."""

    value: Any


def pinned(identity: Identity) -> Any:
    """Return the public keys of an identity, as the configuration has them."""
    return Pinned(parse_jwks(json.dumps({"keys": [identity.public_jwk]}).encode()))


def key() -> RegionKey:
    """Return a new key of the region `eu`."""
    jwk = public_jwk(generate("ES256"))
    return RegionKey(key_id_of(jwk, "eu"), "ES256", jwk)


@dataclass
class Other:
    """The region `eu`, which answers with a document."""

    clock: FakeClock
    told: Document
    entries: list[str] = field(default_factory=list)
    page: int = 2
    answer: Callable[[str], FetchResult] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        assert etag is None
        assert dict(source.headers)["authorization"].startswith("Bearer ey")
        query = {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}
        self.asked.append((query["epoch"], query["after"]))
        if self.answer is not None:
            return self.answer(url)
        start = int(query["after"].partition("-")[0]) if query["epoch"] == "7" else 0
        some = tuple(self.entries[start : start + self.page])
        following = f"{start + len(some)}-0"
        page = RevocationPage(7, some, following, more=start + len(some) < len(self.entries))
        told = replace(self.told, as_of=self.clock.now(), page=page)
        return FetchResult(200, {}, document.write(EU, ISSUER, told, "us").encode())


@dataclass
class World:
    """The region `us`, which pulls."""

    other: Other
    regions: Regions
    log: RevocationLog
    puller: RegionPuller
    clock: FakeClock
    publication: Publication

    async def revocations(self) -> list[Revocation]:
        """Return the log of `us`."""
        return [one for _, raw in (await self.log.after("0-0")).entries if (one := parse(raw)) is not None]


def world(store: Store, clock: FakeClock, *, most: int = 1000, holder: str = "one", begun: bool = True) -> World:
    """Return a region that pulls from another."""
    page = RevocationPage(7, (), "0-0", more=False)
    other = Other(clock, Document("eu", "ring", 3, clock.now(), 3600.0, (key(), key()), {}, (), page))
    source = KeySource("jwks", "https://eu.example")
    options = RegionOptions(
        name="us", poll=1.0, longest_cut=100.0, identity=Pinned(US), authority=pinned(AUTHORITY),  # type: ignore[arg-type]
        others=MappingProxyType({"eu": OtherRegion("eu", source, pinned(EU))}),
    )  # fmt: skip
    publication = Publication(Schedule())
    times = Times(clock.now, 10.0, 60.0, 86400.0, lambda: LONGEST)
    regions = Regions(RegionStore(store), options, publication, times, lambda: begun)
    log = RevocationLog(store, Reach(clock.now, lambda: LONGEST), most=most)
    parts = PullParts(regions, ISSUER, other, log, clock, lambda: "", holder)
    return World(other, regions, log, RegionPuller(options.others["eu"], parts), clock, publication)


def entries(*names: str, clock: FakeClock, kind: str = "token") -> list[str]:
    """Return entries of the log of `eu`."""
    return [f"1 0 {int(clock.now()) + 600} {kind}:{name}" for name in names]


async def test_keys_are_in_the_store_and_published(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    await us.puller.pull()
    ids = {one.key_id for one in us.other.told.keys}
    assert {one["kid"] for one in us.publication.current(clock.now()).keys} == ids
    again = world(store, clock)  # a replica that starts
    await again.regions.refresh()
    assert {one["kid"] for one in again.publication.current(clock.now()).keys} == ids
    assert again.regions.ages() == {"eu": 0.0}


async def test_a_new_region_begins_to_sign_once_it_has_heard_of_the_others_and_lacks_nothing_else(
    store: Store, clock: FakeClock
) -> None:
    us = world(store, clock, begun=False)
    assert not us.regions.may_begin()
    await us.puller.pull()
    assert us.regions.may_begin()
    us.regions.before_first_key.append(lambda: "profiles were not copied")
    assert not us.regions.may_begin()


async def test_revocations_are_taken_over_page_by_page_and_never_twice(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    us.other.entries = entries("a", "b", "c", "d", "e", clock=clock)
    await us.puller.pull()
    assert [one.name for one in await us.revocations()] == ["a", "b", "c", "d", "e"]
    assert us.other.asked == [("0", "0-0"), ("7", "2-0"), ("7", "4-0")]
    us.other.entries += entries("f", clock=clock)
    again = world(store, clock)
    again.other.entries, again.other.asked = us.other.entries, us.other.asked
    again.other.told = us.other.told
    await again.regions.refresh()
    await again.puller.pull()
    assert us.other.asked[3:] == [("7", "5-0")]
    assert [one.name for one in await us.revocations()] == ["a", "b", "c", "d", "e", "f"]


async def test_a_revocation_lasts_as_long_as_tokens_here_and_not_without_end(store: Store, clock: FakeClock) -> None:
    us, now = world(store, clock), int(clock.now())
    us.other.page = 10
    us.other.entries = [
        f"1 {now} {now + 60} principal:ada",
        f"1 {now + 10**6} {10**11} client:web",
        f"1 0 {10**11} token:a",
        f"1 0 {now - 1} token:over",
        f"1 0 {now + 60} key:us.own",
        "2 0 0 future:form",
        "no entry",
    ]
    await us.puller.pull()
    found = {(one.kind, one.name): one for one in await us.revocations()}
    assert found.keys() == {(Kind.PRINCIPAL, "ada"), (Kind.CLIENT, "web"), (Kind.TOKEN, "a")}
    assert found[Kind.PRINCIPAL, "ada"].expires == now + LONGEST + MARGIN
    assert found[Kind.CLIENT, "web"].valid_after <= now + 62
    assert all(one.expires <= now + LONGEST_LIFE + MARGIN for one in found.values())


async def test_a_region_lifts_no_revocation_of_a_token(store: Store, clock: FakeClock) -> None:
    us, now = world(store, clock), int(clock.now())
    await us.log.append(us.log.of_token("a", now + 600), confirmed=True)
    us.other.entries = [f"1 1 {now + 900} token:a", f"1 {now} {now + 900} token:b"]
    await us.puller.pull()
    # A token is revoked whenever it was issued: a second would take those after it out again.
    assert {(one.name, one.valid_after) for one in await us.revocations()} == {("a", 0), ("b", 0)}


async def test_a_region_revokes_no_name_without_a_second(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    for kind in ("principal", "client", "audience", "provider"):
        us.other.entries += entries("x", clock=clock, kind=kind)  # 0: verifiers would refuse tokens of later, too
    await us.puller.pull()
    assert await us.revocations() == []


async def test_a_region_leaves_operators_room_in_the_log(store: Store, clock: FakeClock) -> None:
    us, now = world(store, clock, most=100), int(clock.now())
    us.other.entries = [f"1 {now} {now + 600} {kind}:{n}" for kind in ("client", "provider") for n in range(60)]
    us.other.page = 1000
    with pytest.raises(RevocationsFull):
        await us.puller.pull()
    assert len(await us.revocations()) < 100
    assert await us.log.append(us.log.of(Kind.CLIENT, "web", now), confirmed=True)


async def test_revocations_that_the_store_has_lost_are_taken_over_again(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    us.other.entries = entries("a", "b", "c", clock=clock)
    await us.puller.pull()
    older = await us.regions.store.record("eu")
    us.other.entries += entries("d", clock=clock)
    await us.puller.pull()
    # A failover to a replica that lacks the last seconds: the log's entry, and the place up to which it was read.
    client: Any = store.server.client
    [*_, (last, _)] = (await us.log.after("0-0")).entries
    await client.xdel(store.prefix + "revocations", last)
    assert older is not None
    await client.set(f"{store.prefix}region:eu", records.dump(older))
    await us.puller.pull()  # it may not have heard of the loss yet
    await us.regions.refresh()
    await us.puller.pull()
    assert [one.name for one in await us.revocations()] == ["a", "b", "c", "d"]
    await client.delete(f"{store.prefix}revocations", f"{store.prefix}region:eu")  # all of it
    await us.puller.pull()
    await us.regions.refresh()
    await us.puller.pull()
    assert [one.name for one in await us.revocations()] == ["a", "b", "c", "d"]
    assert us.publication.current(clock.now()).keys


async def test_a_full_log_keeps_no_key_back_and_is_tried_again(store: Store, clock: FakeClock) -> None:
    us = world(store, clock, most=4)
    us.other.entries, us.other.page = entries("a", "b", "c", "d", "e", clock=clock), 10
    with pytest.raises(RevocationsFull):
        await us.puller.pull()
    assert us.publication.current(clock.now()).keys
    assert us.regions.revocation_ages()["eu"] > 1e9
    roomy = world(store, clock)
    roomy.other.entries, roomy.other.page, roomy.other.told = us.other.entries, 10, us.other.told
    await roomy.regions.refresh()
    await roomy.puller.pull()
    assert sorted(one.name for one in await roomy.revocations()) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (FetchResult(500, {}, b"oops"), "answered 500"),
        (FetchResult(401, {}, b'{"error_description": "not configured"}'), "answered 401: not configured"),
        (FetchResult(401, {}, json.dumps({"error_description": "x" * 10_000}).encode()), "answered 401: xxx"),
        (FetchResult(401, {}, b"[" * 100_000), "answered 401"),
        (FetchResult(200, {}, b"<html>"), "not a signed document"),
        (FetchFailed("no route"), "no route"),
        (TimeoutError(), "no answer in 5 s"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_document_changes_nothing(
    store: Store, clock: FakeClock, answer: FetchResult | Exception, reason: str
) -> None:
    us = world(store, clock)

    def given(_: str) -> FetchResult:
        if isinstance(answer, Exception):
            raise answer
        return answer

    await us.puller.pull()
    before = us.publication.current(clock.now())
    us.other.answer = given
    with pytest.raises(DependencyUnavailable) as failed:
        await us.puller.pull()
    assert reason in failed.value.detail
    assert not failed.value.detail.startswith("region")  # the name of the task says which one
    assert len(failed.value.detail) < 1000
    assert us.publication.current(clock.now()) == before


async def test_a_region_that_went_back_is_refused_and_its_last_keys_stay(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    await us.puller.pull()
    before, us.other.told = us.other.told, replace(us.other.told, generation=2, keys=())
    with pytest.raises(DependencyUnavailable) as failed:
        await us.puller.pull()
    assert "from generation 3 to 2" in failed.value.detail
    assert len(us.publication.current(clock.now()).keys) == len(before.keys)


async def test_a_statement_that_the_authority_did_not_sign_gives_up_nothing(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    for forged in (given_up.state(EU, ISSUER, "us", clock.now()), "x", "x.y.z"):
        us.other.told = replace(us.other.told, given_up=(forged,))
        with pytest.raises(DependencyUnavailable):
            await us.puller.pull()
    assert us.regions.given_up == {}
    us.other.told = replace(us.other.told, given_up=(given_up.state(AUTHORITY, ISSUER, "elsewhere", clock.now()),))
    await us.puller.pull()
    assert us.regions.given_up == {}
    us.other.told = replace(us.other.told, given_up=(given_up.state(AUTHORITY, ISSUER, "us", clock.now()),))
    await us.puller.pull()
    assert us.regions.given_up.keys() == {"us"}
    with pytest.raises(DependencyUnavailable):
        us.regions.require_serving()


async def test_one_replica_pulls_at_a_time(store: Store, clock: FakeClock) -> None:
    replicas: Sequence[World] = [world(store, clock, holder=name) for name in ("one", "two")]
    unit = Unit("region eu", clock, Metrics())
    for _ in range(3):
        for one in replicas:
            await one.puller.turns.attempt(unit)  # its loop has no end
    assert [len(one.other.asked) for one in replicas] == [3, 0]


async def test_a_replica_that_fails_lets_another_one_try(store: Store, clock: FakeClock) -> None:
    one, two = (world(store, clock, holder=name) for name in ("one", "two"))
    unit = Unit("region eu", clock, Metrics())
    one.other.answer = lambda _: FetchResult(500, {}, b"")
    await one.puller.turns.attempt(unit)  # its loop has no end

    async def has_pulled() -> bool:
        await two.puller.turns.attempt(unit)  # as above
        return bool(two.other.asked)

    await until(has_pulled)


async def test_a_replica_that_fails_pauses(store: Store, clock: FakeClock) -> None:
    us, unit = world(store, clock), Unit("region eu", clock, Metrics())
    us.other.answer = lambda _: FetchResult(500, {}, b"")
    pauses = [await us.puller.turns.attempt(unit) for _ in range(6)]  # its loop has no end
    assert pauses == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert "answered 500" in unit.failure


async def test_a_wrong_clock_takes_nothing_over(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    us.puller._parts = replace(us.puller._parts, clock_problem=lambda: "the clock is wrong")
    with pytest.raises(DependencyUnavailable):
        await us.puller.pull()
    assert us.other.asked == []


async def test_little_time_is_no_reason_to_write(store: Store, clock: FakeClock) -> None:
    us = world(store, clock)
    await us.puller.pull()
    first = await us.regions.store.record("eu")
    clock.advance(5)
    await us.puller.pull()
    assert await us.regions.store.record("eu") == first
    clock.advance(6)
    await us.puller.pull()
    later = await us.regions.store.record("eu")
    assert later is not None
    assert later.as_of == clock.now()

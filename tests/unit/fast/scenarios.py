"""Scenarios in which both ways have to agree, each by itself. A mutation of the fast way has to make one of them fail.

A scenario leaves the service as it found it. It asserts that refusals are refused by the full way too, so that none of
its cases is one by mistake.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from tests.both_ways import SMALL_AUDIENCE, BothWays
from tests.issuer import rsa_key
from tests.rig import AUDIENCE, LEGACY_AUDIENCE
from tests.unit.fast import calls, grants, revocations, signing, tokens
from tests.unit.fast.once import once
from tests.unit.fast.replaced import replaced

from tokenmint.admission.rate_limit import Rate
from tokenmint.base.errors import ClockWrong, DependencyUnavailable, SignerUnavailable, StoreWentBack
from tokenmint.fast.exchange import Waiting
from tokenmint.fast.people import Person
from tokenmint.model import profile as profile_model
from tokenmint.profiles import near_cache as nearcache
from tokenmint.profiles import records
from tokenmint.profiles.near_entries import Entry, Reading, place_of
from tokenmint.rpc.fast_exchange import Pending
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.provider_admin_service_pb2 import RefreshProviderKeysRequest

Scenario = Callable[[BothWays], Awaitable[None]]


async def plain_exchanges(ways: BothWays) -> None:
    """The fast way recognises the most common call."""
    for request in (
        ways.request(),
        ways.request(scopes=["read"]),
        ways.request(scopes=["write", "read"], lifetime=Duration(seconds=60)),
        ways.request(requested_token_type="urn:ietf:params:oauth:token-type:jwt"),
        ways.request(subject_token_type="urn:ietf:params:oauth:token-type:id_token"),
        ways.request(audience=LEGACY_AUDIENCE),
        ways.request(audience="", resources=[AUDIENCE.upper().replace("HTTPS", "https")]),
        ways.request(resources=[AUDIENCE + ":443/"]),
    ):
        outcome = await ways.check(request, recognised=True)
        assert outcome.spent["rate:client:web"] == ways.tokens
    await ways.check(metadata=ways.metadata("old"), recognised=True)
    await ways.check(metadata=(("user-agent", "x"), *ways.metadata(), ("x-bin", b"\x00")), recognised=True)


# --- limits, audit, clock --------------------------------------------------------------------------------------------


async def calls_beyond_the_limits(ways: BothWays) -> None:
    """A call without a place in a lot is counted by the store, once. One that the store refuses is not recognised."""
    limiter, clock = ways.rig.parts.limiter, ways.rig.clock
    request, stranger = ways.request(), ways.request(ways.token(sub="stranger"))
    lot = limiter._lots["rate:client:web"]
    refused = False
    taken: list[tuple[str, int]] = []

    async def take(key: str, rate: Rate, least: int, most: int) -> tuple[int, float]:
        taken.append((key, least))
        return (0, 5.0) if refused else (least, 0.0)

    def spend(left: int, until: float = float("inf")) -> None:
        """Leave ``left`` calls in each lot."""
        ways.stock()
        for one in limiter._lots.values():
            one.left, one.until, one.refused_until = left, until, float("-inf")

    with replaced(limiter, "_take", take):
        few = ways.tokens - 1
        for left, until, then in ((few, float("inf"), few), (5, clock.monotonic(), 0)):
            spend(left, until)
            taken.clear()
            found = await ways.by_fast(request, ways.metadata())
            assert found.answer is not None
            assert (taken, lot.left) == ([("rate:client:web", ways.tokens)], then)
        ways.stock()
        with replaced(lot, "rate", Rate(1.0, 7)):
            taken.clear()
            assert (await ways.by_fast(request, ways.metadata())).answer is not None
            assert taken, "a lot of another rate"
        limiter._lots["rate:client:web"] = lot
        spend(0)
        found = await ways.by_fast(stranger, ways.metadata())
        assert (found.answer, lot.left) == (None, ways.tokens), "the full way counts what it refuses"
        refused = True
        spend(0)
        assert (await ways.by_fast(request, ways.metadata())).nothing
        assert ways.fast.answer(request, ways.metadata()) is None, "not asked again until there is a place"
    spend(0)


async def calls_that_wait(ways: BothWays) -> None:
    """A change that comes while a call waits for its profile counts: of limits, signer, clock, or the profile."""
    parts, request = ways.rig.parts, ways.request()

    def fail(*_: object) -> None:
        raise ClockWrong

    async def waiting() -> tuple[Pending, Person]:
        await ways.check(request)
        ways.empty()
        pending = ways.fast.answer(request, ways.metadata())
        assert isinstance(pending, Pending)
        [person] = await ways.fast.fetch([pending])
        assert isinstance(person, Person)
        return pending, person

    for target, name, value in (
        (parts.limiter, "_lots", {}), (parts.exchange, "serving", fail),
        (parts.exchange.minter._kit, "ring", fail),
    ):  # fmt: skip
        pending, person = await waiting()
        with replaced(target, name, value):
            assert ways.fast.finish(pending, person) is None, name
    pending, person = await waiting()
    assert isinstance(pending.unfinished, Waiting)
    paid = pending._replace(unfinished=pending.unfinished._replace(paid=tuple(parts.limiter._lots.values())))
    lefts = [lot.left for lot in parts.limiter._lots.values()]
    assert ways.fast.finish(paid, None) is None
    assert [lot.left for lot in parts.limiter._lots.values()] == [left + ways.tokens for left in lefts]
    pending, person = await waiting()
    for lot in parts.limiter._lots.values():
        lot.left = ways.tokens - 1
    assert ways.fast.finish(pending, person) is None, "a place too few"
    pending, person = await waiting()
    assert ways.fast.finish(pending, None) is None
    assert ways.fast.finish(pending, replace(person, valid_after=int(ways.rig.clock.now()))) is None
    before = len(parts.audit._exchanges)
    ways.fast.write()
    assert len(parts.audit._exchanges) == before
    assert ways.fast.finish(pending, person) is not None
    ways.fast.write()
    assert len(parts.audit._exchanges) == before + 1


async def times_when_nothing_is_served(ways: BothWays) -> None:
    """While the clock, the store, the revocations, the signer or the trail fail, nothing is recognised."""
    parts = ways.rig.parts

    def raising(error: Exception) -> Callable[..., None]:
        def fail(*_: object) -> None:
            raise error

        return fail

    request = ways.request()
    await ways.check(request, recognised=True)
    too_old = ("require_revocations", DependencyUnavailable("too old"))
    for name, error in (("serving", ClockWrong()), ("serving", StoreWentBack()), too_old):
        with replaced(parts.exchange, name, raising(error)):
            outcome = await ways.check(request, recognised=False)
            assert outcome.answer is None, error
    with replaced(parts.exchange.minter._kit, "ring", raising(SignerUnavailable())):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None
    audit = parts.audit
    required = type(audit._limits)(required=True)
    with replaced(audit, "_limits", required), replaced(audit._exchanges, "failure", "gone"):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None


# --- what changes between two calls of one plan ----------------------------------------------------------------------


async def profiles_that_change(ways: BothWays) -> None:
    """Each call sees the profile as it is: changed, revoked, unlinked, disabled, deleted."""
    rig, near, root = ways.rig, ways.rig.parts.near, ways.rig.auth("root")
    subject, principal = "s-changing", f"p{once()}"
    identity = Identity(provider="idp", subject=subject + principal)
    known = profile_model.Identity("idp", identity.subject)
    profile = Profile(principal=principal, identities=[identity], roles=["clerk"])
    await rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **root)
    request = ways.request(ways.token(sub=identity.subject))

    async def now(*, roles: list[str] | None, recognised: bool = True) -> None:
        keys = (records.profile_key(principal), records.identity_key(known)) if recognised else ()
        await ways.by_full(request, ways.metadata())
        async with asyncio.timeout(60):
            while any(near.peek(key, ways.rig.clock.monotonic()) is None for key in keys):
                ways.stock()
                await ways.by_full(request, ways.metadata())  # a late notice of the change drops what was read
        outcome = await ways.check(request, recognised=recognised)
        assert (outcome.answer is not None) is (roles is not None)
        if outcome.answer is not None:
            assert ways.claims(outcome.answer).get("roles", []) == roles

    async def update(path: str, **fields: Any) -> None:
        changed = Profile(principal=principal, **fields)
        mask = FieldMask(paths=[path])
        await rig.profiles.UpdateProfile(profiles_pb.UpdateProfileRequest(profile=changed, update_mask=mask), **root)

    await now(roles=["clerk"])
    await update("roles", roles=["admin", "clerk"])
    await now(roles=["admin", "clerk"])
    await update("roles", roles=[])
    await now(roles=[])
    await update("disabled", disabled=True)
    await now(roles=None, recognised=False)
    await rig.set_time(rig.clock.now() + 3)  # a token of now is refused for the state alone, one from before for good
    request = ways.request(ways.token(sub=identity.subject))
    await now(roles=None, recognised=False)
    await update("disabled", disabled=False)
    await now(roles=[])
    unlink = profiles_pb.UnlinkIdentityRequest(principal=principal, identity=identity)
    await rig.profiles.UnlinkIdentity(unlink, **root)
    await now(roles=None, recognised=False)
    await rig.profiles.LinkIdentity(profiles_pb.LinkIdentityRequest(principal=principal, identity=identity), **root)
    await now(roles=[])
    await rig.profiles.RevokePrincipalTokens(profiles_pb.RevokePrincipalTokensRequest(principal=principal), **root)
    await now(roles=None, recognised=False)
    await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal=principal), **root)
    await now(roles=None, recognised=False)


async def a_near_cache_that_may_not_be_used(ways: BothWays) -> None:
    """A value that is too old, or whose changes the store may not have reported, is read anew."""
    near, now, request = ways.rig.parts.near, ways.rig.clock.monotonic(), ways.request()

    async def stale(key: str) -> Entry:
        """Put a value into the cache by which the full way has to decide."""
        await ways.check(request, recognised=True)
        ways.forget()
        entry = near._entries[place_of(key)]
        entry.raw, entry.reading = b"{}", Reading(entry.reading.asked, entry.reading.lane)  # of its own
        assert (await ways.by_fast(request, ways.metadata())).nothing or ways.cold
        near._entries[place_of(key)] = entry
        return entry

    async def read_anew() -> None:
        waited = ways.waited
        assert (await ways.by_fast(request, ways.metadata())).answer is not None
        assert ways.waited == waited + 1

    for key in (records.profile_key("ada"), records.identity_key(profile_model.Identity("idp", "1842"))):
        entry = await stale(key)
        with replaced(entry.reading, "asked", now - nearcache.MAX_AGE - 0.1):
            await read_anew()
        lane = (await stale(key)).reading.lane
        with replaced(lane, "proven_at", float("-inf")), replaced(lane, "usable_until", now - 0.1):
            await read_anew()
        await ways.warm()
    await ways.check(request, recognised=True)


async def the_providers_keys_change(ways: BothWays) -> None:
    """A key that the provider took back proves nothing from the refresh on, remembered or not; a new one does."""
    rig, issuer = ways.rig, ways.rig.issuer
    refresh = RefreshProviderKeysRequest(provider="idp")
    token = ways.token(jti="taken back")
    await ways.check(ways.request(token), recognised=True)
    before = issuer.key
    try:
        issuer.key = rsa_key(1)  # under the same kid
        await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
        outcome = await ways.check(ways.request(token), recognised=False)
        assert outcome.answer is None
        await ways.check(ways.request(ways.token()), recognised=True)
    finally:
        issuer.key = before
        await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
    await ways.check(ways.request(token), recognised=True)
    state = rig.parts.exchange.verifier.key_sets._states["idp"]
    with replaced(state, "trusted_until", ways.rig.clock.monotonic()):
        assert (await ways.by_fast(ways.request(token), ways.metadata())).nothing, "keys that are not trusted any more"


async def configurations_that_change(ways: BothWays) -> None:
    """From a reload on each plan is made anew: secrets, audiences, providers, mappings, scopes."""
    await ways.check(recognised=True)
    secret = ways.rig.secrets["web"].fingerprint()
    for old, new, accepted in (
        (f'"sha256:{secret}"', f'"sha256:{"0" * 64}"', False),
        ('clients = ["web"]', 'clients = ["batch"]', False),
        ('email = "assertion.email"', 'email = "assertion.iss"', True),
        ('tenant = "profile.claims.tenant"', "tenant = \"'fixed'\"", True),
        ('roles = "profile.roles"', 'of = "provider.name"\nby = "client.id"', True),
        ('scopes = ["read", "write"]', 'scopes = ["read"]', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nlifetime = "5m"', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nunknown_scopes = "drop"', True),
        ('roles = "profile.roles"', 'by = "actor.principal"', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nsingle_use = true', None),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nreuse_window = "5s"', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nmax_token_bytes = 600', None),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nbound = "dpop"', False),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\ncondition = "assertion.sub == \'x\'"', False),
        ('audiences = ["app"]', 'audiences = ["elsewhere"]', False),
        ('audiences = ["app"]', 'audiences = ["app"]\ncondition = "false"', False),
        ('audiences = ["app"]', 'audiences = ["app"]\nskew = "1s"', True),
        ('audiences = ["app"]', 'audiences = ["app"]\nsubject_claims = ["email"]', False),
        ('audiences = ["app"]', 'audiences = ["app"]\ntoken_types = ["jwt"]', None),
        ('audiences = ["app"]', 'audiences = ["app"]\nalgorithms = ["ES256"]', False),
    ):
        await with_configuration(ways, (old, new), accepted=accepted)
    await ways.check(recognised=True)


async def with_configuration(
    ways: BothWays, change: tuple[str, str], *, accepted: bool | None, request: bytes | None = None
) -> None:
    """Reload with a text of the configuration replaced, compare both ways, and take the change back."""
    before = ways.rig.config.read_text()
    assert change[0] in before, change
    try:
        await ways.configure(before.replace(*change))
        for _ in range(2):
            outcome = await ways.check(request)
            assert accepted is None or (outcome.answer is not None) is accepted, change
    finally:
        await ways.configure(before)
        await ways.warm()


async def providers_that_an_audience_does_not_take(ways: BothWays) -> None:
    """A provider that proves tokens for one audience proves none for another."""
    await with_configuration(
        ways,
        ('providers = ["idp"]\nscopes = ["read", "write"]', 'reexchange_from = ["https://legacy.example"]'),
        accepted=False,
    )


async def tokens_that_are_too_old(ways: BothWays) -> None:
    """The provider's `max_age` counts, however long a token lives."""
    request = ways.request(ways.token(iat=int(ways.rig.clock.now()) - 40))
    change = 'audiences = ["app"]', 'audiences = ["app"]\nmax_age = "1s"'
    await with_configuration(ways, change, accepted=False, request=request)


async def tokens_that_are_too_large(ways: BothWays) -> None:
    """A token that is longer than its audience allows is not minted, by a byte either."""
    now = ways.rig.clock.now()
    for size in range(560, 860, 8):  # the signature of ES256 takes 86 characters, of which some of these have no room
        token = ways.rig.issuer.token(now, email="e" * size)
        await ways.check(ways.request(token, audience=SMALL_AUDIENCE))
    assert ways.recognised


async def times_that_pass(ways: BothWays) -> None:
    """Each token has the times of its own second."""
    for second in (0.0, 0.9, 1.0, 2.5):
        await ways.rig.set_time(ways.rig.clock.now() + second)
        await ways.check(ways.request(), recognised=True)


async def identities_that_a_profile_does_not_list(ways: BothWays) -> None:
    """The index alone says nothing: a link that was begun and not finished is no profile's."""
    store, identity = ways.rig.parts.store, profile_model.Identity("idp", f"s{once()}")
    raw = records.dump_link(identity, records.Link("ada"))
    await store.add(records.identity_key(identity), raw, ttl=600.0)
    await refused_when_cached(ways, identity.subject)


async def identities_that_were_unlinked(ways: BothWays) -> None:
    """The marker of an unlinked identity counts against every list in the profile."""
    store, near = ways.rig.parts.store, ways.rig.parts.near
    identity = profile_model.Identity("idp", "1842")
    key = records.identity_key(identity)
    linked, unlinked = (records.dump_link(identity, records.Link("ada", unlinked=found)) for found in (False, True))
    await ways.check(recognised=True)
    assert await store.swap(key, linked, unlinked, durable=False)
    near.forget(key)
    try:
        await refused_when_cached(ways, "1842")
    finally:
        assert await store.swap(key, unlinked, linked, durable=False)
        near.forget(key)
        await ways.warm()


async def refused_when_cached(ways: BothWays, subject: str) -> None:
    """Both ways refuse a subject whose values, and those of its profile, are in the near cache."""
    request = ways.request(ways.token(sub=subject))
    for _ in range(2):
        await ways.by_full(ways.request(ways.token(sub="1842")), ways.metadata())
        await ways.by_full(request, ways.metadata())
    outcome = await ways.check(request, recognised=False)
    assert outcome.answer is None


ALL: Final[tuple[Scenario, ...]] = (
    plain_exchanges, signing.signatures_that_take_a_thread, tokens.tokens_that_are_refused,
    tokens.tokens_that_are_taken, tokens.a_signature_that_was_good_for_another_token, calls.callers_that_are_refused,
    calls.requests_that_are_refused, calls.requests_in_other_spellings, calls.callers_with_a_trace,
    calls_beyond_the_limits, calls_that_wait, times_when_nothing_is_served, profiles_that_change,
    a_near_cache_that_may_not_be_used, the_providers_keys_change, signing.our_keys_change,
    configurations_that_change, grants.tokens_that_are_in_a_status_list, providers_that_an_audience_does_not_take,
    tokens_that_are_too_old,
    tokens_that_are_too_large, times_that_pass, identities_that_a_profile_does_not_list,
    identities_that_were_unlinked, grants.requests_that_are_completed, grants.grants_that_are_used_once,
    grants.svids_take_the_full_way, grants.transactions, revocations.bulk_revocations, revocations.one_audience,
)  # fmt: skip

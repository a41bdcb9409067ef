"""The wiring: settings become the parts of a service. Only this module, and those of single subjects beside it, make
adapters and pass them on.

Every part gets its clock and entropy passed in, so that a test can run the whole service and control its time.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.gate import ClientExchanges, Gate
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.config.settings import Settings
from tokenmint.exchange.erasure import PersonErasure
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.exchange.introspection import Tokens
from tokenmint.exchange.mass_revocation import Configured, MassRevocation
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.formats.format import Kit
from tokenmint.formats.minter import Minter
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.formats.table import header_types, prefixes
from tokenmint.issued.store import IssuedStore
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import KeyState
from tokenmint.process.audit import audit_of
from tokenmint.process.foundation import Foundation
from tokenmint.process.regions import RegionParts, copies_of, epochs, read_only, regions_of, spread_of
from tokenmint.process.rules import (
    WAITING_SHARE,
    Rules,
    RulesInForce,
    Verifiers,
    authenticator_of,
    files_of,
    policy_of,
    rate_limits,
)
from tokenmint.process.signing import Signing, require_serving, signing_of
from tokenmint.process.status_lists import status_lists_of
from tokenmint.process.tracing import Tracing, tracing
from tokenmint.profiles.batches import ProfileBatches
from tokenmint.profiles.eraser import ProfileEraser
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.identity_changes import IdentityChanges
from tokenmint.profiles.near_cache import PROFILE, NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.resolve import Profiles
from tokenmint.profiles.store import ProfileStore
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.revocation.entries import MARGIN, Kind
from tokenmint.revocation.follower import Revocations, World
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.rpc.forwarded import ForwardedCertificates
from tokenmint.signals.receiver import Recording, SignalReceiver
from tokenmint.status_list.indices import StatusIndices
from tokenmint.status_list.publisher import StatusLists
from tokenmint.storage.redis import Store
from tokenmint.verification.event_verifier import EventVerifier
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.users import UserCheck

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Persons:
    """The parts with which operators manage persons, and providers by signals."""

    batches: ProfileBatches
    changes: IdentityChanges
    erasures: Erasures
    erasure: PersonErasure


@dataclass(frozen=True, slots=True)
class Revoking:
    """The parts that spread revocations."""

    log: RevocationLog
    following: Revocations
    many: MassRevocation
    """Revokes many tokens at once: all of a principal, a client, an audience, a provider."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a service. A reload changes only ``rules``, and assigns nothing else."""

    base: Foundation
    store: Store
    signing: Signing
    near: NearCache
    profiles: ProfileStore
    persons: Persons
    revoking: Revoking
    regions: RegionParts | None
    """The parts that know, and tell, other regions, if there are any."""
    status: StatusLists | None
    """The status lists, if the draft is followed."""
    verifiers: Verifiers
    rules: RulesInForce
    audit: AuditTrail
    limiter: RateLimiter
    gate: Gate
    exchanges: ClientExchanges
    signals: SignalReceiver
    forwarded: ForwardedCertificates
    tracing: Tracing

    @property
    def exchange(self) -> TokenExchange:
        """The current exchange."""
        return self.rules.exchange

    @property
    def signing_keys(self) -> SigningKeys:
        """The signing keys."""
        return self.signing.signing_keys


async def assemble(base: Foundation, closing: contextlib.AsyncExitStack) -> Parts:
    """Connect to the store and make the parts; ``closing`` collects how each is closed.

    Raises:
        ConfigurationError: a part can't be used as configured.
        StoreUnavailable: the store can't be reached.
    """
    settings, store = base.settings, await _store(base, closing)
    signing = await signing_of(base, store)
    near = NearCache(store, PREFIXES, settings.caches.profiles * PROFILE, base.clock, base.entropy(8).hex())
    erasures = Erasures(store, near, base.clock, signing.sealer, base.entropy)
    serving, time = partial(require_serving, signing), signing.clocks.right_store_time
    entries, following = _revocations(base, store, signing)
    spread = spread_of(following, signing.regions)
    profiles = ProfileStore(store, base.clock, near, time, erasures, entries, read_only(signing.regions))
    copies = copies_of(base, store, near, profiles, erasures, signing.regions)
    firebase = FirebaseClients(most=max(1, settings.limits.calls_in_flight // WAITING_SHARE))
    issued = IssuedStore(store, entries, spread.covers)
    indices, lists = status_lists_of(base, store, signing.signing_keys, signing.clocks, following)
    verifiers = _verifiers(base, firebase)
    exchange = TokenExchange(
        verifier=verifiers.of(settings.providers),
        issued_tokens=_issued_tokens(base, signing, issued),
        profiles=Profiles(profiles, partial(following.valid_after, Kind.PRINCIPAL), spread.principal),
        policy=policy_of(base, settings),
        minter=_minter(base, signing, issued, firebase, indices),
        replay=ReplayGuard(store),
        clock=base.clock,
        serving=serving,
        bulk=following.bulk,
        require_revocations=following.require,
    )
    rules = _rules(settings, verifiers, exchange)
    unregistered = UnregisteredPrincipals(store, near, base.clock)
    many = MassRevocation(profiles, issued, entries, time, partial(_configured, rules), unregistered)
    closing.push_async_callback((audit := audit_of(base, store)).close)
    closing.push_async_callback((limiter := _limiter(base, store)).close)
    traces = tracing(base, closing)
    persons = _persons(base, store, near, profiles, erasures, issued, entries, many)
    gate = Gate(lambda: rules.authenticator, limiter, base.metrics, audit, signing.clocks.require, traces.tracer)
    return Parts(
        base=base,
        store=store,
        signing=signing,
        near=near,
        profiles=profiles,
        persons=persons,
        revoking=Revoking(entries, following, many),
        regions=regions_of(base, signing.signing_keys, signing.regions, entries, copies),
        status=lists,
        verifiers=verifiers,
        rules=rules,
        audit=audit,
        limiter=limiter,
        gate=gate,
        exchanges=ClientExchanges(lambda: rules.exchange, _tokens(rules, serving), gate),
        signals=_signals(rules, persons.changes, Recording(limiter, audit, base.metrics, base.clock), serving),
        forwarded=ForwardedCertificates(settings.proxy_hashes),
        tracing=traces,
    )


def _limiter(base: Foundation, store: Store) -> RateLimiter:
    return RateLimiter(store, rate_limits(base.settings), base.clock, base.background.unit("shared rate limits"))


def _verifiers(base: Foundation, firebase: FirebaseClients) -> Verifiers:
    tracing_table = base.settings.tracing
    propagate = tracing_table is not None and tracing_table.providers
    return Verifiers(base, HttpFetch(propagate=propagate), UserCheck(firebase))


def _rules(settings: Settings, verifiers: Verifiers, exchange: TokenExchange) -> RulesInForce:
    authenticator = authenticator_of(verifiers, settings, exchange)
    return RulesInForce(Rules(exchange, authenticator, files_of(settings), settings.places))


async def _store(base: Foundation, closing: contextlib.AsyncExitStack) -> Store:
    settings = base.settings
    url = base.job.redis_url or settings.redis_url or ""
    store = await Store.open(url, prefix=settings.redis_prefix, options=settings.redis_options)
    closing.push_async_callback(store.close)
    log.info("the store is reached", durability=store.durability)
    base.readiness.tell("store durability", lambda: store.weakness)
    return store


def _configured(rules: RulesInForce) -> Configured:
    current = rules.exchange
    clients = frozenset(rules.authenticator.callers.clients)
    return Configured(current.policy.audiences, clients, frozenset(current.verifier.providers))


def _revocations(base: Foundation, store: Store, signing: Signing) -> tuple[RevocationLog, Revocations]:
    keys, clocks, regions = signing.signing_keys, signing.clocks, signing.regions

    def longest() -> float:
        elsewhere = regions.longest() if regions is not None else 0.0
        return max(keys.ring.max_lifetime, keys.schedule.max_lifetime, elsewhere) + keys.schedule.skew

    def revoked_keys() -> dict[str, float]:
        gone = (key for key in keys.ring.keys if key.state is KeyState.REVOKED)
        memory = max(keys.schedule.max_age, keys.schedule.verifier_cache) + longest() + MARGIN
        own = {key.key_id: (key.revoke_time or 0.0) + memory for key in gone}
        return own if regions is None else own | regions.revoked_keys()

    entries = RevocationLog(store, Reach(clocks.now, longest), most=base.settings.limits.revocations)
    epoch = epochs(base.settings.regions.name, lambda: keys.ring.losses)
    world = World(clocks.now, epoch, lambda: bool(keys.loss()), revoked_keys, clocks.problem)
    following = Revocations(entries, world, base.clock)
    base.readiness.require("revocations", following.problem)
    return entries, following


def _persons(
    base: Foundation,
    store: Store,
    near: NearCache,
    profiles: ProfileStore,
    erasures: Erasures,
    issued: IssuedStore,
    entries: RevocationLog,
    many: MassRevocation,
) -> Persons:
    return Persons(
        batches=ProfileBatches(profiles, store, near, base.clock, erasures, entries),
        changes=IdentityChanges(profiles, store, near, base.clock, many.principal),
        erasures=erasures,
        erasure=PersonErasure(ProfileEraser(profiles, store, near, erasures), issued),
    )


def _signals(
    rules: RulesInForce, changes: IdentityChanges, recording: Recording, serving: Callable[[], None]
) -> SignalReceiver:
    exchange = rules.exchange
    return SignalReceiver(
        EventVerifier(lambda: rules.exchange.verifier),
        changes,
        exchange.replay,
        recording,
        serving=serving,
        serves_unregistered=lambda provider: rules.exchange.policy.serves_unregistered(provider),
    )


def _tokens(rules: RulesInForce, serving: Callable[[], None]) -> Tokens:
    """Return introspection and revocation, by the parts of the exchange. Providers are those of the current rules."""
    exchange = rules.exchange
    return Tokens(
        issued_tokens=exchange.issued_tokens,
        profiles=exchange.profiles,
        clock=exchange.clock,
        serving=serving,
        providers_of=lambda issuer: rules.exchange.verifier.named_by_sub(issuer),
    )


def _issued_tokens(base: Foundation, signing: Signing, issued: IssuedStore) -> IssuedTokenVerifier:
    formats = base.settings.formats
    return IssuedTokenVerifier(
        issuer=base.issuer,
        key=signing.signing_keys.published_key,
        issued=issued,
        header_types=header_types(formats),
        prefixes=prefixes(formats),
    )


def _minter(
    base: Foundation, signing: Signing, issued: IssuedStore, firebase: FirebaseClients, indices: StatusIndices | None
) -> Minter:
    kit = Kit(base.issuer, signing.signing_keys.signer, base.entropy, issued, firebase, indices)
    return Minter(kit, base.settings.formats, ReuseWindow(issued.revoked))

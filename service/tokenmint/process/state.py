"""The state of a service, as its metrics show it: read from the parts once a second."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from cryptography import x509

from tokenmint.base.errors import OutcomeUnknown, StoreUnavailable
from tokenmint.keys.ring import activation_planned
from tokenmint.keys.types import KeyState
from tokenmint.process.wiring import Parts

Values: TypeAlias = dict[tuple[str, ...], float]
STORE_ERRORS: Final = (StoreUnavailable.reason, OutcomeUnknown.reason)
"""The reasons whose series exist before their first error; otherwise an increase would not show the first error."""
PROCESS_INTERVAL: Final = 10.0  # seconds between readings of /proc


def watch_state(parts: Parts, certificates: Mapping[str, bytes] | None = None, *, watching: int = 0) -> None:
    """Record the state in the metrics.

    Args:
        parts: the parts of the service.
        certificates: the certificates that are in use, in PEM, by their use.
        watching: the number of streams of revocations.
    """
    base, signing, verifier = parts.base, parts.signing, parts.exchange.verifier
    base.metrics.state(
        ready=not base.readiness.problems(),
        confirmed=signing.signing_keys.confirmed_ago(),
        generation=signing.signing_keys.ring.generation,
        in_flight=base.capacity.in_flight,
        clock_offset=signing.signing_keys.clocks.offset,
        store_went_back=bool(signing.signing_keys.loss()),
        mark_kept=not signing.mark.problem(),
        providers={name: verifier.key_sets.ready(name) for name in verifier.providers},
    )
    writer = base.log_writer
    base.metrics.records(
        log_dropped=writer.dropped if writer is not None else 0,
        log_broken=writer is not None and bool(writer.problem),
        audit_dropped=parts.audit.dropped,
    )
    show = base.state_metrics.show
    show("tokenmint_calls_in_flight_limit", {(): base.capacity.limit})
    show("tokenmint_store_confirms_writes", {(): int(parts.store.confirms_log)})
    _keys(parts)
    _providers(parts)
    _store(parts)
    _revocations(parts, watching)
    _regions(parts)
    if parts.tracing.export is not None:
        outcomes = parts.tracing.export.outcomes
        base.state_metrics.reach("tokenmint_spans", {(name,): count for name, count in outcomes.items()})
    now = base.clock.now()
    expiry: Values = {
        (use,): end - now for use, pem in (certificates or {}).items() if (end := _end_of(pem)) is not None
    }
    show("tokenmint_certificate_expiry_seconds", expiry)


def _keys(parts: Parts) -> None:
    keys = parts.signing.signing_keys
    ring, now, schedule = keys.ring, keys.clocks.now(), keys.schedule
    numbers: Values = {}
    ages: Values = {}
    changes: Values = {}
    for key in ring.keys:
        labels = key.algorithm, key.state.value
        numbers[labels] = numbers.get(labels, 0) + 1
        if key.state is KeyState.PREPARED:
            since, change = key.publish_time, activation_planned(ring, key, schedule)
        elif key.state is KeyState.ACTIVE:
            since, change = key.activate_time or key.publish_time, float("inf")
        elif key.state is KeyState.RETIRING:
            since, change = key.retire_time or key.publish_time, key.delete_time or float("inf")
        else:
            continue
        ages[labels] = max(ages.get(labels, 0.0), now - since)
        if change < changes.get((key.algorithm,), float("inf")):
            changes[(key.algorithm,)] = change
    show = parts.base.state_metrics.show
    show("tokenmint_keys", numbers)
    show("tokenmint_key_age_seconds", ages)
    show("tokenmint_key_next_change_seconds", {labels: change - now for labels, change in changes.items()})


def _providers(parts: Parts) -> None:
    verifier, now = parts.exchange.verifier, parts.base.clock.now()
    ages: Values = {}
    trusted: Values = {}
    failing: Values = {}
    for name in verifier.providers:
        status = verifier.key_sets.status(name)
        failing[(name,)] = float(bool(status.last_error))
        if status.fetch_time is not None and status.trusted_until is not None:
            ages[(name,)] = now - status.fetch_time
            trusted[(name,)] = status.trusted_until - now
    show = parts.base.state_metrics.show
    show("tokenmint_provider_keys_age_seconds", ages)
    show("tokenmint_provider_keys_trusted_seconds", trusted)
    show("tokenmint_provider_keys_failing", failing)


def _store(parts: Parts) -> None:
    metrics, server = parts.base.state_metrics, parts.store.server
    metrics.store(server.durations)
    errors: Values = {(reason,): 0.0 for reason in STORE_ERRORS}
    errors |= {(reason,): float(number) for reason, number in server.errors.items()}
    metrics.reach("tokenmint_store_errors", errors)
    hits, misses = parts.near.hits, parts.near.misses
    metrics.reach("tokenmint_near_cache", {("hit",): hits, ("miss",): misses})


def _revocations(parts: Parts, watching: int) -> None:
    show, following = parts.base.state_metrics.show, parts.revoking.following
    show("tokenmint_revocations", {(): len(following)})
    show("tokenmint_revocation_watchers", {(): watching})
    show("tokenmint_revocations_age_seconds", {(): following.confirmed_ago()})
    if (lists := parts.status) is not None:
        show("tokenmint_status_lists", {(): len(lists)})
        show("tokenmint_status_list_names", {(): lists.names})
        show("tokenmint_status_lists_age_seconds", {(): lists.age()})


def _regions(parts: Parts) -> None:
    if parts.regions is None:
        return
    show, regions = parts.base.state_metrics.show, parts.regions.regions
    show("tokenmint_region_keys_age_seconds", {(name,): age for name, age in regions.ages().items()})
    show("tokenmint_region_revocations_age_seconds", {(name,): age for name, age in regions.revocation_ages().items()})
    if parts.regions.copies is not None:
        ages = parts.regions.copies.copying.ages()
        show("tokenmint_region_profiles_age_seconds", {(name,): age for name, age in ages.items()})
        refused = parts.regions.copies.profiles.refused
        parts.base.state_metrics.reach(
            "tokenmint_region_profiles_refused", {(name,): refused[name] for name in regions.options.others}
        )
    show("tokenmint_region_longest_cut_seconds", {(): regions.options.longest_cut})
    show("tokenmint_regions_given_up", {(): len(regions.given_up)})


def _end_of(pem: bytes) -> float | None:
    """Return the time at which the first certificate ends, Unix seconds; None if there is none."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    except ValueError:
        return None

"""The wiring of the audit trail."""

from functools import partial

from tokenmint.admission.audit import AuditLimits, AuditTrail
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.log_writer import LineWriter
from tokenmint.process.foundation import Foundation
from tokenmint.storage.redis import Store


def audit_of(base: Foundation, store: Store) -> AuditTrail:
    """Return the trail; it reports whether it can record."""
    table = base.settings.audit
    limits = AuditLimits(
        required=table.required,
        exchange_events=table.exchange_events,
        exchange_bytes=table.exchange_bytes,
        shards=table.shards,
        admin_events=table.admin_events,
        admin_bytes=table.admin_bytes,
        event_bytes=table.event_bytes,
        waiting_events=table.waiting_events,
        waiting_bytes=table.waiting_bytes,
        refusals_per_second=table.refusals_per_client.per_second,
        refusals_at_once=table.refusals_per_client.burst,
    )
    works = partial(log_takes_events, base.settings.log.level, base.log_writer)
    audit = AuditTrail(store, base.clock, limits, log_works=works)

    def audit_problem() -> str:
        try:
            audit.check()
        except DependencyUnavailable as error:
            return error.detail or error.message
        return ""

    base.readiness.tell("audit", lambda: audit.problem)
    base.readiness.require("audit", audit_problem)
    return audit


def log_takes_events(level: str, writer: LineWriter | None) -> bool:
    """Return whether the log will probably accept an audit event, which is of level `info`."""
    return level in ("debug", "info") and writer is not None and writer.works

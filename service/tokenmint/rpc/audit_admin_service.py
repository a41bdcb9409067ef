"""AuditAdminService."""

from collections.abc import Mapping
from typing import Final

from tokenmint.admission import audit, audit_pages
from tokenmint.admission.audit_reading import event_json
from tokenmint.admission.callers import Role
from tokenmint.admission.gate import current_operator
from tokenmint.admission.validation import Violations
from tokenmint.rpc.interceptors import Context
from tokenmint.storage.merging import is_position
from tokenmint.storage.redis import Store
from tokenmint.v1 import audit_admin_service_pb2 as pb
from tokenmint.v1 import audit_admin_service_pb2_grpc as pb_grpc

_STREAMS: Final[Mapping[int, tuple[str, ...]]] = {
    pb.AUDIT_STREAM_UNSPECIFIED: audit.EXCHANGE_SHARDS,
    pb.AUDIT_STREAM_EXCHANGES: audit.EXCHANGE_SHARDS,
    pb.AUDIT_STREAM_ADMIN: (audit.ADMIN,),
}


class AuditAdminService(pb_grpc.AuditAdminServiceServicer):
    """Reads the audit trail of ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        """Return a page of events."""
        _check(request)
        details = Role.SECURITY in current_operator().roles
        page = await audit_pages.audit_page(
            self._store,
            _STREAMS[request.stream],
            position=request.position,
            start=request.start_time.seconds + request.start_time.nanos / 1e9
            if request.HasField("start_time")
            else None,
            most_events=request.page_size or audit_pages.USUAL_EVENTS,
            most_bytes=request.page_bytes or audit_pages.USUAL_BYTES,
        )
        return pb.ListAuditEventsResponse(
            events=[
                pb.AuditEvent(position=position, event_json=event_json(event, details=details))
                for position, event in page.entries
            ],
            next_position=page.following,
            has_more=page.more,
            has_gap=page.gap,
        )


def _check(request: pb.ListAuditEventsRequest) -> None:
    violations = Violations()
    violations.check("stream", "expected a stream of the trail", holds=request.stream in _STREAMS)
    violations.check(
        "position",
        "expected the next_position of an answer",
        holds=not request.position or is_position(request.position, _STREAMS.get(request.stream, ())),
    )
    violations.check(
        "start_time",
        "is only allowed without position",
        holds=not (request.position and request.HasField("start_time")),
    )
    violations.check(
        "start_time",
        "expected a time from 1970 to 9999",
        holds=0 <= request.start_time.seconds < 253_402_300_800 and 0 <= request.start_time.nanos < 10**9,
    )
    violations.check(
        "page_size", f"1 to {audit_pages.MOST_EVENTS}", holds=0 <= request.page_size <= audit_pages.MOST_EVENTS
    )
    least, most = audit_pages.LEAST_BYTES, audit_pages.MOST_BYTES
    violations.check(
        "page_bytes", f"{least} to {most}", holds=not request.page_bytes or least <= request.page_bytes <= most
    )
    violations.raise_any()

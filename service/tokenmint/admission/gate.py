"""The gate for every call of any transport: it enforces the access table.

It authenticates the caller, counts the call, records a change in advance, and writes event and metrics at the end. gRPC
and HTTP differ only in reading requests and writing responses.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tokenmint.admission.access import ANYBODY, CLIENT, Row
from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.call_spans import attributes_of, is_recordable, spans_of
from tokenmint.admission.callers import ClientAuthenticator, Credentials, Operator
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.base.errors import (
    AccessDenied,
    CallerUnauthenticated,
    DependencyUnavailable,
    MethodDenied,
    TokenmintError,
)
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.telemetry import Metrics, places
from tokenmint.base.trace_context import CallTrace, TraceContext, enter_trace
from tokenmint.exchange.attempt import Trace
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.exchange.introspection import Tokens
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Binding, Client, ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.tracing.tracer import Tracer

log = structlog.get_logger(__name__)

INTERNAL_MESSAGE: Final = "internal error; the service's log says more"
_NO_KEYS: Final = Binding()


@dataclass(slots=True)
class Call:
    """A call that has arrived."""

    method: str
    row: Row | None
    """The method's row in the access table."""
    started: float
    facts: dict[str, object]
    """Further fields of its audit event."""
    client: Client | None = None
    """The caller, if it is an authenticated client."""
    operator: Operator | None = None
    """The caller, if it is an authenticated operator."""
    possession: Binding = _NO_KEYS
    """The keys that the caller has proved to hold: that of its certificate."""
    admitted: bool = False
    """Whether it was admitted. Errors after that are answered in the method's own way."""
    parent: TraceContext | None = None
    """The caller's place in a trace."""
    trace: CallTrace | None = None
    """The trace that it belongs to, if any."""
    steps: Trace | None = None
    """The steps of its exchange, if it is one."""
    reason: str = ""
    """Why it was refused, once it has ended."""
    scheme: str = ""
    """`http` or `https`, over HTTP."""

    @property
    def becomes_span(self) -> bool:
        """Whether it is to become a span."""
        return self.trace is not None and self.trace.recorded

    @property
    def span(self) -> tuple[str, str] | None:
        """The ids of its trace and its span, if it becomes one; never of a caller that is not authenticated."""
        trace = self.trace
        authenticated = self.client is not None or self.operator is not None
        return (trace.trace_id, trace.span_id) if trace is not None and trace.recorded and authenticated else None


_current: ContextVar[Call] = ContextVar("call")


def annotate_audit(**facts: object) -> None:
    """Add fields to the audit event of this call."""
    _current.get().facts.update(facts)


def current_client() -> Client:
    """Return the client of this call. Raises ``MethodDenied`` if there is none."""
    client = _current.get().client
    if client is None:
        raise MethodDenied(detail="a method for clients was called without one")
    return client


def current_possession() -> Binding:
    """Return the keys that the caller of this call has proved to hold: that of its certificate."""
    return _current.get().possession


def current_operator() -> Operator:
    """Return the operator of this call. Raises ``MethodDenied`` if there is none."""
    operator = _current.get().operator
    if operator is None:
        raise MethodDenied(detail="a method for operators was called without one")
    return operator


class Gate:
    """Admits calls by the access table, and records their end.

    Args:
        authenticator: returns the current authenticator, which a reload replaces.
        limiter: counts calls.
        metrics: the metrics.
        audit: the audit trail.
        clock_right: raises while the clock may be wrong; clients are then neither authenticated nor refused.
        tracer: begins and ends the traces of calls; None: there are none.
    """

    def __init__(
        self,
        authenticator: Callable[[], ClientAuthenticator],
        limiter: RateLimiter,
        metrics: Metrics,
        audit: AuditTrail,
        clock_right: Callable[[], None] = lambda: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._clock_right = clock_right
        self._tracer = tracer
        self._authenticator = authenticator
        self._limiter = limiter
        self._metrics = metrics
        self._audit = audit

    @property
    def clients(self) -> Mapping[str, Client]:
        """The configured clients."""
        return self._authenticator().callers.clients

    def begin(self, method: str, row: Row | None, parent: TraceContext | None = None) -> Call:
        """Begin a call of a method with this row of the access table, or without one.

        ``parent``: the caller's place in a trace.
        """
        call = Call(method, row, time.perf_counter(), {})
        _current.set(call)
        self._trace(call, parent)
        return call

    def continue_trace(self, parent: TraceContext | None) -> None:
        """Continue a trace that the request of this call names, unless its metadata named one."""
        call = _current.get()
        if parent is None or call.parent is not None:
            return
        before = call.trace
        self._trace(call, parent)
        if before is not None and call.trace is not None:
            call.trace.requests += before.requests

    def _trace(self, call: Call, parent: TraceContext | None) -> None:
        call.parent = parent
        if self._tracer is not None:
            call.trace = self._tracer.begin(call.method, parent, recordable=is_recordable(call.row))
        enter_trace(call.trace)

    async def admit(self, call: Call, credentials: Callable[[], Credentials]) -> None:
        """Authenticate the caller, if the row requires it, by the result of ``credentials``.

        Raises:
            CallerUnauthenticated
            MethodDenied: the method has no row, or the operator lacks the role that the row names.
            AuditUnavailable: the call has to be recorded and can't be. No single-use token was used up.
            StoreUnavailable: the use of an assertion can't be recorded.
            ClockWrong: the times of an assertion can't be checked.
        """
        row = call.row
        if row is None:
            raise MethodDenied(detail=f"{call.method} is not in the access table")
        if row.caller is ANYBODY:
            call.admitted = True
            return
        if row.audit.recordable:
            self._audit.check()
        presented = credentials()
        call.facts["caller"] = clipped(presented.identifier or "")
        try:
            await self._authenticate(call, row, presented)
        except CallerUnauthenticated as error:
            if presented.secret:
                raise CallerUnauthenticated(CallerUnauthenticated.not_accepted, detail=error.detail) from None
            raise
        if call.operator is not None and row.caller not in call.operator.roles:
            raise MethodDenied(f"the operator {call.operator.operator_id!r} lacks the role {row.caller.value!r}")
        call.admitted = True

    async def _authenticate(self, call: Call, row: Row, presented: Credentials) -> None:
        if row.caller is CLIENT:
            self._clock_right()
            call.client = client = await self._authenticator().client(presented)
            call.facts["caller"] = client.client_id
            call.possession = Binding(x5t_s256=presented.certificate_sha256)
        else:
            call.operator = operator = self._authenticator().callers.operator(presented)
            call.facts["caller"] = operator.operator_id

    async def enter(
        self, call: Call, request: object, about: Callable[[Any], Mapping[str, object]] = lambda _: {}
    ) -> None:
        """Count an admitted call at the cost in its row, and record a change in advance.

        ``about`` returns the fields of the record that come from the request.

        Raises:
            RateLimited
            StoreUnavailable: the change can't be recorded, so it is not made.
        """
        row = call.row
        if row is None or row.caller is ANYBODY:
            return
        if row.audit.before:
            call.facts.update(about(request))  # first, so that the record of a refusal has them too
        cost = row.cost if isinstance(row.cost, int) else max(1, row.cost(request))
        if call.client is not None:
            await self._limiter.take(call.client, cost)
        elif call.operator is not None:
            await self._limiter.take_of_operator(call.operator.operator_id, cost)
        if row.audit.before:
            event = {"kind": row.audit.kind, "method": call.method, "outcome": "begun"} | call.facts | _ids(call)
            await self._audit.record(event, durable=row.audit.confirmed)

    def ended(self, call: Call, code: str, reason: str = "", detail: str = "", *, told: bool = True) -> None:
        """Count a call, and record it as its row requires. Never raises, because the response comes after it.

        Without ``told`` it is only counted: one of many refusals of unauthenticated callers.
        """
        self._record(call, code, reason, detail, told=told)
        if call.trace is not None:
            self._end_trace(call, call.trace, code)

    def _end_trace(self, call: Call, trace: CallTrace, code: str) -> None:
        """Pass the spans of a call on, if its caller has authenticated itself."""
        try:
            if self._tracer is not None and call.span is not None:
                facts = attributes_of(
                    call.client.client_id if call.client is not None else "",
                    call.operator.operator_id if call.operator is not None else "",
                    call.steps,
                    call.reason,
                    call.scheme,
                )
                self._tracer.end(
                    lambda moment: spans_of(trace, call.method, call.steps, facts, call.started, code, moment)
                )
        except Exception as error:  # noqa: BLE001  # must not raise
            log_internal(call.method, error)
        trace.over = True

    def _record(self, call: Call, code: str, reason: str, detail: str, *, told: bool) -> None:
        call.reason = reason or str(call.facts.get("reason", ""))
        try:
            seconds = time.perf_counter() - call.started
            self._metrics.call(call.method, code, reason, seconds, call.span)
            if reason and call.client is not None:
                self._metrics.refused(call.client.client_id, reason)
        except Exception as error:  # noqa: BLE001  # must not raise
            log_internal(call.method, error)
        row = call.row
        if not told or row is None or row.caller is ANYBODY or (row.audit.refusals_alone and not reason):
            return
        try:
            outcome = "refused" if reason else "done"
            event: dict[str, object] = {"kind": row.audit.kind, "method": call.method, "outcome": outcome}
            if reason:
                event |= {"reason": reason, "detail": detail}
            event |= call.facts | _ids(call)
            # Unauthenticated calls are logged but not streamed: they could push others' events out of the stream.
            authenticated = call.client is not None or call.operator is not None
            self._audit.note(event, keep=authenticated and reason != CallerUnauthenticated.reason)
        except Exception as error:  # noqa: BLE001  # must not raise
            log_internal(call.method, error)

    def minted(self, audience: str) -> None:
        """Count a minted token. Never raises: the token is minted, and its subject token may be used up."""
        try:
            self._metrics.minted(audience)
        except Exception as error:  # noqa: BLE001  # must not raise
            log_internal("", error)


class ClientExchanges:
    """Serves the calls of admitted clients: exchanges tokens, counts them, and extends their audit events.

    Args:
        exchange: returns the current exchange, which a reload replaces.
        tokens: introspects and revokes.
        gate: counts minted tokens.
    """

    def __init__(self, exchange: Callable[[], TokenExchange], tokens: Tokens, gate: Gate) -> None:
        self._exchange = exchange
        self._tokens = tokens
        self.gate = gate

    @property
    def use_case(self) -> TokenExchange:
        """The current exchange."""
        return self._exchange()

    async def one(self, request: ExchangeRequest, client: Client) -> MintedToken:
        """Exchange a token for one token. Raises as ``TokenExchange.exchange``."""
        return (await self.one_to_keep(request, client))[0]

    async def one_to_keep(self, request: ExchangeRequest, client: Client) -> tuple[MintedToken, int]:
        """Return as :meth:`one`, and for how many seconds the answer may be given again to the same request."""
        trace = _begin_steps()
        use_case = self.use_case
        request = use_case.policy.completed(client, request)
        annotate_audit(audience=_named(request))
        try:
            minted = await use_case.exchange(request, client, trace)
        finally:
            annotate_audit(**trace.facts())
        self._count(trace)
        return minted, trace.keep

    async def batch(
        self, requests: Sequence[ExchangeRequest], client: Client
    ) -> list[MintedToken | AccessDenied | DependencyUnavailable]:
        """Exchange a token for several tokens. Raises as ``TokenExchange.exchange_batch``."""
        trace = _begin_steps()
        use_case = self.use_case
        requests = [use_case.policy.completed(client, target) for target in requests]
        annotate_audit(audience=[_named(target) for target in requests])
        try:
            outcomes = await use_case.exchange_batch(requests, client, trace)
        finally:
            annotate_audit(**trace.facts())
        annotate_audit(refused=[error.reason for error in outcomes if isinstance(error, TokenmintError)])
        self._count(trace)
        return outcomes

    async def introspect(self, token: Secret, client: Client, hint: str | None) -> Mapping[str, JsonValue] | None:
        """Return the claims of an issued token. Returns and raises as ``Tokens.introspect``."""
        annotate_audit(token_sha256=token.fingerprint())
        claims = await self._tokens.introspect(token, client, hint)
        annotate_audit(active=claims is not None)
        return claims

    async def revoke(self, token: Secret, client: Client, hint: str | None) -> None:
        """Revoke an issued token. Raises as ``Tokens.revoke``."""
        annotate_audit(token_sha256=token.fingerprint())
        await self._tokens.revoke(token, client, hint)

    def _count(self, trace: Trace) -> None:
        for audience, minted in trace.minted:
            if not minted.reused:
                self.gate.minted(audience)


def _begin_steps() -> Trace:
    """Return the trace of this call's exchange."""
    call = _current.get()
    call.steps = Trace(timed=call.becomes_span)
    return call.steps


def _named(request: ExchangeRequest) -> str:
    """Return the audience of a request, or else the names of its target, for the audit."""
    return clipped(" ".join((request.audience, *request.resources)).strip(), LONG)


def _ids(call: Call) -> dict[str, str]:
    """Return the fields of an audit event that name the trace."""
    return call.trace.ids() if call.trace is not None else {}


def log_internal(method: str, error: BaseException) -> None:
    """Log the place of an internal error. Never raises, because a response waits.

    The exception's text may hold input of the caller, so it is left out.
    """
    with contextlib.suppress(Exception):
        detail = error.detail or error.message if isinstance(error, TokenmintError) else INTERNAL_MESSAGE
        log.error("internal error", method=method, error=type(error).__name__, detail=detail, where=places(error)[-6:])

"""What every call goes through, whichever transport it came over: the caller's proof, the rate limit, the exchange, and
the audit event and numbers at its end. gRPC and HTTP differ in how they read a request and spell an answer, in no more.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final

import structlog

from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.callers import ClientProof, Operator, Presented
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.base.errors import AccessDenied, CallerUnauthenticated, DependencyUnavailable, TokenmintError
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.telemetry import Metrics, places
from tokenmint.exchange.attempt import Trace
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Client, ExchangeRequest

log = structlog.get_logger(__name__)

INTERNAL_MESSAGE: Final = "internal error; the service's log says more"
_facts: ContextVar[dict[str, object]] = ContextVar("facts")


def tell_audit(**facts: object) -> None:
    """Add to what the audit event of this call will say."""
    _facts.get().update(facts)


class Admission:
    """Lets calls in, and records how they ended.

    Args:
        proof: returns what proves callers now (a reload changes it).
        limiter: counts calls of clients.
        metrics: what is counted.
        audit: what is recorded.
        clock_right: raises while no token's times can be judged: clients are neither proved nor refused then.
    """

    def __init__(
        self,
        proof: Callable[[], ClientProof],
        limiter: RateLimiter,
        metrics: Metrics,
        audit: AuditTrail,
        clock_right: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock_right = clock_right
        self._proof = proof
        self._limiter = limiter
        self._metrics = metrics
        self._audit = audit

    def begin(self) -> float:
        """Begin the record of a call; return what :meth:`ended` takes as ``started``."""
        _facts.set({})
        return time.perf_counter()

    @property
    def clients(self) -> Mapping[str, Client]:
        """The clients that are known now."""
        return self._proof().callers.clients

    async def client(self, presented: Presented) -> Client:
        """Prove a client.

        Raises:
            CallerUnauthenticated
            StoreUnavailable: an assertion can't be claimed.
            ClockWrong: an assertion's times can't be judged.
        """
        self._clock_right()
        facts = _facts.get()
        facts["caller"] = clipped(presented.identifier or "")
        client = await self._proof().client(presented)
        facts["caller"] = client.client_id
        return client

    def operator(self, presented: Presented) -> Operator:
        """Prove an operator. Raises ``CallerUnauthenticated``."""
        tell_audit(caller=clipped(presented.identifier or ""))
        operator = self._proof().callers.operator(presented)
        tell_audit(caller=operator.operator_id)
        return operator

    def check_recordable(self) -> None:
        """Check that an exchange can be recorded, where it has to be; before anything that is used once is used.

        Raises:
            AuditUnavailable: it can't be.
        """
        self._audit.check()

    async def take(self, client: Client, cost: int = 1) -> None:
        """Count a call of ``client``. Raises ``RateLimited``."""
        await self._limiter.take(client, cost)

    async def record_change(self, method: str, *, confirm: bool = True) -> None:
        """Record an operator's change before it is made. Raises ``StoreUnavailable``: then it is not made.

        Without ``confirm`` the record is in the store by then, and not yet known to be on its disks.
        """
        event = {"kind": "admin", "method": method, "outcome": "begun"} | _facts.get()
        await self._audit.record(event, confirm=confirm)

    def ended(
        self, method: str, kind: str, started: float, code: str, reason: str = "", detail: str = "", *,
        proved: bool = True,
    ) -> None:  # fmt: skip
        """Count a call, and record it where it is of a ``kind``. Never raises: what comes after this is the answer.

        ``proved``: whether it came as far as to prove its caller.
        """
        try:
            self._metrics.call(method, code, reason, time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001  # as said
            log_internal(method, error)
        if not kind:
            return
        try:
            outcome = "refused" if reason else "done"
            event: dict[str, object] = {"kind": kind, "method": method, "outcome": outcome}
            if reason:
                event |= {"reason": reason, "detail": detail}
            event |= _facts.get()
            # Who was not proved gets a line in the log, and no place in the stream: it could push out everybody else's.
            proved = proved and reason != CallerUnauthenticated.reason
            self._audit.note(event, keep=proved)
        except Exception as error:  # noqa: BLE001  # as said
            log_internal(method, error)

    def minted(self, audience: str) -> None:
        """Count a token. Never raises: it was minted, and what it was minted from may be used up."""
        try:
            self._metrics.minted(audience)
        except Exception as error:  # noqa: BLE001  # as said
            log_internal("", error)


class ClientExchanges:
    """The exchanges of clients that were let in: done, counted, and told to the audit.

    Args:
        exchange: the use case.
        admission: what records.
    """

    def __init__(self, exchange: TokenExchange, admission: Admission) -> None:
        self.use_case = exchange
        self.admission = admission

    async def one(self, wanted: ExchangeRequest, client: Client) -> MintedToken:
        """Exchange one token for one. Raises as ``TokenExchange.exchange``."""
        self.admission.check_recordable()
        trace = Trace()
        tell_audit(audience=clipped(wanted.audience, LONG))
        try:
            minted = await self.use_case.exchange(wanted, client, trace)
        finally:
            tell_audit(**trace.facts())
        self._count(trace)
        return minted

    async def batch(
        self, wanted: Sequence[ExchangeRequest], client: Client
    ) -> list[MintedToken | AccessDenied | DependencyUnavailable]:
        """Exchange one token for several. Raises as ``TokenExchange.exchange_batch``."""
        self.admission.check_recordable()
        trace = Trace()
        tell_audit(audience=[clipped(target.audience, LONG) for target in wanted])
        try:
            outcomes = await self.use_case.exchange_batch(wanted, client, trace)
        finally:
            tell_audit(**trace.facts())
        tell_audit(refused=[error.reason for error in outcomes if isinstance(error, TokenmintError)])
        self._count(trace)
        return outcomes

    def _count(self, trace: Trace) -> None:
        for audience, minted in trace.minted:
            if not minted.reused:
                self.admission.minted(audience)


def log_internal(method: str, error: BaseException) -> None:
    """Log where it went wrong, and never raise: an answer waits for this.

    The exception's own text may hold what the caller sent, so it stays out.
    """
    with contextlib.suppress(Exception):
        detail = error.detail or error.message if isinstance(error, TokenmintError) else INTERNAL_MESSAGE
        log.error("internal error", method=method, error=type(error).__name__, detail=detail, where=places(error)[-6:])

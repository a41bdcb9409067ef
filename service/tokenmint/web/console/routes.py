"""The console's routes. Each answers one question of an authenticated operator, by the same gate as over gRPC.

None changes anything. Requests with names of persons, or with a token, have them in the body: URLs appear in logs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenmint.admission import audit_reading
from tokenmint.admission.access import CONSOLE
from tokenmint.admission.audit import EXCHANGE_SHARDS
from tokenmint.admission.audit_reading import Query, RefusalCounts
from tokenmint.admission.callers import Credentials, Role
from tokenmint.admission.gate import Call, ClientExchanges, current_operator, log_internal
from tokenmint.admission.validation import Violations
from tokenmint.base.capacity import Capacity, InHand, note_deadline
from tokenmint.base.clock import Clock
from tokenmint.base.errors import CallerUnauthenticated, NotFound, Overloaded, TokenmintError, TookTooLong
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.readiness import Readiness
from tokenmint.base.remedies import Remedy
from tokenmint.base.tasks import ENDING
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, context_of
from tokenmint.exchange.deciding import Written, citations
from tokenmint.exchange.explain import Outcome, explain
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.model.policy import Binding
from tokenmint.model.secret import Secret
from tokenmint.storage.merging import is_position
from tokenmint.storage.redis import Store
from tokenmint.web import credentials
from tokenmint.web.console import documents, pages
from tokenmint.web.console.answers import error_answer, json_answer, status_of
from tokenmint.web.console.documents import Document
from tokenmint.web.console.logins import RefusedLogins
from tokenmint.web.console.shield import Shield
from tokenmint.web.forms import Form, read_form, single
from tokenmint.web.oauth import exchange_request

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of a header, as over gRPC
MOST_EVENTS: Final = 60
"""So many of the largest events are less than an answer."""
MOST_FILTER: Final = 255
"""Characters of one filter."""
_FILTERS: Final = ("client", "principal", "provider", "jti", "trace")
_OUTCOMES: Final = ("", "minted", "refused")

_Answer = Callable[[Form], Awaitable[Document]]


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """The parts of the service that the console shows."""

    exchanges: ClientExchanges
    signing_keys: SigningKeys
    jwks_clients: JwksFetchLog
    store: Store
    readiness: Readiness
    clock: Clock
    capacity: Capacity
    remedies: Mapping[str, Remedy]
    written: Written
    hosts: tuple[str, ...]
    body_limit: int
    """The largest size of a request's body in bytes."""
    deadline: float
    """The time limit of a request in seconds."""
    client_certificates: bool = False
    """Whether every operator has to present a certificate, as over gRPC."""


class Console:
    """The routes, and the state that they share."""

    def __init__(self, parts: ConsoleParts) -> None:
        self._parts = parts
        self._logins = RefusedLogins(parts.clock.monotonic)
        self._one_search = asyncio.Lock()
        """Held by a search in the events: many at once would leave exchanges little of the processor."""
        self._counts = RefusalCounts(parts.store, parts.clock, frozenset(parts.remedies))

    def application(self) -> Starlette:
        """Return the application: the page's files, and the routes of data."""
        asked: dict[str, _Answer] = {
            "/api/session": self._session,
            "/api/keys": self._keys,
            "/api/refusals": self._refusals,
            "/api/health": self._health,
            "/api/access": self._access,
        }
        with_body: dict[str, _Answer] = {"/api/exchanges": self._exchanges, "/api/explain": self._explain}
        application = Starlette(
            routes=[
                *pages.routes(),
                *(self._route(path, "GET", answer) for path, answer in asked.items()),
                *(self._route(path, "POST", answer) for path, answer in with_body.items()),
            ]
        )
        application.router.redirect_slashes = False
        application.add_middleware(Shield, hosts=self._parts.hosts)
        return application

    # --- the way of a request ---------------------------------------------------------------------------------

    def _route(self, path: str, verb: str, respond: _Answer) -> Route:
        capacity = self._parts.capacity

        async def endpoint(request: Request) -> Response:
            refusal = capacity.refusal(bounded=False)
            if refusal is not None:
                return error_answer(refusal)
            in_hand = capacity.enter()
            try:
                return await self._admitted(request, f"{verb} {path}", path, respond, in_hand)
            finally:
                in_hand(None)

        return Route(path, endpoint, methods=[verb])

    async def _admitted(self, request: Request, name: str, path: str, respond: _Answer, in_hand: InHand) -> Response:
        gate, parts = self._parts.exchanges.gate, self._parts
        parent = context_of(request.headers.getlist(TRACEPARENT), request.headers.getlist(TRACESTATE))
        call = gate.begin(name, CONSOLE.get(path), parent)
        call.scheme = request.url.scheme
        try:
            note_deadline(parts.deadline)
            async with asyncio.timeout(parts.deadline):
                await gate.admit(call, lambda: self._credentials(request))
                form = await read_form(request, limit=parts.body_limit) if request.method == "POST" else {}
                in_hand.arrived(bounded=False)
                await gate.enter(call, form, _about)
                response = json_answer(await respond(form))
        except Overloaded as error:
            return error_answer(error)
        except TimeoutError as error:
            return self._failed(call, error if isinstance(error, TokenmintError) else TookTooLong())
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # every error becomes an answer
            return self._failed(call, error)
        gate.ended(call, str(response.status_code))
        return response

    def _credentials(self, request: Request) -> Credentials:
        verified = credentials.certificate(request)
        if self._parts.client_certificates and verified is None:
            raise CallerUnauthenticated(detail="no client certificate")
        names, secrets = request.headers.getlist(CLIENT_ID), request.headers.getlist(CLIENT_SECRET)
        if len(names) > 1 or len(secrets) > 1:
            raise CallerUnauthenticated(detail="a credential was sent twice")
        return Credentials(
            identifier=names[0] if names else None,
            secret=Secret(secrets[0]) if secrets else None,
            certificates=verified.identities if verified is not None else (),
            certificate_sha256=verified.thumbprint if verified is not None else None,
        )

    def _failed(self, call: Call, error: BaseException) -> Response:
        answer = self._logins.answer(error) if isinstance(error, CallerUnauthenticated) else error
        status = status_of(answer)
        reason = error.reason if isinstance(error, TokenmintError) else TokenmintError.reason
        detail = ""
        if status == 500:
            log_internal(call.method, error)
        elif isinstance(error, TokenmintError):
            detail = error.detail or error.message
        self._parts.exchanges.gate.ended(call, str(status), reason, detail, told=answer is error)
        return error_answer(answer)

    # --- the answers --------------------------------------------------------------------------------------------

    async def _session(self, _: Form) -> Document:
        operator = current_operator()
        return {"operator": operator.operator_id, "roles": sorted(operator.roles), "now": self._parts.clock.now()}

    async def _keys(self, _: Form) -> Document:
        parts, signing = self._parts, self._parts.signing_keys
        replicas = await signing.store.replicas()
        verifiers = await parts.jwks_clients.known()
        return documents.keys(signing.ring, signing.schedule, replicas, verifiers, parts.clock.now())

    async def _health(self, _: Form) -> Document:
        parts, verifier = self._parts, self._parts.exchanges.use_case.verifier
        replicas = await parts.signing_keys.store.replicas()
        generation = parts.signing_keys.ring.generation
        return documents.health(
            verifier.providers, verifier.key_sets, replicas, generation, parts.readiness, parts.clock.now()
        )

    async def _access(self, _: Form) -> Document:
        exchanges = self._parts.exchanges
        return documents.access(exchanges.use_case.policy.audiences, exchanges.gate.clients)

    async def _refusals(self, _: Form) -> Document:
        counts = await self._counts.read()
        return {
            "now": self._parts.clock.now(),
            "since": counts.since,
            "complete": counts.complete,
            "reasons": [
                {
                    "reason": reason,
                    "hour": counts.hour.get(reason, 0),
                    "day": number,
                    "remedy": documents.remedy(self._parts.remedies.get(reason)),
                }
                for reason, number in counts.day.items()
            ],
        }

    async def _exchanges(self, form: Form) -> Document:
        texts = {name: single(form, name) for name in (*_FILTERS, "outcome", "before", "after")}
        violations = Violations()
        for name in _FILTERS:
            violations.check(name, f"at most {MOST_FILTER} characters", holds=len(texts[name]) <= MOST_FILTER)
        violations.check("outcome", "expected minted, refused or nothing", holds=texts["outcome"] in _OUTCOMES)
        for name in ("before", "after"):
            is_place = not texts[name] or is_position(texts[name], EXCHANGE_SHARDS)
            violations.check(name, "expected the id of an entry", holds=is_place)
        violations.raise_any()
        before, after = texts.pop("before"), texts.pop("after")
        async with self._one_search:
            found = await audit_reading.events(
                self._parts.store,
                Query(**texts),
                most=MOST_EVENTS,
                before=before,
                after=after,
                details=Role.SECURITY in current_operator().roles,
            )
        return {
            "now": self._parts.clock.now(),
            "events": list(found.events),
            "newest": found.newest or after,
            "older": found.older,
            "scanned": found.scanned,
        }

    async def _explain(self, form: Form) -> Document:
        exchanges = self._parts.exchanges
        client_id = single(form, "client_id")
        violations = Violations()
        violations.check("client_id", "is required", holds=bool(client_id))
        violations.raise_any()
        client = exchanges.gate.clients.get(client_id)
        if client is None:
            raise NotFound("client", clipped(client_id))
        request = exchange_request(form, Binding())
        explanation = await explain(exchanges.use_case, request, client)
        last = explanation.steps[-1]
        return {
            "steps": [
                {
                    "name": step.name,
                    "outcome": step.outcome,
                    "reason": step.reason,
                    "detail": clipped(step.detail, 2048),
                }
                for step in explanation.steps
            ],
            "refused": last.outcome is Outcome.FAILED,
            "provider": explanation.names["provider"],
            "remedy": documents.remedy(self._parts.remedies.get(last.reason)),
            "decided_by": [
                {"key": key.path, "where": key.where, "text": key.text, "missing": key.missing}
                for key in citations(explanation, self._parts.written)
            ],
        }


def _about(form: Form) -> Mapping[str, object]:
    """Return the fields of an audit event that come from the request of an explanation; the token is not among them."""
    facts = {"client_id": single(form, "client_id"), "audience": single(form, "audience")}
    return {name: clipped(value, LONG) for name, value in facts.items() if value}

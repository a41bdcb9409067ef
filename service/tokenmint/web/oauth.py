"""OAuth 2.0 over HTTP: token exchange (RFC 8693), introspection (RFC 7662), revocation (RFC 7009).

These endpoints read forms and write JSON. Policy, rate limits and audit are the same as over gRPC, by the same gate.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenmint.admission.access import OAUTH
from tokenmint.admission.gate import Call, ClientExchanges, Gate, current_client, log_internal
from tokenmint.admission.validation import MAX_AUDIENCE, MAX_TYPE, SUBJECT_TOKEN_TYPES, Violations
from tokenmint.base.capacity import Capacity, InHand, note_deadline
from tokenmint.base.clock import Clock
from tokenmint.base.errors import (
    AudienceDenied,
    FieldViolation,
    Overloaded,
    ProofRejected,
    TokenmintError,
    TookTooLong,
    UnsupportedGrantType,
)
from tokenmint.base.tasks import ENDING
from tokenmint.base.token_errors import MalformedToken
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, context_of
from tokenmint.model.drafts import (
    IDENTITY_ASSERTION,
    IDENTITY_CHAINING,
    SPIFFE_CLIENT_AUTH,
    TRANSACTION_TOKENS,
    needed,
)
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Binding, ExchangeRequest, JsonObject
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, JWT, JWT_GRANT, REFRESH_TOKEN, TXN_TOKEN
from tokenmint.policy.targets import ONE_TARGET
from tokenmint.verification.dpop import DPOP_ALGORITHMS, check_proof
from tokenmint.verification.jwk import ALGORITHMS
from tokenmint.verification.jws import MOST_TOKEN, media_type, parse_compact
from tokenmint.verification.replay import ReplayGuard
from tokenmint.web import credentials
from tokenmint.web.forms import Form, read_form, single
from tokenmint.web.oauth_errors import NO_STORE, answer, row_of

AUTHORIZE_PATH: Final = "/oauth2/authorize"
TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105  # a path
INTROSPECT_PATH: Final = "/oauth2/introspect"
REVOKE_PATH: Final = "/oauth2/revoke"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
ID_JAG_PROFILE: Final = "urn:ietf:params:oauth:grant-profile:id-jag"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # RFC 8693 section 2.1
OF_EXCHANGES: Final = frozenset(
    {"subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"}
)
"""Parameters of token exchange alone."""
TARGETS: Final = frozenset({"audience", "resource"})
OF_TRANSACTIONS: Final = frozenset({"request_context", "request_details"})
"""Parameters of requests for transaction tokens alone."""
_OF_GRANTS: Final = frozenset({IDENTITY_ASSERTION, IDENTITY_CHAINING})
"""The drafts that need the grant jwt-bearer."""
_ABROAD: Final = ((IDENTITY_ASSERTION, ID_JAG), (IDENTITY_CHAINING, JWT))
"""The drafts by which other servers get a grant, and the type by which each is requested."""

_Answer = Callable[[Request, Form], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """The OAuth endpoints and the parts that they use."""

    issuer: str
    """The issuer identifier, which is the base of the endpoints' URLs."""
    exchanges: ClientExchanges
    replay: ReplayGuard
    clock: Clock
    capacity: Capacity
    body_limit: int
    """The largest size of a request's body in bytes."""
    deadline: float
    """The time limit of a request in seconds."""
    client_certificates: bool = False
    """Whether the listener requests client certificates."""
    drafts: frozenset[str] = frozenset()
    """The drafts that are followed (``model/drafts.py``)."""

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route(AUTHORIZE_PATH, _no_authorization, methods=["GET"]),
            self._route(TOKEN_PATH, self._token, repeatable=TARGETS),
            self._route(INTROSPECT_PATH, self._introspect),
            self._route(REVOKE_PATH, self._revoke),
        ]

    def metadata(self) -> dict[str, object]:
        """Return the endpoints' part of the discovery documents (RFC 8414 section 2, RFC 9449 section 5.1)."""
        methods = [*credentials.AUTH_METHODS]
        if self.client_certificates:
            methods.insert(3, credentials.CERTIFICATE_METHOD)
        if SPIFFE_CLIENT_AUTH in self.drafts:
            methods.insert(3, credentials.SPIFFE_METHOD)
        document: dict[str, object] = {
            "grant_types_supported": list(self._grants()),
            "authorization_endpoint": self.issuer + AUTHORIZE_PATH,
        }
        if IDENTITY_ASSERTION in self.drafts:
            document["authorization_grant_profiles_supported"] = [ID_JAG_PROFILE]
        if minted := [kind for draft, kind in _ABROAD if draft in self.drafts]:
            document["identity_chaining_requested_token_types_supported"] = minted
        if self.client_certificates:
            document["tls_client_certificate_bound_access_tokens"] = True  # RFC 8705 section 3.3
        for name, path in (("token", TOKEN_PATH), ("introspection", INTROSPECT_PATH), ("revocation", REVOKE_PATH)):
            document[f"{name}_endpoint"] = self.issuer + path
            document[f"{name}_endpoint_auth_methods_supported"] = methods
            document[f"{name}_endpoint_auth_signing_alg_values_supported"] = sorted(ALGORITHMS)
        document["dpop_signing_alg_values_supported"] = list(DPOP_ALGORITHMS)
        return document

    def _grants(self) -> tuple[str, ...]:
        return (TOKEN_EXCHANGE, JWT_BEARER) if self.drafts & _OF_GRANTS else (TOKEN_EXCHANGE,)

    def _route(self, path: str, respond: _Answer, *, repeatable: frozenset[str] = frozenset()) -> Route:
        gate, row = self.exchanges.gate, OAUTH.get(path)
        bounded = row is not None and row.bounded

        async def endpoint(request: Request) -> Response:
            refusal = self.capacity.refusal(bounded=bounded)
            if refusal is not None:
                return answer(refusal)
            in_hand = self.capacity.enter()
            try:
                return await admitted(request, in_hand)
            finally:
                in_hand(None)

        async def admitted(request: Request, in_hand: InHand) -> Response:
            headers = request.headers
            call = gate.begin(
                f"POST {path}", row, context_of(headers.getlist(TRACEPARENT), headers.getlist(TRACESTATE))
            )
            call.scheme = request.url.scheme
            by_grant = False
            try:
                note_deadline(self.deadline)
                async with asyncio.timeout(self.deadline):
                    form = await read_form(request, limit=self.body_limit, repeatable=repeatable)
                    in_hand.arrived(bounded=bounded)
                    by_grant = single(form, "grant_type") == JWT_BEARER
                    await gate.admit(call, lambda: credentials.credentials_of(request, form))
                    await gate.enter(call, form)
                    response = await respond(request, form)
            except Overloaded as error:
                return answer(error)
            except TimeoutError as error:
                failure = error if isinstance(error, TokenmintError) else TookTooLong()
                return _failed(gate, call, failure)
            except ENDING:
                raise
            except BaseException as error:  # noqa: BLE001  # every error becomes an answer
                return _failed(gate, call, error, by_grant=by_grant)
            gate.ended(call, str(response.status_code))
            return response

        return Route(path, endpoint, methods=["POST"])

    async def _token(self, request: Request, form: Form) -> Response:
        possession = await self._possession(request)
        if single(form, "grant_type") == JWT_BEARER and self.drafts & _OF_GRANTS:
            exchange = grant_request(form, possession, chaining=IDENTITY_CHAINING in self.drafts)
        else:
            transactions = TRANSACTION_TOKENS in self.drafts
            exchange = exchange_request(form, possession, transactions=transactions, grants=self._grants())
        minted = await self.exchanges.one(exchange, current_client())
        return token_response(minted, lifetime=max(0, int(minted.expires_at - self.clock.now())))

    async def _introspect(self, _: Request, form: Form) -> Response:
        token, hint = _token_of(form)
        claims = await self.exchanges.introspect(token, current_client(), hint)
        # `active` comes last, so that no claim of a token can override it.
        body = {"active": False} if claims is None else {**claims, "active": True}
        return JSONResponse(body, headers=NO_STORE)

    async def _revoke(self, _: Request, form: Form) -> Response:
        token, hint = _token_of(form)
        await self.exchanges.revoke(token, current_client(), hint)
        return Response(status_code=200, headers=NO_STORE)

    async def _possession(self, request: Request) -> Binding:
        """Return the keys that the client has proved to hold: by a DPoP proof, by its certificate."""
        certificate = credentials.certificate(request)
        thumbprint = certificate.thumbprint if certificate is not None else None
        proofs = request.headers.getlist("dpop")
        if not proofs:
            return Binding(x5t_s256=thumbprint)
        if len(proofs) > 1:
            raise ProofRejected("there is more than one DPoP header (RFC 9449 section 4.3)")
        now = self.clock.now()
        proof = check_proof(Secret(proofs[0]), method="POST", url=self.issuer + TOKEN_PATH, now=now)
        await self.replay.consume_proof(proof, now=now)
        return Binding(jkt=proof.thumbprint, x5t_s256=thumbprint)


async def _no_authorization(_: Request) -> Response:
    """Refuse an authorization request (RFC 6749 section 4.1.2.1). It is never redirected: no redirect URI is known.

    Clients of the MCP SDK and others need the endpoint in the metadata, also for grants without it (docs/adr/0038).
    """
    text = "users sign in at their identity provider: exchange its token"
    return JSONResponse({"error": "unsupported_response_type", "error_description": text}, 400, NO_STORE)


def token_response(minted: MintedToken, *, lifetime: int) -> JSONResponse:
    """Return the response with a token (RFC 8693 section 2.2.1) that lives for ``lifetime`` more seconds."""
    body: dict[str, object] = {
        "access_token": minted.token.reveal(),
        "issued_token_type": minted.issued_token_type,
        "token_type": minted.token_type,
        "expires_in": lifetime,
    }
    if minted.scopes:
        body["scope"] = " ".join(minted.scopes)
    return JSONResponse(body, headers=NO_STORE)


def exchange_request(
    form: Form, possession: Binding, *, transactions: bool = False, grants: Sequence[str] = (TOKEN_EXCHANGE,)
) -> ExchangeRequest:
    """Return the exchange that a form requests (RFC 8693 section 2.1), bound to the DPoP key of ``possession``.

    ``transactions``: whether the parameters of transaction tokens have a meaning. If not, they are ignored.
    ``grants``: the grant types that are served, for the refusal of another one.

    Raises:
        InvalidRequest: lists every violation.
        AudienceDenied: it names several audiences (section 2.2.2, `invalid_target`).
    """
    grant_type = single(form, "grant_type")
    if grant_type and grant_type != TOKEN_EXCHANGE:
        off = f": {JWT_BEARER} {needed(*sorted(_OF_GRANTS))}" if grant_type == JWT_BEARER else ""
        raise UnsupportedGrantType([FieldViolation("grant_type", f"expected {' or '.join(grants)}{off}")])
    violations = Violations()
    violations.check("grant_type", f"is required: {' or '.join(grants)}", holds=bool(grant_type))
    subject_token, actor_token = single(form, "subject_token"), single(form, "actor_token")
    subject_type, actor_type = single(form, "subject_token_type"), single(form, "actor_token_type")
    violations.token("subject_token", len(subject_token.encode()))
    expected = f"expected one of {', '.join(SUBJECT_TOKEN_TYPES)}"
    subject_types = ("", *SUBJECT_TOKEN_TYPES, REFRESH_TOKEN, *((TXN_TOKEN,) if transactions else ()))
    violations.check("subject_token_type", expected + _of_a_draft(subject_type), holds=subject_type in subject_types)
    violations.check("actor_token", f"at most {MOST_TOKEN} bytes", holds=len(actor_token.encode()) <= MOST_TOKEN)
    if actor_token or actor_type:
        violations.check("actor_token", "is required with actor_token_type", holds=bool(actor_token))
        violations.check(
            "actor_token_type", f"is required with actor_token: {expected}", holds=actor_type in SUBJECT_TOKEN_TYPES
        )
    audiences, resources = _targets(form, violations)
    scopes = _scopes(form, violations)
    requested = single(form, "requested_token_type")
    violations.check("requested_token_type", f"at most {MAX_TYPE} characters", holds=len(requested) <= MAX_TYPE)
    context, details = _transaction(form, violations) if transactions else (None, None)
    violations.raise_any()
    if len(audiences) > 1:
        raise AudienceDenied(ONE_TARGET)
    return ExchangeRequest(
        subject_token=Secret(subject_token),
        audience=audiences[0] if audiences else "",
        resources=resources,
        subject_token_type=subject_type,
        scopes=scopes,
        requested_token_type=requested or None,
        actor_token=Secret(actor_token) if actor_token else None,
        actor_token_type=actor_type or None,
        binding=Binding(jkt=possession.jkt),
        possession=possession,
        request_context=context,
        request_details=details,
    )


def grant_request(form: Form, possession: Binding, *, chaining: bool = False) -> ExchangeRequest:
    """Return the exchange that a form with a grant requests (RFC 7523 section 2.1).

    ``chaining``: whether a JWT that is no ID-JAG may be one (draft-ietf-oauth-identity-chaining section 2.4).

    Raises: as :func:`exchange_request`.
    """
    violations = Violations()
    assertion = single(form, "assertion")
    violations.token("assertion", len(assertion.encode()))
    for name in sorted(OF_EXCHANGES & form.keys()):
        violations.check(name, f"is not a parameter of {JWT_BEARER}", holds=False)
    audiences, resources = _targets(form, violations)
    scopes = _scopes(form, violations)
    violations.raise_any()
    if len(audiences) > 1:
        raise AudienceDenied(ONE_TARGET)
    return ExchangeRequest(
        subject_token=Secret(assertion),
        audience=audiences[0] if audiences else "",
        resources=resources,
        subject_token_type=_kind_of_grant(Secret(assertion)) if chaining else ID_JAG,
        scopes=scopes,
        binding=Binding(jkt=possession.jkt),
        possession=possession,
    )


def _kind_of_grant(assertion: Secret) -> str:
    """Return the kind that an assertion claims to be. It is not trusted yet: the rules of that kind verify it."""
    try:
        typ = parse_compact(assertion, MOST_TOKEN).header.get("typ")
    except MalformedToken:
        return JWT_GRANT
    return ID_JAG if media_type(str(typ)) == ID_JAG_TYP else JWT_GRANT


def _transaction(form: Form, violations: Violations) -> tuple[JsonObject | None, JsonObject | None]:
    context, details = (violations.json_object(name, single(form, name)) for name in sorted(OF_TRANSACTIONS))
    return context, details


def _scopes(form: Form, violations: Violations) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(single(form, "scope").split(" "))) if single(form, "scope") else ()
    violations.scopes("scope", scopes)
    return scopes


def _of_a_draft(subject_type: str) -> str:
    """Return the hint on a type of subject token that belongs to a draft, "" for others."""
    if subject_type == ID_JAG:
        return f": an ID-JAG is the assertion of {JWT_BEARER}, which {needed(IDENTITY_ASSERTION)}"
    return f": {TXN_TOKEN} {needed(TRANSACTION_TOKENS)}" if subject_type == TXN_TOKEN else ""


def _targets(form: Form, violations: Violations) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the audiences and the resources that a form names, each once. Policy finds the audience that is meant."""
    audiences, resources = (tuple(dict.fromkeys(form.get(name, ()))) for name in ("audience", "resource"))
    for audience in audiences:
        violations.check("audience", f"at most {MAX_AUDIENCE} characters", holds=len(audience) <= MAX_AUDIENCE)
    violations.resources("resource", resources)
    return audiences, resources


def _token_of(form: Form) -> tuple[Secret, str | None]:
    violations = Violations()
    token, hint = single(form, "token"), single(form, "token_type_hint")
    violations.token("token", len(token.encode()))
    violations.check("token_type_hint", f"at most {MAX_TYPE} characters", holds=len(hint) <= MAX_TYPE)
    violations.raise_any()
    return Secret(token), hint or None


def _failed(gate: Gate, call: Call, error: BaseException, *, by_grant: bool = False) -> Response:
    row = row_of(error, by_grant=by_grant)
    reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
    detail = ""
    if row.status == 500:
        log_internal(call.method, error)
    elif isinstance(error, TokenmintError):
        detail = error.detail or error.message
    gate.ended(call, str(row.status), reason, detail)
    return answer(error, by_grant=by_grant)

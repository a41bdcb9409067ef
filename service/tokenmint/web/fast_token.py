"""`/oauth2/token` by the fast way: a plain exchange by a client secret (RFC 8693), without a form, a request or a task.

The token is cut out of the body. A client repeats the other bytes, so they are the key of the plan. Everything else is
decided by the full way's functions, when a head or a body is seen for the first time.
"""

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urlencode
from weakref import ReferenceType, ref

from starlette.datastructures import Headers

from tokenmint.base.capacity import Capacity
from tokenmint.base.clock import Clock
from tokenmint.base.errors import TokenmintError
from tokenmint.base.trace_context import TraceContext, context_of
from tokenmint.fast.exchange import FastExchange, Unfinished
from tokenmint.fast.minting import Minted
from tokenmint.fast.plans import Plan
from tokenmint.model.minted import MintedToken, presented_as
from tokenmint.model.policy import Binding, Client, ExchangeRequest, TokenGrant
from tokenmint.model.secret import Secret
from tokenmint.tracing.tracer import Tracer
from tokenmint.web.credentials import credentials_in
from tokenmint.web.fast_requests import DatedAnswer, Later, dated_answer
from tokenmint.web.forms import Form, is_form, parse_form, single
from tokenmint.web.oauth import OF_TRANSACTIONS, TARGETS, TOKEN_PATH, exchange_request, token_response

METHOD: Final = f"POST {TOKEN_PATH}"
_TOKEN: Final = re.compile(rb"(?:^|&)subject_token=([^&]*)")
_PROBE: Final = "p"
_CLIENT: Final = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})


class Known(NamedTuple):
    """The meaning of a head under one configuration."""

    fast: ReferenceType[FastExchange]
    client: Client | None
    """The client that the head authenticates; None if the body does."""


class _Fixed(NamedTuple):
    """The parts of a response that all tokens of a target share, in their order."""

    status: bytes
    before_length: bytes
    before_body: bytes
    before_token: bytes
    before_lifetime: bytes
    end: bytes


class FastToken:
    """Answers the requests of `/oauth2/token` that the fast way recognises.

    Args:
        in_force: returns the fast way of the configuration in force.
        capacity: the bound on calls in progress.
        clock: the time.
        tracer: decides which calls leave the fast way, because they become spans; None: none.
    """

    def __init__(
        self, in_force: Callable[[], FastExchange], capacity: Capacity, clock: Clock, tracer: Tracer | None = None
    ) -> None:
        self._in_force = in_force
        self._tracer = tracer
        self._capacity = capacity
        self._clock = clock

    def learn(self, fields: Headers, *, has_body: bool) -> Known | None:
        """Return the client that a head authenticates, if any (``read_form``, ``credentials_of``)."""
        fast = self._in_force()
        if not has_body or not is_form(fields.getlist("content-type")):
            return None
        basic = fields.getlist("authorization")
        if not basic:
            return Known(ref(fast), None)
        client = _authenticated(fast, basic, {})
        return Known(ref(fast), client) if client is not None else None

    def answer(self, learned: Known, body: bytes, _: str, traceparent: str = "") -> DatedAnswer | Later | None:
        """Exchange the token of a body; None without any effect: the request takes the full way."""
        started = time.perf_counter()
        parent = context_of((traceparent,)) if traceparent else None
        if self._tracer is not None and self._tracer.keeps_from_fast_way(METHOD, parent):
            return None
        fast, client = self._in_force(), learned.client
        # A reload may have removed a client's secret. So the full way authenticates the client again, and the head is
        # remembered anew.
        if learned.fast() is not fast or not self._capacity.takes_bounded:
            return None
        found = _TOKEN.search(body)
        if found is None or not found[1]:
            return None
        rest = body[: found.start(1)] + body[found.end(1) :]
        if client is None or b"client_" in rest:
            named = _client_of(fast, client, rest)
            if named is None:
                return None
            client, rest = named
        plan = fast.plans(METHOD, _read).of(client, rest)
        if plan is None or (minted := fast.exchange(plan, found[1])) is None:
            return None
        if not isinstance(minted, list):
            return partial(self._later, fast, minted, started, parent)
        return self._answered(fast, plan, minted, started, parent)

    async def _later(
        self, fast: FastExchange, unfinished: Unfinished, started: float, parent: TraceContext | None
    ) -> DatedAnswer | None:
        """Continue an exchange that waited for a rate limit, its profile or its signature."""
        if not self._capacity.takes_bounded:
            return None
        in_hand = self._capacity.enter()
        try:
            in_hand.begin()
            minted: list[Minted] | Unfinished | None = unfinished
            while minted is not None and not isinstance(minted, list):
                [fetched] = await fast.fetch([minted])
                minted = fast.finish(minted, fetched)
            return self._answered(fast, unfinished.plan, minted, started, parent) if minted is not None else None
        finally:
            in_hand(None)

    def _answered(
        self, fast: FastExchange, plan: Plan, minted: list[Minted], started: float, parent: TraceContext | None
    ) -> DatedAnswer:
        response = self._response(minted[0])
        fast.ended(METHOD, plan, time.perf_counter() - started, "200", parent)
        fast.write()
        return response

    def _response(self, minted: Minted) -> DatedAnswer:
        fixed = minted.target.answer
        if not isinstance(fixed, _Fixed):
            minted.target.answer = fixed = _fixed(minted.target.grant)
        lifetime = max(0, int(minted.expires_at - self._clock.now()))
        body = b"%b%b%b%d%b" % (fixed.before_token, minted.token, fixed.before_lifetime, lifetime, fixed.end)
        return fixed.status, b"%b%d%b%b" % (fixed.before_length, len(body), fixed.before_body, body)


def _authenticated(fast: FastExchange, basic: list[str], form: Form) -> Client | None:
    """Authenticate a client by one id and one secret (``ClientAuthenticator.client``)."""
    try:
        found = credentials_in(basic, form, None)
    except TokenmintError:
        return None
    if found.identifier is None or found.secret is None:
        return None
    return fast.client(found.identifier, found.secret.reveal())


def _client_of(fast: FastExchange, client: Client | None, rest: bytes) -> tuple[Client, bytes] | None:
    """Return the client that a body without its token names, and the body without the client's parameters.

    ``client``: the client that the head authenticates. The body may only repeat its id.
    """
    form = _form(rest)
    if form is None:
        return None
    if client is None:
        client = _authenticated(fast, [], form)
        if client is None:
            return None
    elif form.keys() & (_CLIENT - {"client_id"}) or single(form, "client_id") not in ("", client.client_id):
        return None
    kept = [(name, value) for name, values in form.items() if name not in _CLIENT for value in values]
    return client, b"subject_token=&" + urlencode([one for one in kept if one[0] != "subject_token"]).encode()


def _form(rest: bytes) -> Form | None:
    """Parse a body with a placeholder instead of its token; None if it is not a form."""
    place = _TOKEN.search(rest)
    if place is None:
        return None
    try:
        return parse_form(rest[: place.end()] + _PROBE.encode() + rest[place.end() :], repeatable=TARGETS)
    except TokenmintError:  # also for a second token
        return None


def _read(rest: bytes) -> Sequence[ExchangeRequest]:
    """Read a body without its token and without a client."""
    form = _form(rest)
    if form is None or form.keys() & (_CLIENT | OF_TRANSACTIONS):
        return ()
    try:
        return (exchange_request(form, Binding()),)
    except TokenmintError:
        return ()


def _fixed(grant: TokenGrant) -> _Fixed:
    """Split a response of the full way at its token, its lifetime and its length."""
    minted = MintedToken(Secret(_PROBE), grant.token_type, presented_as(grant), 0, grant.scopes, "", "", "")
    response = token_response(minted, lifetime=0)
    status, rest = dated_answer(response)
    before_length, _, behind = rest.partition(b"content-length: ")
    _, _, fields = behind[: -len(response.body)].partition(b"\r\n")
    before_token, _, behind = bytes(response.body).partition(_PROBE.encode() + b'","issued')
    kind, lifetime, end = behind.partition(b'"expires_in":')
    return _Fixed(
        status=status,
        before_length=before_length + b"content-length: ",
        before_body=b"\r\n" + fields,
        before_token=before_token,
        before_lifetime=b'","issued' + kind + lifetime,
        end=end.removeprefix(b"0"),
    )

"""Envoy's external authorization over the fast way: bytes in, bytes out, as ``fast_exchange``.

The functions of the full way find the request's token (``gateway/request.py``). The settings of the route are the key
of the plan, with the audience that they or the host name. Hosts are no part of it: callers of the gateway choose them.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson
from google.protobuf.message import DecodeError

from tokenmint.base.errors import TokenmintError
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, TraceContext, context_in
from tokenmint.envoy.v3 import external_authorization_pb2 as pb
from tokenmint.fast.exchange import FastExchange
from tokenmint.fast.minting import Minted
from tokenmint.fast.plans import Target
from tokenmint.gateway.decision import BEARER, GatewayChecks, cache_control
from tokenmint.gateway.request import NoToken, audience_of, find_token, token_type_of
from tokenmint.model.policy import ExchangeRequest
from tokenmint.rpc.external_authorization import AUDIENCE, METHOD, SCOPE, TOKEN_TYPE, route_of
from tokenmint.rpc.fast_exchange import Method, Request
from tokenmint.rpc.wire import field
from tokenmint.tracing.tracer import Tracer

_PROBE: Final = "p"
_REPLACES: Final = field(2, b"")
"""`append` of a header, false."""
_OK: Final = field(1, b"")
"""`status` of an answer, OK."""
_double: Final = struct.Struct("<d").pack


class FastCheck(Method):
    """The fast way of Check.

    Args:
        in_force: returns the fast way of the configuration in force.
        limit: bytes of a request at most.
        checks: the full way.
        tracer: decides which calls leave the fast way, because they become spans; None: none.
    """

    name, batch = METHOD, False

    def __init__(
        self, in_force: Callable[[], FastExchange], limit: int, checks: GatewayChecks, tracer: Tracer | None = None
    ) -> None:
        super().__init__(in_force, limit, tracer)
        self._checks = checks
        self._removed = b"".join(field(5, name.encode()) for name in checks.gateway.headers)

    def cut(self, message: bytes) -> Request | None:
        """Find the token, and the settings of the route (``ExternalAuthorization.Check``, ``GatewayChecks.check``)."""
        gateway = self._checks.gateway
        try:
            attributes = pb.CheckRequest.FromString(message).attributes
            http, extensions = attributes.request.http, attributes.context_extensions
            found = find_token(gateway, http.headers)
            audience = extensions.get(AUDIENCE) or audience_of(gateway, http.host)
        except (DecodeError, NoToken, TokenmintError):
            return None
        token_type = extensions.get(TOKEN_TYPE) or token_type_of(found.token)
        rest = orjson.dumps((audience, extensions.get(SCOPE, ""), token_type))
        return Request(found.token.encode(), rest, _parent(http.headers), found.cookies)

    def read(self, rest: bytes) -> Sequence[ExchangeRequest]:
        """Read the settings of a route, as :data:`~tokenmint.fast.plans.Read`."""
        settings = dict(zip((AUDIENCE, SCOPE, TOKEN_TYPE), orjson.loads(rest), strict=True))
        try:
            return (self._checks.exchange_request(_PROBE, "", route_of(settings)),)
        except TokenmintError:
            return ()

    def message(self, fast: FastExchange, minted: list[Minted], own: object) -> bytes:
        """Return the bytes of a CheckResponse (``external_authorization``); ``own``: the cookies that are left."""
        [one] = minted
        shared = one.target.answer
        if not isinstance(shared, _Answer):
            one.target.answer = shared = _Answer(one.target)
        headers = _header(b"authorization", BEARER.encode() + b" " + one.token) + self._removed
        if own:
            headers += _header(b"cookie", str(own).encode())
        elif own is not None:
            headers += field(5, b"cookie")
        return _OK + field(3, headers) + shared.metadata(one, fast.keep(one))


class _Answer:
    """The dynamic metadata of a target's answers: the parts that those of one second share."""

    __slots__ = ("expires_at", "keep", "scope", "shared")

    def __init__(self, target: Target) -> None:
        self.scope = _text(b"scope", " ".join(target.grant.scopes).encode())
        self.keep, self.expires_at = -1, -1
        self.shared = b""

    def metadata(self, minted: Minted, keep: int) -> bytes:
        """Return the field of an answer (``external_authorization._metadata``)."""
        if self.keep != keep or self.expires_at != minted.expires_at:
            self.keep, self.expires_at = keep, minted.expires_at
            cached = _text(b"cache_control", cache_control(keep).encode()) + _number(b"cache_seconds", keep)
            self.shared = cached + _number(b"expires_at", minted.expires_at) + self.scope
        return field(
            4, self.shared + _text(b"principal", minted.principal.encode()) + _text(b"token_id", minted.token_id)
        )


def _parent(headers: Mapping[str, str]) -> TraceContext | None:
    if TRACEPARENT not in headers:
        return None
    return context_in([(name, headers[name]) for name in (TRACEPARENT, TRACESTATE) if name in headers])


def _header(key: bytes, value: bytes) -> bytes:
    """Return a header that is set in the request."""
    return field(2, field(1, field(1, key) + field(2, value)) + _REPLACES)


def _text(key: bytes, value: bytes) -> bytes:
    """Return a member of a Struct."""
    return field(1, field(1, key) + field(2, field(3, value)))


def _number(key: bytes, value: int) -> bytes:
    """Return a member of a Struct: a `number_value`, in 64 bits."""
    return field(1, field(1, key) + field(2, b"\x11" + _double(value)))

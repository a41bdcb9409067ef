"""The endpoints for providers' signals: `POST /signals/NAME` on the public listener, for providers with rules for them.

The content type tells the form: RFC 8935 for security event tokens, OpenID Connect Back-Channel Logout 1.0 section 2.5
for logout tokens, and Apple's JSON. Each form has its own answers, which come after the changes are confirmed.
"""

import asyncio
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenmint.admission.access import SIGNALS
from tokenmint.admission.gate import INTERNAL_MESSAGE, Call, Gate, log_internal
from tokenmint.base import errors
from tokenmint.base.addresses import peer_of
from tokenmint.base.capacity import Capacity, note_deadline
from tokenmint.base.tasks import ENDING
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Delivery, SignalRules
from tokenmint.signals.receiver import SignalReceiver
from tokenmint.signals.set_errors import set_error
from tokenmint.verification.jws import parse_object
from tokenmint.web.forms import is_form, parse_form, single
from tokenmint.web.oauth_errors import NO_STORE, describe, row_of

SIGNALS_PATH: Final = "/signals/{provider}"
SECEVENT: Final = "application/secevent+jwt"  # RFC 8417 section 7.2
JSON: Final = "application/json"
BESIDE_TOKEN: Final = 4 * 1024  # bytes of a body beside its token
KNOWN: Final = "known"  # no address: counts all pushes with a secret of the configuration
MOST_DELIVERED: Final = 100  # characters of a provider's name in a path


@dataclass(frozen=True, slots=True)
class SignalEndpoint:
    """The endpoint for signals, and the parts that it uses."""

    receiver: SignalReceiver
    gate: Gate
    capacity: Capacity
    token_limit: int
    """The largest size of a token in bytes."""
    deadline: float
    """The time limit of a request in seconds."""

    def route(self) -> Route:
        """Return the route. Providers without rules for signals get the answer of a path that does not exist."""
        return Route(SIGNALS_PATH, self._endpoint, methods=["POST"])

    async def _endpoint(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        rules = self.receiver.rules(provider) if len(provider) <= MOST_DELIVERED else None
        if rules is None:
            return Response("Not Found", 404, media_type="text/plain")
        delivery = _delivery(request)
        refusal = self.capacity.refusal(bounded=False)
        if refusal is not None:
            return _failure(delivery, refusal)
        in_hand = self.capacity.enter()
        try:
            return await self._answer(request, provider, rules, delivery)
        finally:
            in_hand(None)

    async def _answer(self, request: Request, provider: str, rules: SignalRules, delivery: Delivery | None) -> Response:
        call = self.gate.begin(f"POST {SIGNALS_PATH}", SIGNALS[SIGNALS_PATH])
        readable = False
        try:
            note_deadline(self.deadline)
            async with asyncio.timeout(self.deadline):
                peer = peer_of(request.client.host if request.client is not None else "")
                known = delivery is Delivery.SECEVENT and _has_secret(request, rules)
                # Behind a proxy all senders are one peer: those with a secret count apart from strangers.
                await self.receiver.admit(provider, rules, KNOWN if known else peer)
                if delivery is None:
                    raise _refused("Content-Type", f"expected {SECEVENT}, a form with logout_token, or {JSON}")
                if delivery is Delivery.SECEVENT and rules.push_secrets and not known:
                    raise errors.CallerUnauthenticated(
                        "the push needs a bearer token that push_secrets of the provider names"
                    )
                token = _READERS[delivery](await _body(request, self.token_limit + BESIDE_TOKEN))
                readable = True
                await self.receiver.receive(provider, delivery, token, via="push", peer=peer)
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # every error becomes an answer
            if isinstance(error, TimeoutError) and not isinstance(error, errors.TokenmintError):
                error = errors.TookTooLong()
            if not readable:
                self.receiver.not_readable(provider, error)
            return self._failed(call, delivery, error)
        accepted = (
            202 if delivery is Delivery.SECEVENT else 200
        )  # RFC 8935 section 2.2; Back-Channel Logout section 2.8
        self.gate.ended(call, str(accepted))
        return Response(status_code=accepted, headers=NO_STORE)

    def _failed(self, call: Call, delivery: Delivery | None, error: BaseException) -> Response:
        answer = _failure(delivery, error)
        reason = error.reason if isinstance(error, errors.TokenmintError) else "INTERNAL"
        if answer.status_code == 500:
            log_internal(call.method, error)
        self.gate.ended(call, str(answer.status_code), reason)
        return answer


def _delivery(request: Request) -> Delivery | None:
    """Return the form that the content type tells, or None."""
    kinds = request.headers.getlist("content-type")
    if is_form(kinds):
        return Delivery.LOGOUT
    kind = kinds[0].partition(";")[0].strip().lower() if len(kinds) == 1 else ""
    return {SECEVENT: Delivery.SECEVENT, JSON: Delivery.APPLE}.get(kind)


def _has_secret(request: Request, rules: SignalRules) -> bool:
    """Return whether a push has a bearer token that the configuration names."""
    presented = request.headers.getlist("authorization")
    scheme, _, secret = (presented[0] if len(presented) == 1 else "").partition(" ")
    digest = hashlib.sha256(secret.strip().encode("latin-1")).hexdigest()
    known = [hmac.compare_digest(digest, one) for one in rules.push_secrets]
    return scheme.lower() == "bearer" and any(known)


async def _body(request: Request, limit: int) -> bytes:
    """Return the body. Raises ``InvalidRequest``."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _refused("body", f"at most {limit} bytes")
    except ClientDisconnect:
        raise _refused("body", "is incomplete: the caller closed the connection") from None
    return bytes(body)


def _of_secevent(body: bytes) -> Secret:
    return Secret(body.strip())


def _of_form(body: bytes) -> Secret:
    token = single(parse_form(body), "logout_token")
    if not token:
        raise _refused("logout_token", "is required (Back-Channel Logout 1.0 section 2.5)")
    return Secret(token)


def _of_json(body: bytes) -> Secret:
    token = parse_object(body, "body").get("payload")
    if not isinstance(token, str) or not token.isascii() or not token:
        raise _refused("payload", "is required: the notification's token")
    return Secret(token)


_READERS: Final[Mapping[Delivery, Callable[[bytes], Secret]]] = MappingProxyType(
    {Delivery.SECEVENT: _of_secevent, Delivery.LOGOUT: _of_form, Delivery.APPLE: _of_json}
)


def _refused(field: str, description: str) -> errors.InvalidRequest:
    return errors.InvalidRequest([errors.FieldViolation(field, description)])


def _failure(delivery: Delivery | None, error: BaseException) -> Response:
    """Return the answer to an error. A transmitter repeats a delivery after 429 and 5xx, and not after 400."""
    code = set_error(error) if isinstance(error, errors.TokenmintError) else ""
    text = describe_error(error) if isinstance(error, errors.TokenmintError) else INTERNAL_MESSAGE
    headers = dict(NO_STORE)
    if isinstance(error, errors.RateLimited | errors.Overloaded | errors.DeadlinePassed | errors.DependencyUnavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        return JSONResponse({"error": "temporarily_unavailable", "error_description": text},
                            429 if isinstance(error, errors.RateLimited) else 503, headers)  # fmt: skip
    if not code:
        status = row_of(error).status
        return JSONResponse({"error": "server_error", "error_description": text}, max(status, 500), headers)
    if delivery is Delivery.SECEVENT or delivery is None:
        return JSONResponse({"err": code, "description": text}, 400, headers | {"Content-Language": "en"})
    return JSONResponse({"error": "invalid_request", "error_description": text}, 400, headers)


def describe_error(error: errors.TokenmintError) -> str:
    """Return an error's message for a transmitter: of a server's fault only its class, in printable ASCII."""
    if isinstance(error, errors.CorruptRecord | errors.ConfigurationError):
        return INTERNAL_MESSAGE
    return describe(error)

"""Both ways of Envoy's Check, as ``both_ways``: the same scenarios, at a gateway.

An answer becomes that of an exchange for the same token. Its other parts are there as text, as `issued_token_type`.
"""

from types import MappingProxyType
from typing import Any

import grpc
from google.protobuf import text_format
from tests.both_ways import BothWays
from tests.comparable import decoded
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig

from tokenmint.admission import access
from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.gateway.decision import GatewayChecks
from tokenmint.gateway.request import Gateway
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.rpc.external_authorization import METHOD, REFUSALS, ExternalAuthorization
from tokenmint.rpc.fast_check import FastCheck
from tokenmint.rpc.fast_exchange import Method
from tokenmint.rpc.interceptors import Guard
from tokenmint.v1 import token_exchange_service_pb2 as pb

COOKIE = "__Host-session"
IAP, FORWARDED = "x-goog-iap-jwt-assertion", "x-forwarded-authorization"
GATEWAY = Gateway(
    audience=AUDIENCE,
    hosts=MappingProxyType(
        {"legacy.example": LEGACY_AUDIENCE, "192.0.2.7": LEGACY_AUDIENCE, "2001:db8::7": LEGACY_AUDIENCE}
    ),
    cookie=COOKIE,
    headers=(IAP, FORWARDED),
)


def request_of(
    headers: dict[str, str], host: str = "shop.example", extensions: dict[str, str] | None = None
) -> envoy.CheckRequest:
    """A request at a gateway."""
    request = envoy.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", "/orders?id=1", host
    http.headers.update(headers)
    request.attributes.context_extensions.update(
        {f"tokenmint.{name}": value for name, value in (extensions or {}).items()}
    )
    return request


class GatewayWays(BothWays):
    """The ways of Check into one running service."""

    exact = False

    def __init__(self, rig: Rig, gateway: Gateway = GATEWAY) -> None:
        self._checks = GatewayChecks(rig.parts.exchanges, gateway)
        super().__init__(rig)
        guard = Guard(
            access.DATA, rig.parts.gate, deadline=20.0, native=True, capacity=rig.base.capacity, refusals=REFUSALS
        )
        check = grpc.unary_unary_rpc_method_handler(
            ExternalAuthorization(self._checks).Check,
            request_deserializer=envoy.CheckRequest.FromString,
            response_serializer=envoy.CheckResponse.SerializeToString,
        )
        self._full = {False: guard.wrap(METHOD, check).unary_unary}

    def forget(self) -> None:
        """As of :class:`BothWays`."""
        super().forget()
        self._check = FastCheck(FastWayInForce(self.rig.parts), 64 * 1024, self._checks)

    @property
    def fast(self) -> Method:
        """The fast way."""
        return self._check

    def request(self, token: str | None = None, audience: str = AUDIENCE, **fields: Any) -> bytes:
        """The bytes of a request whose route names the audience; ``fields``: its other settings."""
        extensions = {"audience": audience} | fields
        subject = self.token() if token is None else token
        return request_of({"authorization": f"Bearer {subject}"}, extensions=extensions).SerializeToString()

    def answers(self, raw: bytes) -> list[pb.ExchangeTokenResponse]:
        """The token of an answer; none if the request may not pass."""
        answer = envoy.CheckResponse.FromString(raw)
        assert answer.HasField("status")
        if answer.HasField("denied"):
            return []
        assert answer.status.code == 0
        [header] = [option.header for option in answer.allowed.headers if option.header.key == "authorization"]
        scheme, token = header.value.split(" ")
        members = answer.dynamic_metadata.fields
        token_id, principal = members["token_id"].string_value, members["principal"].string_value
        header.value = members["token_id"].string_value = scheme
        rest = text_format.MessageToString(answer)
        key_id = decoded(token)[0]["kid"]
        return [
            pb.ExchangeTokenResponse(
                token=token, token_id=token_id, subject=principal, key_id=key_id, issued_token_type=rest
            )
        ]


def passed(answer: pb.ExchangeTokenResponse | None) -> envoy.CheckResponse:
    """An answer of Check, without its token."""
    assert answer is not None
    return text_format.Parse(answer.issued_token_type, envoy.CheckResponse())


def metadata_of(answer: pb.ExchangeTokenResponse | None) -> dict[str, Any]:
    """The dynamic metadata of an answer of Check."""
    return dict(passed(answer).dynamic_metadata.items())

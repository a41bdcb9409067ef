"""Gateways and their requests that are drawn by chance, most plain but for a thing or two."""

from typing import Final

from tests.gateway_ways import COOKIE, FORWARDED, IAP, request_of
from tests.unit.fast.generated import AUDIENCES, TYPE, Call, Draw, caller, token

from tokenmint.gateway.request import Gateway

_HOSTS: Final = ("a.example", "b.example", "192.0.2.7")
_ODD: Final = (
    "issuer", "claims", "key", "header", "spelling", "form", "caller", "place", "place", "place", "host", "host",
    "route", "route", "trace", "wire",
)  # fmt: skip
_TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def gateway(draw: Draw) -> Gateway:
    """The rules of a gateway."""
    return Gateway(
        audience=draw.one(None, *AUDIENCES, *AUDIENCES),
        hosts={host: draw.one(*AUDIENCES) for host in draw.some(_HOSTS)},
        cookie=draw.one(None, COOKIE, COOKIE),
        headers=tuple(draw.some((IAP, FORWARDED))),
    )


def check(draw: Draw, now: float, secrets: dict[str, str]) -> Call:
    """A request at the gateway, which is one of the clients."""
    odd = draw.some(_ODD)[: draw.one(0, 0, 1, 1, 2)]
    first = token(draw, now, odd)
    headers = {"authorization": f"Bearer {first}"}
    if "place" in odd:
        headers = {}
        for _ in range(draw.one(1, 1, 1, 2)):
            headers |= _place(draw, first)
    if draw.rarely(0.3):
        headers |= draw.one({"cookie": "a=1"}, {"x-request-id": "\u00e4"}, {":path": "/"}, {"cookie": f"b; {COOKIE}=x"})
    metadata = caller(draw, secrets, odd)
    if "trace" in odd:
        headers |= draw.one({}, {"traceparent": _TRACE}, {"traceparent": "x"}, {"tracestate": "a=1"})
        metadata += draw.one((), (("traceparent", _TRACE.replace("4bf9", "5bf9")),), (("traceparent", "00"),))
    host = draw.one("a.example:443", *_HOSTS)
    if "host" in odd:
        host = draw.one(
            "A.EXAMPLE", "a.example.", "", "a b", "[::1]", "c.example", "192.0.2.7:80", "192.0.2.07", "a" * 300
        )
    extensions = {"audience": draw.one(*AUDIENCES)} if draw.rarely(0.5) else {}
    for _ in range(draw.one(1, 2) if "route" in odd else 0):
        extensions |= draw.one(
            {"audience": draw.one("", "https://c.example", "https://orders.example", "\u00e4", "a" * 5000)},
            {"scope": draw.one("", "read", "write read", " read  read ", "openid read", 'a"b', "a:b", "r" * 129)},
            {"subject_token_type": TYPE + draw.one("id_token", "access_token", "jwt", "id-jag", "saml2")},
            {"subject_token_type": draw.one("", "x")},
            {"other": "x"},
        )
    request = request_of(headers, host, extensions).SerializeToString()
    if "wire" in odd:
        request = draw.one(
            request[: len(request) // 2], request[1:], draw.bytes(60), request + request, request + draw.bytes(6),
            request + b"\x7a\x03abc", request_of({"authorization": "x"}).SerializeToString() + request,
            request + request_of({}, extensions={"scope": "read"}).SerializeToString(),
        )  # fmt: skip
    return Call(request, metadata, batch=False)


def _place(draw: Draw, first: str) -> dict[str, str]:
    """A header that holds the token, or nearly."""
    name = draw.one("authorization", "AUTHORIZATION", IAP, IAP, FORWARDED, IAP.replace("-", "_"), IAP.upper())
    before, named, behind = draw.one("", "a=1; "), draw.one(COOKIE, COOKIE, "x"), draw.one("", "; b", f";{COOKIE}")
    place: dict[str, str] = draw.one(
        {name: first},
        {name: f"{draw.one('Bearer', 'bearer', 'Basic', 'DPoP', '')} {first}"},
        {name: f" Bearer  {first}{draw.one('', ' ', ',x', ' x')}"},
        {"cookie": f"{before}{named}={first}{behind}"},
    )
    return place

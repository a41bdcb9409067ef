"""The outermost layer of the console: it refuses requests that no page of the console makes, and sets the headers.

- A request with a foreign host name is refused (DNS rebinding): an attacker's name may resolve to this address. An IP
  address and `localhost` can't be such a name.
- A request for data that another origin's page makes is refused. The page sends ``MARK`` with each one, which another
  origin could only send after a preflight, and no preflight is ever answered. So a client certificate, which browsers
  send by themselves, is of no use to other pages.
- Every answer forbids inline scripts and styles, frames, other origins, caches and referrers.
"""

import ipaddress
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DATA: Final = "/api/"
"""The beginning of the paths of data."""
MARK: Final = "tokenmint-console"
"""The header that the page sends with each request for data."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = tuple(
    (name.lower().encode(), value.encode())
    for name, value in {
        "Content-Security-Policy": POLICY,
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }.items()
)
_LOCAL: Final = frozenset({"localhost"})


class Shield:
    """Refuses foreign requests, and sets the headers of every answer.

    Args:
        application: the application behind it.
        hosts: the names under which browsers reach the console, beside localhost and addresses.
    """

    def __init__(self, application: ASGIApp, hosts: Collection[str]) -> None:
        self._application = application
        self._hosts = frozenset(host.lower() for host in hosts) | _LOCAL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in HEADERS}
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in own]
                message["headers"] = [*kept, *HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (self._application if refusal is None else refusal)(scope, receive, shielded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return PlainTextResponse(
                "this name is not the console's: use localhost or an address, or add it to listen.console_hosts\n", 421
            )
        if not scope["path"].startswith(DATA):
            return None
        site = headers.getlist("sec-fetch-site")
        origins = headers.getlist("origin")
        if (
            headers.getlist(MARK) != ["1"]
            or site not in ([], ["same-origin"])
            or origins not in ([], [f"https://{hosts[0]}"], [f"http://{hosts[0]}"])  # a proxy may add TLS
        ):
            return PlainTextResponse("only the console's own page may ask for this\n", 403)
        return None

    def _is_ours(self, host: str) -> bool:
        name = host_of(host).lower().removesuffix(".")
        if name in self._hosts:
            return True
        try:
            return not getattr(ipaddress.ip_address(name.strip("[]")), "scope_id", None)  # a zone may be any text
        except ValueError:
            return False


def host_of(host: str) -> str:
    """Return the name in a Host header, without the port (RFC 9110 section 7.2)."""
    name, separator, port = host.rpartition(":")
    return name if separator and (port.isdecimal() or not port) else host

"""A request at a gateway, as the gateway describes it: its token and its audience.

Nothing here is guessed. A request with two tokens counts as one without a token. A host in an unusual spelling is
refused: it is treated neither as a configured host nor as another one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tokenmint.admission.validation import Violations
from tokenmint.base.bounded_cache import remembered_where_short
from tokenmint.base.errors import AudienceDenied
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.http_url import BadUrl, host_of
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.verification.jws import LONGEST_HEADER, decode_segment, parse_object

AUTHORIZATION: Final = "authorization"
_AT_JWT: Final = "at+jwt"
_SEPARATORS: Final = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Gateway:
    """The configured rules for reading requests."""

    audience: str | None = None
    """The audience of hosts without one of their own."""
    hosts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Audiences by host, in lower case, without port."""
    cookie: str | None = None
    """The cookie that holds a browser's token, for requests without a token in a header."""
    headers: tuple[str, ...] = ()
    """Other headers that may hold the token, in lower case. They are removed from the request."""

    @property
    def alike(self) -> frozenset[str]:
        """The same headers, as servers that cannot tell their spellings apart read them."""
        return frozenset(map(alike, self.headers))


def alike(name: str) -> str:
    """Return a header's name in lower case as the variables of CGI and WSGI spell it: `-`, `_` and `.` are one."""
    return _SEPARATORS.sub("-", name)


class NoToken(Exception):
    """The request has no token: RFC 6750 section 3.1 requires a challenge without an error code."""


@dataclass(frozen=True, slots=True)
class Found:
    """A request's token, and the parts that must not reach the service behind the gateway."""

    token: str
    cookies: str | None = None
    """The cookies without ours; None if ours was not among them, so that the header stays unchanged."""


def find_token(gateway: Gateway, given: Mapping[str, str]) -> Found:
    """Return the token of a request with these headers. Raises :class:`NoToken`.

    Our cookie is removed even if the token is in a header, so that a session does not pass the gateway.
    """
    headers = {name.lower(): value for name, value in given.items()}
    if len(headers) != len(given):
        raise NoToken  # one header in two spellings: which one counts is anybody's guess
    spellings = gateway.alike
    if spellings and any(name not in gateway.headers and alike(name) in spellings for name in headers):
        raise NoToken  # it would pass the gateway, and the service behind may read it as the header that was removed
    found, left = _cookies(gateway.cookie, headers.get("cookie", ""))
    places = [name for name in (AUTHORIZATION, *gateway.headers) if name in headers]
    if len(places) > 1:
        raise NoToken  # the gateway's own, and the caller's: which one counts?
    if places:
        return Found(_header(places[0], headers[places[0]]), left)
    if len(found) != 1 or not found[0]:  # two of one name: somebody set one from a sibling domain
        raise NoToken
    return Found(found[0], left)


def _cookies(name: str | None, header: str) -> tuple[list[str], str | None]:
    """Return the values of our cookie, and the other cookies if ours is present."""
    pairs = [pair.strip() for pair in header.split(";")] if name is not None else []
    found = [pair.partition("=")[2] for pair in pairs if pair.partition("=")[0] == name]
    return found, "; ".join(pair for pair in pairs if pair and pair.partition("=")[0] != name) if found else None


def _header(name: str, value: str) -> str:
    """Return a header's token. It follows `Bearer`, which may be missing in headers that hold only a token."""
    scheme, separator, token = value.strip().partition(" ")
    if name != AUTHORIZATION and not separator:
        token = scheme
    elif scheme.lower() != "bearer":
        raise NoToken
    if not token.strip():
        raise NoToken
    return token.strip()


def audience_of(gateway: Gateway, host: str) -> str:
    """Return the audience of a host. ``host`` may include a port.

    Raises:
        InvalidRequest: it is no host.
        AudienceDenied: it has no audience, or is the other spelling of one that has.
    """
    audience = gateway.audience
    if gateway.hosts:
        name = _host(host)
        other = name.removesuffix(".") if name.endswith(".") else f"{name}."
        audience = gateway.hosts.get(name) or (None if other in gateway.hosts else gateway.audience)
    if not audience:
        raise AudienceDenied("no audience is configured for this host", detail=f"host {quoted(host, LONG)}")
    return audience


def _host(text: str) -> str:
    violations = Violations()
    name = ""
    try:
        name = host_of(text)
    except BadUrl:
        violations.check("host", "a name or an IP address, and perhaps a port", holds=False)
    violations.raise_any()
    return name


def token_type_of(token: str) -> str:
    """Return the kind that a token claims to be, which is not verified yet: the `typ` of RFC 9068 means an access
    token.

    A reference token has no dots. It is an issued token, and issued tokens are sent as access tokens.
    """
    segment, dot, _ = token.partition(".")
    return _kind_in(segment) if dot else ACCESS_TOKEN


@remembered_where_short(entries=256, longest=LONGEST_HEADER)
def _kind_in(segment: str) -> str:
    """Return the kind that the first segment of a JWT names."""
    try:
        kind = parse_object(decode_segment(segment.encode(), "header"), "header").get("typ")
    except (MalformedToken, UnicodeEncodeError):
        return ID_TOKEN  # which it will be refused as
    if isinstance(kind, str) and kind.lower().removeprefix("application/") == _AT_JWT:
        return ACCESS_TOKEN
    return ID_TOKEN

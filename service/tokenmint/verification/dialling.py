"""The addresses that a fetch may dial: looked up here, and checked before they are dialled.

DNS rebinding (a name that changes to a private address between look-up and connection) has no effect, because the fetch
dials the checked address. A provider chooses the names, and its name server the time of a look-up. So each source has
its own threads for look-ups: the event loop has few, and they also look up the store's name.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from tokenmint.base.http_url import HttpUrl
from tokenmint.base.threads import Busy, Threads
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, KeySource

LOOK_UPS: Final = 4  # of names and files, for one source, that may not have ended at a time
MAX_ADDRESSES: Final = 16  # tried in turn for one name
T = TypeVar("T")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All addresses of the public internet; every other address is local, deprecated or for another use."""
_NEVER: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # RFC 6890: protocol assignments
    ipaddress.ip_network("192.88.99.0/24"),  # RFC 7526: deprecated
    ipaddress.ip_network("3fff::/20"),  # RFC 9637: documentation
)


class SourceThreads:
    """Calls in threads, of which each source has its own: name servers and disks may hang."""

    def __init__(self) -> None:
        self._threads: dict[KeySource, Threads] = {}

    async def run(self, source: KeySource, function: Callable[[], T]) -> T:
        """Call ``function``. Raises ``Busy`` if too many calls for ``source`` have not ended."""
        threads = self._threads.setdefault(source, Threads("provider", LOOK_UPS))
        try:
            return await threads.run(function)
        finally:
            if not threads.running:
                self._threads.pop(source, None)


async def look_up(aside: SourceThreads, url: HttpUrl, source: KeySource) -> list[IpAddress]:
    """Return the addresses of a URL's host, in the order of the attempts, if all of them may be dialled.

    Raises:
        FetchFailed: there are none, or too many look-ups of this source are unfinished.
        AnswerUnusable: one of them must not be dialled.
    """
    try:
        infos = await aside.run(source, partial(socket.getaddrinfo, url.host, url.port, type=socket.SOCK_STREAM))
    except Busy:
        raise FetchFailed(f"look-ups of names like {url.host!r} do not finish") from None
    except (OSError, UnicodeError):
        infos = []
    found = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    _check(url, source, found)
    return list(dict.fromkeys(found))[:MAX_ADDRESSES]


def _check(url: HttpUrl, source: KeySource, addresses: Sequence[IpAddress]) -> None:
    if not addresses:
        raise FetchFailed(f"the name {url.host!r} does not resolve")
    if url.scheme == "http" and not (source.allow_private and all(address.is_loopback for address in addresses)):
        raise AnswerUnusable("plain http is only for a provider on loopback that has allow_private = true")
    if not source.allow_private and not all(is_public(address) for address in addresses):
        raise AnswerUnusable(
            f"the name {url.host!r} resolves to an address that is not public: "
            "set allow_private = true if the provider is inside your network"
        )


def check_proxied(url: HttpUrl, source: KeySource) -> None:
    """Raise ``AnswerUnusable`` if a proxy must not be asked for ``url``.

    The proxy looks up a name, so it also checks the name's addresses. An address in the URL is checked here.
    """
    if url.scheme != "https":
        raise AnswerUnusable("plain http is never sent through a proxy")
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        return
    if not source.allow_private and not is_public(address):
        raise AnswerUnusable(
            f"{url.host} is not public: set allow_private = true if the provider is inside your network"
        )


def is_public(address: IpAddress) -> bool:
    """Return whether an address, or the IPv4 address inside it, is reachable on the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NEVER)

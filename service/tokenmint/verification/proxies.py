"""The HTTP proxies that fetches go through, and the hosts that are reached without one."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from tokenmint.base.http_url import HttpUrl
from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is asked for a tunnel (CONNECT, RFC 9110 section 9.3.6), so that it sees names and no content."""

    url: HttpUrl
    username: str = ""
    password: Secret | None = field(default=None, hash=False)
    """The password that came with the environment ..."""
    password_file: Path | None = None
    """... or the file that it is in. Only TLS to the proxy keeps it from the network's eyes."""
    ca_file: str | None = None
    """PEM file of the authorities that verify the proxy's own certificate, instead of the public ones."""
    no_proxy: tuple[str, ...] = ()
    """Hosts that are reached directly, as :func:`bypasses` reads them."""

    def serves(self, url: HttpUrl) -> bool:
        """Tell whether ``url`` is fetched through the proxy. Loopback never is: it would be the proxy's own."""
        return not url.is_loopback and not any(bypasses(entry, url) for entry in self.no_proxy)


def bypasses(entry: str, url: HttpUrl) -> bool:
    """Tell whether an entry of NO_PROXY is about a URL's host.

    `*` is about all hosts; `example.com` about that name and the names below it; `.example.com` about the names below
    it; an address, or a network such as `10.0.0.0/8`, about addresses in a URL, not about those that a name has. A port
    may follow a name or an IPv4 address.
    """
    entry = entry.strip().lower()
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return _names(entry, url)
    try:
        return ipaddress.ip_address(url.host) in network
    except ValueError:
        return False


def _names(entry: str, url: HttpUrl) -> bool:
    name, _, port = entry.partition(":")
    if port and port != str(url.port):
        return False
    host, name = url.host.removesuffix("."), name.removesuffix(".")
    return bool(name) and (host == name or host.endswith(name if name.startswith(".") else f".{name}"))

"""The HTTP proxies of connections to the outside, and the hosts that are reached without a proxy."""

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tokenmint.base.http_url import HttpUrl
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.model.secret import Secret

_NAME: Final = re.compile(r"(?:\*?\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?(?::[0-9]{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens a tunnel (CONNECT, RFC 9110 section 9.3.6), so that it sees names but no content."""

    url: HttpUrl
    username: str = ""
    password: Secret | None = field(default=None, hash=False)
    """The password from the environment."""
    password_file: Path | None = None
    """The file with the password. Only TLS to the proxy hides the password from the network."""
    ca_file: str | None = None
    """PEM file of the authorities that verify the proxy's own certificate, instead of the public ones."""
    no_proxy: tuple[str, ...] = ()
    """Hosts that are reached directly, as :func:`bypasses` reads them."""

    secret: RenewedFiles[Secret] | None = field(default=None, compare=False, repr=False)
    """The password in that file, for the libraries that connect by themselves."""
    tls: RenewedFiles[ssl.SSLContext] | None = field(default=None, compare=False, repr=False)
    """The context of these authorities, for the same libraries."""

    def files(self) -> tuple[RenewedFiles[Any], ...]:
        """Return the files that those libraries follow."""
        return tuple(file for file in (self.secret, self.tls) if file is not None)

    def with_login(self) -> Secret:
        """Return the URL with user and password as they are now, in the form that libraries read."""
        password = self.secret.value if self.secret is not None else self.password or Secret("")
        place = f"{self.url.scheme}://{{}}{self.url.authority}"
        if not self.username and not password:
            return Secret(place.format(""))
        return Secret(place.format(f"{quote(self.username, safe='')}:{quote(password.reveal(), safe='')}@"))

    def serves(self, url: HttpUrl) -> bool:
        """Return whether ``url`` is fetched through the proxy. Loopback never is: it would be the proxy's loopback."""
        return not url.is_loopback and not any(bypasses(entry, url) for entry in self.no_proxy)


def bypasses(entry: str, url: HttpUrl) -> bool:
    """Return whether an entry of NO_PROXY matches a URL's host.

    `*` matches all hosts; `example.com` that name and the names below it; `.example.com` and `*.example.com` the names
    below it; an address, or a network such as `10.0.0.0/8`, matches addresses in a URL, not the addresses of a name. A
    port may follow a name or an address; an IPv6 address is then in brackets.
    """
    entry = entry.strip().lower()
    if entry == "*":
        return True
    address, port = _address(entry)
    if port and port != f":{url.port}":
        return False
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return _names(entry.removeprefix("*") if entry.startswith("*.") else entry, url)
    try:
        return ipaddress.ip_address(url.host) in network
    except ValueError:
        return False


def is_entry(text: str) -> bool:
    """Return whether a text has a form that :func:`bypasses` reads, so that it can match a host."""
    text = text.strip()
    if text == "*" or _NAME.fullmatch(text):
        return True
    try:
        ipaddress.ip_network(_address(text)[0], strict=False)
    except ValueError:
        return False
    return True


def _address(entry: str) -> tuple[str, str]:
    """Return an address without brackets, and the port after them with its colon."""
    address, closed, port = entry.removeprefix("[").partition("]")
    return address, port if closed else ""


def _names(entry: str, url: HttpUrl) -> bool:
    name, _, port = entry.partition(":")
    if port and port != str(url.port):
        return False
    host, name = url.host.removesuffix("."), name.removesuffix(".")
    return bool(name) and (host == name or host.endswith(name if name.startswith(".") else f".{name}"))

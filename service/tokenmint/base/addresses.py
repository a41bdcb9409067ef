"""Addresses: those that the servers listen on (loopback or not, taken or free), and those of peers."""

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import ConfigurationError

_PORT: Final = re.compile(r"[0-9]{1,5}")
_HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port. Port 0 means any free port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[v6]:port`. Raises ``ValueError`` with the expected form."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not _PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError('expected "host:port", e.g. "127.0.0.1:7443"')
        if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
            raise ValueError('expected an IPv6 address in brackets, e.g. "[::1]:7443"')
        if host.startswith("["):
            try:
                ipaddress.IPv6Address(host[1:-1])
            except ValueError:
                raise ValueError('expected an IPv6 address in brackets, e.g. "[::1]:7443"') from None
        elif not _HOST.fullmatch(host):
            raise ValueError('expected a host name or an IP address before the port, e.g. "127.0.0.1:7443"')
        return cls(host.strip("[]"), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether the address is reachable only from this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def peer_of(address: str) -> str:
    """Return the peer of an address: the IPv4 address, or the /64 network, which one IPv6 host commonly owns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Reservation:
    """An address that this process holds until :meth:`close`, without listening on it."""

    def __init__(self, address: Address, holder: socket.socket) -> None:
        self.address = address
        self._holder = holder

    def close(self) -> None:
        """Release the address."""
        self._holder.close()


def reserve(name: str, address: Address) -> Reservation:
    """Check that no other process listens on ``address``, replace port 0 by a free one, and hold the address.

    The servers listen with SO_REUSEPORT. With that option, a second service on a taken port would start silently and
    receive a share of the connections, so the port is first tried without it. The held port then keeps out processes of
    other users, and every process that makes the same check, until the servers listen.

    Raises:
        ConfigurationError: the address is taken, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
            probe.bind((address.host, address.port))
        holder = _hold(family, address)
        port: int = holder.getsockname()[1]
    except OSError as error:
        raise ConfigurationError(
            f"{name}: can't listen on {address} ({error.strerror}): stop the process that listens there "
            "or choose another address"
        ) from None
    return Reservation(Address(address.host, port), holder)


def _hold(family: int, address: Address) -> socket.socket:
    """Bind without listening, so that no other process can bind the address.

    SO_REUSEADDR allows others to bind beside a socket that does not listen. So it is set only if needed: for a port
    with connections in TIME_WAIT, left by a service that was stopped just before.
    """
    for reuse in (0, 1):
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            holder.bind((address.host, address.port))
        except OSError:
            holder.close()
            if reuse:
                raise
        else:
            break
    return holder


class Reservations:
    """The addresses of several listeners, held until :meth:`close`.

    Raises:
        ConfigurationError: lists all addresses that are taken.
    """

    def __init__(self, listen: Mapping[str, Address]) -> None:
        self._held: dict[str, Reservation] = {}
        problems: list[str] = []
        for name, address in listen.items():
            try:
                self._held[name] = reserve(f"listen.{name}", address)
            except ConfigurationError as error:
                problems.extend(error.problems)
        if problems:
            self.close()
            raise ConfigurationError(problems)

    @property
    def listen(self) -> dict[str, str]:
        """The addresses by the name of the listener, with port 0 replaced."""
        return {name: str(reservation.address) for name, reservation in self._held.items()}

    def close(self) -> None:
        """Release all addresses."""
        for reservation in self._held.values():
            reservation.close()

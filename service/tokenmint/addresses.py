"""Loopback or not, taken or free: the addresses that the servers listen on."""

import ipaddress
import socket
from dataclasses import dataclass

from tokenmint.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port. Port 0 stands for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[v6]:port`. Raises ``ValueError`` that says what was expected."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError('expected "host:port", e.g. "127.0.0.1:7443"')
        if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
            raise ValueError('expected an IPv6 address in brackets, e.g. "[::1]:7443"')
        return cls(host.strip("[]"), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def reserve(name: str, address: Address) -> Address:
    """Make sure that nobody else listens on ``address`` and give port 0 a number.

    The servers listen with SO_REUSEPORT, with which a second service on a taken port starts without a word and gets
    a share of the connections. So the port is tried without it first.

    Raises:
        ConfigurationError: the address is taken, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise ConfigurationError(
                f"{name}: can't listen on {address} ({error.strerror}): stop what listens there or choose another"
            ) from None
        port: int = probe.getsockname()[1]
        return Address(address.host, port)

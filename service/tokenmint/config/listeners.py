"""The rules of `[listen]`: addresses, TLS files, and settings that depend on each other."""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Final

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base import extras
from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.foreign_text import quoted
from tokenmint.config.tables import File, ListenTable
from tokenmint.model.secret import shown

FILES: Final = (
    "cert_file",
    "key_file",
    "client_ca_file",
    "http_cert_file",
    "http_key_file",
    "http_client_ca_file",
)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on


def resolved(listen: ListenTable, base: Path) -> ListenTable:
    """Return the table with paths that begin at ``base``."""
    return listen.model_copy(
        update={key: str(base / name) if (name := getattr(listen, key)) else None for key in FILES}
    )


def problems_of_listeners(file: File, base: Path) -> Iterator[str]:
    """Yield the problems of the table."""
    listen = file.listen
    yield from _addresses(listen)
    yield from _needs(listen)
    in_the_open = listen.http_cert_file is None and not listen.plaintext and not listen.http.is_loopback
    for table in ("oauth", "gateway"):
        if not getattr(file, table).enabled or not in_the_open:
            continue
        yield (
            f"{table}.enabled: secrets would cross the network unencrypted: set listen.http_cert_file and "
            "listen.http_key_file, or listen.plaintext = true behind a mesh or proxy that adds TLS"
        )
    if listen.cert_file is None and not listen.plaintext:
        for name in ("grpc", "admin", "console"):
            address = getattr(listen, name)
            if address is not None and not address.is_loopback:
                yield (
                    f"listen.{name}: secrets would cross the network unencrypted: set listen.cert_file and "
                    "listen.key_file, or listen.plaintext = true behind a mesh or proxy that adds TLS"
                )
    for prefix in ("", "http_"):
        yield from _certificates(listen, base, prefix)


def _addresses(listen: ListenTable) -> Iterator[str]:
    for (one, first), (other, second) in combinations(listen.addresses().items(), 2):
        if _collide(first, second):
            yield f"listen.{other}: {second} is taken by listen.{one}: choose another port"


def _collide(one: Address, other: Address) -> bool:
    hosts = {one.host, other.host}
    return one.port == other.port != 0 and (len(hosts) == 1 or bool(hosts & _ANY))


def _needs(listen: ListenTable) -> Iterator[str]:
    if (listen.cert_file is None) != (listen.key_file is None):
        yield "listen.cert_file, listen.key_file: set both, or neither"
    if (listen.http_cert_file is None) != (listen.http_key_file is None):
        yield "listen.http_cert_file, listen.http_key_file: set both, or neither"
    if listen.client_ca_file is not None and listen.cert_file is None:
        yield "listen.client_ca_file: needs listen.cert_file and listen.key_file"
    if listen.transport == "native" and listen.cert_file is not None:
        yield (
            "listen.transport: native has no TLS: leave out listen.cert_file and listen.key_file and let Envoy or "
            "a mesh add TLS, or use grpcio"
        )
    if listen.transport == "native" and not extras.is_installed("native"):
        yield f"listen.transport: {extras.missing('native')}"
    if listen.forwarded is not None and listen.transport == "auto" and listen.cert_file is None and not listen.native:
        yield f"listen.forwarded: is for the native transport, and {extras.missing('native')}"
    elif listen.forwarded is not None and not listen.native:
        yield (
            'listen.forwarded: is for listen.transport = "native": grpcio takes certificates from its own TLS '
            "(listen.client_ca_file) only"
        )
    if listen.console_hosts and listen.console is None:
        yield "listen.console_hosts: needs listen.console"
    for name in listen.console_hosts:
        if not _HOST_NAME.fullmatch(name):
            yield f"listen.console_hosts: {quoted(name)} is not a host name: leave out scheme, port and path"
    if listen.http_client_ca_file is not None and listen.http_cert_file is None:
        yield "listen.http_client_ca_file: needs listen.http_cert_file and listen.http_key_file"


def _certificates(listen: ListenTable, base: Path, prefix: str) -> Iterator[str]:
    """Yield the problems of one listener's TLS files, read in the listener's way."""
    names = [f"{prefix}{key}" for key in ("cert_file", "key_file", "client_ca_file")]
    paths = {name: base / value for name in names if (value := getattr(listen, name))}
    unread = False
    for name, path in paths.items():
        try:
            read_bytes(path)
        except OSError as error:
            unread = True
            yield f"listen.{name}: {shown(path)} can't be read ({error.strerror})"
    if unread or names[0] not in paths or names[1] not in paths:
        return
    authorities = paths.get(names[2])
    try:
        CertificateFiles(str(paths[names[0]]), str(paths[names[1]]), str(authorities) if authorities else None)
    except ConfigurationError as error:
        key = names[2] if "holds no CA certificates" in error.message else names[0]
        yield f"listen.{key}: {error.message.removeprefix('listen: ')}"

"""TLS from PEM files: certificates with their keys, authorities, and a client's context for servers."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.renewed_files import RenewedFiles

CA_FILE: Final = "ca_file"
CERT_FILE: Final = "cert_file"
KEY_FILE: Final = "key_file"


def client_tls(table: str, files: Mapping[str, Path]) -> RenewedFiles[ssl.SSLContext]:
    """Return a context that verifies a server with TLS 1.2 or later, and follows its files when they are renewed.

    Args:
        table: the table of the configuration, for messages: `redis`.
        files: by key of the table: `ca_file` (the only trusted authorities; without it, the public ones), and
            `cert_file`
            with `key_file` (the client's own certificate).

    Raises:
        ConfigurationError: a file can't be read, or has other content.
    """
    names = tuple(files)

    def made(contents: Sequence[bytes]) -> ssl.SSLContext:
        content = dict(zip(names, contents, strict=True))
        context = _verifying(table, files, content.get(CA_FILE))
        if CERT_FILE in files:
            load_certificate(context, f"{table}.{CERT_FILE}", files[CERT_FILE], files[KEY_FILE])
        return context

    return RenewedFiles([(f"{table}.{key}", path) for key, path in files.items()], made)


def _verifying(table: str, files: Mapping[str, Path], authorities: bytes | None) -> ssl.SSLContext:
    try:
        context = verifying(authorities)
    except ValueError:
        raise ConfigurationError(
            f"{table}.{CA_FILE}: {clipped(str(files[CA_FILE]), LONG)} holds no CA certificates in PEM"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def plain_pem(content: bytes) -> bytes:
    """Return PEM in ASCII: without a byte order mark, and without other characters, which only comments can have.

    Parsers ignore text beside the encapsulated data (RFC 7468 section 2). Python's library refuses such text if it is
    not ASCII, and others do not find data after a byte order mark.
    """
    return content.decode("ascii", "ignore").encode("ascii")


def verifying(authorities: bytes | None) -> ssl.SSLContext:
    """Return a context that requires a certificate that names the host, with the same rules in every Python.

    Python 3.13 began to refuse authorities without key identifiers, which RFC 5280 section 4.2.1.1 requires; clusters
    and companies often make authorities without them. It also began to trust an intermediate authority whose root is
    not given.

    Args:
        authorities: the only trusted ones, in PEM; None: the public ones.

    Raises:
        ValueError: they are not in PEM, or there are none.
    """
    text = None if authorities is None else plain_pem(authorities).decode("ascii")
    if text == "":  # being written; `cadata` would take it for "the public ones"
        raise ValueError("no authorities")
    try:
        context = ssl.create_default_context(cadata=text)
    except ssl.SSLError as error:
        raise ValueError(error.reason) from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def load_certificate(context: ssl.SSLContext, setting: str, certificate: Path, key: Path) -> None:
    """Load a certificate and its key into a context. Raises ``ConfigurationError`` if they can't be used."""
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"{setting}: {certificate} and {key} are not a certificate and its key in PEM"
        ) from None
    except OSError as error:
        name = error.filename or certificate
        raise ConfigurationError(f"{setting}: {name} can't be read ({error.strerror})") from None


def _no_password() -> str:
    """Answer OpenSSL's question for the password of an encrypted key: without this, it would ask at the terminal."""
    return ""

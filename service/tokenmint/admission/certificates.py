"""Certificates from files, reloaded when the files change, so that a renewal needs no restart."""

import base64
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from tokenmint.base.bounded_cache import remembered_where_short
from tokenmint.base.errors import ConfigurationError

log = structlog.get_logger(__name__)

CERTIFICATES: Final = 1024  # parsed client certificates that are cached
LONGEST_CERTIFICATE: Final = 4096  # bytes of a cached one, in DER
TLS_1_2_SUITES: Final = ":".join(
    f"ECDHE-{signature}-AES{bits}-GCM-{digest}"
    for signature in ("ECDSA", "RSA")
    for bits, digest in (("256", "SHA384"), ("128", "SHA256"))
)
"""Accepted in addition to TLS 1.3: AEAD with forward secrecy (RFC 9325 section 4.2), as on gRPC's listener."""


@dataclass(frozen=True, slots=True)
class Pem:
    """A listener's certificate, key and client CAs in PEM."""

    certificate: bytes
    key: bytes
    client_authorities: bytes | None


class CertificateFiles:
    """A certificate, its key and, for mutual TLS, the CAs of clients.

    Raises:
        ConfigurationError: a file can't be read or has other content, or certificate and key do not match.
    """

    def __init__(self, certificate: str, key: str, client_authorities: str | None = None) -> None:
        self._files = [Path(name) for name in (certificate, key, client_authorities) if name]
        self._has_authorities = client_authorities is not None
        self._seen = self._stamps()
        self.pem, self.context = self._read()

    def changed(self) -> bool:
        """Reload the files if they changed; return whether there is anything new to serve with.

        Unusable content, as while a file is half written, is logged and checked again next time.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        try:
            pem, context = self._read()
        except ConfigurationError as error:
            log.warning("the new certificate is not used yet", error=error.message)
            return False
        self._seen = stamps
        if pem == self.pem:
            return False
        self.pem, self.context = pem, context
        log.info("certificates were renewed", file=str(self._files[0]))
        return True

    def _stamps(self) -> list[tuple[int, int, int]]:
        try:
            return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in (file.stat() for file in self._files)]
        except OSError:
            return []

    def _read(self) -> tuple[Pem, ssl.SSLContext]:
        """Return the content of the files, and a server context with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(TLS_1_2_SUITES)
        try:
            contents = [file.read_bytes() for file in self._files]
            context.load_cert_chain(self._files[0], self._files[1])
        except ssl.SSLError:
            raise ConfigurationError(
                f"listen: {self._files[0]} and {self._files[1]} are not a certificate and its key in PEM"
            ) from None
        except OSError as error:
            name = error.filename or self._files[0]
            raise ConfigurationError(f"listen: {name} can't be read ({error.strerror})") from None
        authorities = contents[2] if self._has_authorities else None
        if authorities is not None:
            try:
                context.load_verify_locations(cadata=authorities.decode("ascii"))
            except (ssl.SSLError, ValueError):
                problem = f"listen: {self._files[2]} holds no CA certificates in PEM"
                raise ConfigurationError(problem) from None
            context.verify_mode = ssl.CERT_OPTIONAL  # the key set is public
            # A resumed session keeps its certificate, although its CA may have been removed since.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET  # the same in TLS 1.2
        return Pem(contents[0], contents[1], authorities), context


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A client certificate that TLS verified."""

    identities: tuple[str, ...]
    """The identities in it: `spiffe://…` and other URIs, `dns:…`, `subject:…` (RFC 4514)."""
    thumbprint: str
    """SHA-256, base64url: the `x5t#S256` of RFC 8705 section 3.1."""


@remembered_where_short(CERTIFICATES, LONGEST_CERTIFICATE)
def peer_certificate(der: bytes) -> PeerCertificate:
    """Parse a certificate that TLS verified."""
    certificate = x509.load_der_x509_certificate(der)
    identities = [f"subject:{certificate.subject.rfc4514_string()}"]
    digest = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return PeerCertificate(tuple(identities), digest)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    # `dns:` is also a URI scheme (RFC 4501). A URI must not pass for another kind of name, because name constraints may
    # limit a CA to certain kinds (RFC 5280 section 4.2.1.10).
    identities += [uri for uri in uris if not uri.lower().startswith(("dns:", "subject:"))]
    identities += [f"dns:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)]
    return PeerCertificate(tuple(identities), digest)

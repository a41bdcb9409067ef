"""Certificates from files, reloaded when the files change, so that a renewal needs no restart."""

import base64
import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from tokenmint.base.bounded_cache import remembered_where_short
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tls_files import load_certificate, plain_pem

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
        self._paths = [Path(name) for name in (certificate, key, client_authorities) if name]
        self.files: Final = RenewedFiles([("listen", path) for path in self._paths], self._made)

    @property
    def pem(self) -> Pem:
        """The PEM texts for a server, for a library that reads PEM by itself."""
        return self.files.value[0]

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context for a server."""
        return self.files.value[1]

    def _made(self, contents: Sequence[bytes]) -> tuple[Pem, ssl.SSLContext]:
        """Return the content of the files, and a TLS context for a server with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(TLS_1_2_SUITES)
        load_certificate(context, "listen", self._paths[0], self._paths[1])
        authorities = plain_pem(contents[2]) if len(contents) > 2 else None
        if authorities is not None:
            try:
                context.load_verify_locations(cadata=authorities.decode("ascii"))
            except (ssl.SSLError, ValueError):
                problem = f"listen: {self._paths[2]} holds no CA certificates in PEM"
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

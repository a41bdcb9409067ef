"""The certificate of a gRPC call's caller."""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from tokenmint.admission.certificates import CERTIFICATES, LONGEST_CERTIFICATE, PeerCertificate, peer_certificate
from tokenmint.admission.named_credentials import Metadata
from tokenmint.base.bounded_cache import remembered_where_short

CertificateOf = Callable[[Metadata | None, Mapping[str, Any]], PeerCertificate | None]
"""Returns the caller's certificate from the call's metadata and the transport's data about the peer."""


def of_connection(_: Metadata | None, auth_context: Mapping[str, Any]) -> PeerCertificate | None:
    """Return the certificate that the connection's TLS verified. Metadata do not count."""
    pems = tuple(auth_context.get("x509_pem_cert", ()))
    return _certificate(pems[0]) if len(pems) == 1 else None


@remembered_where_short(CERTIFICATES, 2 * LONGEST_CERTIFICATE)
def _certificate(pem: bytes) -> PeerCertificate:
    return peer_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))

"""Credentials of a gRPC call: its metadata, and the caller's certificate."""

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tokenmint.admission.callers import Credentials
from tokenmint.admission.certificates import CERTIFICATES, LONGEST_CERTIFICATE, PeerCertificate, peer_certificate
from tokenmint.base.bounded_cache import remembered_where_short
from tokenmint.base.errors import CallerUnauthenticated
from tokenmint.model.secret import Secret

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of the metadata key
CLIENT_ASSERTION: Final = "tokenmint-client-assertion"
WORKLOAD_TOKEN: Final = "tokenmint-workload-token"  # noqa: S105  # as above
_KEYS: Final = (CLIENT_ID, CLIENT_SECRET, CLIENT_ASSERTION, WORKLOAD_TOKEN)

Metadata = Iterable[tuple[str, str | bytes]]
CertificateOf = Callable[[Metadata | None, Mapping[str, Any]], PeerCertificate | None]
"""Returns the caller's certificate from the call's metadata and the transport's data about the peer."""


def credentials_of(metadata: Metadata | None, certificate: PeerCertificate | None) -> Credentials:
    """Return the credentials of a call. Raises ``CallerUnauthenticated`` if one is sent twice."""
    values: dict[str, str] = {}
    for key, value in metadata or ():
        if key in _KEYS:
            if key in values:
                raise CallerUnauthenticated(detail="a credential was sent twice")
            values[key] = value if isinstance(value, str) else value.decode("ascii", "replace")

    def secret(key: str) -> Secret | None:
        return Secret(values[key]) if key in values else None

    return Credentials(
        identifier=values.get(CLIENT_ID),
        secret=secret(CLIENT_SECRET),
        assertion=secret(CLIENT_ASSERTION),
        workload=secret(WORKLOAD_TOKEN),
        certificates=certificate.identities if certificate is not None else (),
        certificate_sha256=certificate.thumbprint if certificate is not None else None,
    )


def of_connection(_: Metadata | None, auth_context: Mapping[str, Any]) -> PeerCertificate | None:
    """Return the certificate that the connection's TLS verified. Metadata do not count."""
    pems = tuple(auth_context.get("x509_pem_cert", ()))
    return _certificate(pems[0]) if len(pems) == 1 else None


@remembered_where_short(CERTIFICATES, 2 * LONGEST_CERTIFICATE)
def _certificate(pem: bytes) -> PeerCertificate:
    return peer_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))

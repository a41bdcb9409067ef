"""What a call brings to prove who makes it: metadata, and what is known of the caller's certificate."""

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
"""What is known of a caller's certificate, from the call's metadata and what its transport knows of the peer."""


def credentials_of(metadata: Metadata | None, certificate: PeerCertificate | None) -> Credentials:
    """Return the credentials of a call, each sent once. Raises ``CallerUnauthenticated`` where one is sent twice."""
    found: dict[str, str] = {}
    for key, value in metadata or ():
        if key in _KEYS:
            if key in found:
                raise CallerUnauthenticated(detail="a credential was sent twice")
            found[key] = value if isinstance(value, str) else value.decode("ascii", "replace")

    def secret(key: str) -> Secret | None:
        return Secret(found[key]) if key in found else None

    return Credentials(
        identifier=found.get(CLIENT_ID),
        secret=secret(CLIENT_SECRET),
        assertion=secret(CLIENT_ASSERTION),
        workload=secret(WORKLOAD_TOKEN),
        certificates=certificate.identities if certificate is not None else (),
        certificate_sha256=certificate.thumbprint if certificate is not None else None,
    )


def of_connection(_: Metadata | None, auth_context: Mapping[str, Any]) -> PeerCertificate | None:
    """Return the certificate of the connection, where its TLS proved one. What metadata say of one is nothing."""
    pems = tuple(auth_context.get("x509_pem_cert", ()))
    return _certificate(pems[0]) if len(pems) == 1 else None


@remembered_where_short(CERTIFICATES, 2 * LONGEST_CERTIFICATE)
def _certificate(pem: bytes) -> PeerCertificate:
    return peer_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))

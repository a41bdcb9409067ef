"""What a call brings to prove who makes it: metadata, and the peer's certificate."""

import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from tokenmint.callers import Presented
from tokenmint.certificates import PeerCertificate, peer_certificate
from tokenmint.errors import CallerUnauthenticated
from tokenmint.secret import Secret

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of the metadata key
CLIENT_ASSERTION: Final = "tokenmint-client-assertion"
WORKLOAD_TOKEN: Final = "tokenmint-workload-token"  # noqa: S105  # as above
_KEYS: Final = (CLIENT_ID, CLIENT_SECRET, CLIENT_ASSERTION, WORKLOAD_TOKEN)


def presented(metadata: Iterable[tuple[str, str | bytes]] | None, auth_context: Mapping[str, Any]) -> Presented:
    """Return the credentials of a call, each sent once. Raises ``CallerUnauthenticated`` where one is sent twice."""
    found: dict[str, str] = {}
    for key, value in metadata or ():
        if key in _KEYS:
            if key in found:
                raise CallerUnauthenticated(detail="a credential was sent twice")
            found[key] = value if isinstance(value, str) else value.decode("ascii", "replace")

    certificate = _certificate(tuple(auth_context.get("x509_pem_cert", ())))

    def secret(key: str) -> Secret | None:
        return Secret(found[key]) if key in found else None

    return Presented(
        identifier=found.get(CLIENT_ID),
        secret=secret(CLIENT_SECRET),
        assertion=secret(CLIENT_ASSERTION),
        workload=secret(WORKLOAD_TOKEN),
        certificates=certificate.identities if certificate is not None else (),
        certificate_sha256=certificate.thumbprint if certificate is not None else None,
    )


@lru_cache(maxsize=1024)
def _certificate(pems: tuple[bytes, ...]) -> PeerCertificate | None:
    """Return the certificate that TLS proved, where it proved one."""
    if len(pems) != 1:
        return None
    return peer_certificate(ssl.PEM_cert_to_DER_cert(pems[0].decode()))

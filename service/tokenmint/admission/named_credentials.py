"""Credentials by name: the metadata of a gRPC call, or the headers of a gateway's request over HTTP."""

from collections.abc import Iterable
from typing import Final

from tokenmint.admission.callers import Credentials
from tokenmint.admission.certificates import PeerCertificate
from tokenmint.base.errors import CallerUnauthenticated
from tokenmint.model.secret import Secret

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of the metadata key
CLIENT_ASSERTION: Final = "tokenmint-client-assertion"
WORKLOAD_TOKEN: Final = "tokenmint-workload-token"  # noqa: S105  # as above
NAMES: Final = (CLIENT_ID, CLIENT_SECRET, CLIENT_ASSERTION, WORKLOAD_TOKEN)


Metadata = Iterable[tuple[str, str | bytes]]


def credentials_of(metadata: Metadata | None, certificate: PeerCertificate | None) -> Credentials:
    """Return the credentials of a call. Raises ``CallerUnauthenticated`` if one is sent twice."""
    values: dict[str, str] = {}
    for key, value in metadata or ():
        if key in NAMES:
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

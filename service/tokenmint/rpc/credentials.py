"""What a call brings to prove who makes it: metadata, and the peer's certificate."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from cryptography import x509

from tokenmint.callers import Presented
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

    def secret(key: str) -> Secret | None:
        return Secret(found[key]) if key in found else None

    return Presented(
        identifier=found.get(CLIENT_ID),
        secret=secret(CLIENT_SECRET),
        assertion=secret(CLIENT_ASSERTION),
        workload=secret(WORKLOAD_TOKEN),
        certificates=_identities(tuple(auth_context.get("x509_pem_cert", ()))),
    )


@lru_cache(maxsize=1024)
def _identities(pems: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return the identities in a certificate that TLS proved: URIs, DNS names, and the subject (RFC 4514)."""
    if len(pems) != 1:
        return ()
    certificate = x509.load_pem_x509_certificate(pems[0])
    identities = [f"subject:{certificate.subject.rfc4514_string()}"]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(identities)
    identities += names.get_values_for_type(x509.UniformResourceIdentifier)
    identities += [f"dns:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)]
    return tuple(identities)

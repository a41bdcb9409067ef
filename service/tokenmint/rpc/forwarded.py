"""A client certificate that a proxy's TLS verified and that the proxy forwards, as Envoy does
(`x-forwarded-client-cert`).

Any client of the listener can send that header, so it is trusted only from the configured proxy, which sends a secret
with every call. Only the certificate and the names in it are used, as if it were the connection's own. Envoy does not
escape `URI` and `DNS`, so a name that contains `;` would be read as several names
(docs/adr/0013-forwarded-certificates.md).
"""

import hashlib
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cryptography import x509

from tokenmint.admission.callers import matches
from tokenmint.admission.certificates import CERTIFICATES, LONGEST_CERTIFICATE, PeerCertificate, peer_certificate
from tokenmint.admission.named_credentials import Metadata
from tokenmint.base.bounded_cache import remembered_where_short
from tokenmint.base.errors import CallerUnauthenticated
from tokenmint.model.secret import Secret

PROXY_SECRET: Final = "tokenmint-proxy-secret"  # noqa: S105  # the name of the metadata key
FORWARDED: Final = "x-forwarded-client-cert"
MAX_LENGTH: Final = 16 * 1024  # of the header's value
_KEYS: Final = frozenset({"By", "Hash", "Cert", "Chain", "Subject", "URI", "DNS"})
_PAIR: Final = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)(;|\Z)')
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?")


class ForwardedCertificates:
    """Returns the certificate of a caller behind the configured proxy.

    Args:
        proxy_hashes: the SHA-256 in hex of each secret of the proxy that is valid now.
    """

    def __init__(self, proxy_hashes: tuple[str, ...]) -> None:
        self.proxy_hashes = proxy_hashes

    def __call__(self, metadata: Metadata | None, _: Mapping[str, Any]) -> PeerCertificate | None:
        """Return the forwarded certificate, if there is one.

        Raises:
            CallerUnauthenticated: the header does not come from the proxy, or does not hold exactly one certificate.
        """
        values: dict[str, str] = {}
        for key, value in metadata or ():
            if key in (PROXY_SECRET, FORWARDED):
                if key in values:
                    raise CallerUnauthenticated(detail=f"{key} was sent twice")
                values[key] = value if isinstance(value, str) else value.decode("ascii", "replace")
        if not values:
            return None  # a client on this host, without a proxy
        if PROXY_SECRET not in values:
            raise CallerUnauthenticated(
                detail=f"{FORWARDED} without {PROXY_SECRET}: it is trusted only from the proxy of [listen.forwarded]"
            )
        if not matches(Secret(values[PROXY_SECRET]), self.proxy_hashes):
            raise CallerUnauthenticated(
                detail=f"{PROXY_SECRET} is not one of listen.forwarded.secrets: the sender is not the proxy"
            )
        return _certificate(values[FORWARDED]) if FORWARDED in values else None


@remembered_where_short(CERTIFICATES, 2 * LONGEST_CERTIFICATE)
def _certificate(text: str) -> PeerCertificate:
    try:
        return forwarded_certificate(text)
    except ValueError as error:
        raise CallerUnauthenticated(detail=f"{FORWARDED}: {error}") from None


def forwarded_certificate(text: str) -> PeerCertificate:
    """Return the certificate of an `x-forwarded-client-cert` header with one element, in Envoy's format.

    `Hash` has to match `Cert`. Envoy always writes `Hash`, before any name, so a name can't smuggle in another
    certificate.

    Raises:
        ValueError: the text gives the fault without any input.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} bytes")
    pairs = _element(text)
    fields = {key: [value for name, value in pairs if name == key] for key in ("Hash", "Cert")}
    for key, values in fields.items():
        if len(values) != 1:
            raise ValueError(f"expected {key} once: forward_client_cert_details SANITIZE_SET with cert: true")
    pem = unquote_to_bytes(fields["Cert"][0])
    if not _PEM.fullmatch(pem):
        raise ValueError("Cert is not a URL-encoded certificate in PEM")
    der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    if hashlib.sha256(der).hexdigest() != fields["Hash"][0]:
        raise ValueError("Hash does not match Cert")
    try:
        return peer_certificate(der)
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("Cert can't be read as X.509") from None


def _element(text: str) -> list[tuple[str, str]]:
    """Return the pairs of the single element that the header may have. Raises ``ValueError``."""
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("a character that is not printable ASCII")
    pairs, position, more = [], 0, True
    while more:
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError("more than one element, or not Key=Value;Key=Value")
        key, value, separator = match.groups()
        if key not in _KEYS:
            raise ValueError("a key that Envoy does not write")
        quoted = value.startswith('"')
        pairs.append((key, re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value))
        position, more = match.end(), separator == ";"
    return pairs

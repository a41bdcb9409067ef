"""One answer to a fetch, with its route, for the command `providers test`. The service itself keeps no answers."""

import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

from tokenmint.verification.key_source import FetchResult

_AGE: Final = 9  # digits of an age: more are none, and would be an infinite difference


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the connection on which it came."""

    url: str
    """Without the values of its query, which may be secrets."""
    address: str
    """The address of the server; "" if a proxy chose it."""
    proxy: str
    """The proxy as `host:port`; "" without one."""
    result: FetchResult = field(repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """The certificates that were verified, in DER, from the server's own to the authority's; () without TLS."""

    def clock_difference(self, now: float) -> float | None:
        """Return the server's clock less ``now``, in seconds (RFC 9110 section 6.6.1, RFC 9111 section 5.1).

        None if the answer has no date. The result is not exact: the date has whole seconds, and the answer takes time
        to arrive.
        """
        age = self.result.headers.get("age", "0")
        try:
            date = parsedate_to_datetime(self.result.headers.get("date", "")).timestamp()
            return date + float(age if age.isascii() and age.isdigit() and len(age) <= _AGE else 0) - now
        except (ValueError, OverflowError):
            return None


def chain_of(connection: ssl.SSLObject | None) -> tuple[bytes, ...]:
    """Return the verified certificates of a TLS connection in DER, the server's own first; () without TLS."""
    if connection is None:
        return ()
    public = getattr(connection, "get_verified_chain", None)  # since Python 3.13
    if public is not None:
        return tuple(public())
    try:
        import _ssl

        chain = connection._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001  # until then
        return tuple(certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain)
    except (AttributeError, ImportError):
        own = connection.getpeercert(binary_form=True)
        return (own,) if own else ()

"""SPIFFE ids (SPIFFE-ID section 2): `spiffe://TRUST-DOMAIN/PATH`."""

import string
from typing import Final

MAX_ID: Final = 2048  # bytes, section 2.3
MAX_TRUST_DOMAIN: Final = 255  # bytes, section 2.3
SCHEME: Final = "spiffe://"
_TRUST_DOMAIN: Final = frozenset(string.ascii_lowercase + string.digits + "._-")
_SEGMENT: Final = frozenset(string.ascii_letters + string.digits + "._-")


def is_trust_domain(text: str) -> bool:
    """Return whether ``text`` is the name of a trust domain (section 2.1)."""
    return 0 < len(text) <= MAX_TRUST_DOMAIN and set(text) <= _TRUST_DOMAIN


def is_segment(text: str) -> bool:
    """Return whether ``text`` is one segment of a path (section 2.2)."""
    return text not in ("", ".", "..") and set(text) <= _SEGMENT


def spiffe_id(trust_domain: str, path: str) -> str:
    """Return the id with ``path``, which begins with a slash. Without a path, an id names the trust domain itself.

    Raises:
        ValueError: it would not be the id of a workload.
    """
    first, *segments = path.split("/")
    text = SCHEME + trust_domain + path
    if first or not segments or not all(map(is_segment, segments)) or not is_trust_domain(trust_domain):
        raise ValueError("a SPIFFE id has a path of segments with letters, digits, ., - and _")
    if len(text) > MAX_ID:
        raise ValueError(f"a SPIFFE id has {MAX_ID} bytes at most")
    return text


def in_trust_domain(subject: object, trust_domain: str) -> bool:
    """Return whether ``subject`` is the SPIFFE id of a workload in ``trust_domain``."""
    if not isinstance(subject, str) or not subject.startswith(SCHEME):
        return False
    name, slash, path = subject.removeprefix(SCHEME).partition("/")
    if name != trust_domain:
        return False
    try:
        return spiffe_id(name, slash + path) == subject
    except ValueError:
        return False

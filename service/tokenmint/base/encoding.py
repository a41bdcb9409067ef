"""Base64url without padding (RFC 7515 section 2)."""

import binascii
from typing import Final

_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")


def encode_segment(data: bytes) -> bytes:
    """Return ``data`` in base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_BASE64URL, b"=")

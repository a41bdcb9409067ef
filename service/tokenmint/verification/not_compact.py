"""Names the kind of a text that was sent as a token but is not a compact JWS, so that callers learn what to send.

The message quotes no part of the text, whose size the caller has bounded.
"""

import binascii
import re
from typing import Final

_BASE64: Final = re.compile(rb"[A-Za-z0-9_-]+={0,2}")
_OPAQUE: Final = re.compile(rb"[\x21-\x7e]+")
_BALANCER: Final = b'"arn:aws:elasticloadbalancing:'
_QUOTES: Final = (b'"', b"'")
_SCHEMES: Final = (b"bearer ", b"dpop ")
NOT_ONE: Final = "the token is not a well-formed compact JWS (RFC 7515 section 3.1)"
OPAQUE: Final = (
    "this is an opaque token, which only its provider can read: send the ID token, or have the provider issue access "
    "tokens that are JWTs"
)
ENCRYPTED: Final = (
    "five parts: this is an encrypted token (JWE), which is not supported: have the provider sign it without encryption"
)
LOAD_BALANCER: Final = (
    "this is the x-amzn-oidc-data of an AWS load balancer, which is padded and signed by a key of the balancer: send "
    "the token in x-amzn-oidc-accesstoken"
)


def why_not_compact(raw: bytes) -> tuple[str, str]:
    """Return the messages about a text that is not a compact JWS: one for callers, one for operators."""
    dots = raw.count(b".")
    if dots == 4:
        return ENCRYPTED, ENCRYPTED
    if raw[:1] == b"{":
        return NOT_ONE, "this is JSON: send a token alone, such as the text of id_token, in the compact serialisation"
    if raw[:1] in _QUOTES:
        return NOT_ONE, "the token is in quotes: send it without them"
    if raw[:7].lower().startswith(_SCHEMES):
        return NOT_ONE, "begins with the scheme of a header: send the token alone"
    if dots != 2:
        words = OPAQUE if _OPAQUE.fullmatch(raw) else NOT_ONE
        return words, f"has {dots + 1} of the three parts" if dots < 2 else f"{dots + 1} parts instead of three"
    if _is_of_a_load_balancer(raw):
        return LOAD_BALANCER, LOAD_BALANCER
    return NOT_ONE, "the header is empty, or there are characters outside base64url (RFC 4648 section 5, no padding)"


def _is_of_a_load_balancer(raw: bytes) -> bool:
    header = raw.partition(b".")[0]
    if b"=" not in raw or _BASE64.fullmatch(header) is None:
        return False
    try:
        text = binascii.a2b_base64(header.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/")) + b"==")
    except binascii.Error:
        return False
    return _BALANCER in text

"""URIs that name resources (RFC 8707 section 2), in the form in which they are compared (RFC 3986 section 6.2).

Two URIs name the same resource if their normal forms are the same text. A URI that two parsers could read differently
has no normal form.
"""

import re
from typing import Final

from tokenmint.base.http_url import BadUrl, HttpUrl

MAX_URI: Final = 1024  # bytes
_PARTS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?]*))?([^?]*)(\?.*)?\Z")
"""Scheme, authority, path, and query with its mark (RFC 3986 section 3)."""
_CHARACTERS: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*\Z")
_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadUri(ValueError):
    """The text is not an absolute URI without a fragment. The message gives the reason and does not quote it."""


def normal_uri(text: str) -> str:
    """Return the normal form of an absolute URI.

    Case, percent-encoding, dot segments and the default port do not count (RFC 3986 sections 6.2.2 and 6.2.3). A slash
    at the end of a path counts, and so does the query.

    Raises:
        BadUri: it is not an absolute URI without fragment and user, or it is longer than ``MAX_URI`` bytes.
    """
    if len(text) > MAX_URI:
        raise BadUri(f"it is longer than {MAX_URI} bytes")
    if "#" in text:
        raise BadUri("it has a fragment")
    parts = _PARTS.match(text)
    if parts is None or not _CHARACTERS.match(text):
        raise BadUri("it is not an absolute URI (RFC 3986)")
    scheme, authority, path, query = parts[1].lower(), parts[2], parts[3], _normal_encoding(parts[4] or "")
    path = _normal_encoding(path)
    if scheme in ("https", "http"):
        try:
            authority = HttpUrl.parse(f"{scheme}://{authority}" if authority is not None else text).authority
        except BadUrl as error:
            raise BadUri(str(error)) from None
        return f"{scheme}://{authority}{_without_dots(path) or '/'}{query}"
    if authority is None:
        if not path:
            raise BadUri("it names nothing")
        if path.startswith("/"):
            path = _without_dots(path)
            if path.startswith("//"):  # RFC 3986 section 3.3: it would be read as an authority
                raise BadUri("without its dots its path would begin with //")
        return f"{scheme}:{path}{query}"
    if "@" in authority:
        raise BadUri("a URI with a user is not accepted")
    # The host of any scheme is compared without its case (RFC 3986 section 6.2.2.1).
    host = _normal_encoding(_normal_encoding(authority).lower())
    return f"{scheme}://{host}{_without_dots(path)}{query}"


def _normal_encoding(text: str) -> str:
    """Decode unreserved characters, and write the digits of the others in upper case (RFC 3986 section 6.2.2)."""

    def normal(encoded: re.Match[str]) -> str:
        char = chr(int(encoded[0][1:], 16))
        return char if char in _UNRESERVED else encoded[0].upper()

    return _ENCODED.sub(normal, text)


def _without_dots(path: str) -> str:
    """Remove dot segments from an absolute or empty path (RFC 3986 section 5.2.4)."""
    if not path:
        return path
    kept: list[str] = []
    *inner, last = path.split("/")[1:]
    for segment in (*inner, last):
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if last in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)

"""Content codings of answers (RFC 9110 section 8.4.1), decoded up to a limit.

The service requests none, but some servers and networks compress all the same.
"""

import zlib
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS  # with the header of RFC 1952
_CODINGS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


MAX_MEMBERS: Final = 64
"""The limit of parts of a gzip body: each part, even an empty one, costs as much time as many bytes."""


class BadCoding(ValueError):
    """A body that can't be decoded; the text, made here, gives the reason."""


class Decoder:
    """Decodes a body as it was sent. This class is for a body without a coding.

    ``decode`` returns at most ``most`` bytes and drops the rest. So the caller asks for one byte more than it accepts.
    """

    def decode(self, chunk: bytes, most: int) -> bytes:
        """Return the next bytes. Raises :class:`BadCoding`."""
        return chunk[:most]

    def end(self) -> None:
        """Raise :class:`BadCoding` if the body is not complete."""


class _Inflating(Decoder):
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._inflate = zlib.decompressobj(bits)
        self._begun = False
        self._members = 1

    def decode(self, chunk: bytes, most: int) -> bytes:
        body = bytearray()
        while chunk and len(body) < most:
            if self._inflate.eof:
                if self._bits != _GZIP:
                    raise BadCoding("a compressed body with bytes after its end")
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise BadCoding(f"a compressed body of more than {MAX_MEMBERS} members")
                self._inflate = zlib.decompressobj(self._bits)  # RFC 1952 section 2.2: members follow one another
            self._begun = True
            try:
                body += self._inflate.decompress(chunk, most - len(body))
            except zlib.error:
                raise BadCoding("a body whose compression is not the declared one") from None
            chunk = self._inflate.unused_data if self._inflate.eof else b""
        return bytes(body)

    def end(self) -> None:
        if self._begun and not self._inflate.eof:
            raise BadCoding("a compressed body that is cut off")


def decoder(coding: str) -> Decoder:
    """Return a decoder for bodies with this `Content-Encoding`. Raises :class:`BadCoding` for other codings."""
    name = coding.strip().lower()
    if name in ("", "identity"):
        return Decoder()
    if name not in _CODINGS:
        raise BadCoding("a content encoding other than gzip and deflate")
    return _Inflating(_CODINGS[name])

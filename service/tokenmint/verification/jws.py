"""Strict parsing of compact JWS (RFC 7515 section 3.1, RFC 8725). The result is well-formed, and not yet trusted.

Attackers exploit parsers that disagree. So every form that two parsers could read differently is refused: other
alphabets, padding and stray bits in base64url, duplicate names, non-finite numbers, lone surrogates.
"""

import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn

import orjson

from tokenmint.base.bounded_cache import remembered_where_short, size_of_json
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.not_compact import why_not_compact

MAX_TOKEN: Final = 16 * 1024  # bytes, checked before anything is decoded, unless the configuration says otherwise
MOST_TOKEN: Final = 64 * 1024  # bytes, the ceiling of the setting, and of our own tokens
MAX_DEPTH: Final = 16
MAX_KEY_ID: Final = 128
HEADERS: Final = 256  # parsed headers in the cache: a provider has one for each of its keys
OBJECTS: Final = 1024  # bytes of an empty parsed token's objects
FLAT: Final = 24 * 1024  # bytes up to which an estimate is enough
LONGEST_HEADER: Final = 512  # bytes of a cached header: the sender of a token chooses its header
ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""The characters of base64url (RFC 4648 section 5)."""
_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")
_LAST: Final = (ALPHABET, b"", b"AQgw", b"AEIMQUYcgkosw048")
"""The characters that may end base64url without padding, by its length modulo 4: others have unused bits."""
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_CONTAINERS: Final = frozenset({dict, list})
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class UnverifiedAssertion:
    """A parsed token that is not trusted yet. Only :func:`parse_compact` makes one."""

    header: Mapping[str, JsonValue] = field(repr=False)
    claims: Mapping[str, JsonValue] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    algorithm: str
    """The header's `alg`, as sent."""
    key_id: str | None
    """The header's `kid`."""
    issuer: str
    """The payload's `iss`; "" if it has none."""


class JwsHeader(NamedTuple):
    """A header that was parsed and checked in form. It is not trusted yet."""

    members: Mapping[str, JsonValue]
    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class CompactJws:
    """The decoded parts of a compact JWS, with any payload. They are not trusted yet."""

    header: Mapping[str, JsonValue] = field(repr=False)
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    algorithm: str
    key_id: str | None


def split_compact(raw: bytes, most: int = MAX_TOKEN) -> CompactJws:
    """Split a compact JWS of at most ``most`` bytes, and check its header.

    Raises:
        MalformedToken: it is not one, or its header has members that this service refuses to interpret (`crit`, `b64`).
    """
    if len(raw) > most:
        raise MalformedToken(f"the token is longer than {most} bytes")
    parts = raw.split(b".")
    if len(parts) != 3 or not parts[0] or raw.translate(None, ALPHABET) != b"..":
        message, detail = why_not_compact(raw)
        raise MalformedToken(message, detail=detail)
    header_part, payload_part, signature_part = parts
    header = read_header(header_part)
    return CompactJws(
        header=header.members,
        payload=decode_segment(payload_part, "payload"),
        signing_input=raw[: len(header_part) + 1 + len(payload_part)],
        signature=decode_segment(signature_part, "signature"),
        algorithm=header.algorithm,
        key_id=header.key_id,
    )


@remembered_where_short(HEADERS, LONGEST_HEADER)
def read_header(segment: bytes) -> JwsHeader:
    """Read the first part of a compact JWS and check its form. Raises ``MalformedToken``."""
    header = parse_object(decode_segment(segment, "header"), "header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise MalformedToken(detail="the header's alg is missing or not a string")
    for name in ("crit", "b64"):
        if name in header:
            raise MalformedToken(f"the header has {name!r}, which is not supported")
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID or CONTROL.search(key_id)):
        reason = f"the header's kid is not a string of at most {MAX_KEY_ID} printable characters"
        raise MalformedToken(reason, detail=reason)
    if "typ" in header and not isinstance(header["typ"], str):
        raise MalformedToken(detail="the header's typ is not a string")
    return JwsHeader(MappingProxyType(header), algorithm, key_id)


def media_type(typ: str) -> str:
    """Return a `typ` in the form for comparison: in lower case, without the optional "application/".

    "application/" is optional if no other "/" follows (RFC 7515 section 4.1.9).
    """
    short = typ.lower().removeprefix("application/")
    return short if "/" not in short else typ.lower()


def parse_compact(token: Secret, most: int = MAX_TOKEN) -> UnverifiedAssertion:
    """Parse a compact JWS whose payload is a JSON object. Raises ``MalformedToken``."""
    parts = split_compact(token.reveal_bytes(), most)
    claims = parse_object(parts.payload, "payload")
    issuer = claims.get("iss", "")
    if not isinstance(issuer, str):
        raise MalformedToken(detail="iss is not a string")
    return UnverifiedAssertion(
        header=parts.header,
        claims=claims,
        signing_input=parts.signing_input,
        signature=parts.signature,
        algorithm=parts.algorithm,
        key_id=parts.key_id,
        issuer=issuer,
    )


def size_of(token: UnverifiedAssertion, most: int) -> int:
    """Return an upper bound of a parsed token's size in bytes, or a number beyond ``most`` if it may be larger.

    Members of one level take 16 bytes for each byte in JSON, or 12 for each in base64, so usual tokens need no count.
    """
    flat = OBJECTS + 14 * len(token.signing_input)
    if flat <= FLAT and _CONTAINERS.isdisjoint(map(type, (*token.claims.values(), *token.header.values()))):
        return flat + len(token.signature)
    texts = OBJECTS + len(token.signing_input) + len(token.signature)
    return texts + size_of_json(token.header, most) + size_of_json(token.claims, most)


def decode_segment(segment: bytes, name: str) -> bytes:
    """Decode canonical base64url without padding. Raises ``MalformedToken`` that names the part."""
    if not segment:
        return b""
    remainder = len(segment) % 4
    if remainder == 1 or segment.translate(None, ALPHABET):
        raise MalformedToken(detail=f"the {name} is not base64url")
    if segment[-1] not in _LAST[remainder]:
        # Stray bits in the last character: one token would have two spellings, and a replay check would know only one.
        raise MalformedToken(detail=f"the {name} is not canonical base64url")
    return binascii.a2b_base64(segment.translate(_TO_BASE64) + b"==")


def parse_object(text: bytes, name: str) -> dict[str, JsonValue]:
    """Parse a JSON object without duplicate names, deep nesting, lone surrogates or numbers beyond doubles (RFC 7493).

    Raises:
        MalformedToken: it is not one; ``detail`` gives the reason.
    """
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and is_deeper(text, MAX_DEPTH):
        raise MalformedToken(detail=f"the {name} is nested deeper than {MAX_DEPTH} levels")
    value = _parse_canonical(text)
    if value is None:
        value = _parse_any(text, name)
    if not isinstance(value, dict):
        raise MalformedToken(detail=f"the {name} is not a JSON object")
    return value


def _parse_canonical(text: bytes) -> JsonValue:
    """Parse text that the fast codec itself would write in the same way, or return None.

    The codec keeps the last of two members with one name, and rounds integers beyond 64 bits. If it writes the text
    back byte for byte, the text has neither: a dictionary has each name once, and a rounded number is written
    differently.
    """
    try:
        value: JsonValue = orjson.loads(text)
        return value if orjson.dumps(value) == text else None
    except (ValueError, TypeError):
        return None


def _parse_any(text: bytes, name: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_within_a_double,
        )
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
    except (ValueError, RecursionError) as error:
        reason = error.args[0] if isinstance(error, _Refused) else "not JSON in UTF-8 (RFC 8259)"
        raise MalformedToken(detail=f"the {name}: {reason}") from None
    return value


class _Refused(ValueError):
    """JSON that Python accepts and this service refuses."""


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused("a name occurs twice")
    return result


def _refuse_constant(_: str) -> NoReturn:
    raise _Refused("a number is not finite")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused("a number is not finite")
    return number


def _within_a_double(text: str) -> int:
    number = int(text)
    try:
        float(number)
    except OverflowError:
        raise _Refused("a number is larger than any double (RFC 7493 section 2.2)") from None
    return number


def is_deeper(text: bytes, most: int) -> bool:
    """Return whether JSON is nested deeper than ``most`` levels, in time that grows only with its length.

    Each round removes the innermost pairs of brackets outside strings, so one level less remains. Text that is not JSON
    may count as deep or not, but no parser receives more than ``most`` levels.
    """
    # Backslashes occur only in strings. Without escaped ones, and then escaped quotes, every quote begins or ends a
    # string.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(plain.split(b'"')[::2]).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)

"""Limits of requests over any transport, and the collection of violations."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tokenmint.base.errors import FieldViolation, InvalidRequest
from tokenmint.base.token_errors import MalformedToken
from tokenmint.base.uri import BadUri, normal_uri
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, JsonValue
from tokenmint.verification.jws import MOST_TOKEN, is_deeper, parse_object

MAX_SCOPES: Final = 64
MAX_RESOURCES: Final = 16
MAX_AUDIENCE: Final = 255
MAX_TYPE: Final = 255
MAX_OBJECT: Final = 4096
"""The longest JSON object in a request, in bytes."""
MAX_OBJECT_DEPTH: Final = 8
"""The levels of such an object, itself included."""
MAX_NUMBER: Final = 2**53 - 1
"""The largest whole number in such an object."""
SUBJECT_TOKEN_TYPES: Final = (ID_TOKEN, ACCESS_TOKEN, JWT)
SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")  # RFC 6749 section 3.3


class Violations:
    """Collects the violations of a request."""

    def __init__(self) -> None:
        self._items: list[FieldViolation] = []

    def check(self, field: str, description: str, *, holds: bool) -> None:
        """Add a violation unless the condition ``holds``."""
        if not holds:
            self._items.append(FieldViolation(field, description))

    def add(self, items: Iterable[FieldViolation]) -> None:
        """Add violations that were found elsewhere."""
        self._items.extend(items)

    def raise_any(self) -> None:
        """Raise ``InvalidRequest`` if there are violations."""
        if self._items:
            raise InvalidRequest(self._items)

    def token(self, field: str, size: int) -> None:
        """Check the size of a token, in bytes."""
        self.check(field, "is required", holds=size > 0)
        self.check(field, f"is longer than {MOST_TOKEN} bytes", holds=size <= MOST_TOKEN)

    def resources(self, path: str, resources: Sequence[str]) -> None:
        """Check the URIs that name a target (RFC 8707 section 2)."""
        self.check(path, f"at most {MAX_RESOURCES} resources", holds=len(resources) <= MAX_RESOURCES)
        for resource in resources[:MAX_RESOURCES]:
            try:
                normal_uri(resource)
            except BadUri as error:
                self.check(path, f"expected an absolute URI without a fragment: {error}", holds=False)

    def scopes(self, path: str, scopes: Sequence[str]) -> None:
        """Check scopes."""
        self.check(path, f"at most {MAX_SCOPES} scopes", holds=len(scopes) <= MAX_SCOPES)
        for index, scope in enumerate(scopes[:MAX_SCOPES]):
            self.check(
                f"{path}[{index}]", "expected a scope-token of 1 to 128 characters (RFC 6749 section 3.3)",
                holds=bool(SCOPE.match(scope)),
            )  # fmt: skip

    def json_object(self, field: str, text: str) -> dict[str, JsonValue] | None:
        """Return the JSON object that a parameter holds; None if it is empty, or no such object.

        Names occur once, doubles hold whole numbers exactly, and no text ends early at U+0000 in some language: no two
        readers can see different objects (RFC 7493).
        """
        raw = text.encode(errors="surrogatepass")
        self.check(field, f"is longer than {MAX_OBJECT} bytes", holds=len(raw) <= MAX_OBJECT)
        if not text or len(raw) > MAX_OBJECT:
            return None
        if is_deeper(raw, MAX_OBJECT_DEPTH):
            self.check(field, f"is nested deeper than {MAX_OBJECT_DEPTH} levels", holds=False)
            return None
        try:
            parsed = parse_object(raw, "parameter")
        except MalformedToken as error:
            self.check(field, f"expected a JSON object (RFC 7493): {error.detail}", holds=False)
            return None
        exact = _is_exact(parsed)
        self.check(field, "expected whole numbers from -(2^53)+1 to (2^53)-1 (RFC 7493 section 2.2)", holds=exact)
        whole = not _has_nul(parsed)
        self.check(field, "expected texts without U+0000", holds=whole)
        return parsed if exact and whole else None


def _has_nul(value: JsonValue) -> bool:
    """Return whether a text in a value, or a name, has U+0000."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(_has_nul, value)) or any(map(_has_nul, value.values()))
    return any(map(_has_nul, value)) if isinstance(value, list) else False


def _is_exact(value: JsonValue) -> bool:
    """Return whether every whole number in a value is one that doubles hold exactly."""
    if isinstance(value, int):
        return abs(value) <= MAX_NUMBER
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    return all(map(_is_exact, value)) if isinstance(value, list) else True

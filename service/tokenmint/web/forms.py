"""Bodies of OAuth requests: `application/x-www-form-urlencoded`, bounded, without repetition (RFC 6749 section 3.2)."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from tokenmint.base.errors import FieldViolation, InvalidRequest
from tokenmint.base.foreign_text import clipped

FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 64
Form = Mapping[str, tuple[str, ...]]


def _refused(field: str, description: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation(field, description)])


async def read_form(request: Request, *, limit: int, repeatable: frozenset[str] = frozenset()) -> Form:
    """Return the parameters of a request, without empty ones (RFC 6749 section 3.2).

    Args:
        request: the request. Its query must be empty, because URLs appear in logs.
        limit: the largest size of the body in bytes.
        repeatable: the parameters that may occur several times.

    Raises:
        InvalidRequest: the body is not such a form, or too large.
    """
    if request.url.query:
        raise _refused("query", "send parameters in the body: URLs appear in logs")
    if not is_form(request.headers.getlist("content-type")):
        raise _refused("Content-Type", f"expected {FORM}, once and in UTF-8")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _refused("body", f"at most {limit} bytes")
    except ClientDisconnect:
        raise _refused("body", "is incomplete: the caller closed the connection") from None
    return parse_form(bytes(body), repeatable=repeatable)


def is_form(content_types: Sequence[str]) -> bool:
    """Return whether the content type is a form in UTF-8. With another charset, a proxy might read another text."""
    if len(content_types) != 1:
        return False
    kind, *parameters = (part.strip().lower() for part in content_types[0].split(";"))
    return kind == FORM and all(parameter in ("charset=utf-8", 'charset="utf-8"') for parameter in parameters)


def parse_form(body: bytes, *, repeatable: frozenset[str] = frozenset()) -> Form:
    """Parse a form. Raises ``InvalidRequest``."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise _refused("body", f"is not a form of at most {MAX_FIELDS} parameters in UTF-8") from None
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    twice = [name for name, values in parameters.items() if len(values) > 1 and name not in repeatable]
    if twice:
        raise InvalidRequest([FieldViolation(clipped(name, 64), "is sent more than once") for name in twice])
    kept = {name: tuple(value for value in values if value) for name, values in parameters.items()}
    return {name: values for name, values in kept.items() if values}


def single(form: Form, name: str) -> str:
    """Return a parameter that occurs at most once, or ""."""
    return form.get(name, ("",))[0]

"""Conditions and computed claims in CEL (Common Expression Language), written by operators and compiled at load.

An expression sees `assertion` (the claims of the subject token), `provider.name`, `client.id`, `request.audience`,
`request.scopes`, `request.lifetime` (seconds, 0 if none was requested), `request.context` and `request.details` (of
a transaction token; else empty), and, in an audience, `profile.principal`,
`profile.roles`, `profile.claims` and `actor`: the party that acts for the subject, with `principal`, `provider`,
`client`, `claims`, `profile.roles`, `profile.claims`, and `chain`, the names of all actors. Its members are empty if
nobody acts. Expressions have no side effects, a budget of iterations and a size limit.

The library ends a text at U+0000: it would take `ada\\u0000mallory` for `ada`. It reads no whole number beyond 64 bits.
An exchange with such a value is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from tokenmint.base.errors import ConditionDenied
from tokenmint.model.policy import Actor, Client, ExchangeRequest
from tokenmint.model.profile import Profile
from tokenmint.model.tokens import JsonValue, VerifiedToken

MAX_SOURCE: Final = 4096  # characters
MAX_OUTPUT: Final = 4096  # bytes of a computed claim, as JSON
SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The whole numbers that CEL can read."""
_VARIABLES: Final = ("assertion", "provider", "client", "request", "profile", "actor")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    source: str
    _program: Any = field(repr=False, compare=False)


Facts = Mapping[str, object]


def facts(
    verified: VerifiedToken,
    client: Client,
    request: ExchangeRequest,
    profile: Profile | None = None,
    actor: Actor | None = None,
    chain: Sequence[Mapping[str, JsonValue]] = (),
) -> Facts:
    """Return the variables of expressions. ``chain``: all actors, the current one first.

    Raises:
        ConditionDenied: a value is none that CEL can read. To leave computed claims out would let the value decide.
    """
    variables: dict[str, object] = {
        "assertion": dict(verified.claims),
        "provider": {"name": verified.provider},
        "client": {"id": client.client_id},
        "request": {
            "audience": request.audience,
            "scopes": list(request.scopes),
            "lifetime": request.lifetime or 0,
            "context": dict(request.request_context or {}),
            "details": dict(request.request_details or {}),
        },
        "profile": {},
        "actor": _actor(actor, chain),
    }
    if profile is not None:
        variables["profile"] = {
            "principal": profile.principal,
            "roles": list(profile.roles),
            "claims": dict(profile.claims),
        }
    if not _is_readable(variables):
        raise ConditionDenied(
            "the token, the profile or the request has a text with U+0000, or a whole number beyond 64 bits, which no "
            "condition or computed claim can read"
        )
    return variables


def _is_readable(value: object) -> bool:
    """Return whether CEL reads a value, and each name and value in it, as it is."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, int):
        return SMALLEST <= value <= LARGEST
    if isinstance(value, dict):
        return all(map(_is_readable, value)) and all(map(_is_readable, value.values()))
    return all(map(_is_readable, value)) if isinstance(value, list) else True


def _actor(actor: Actor | None, chain: Sequence[Mapping[str, JsonValue]]) -> dict[str, object]:
    token = actor.verified if actor is not None else None
    profile = actor.profile if actor is not None else None
    return {
        "principal": actor.principal if actor is not None else "",
        "provider": token.provider if token is not None else "",
        "client": actor.client_id if actor is not None else "",
        "claims": dict(token.claims) if token is not None else {},
        "profile": {
            "roles": list(profile.roles) if profile is not None else [],
            "claims": dict(profile.claims) if profile is not None else {},
        },
        "chain": [dict(one) for one in chain],
    }


def compile_condition(source: str) -> Expression:
    """Compile a condition. Raises ``ValueError`` for bad syntax, an unknown name, or a type other than BOOL."""
    expression = _compile(source)
    kind = expression._program.return_type().name()  # noqa: SLF001  # this module's type
    if kind != "BOOL":
        raise ValueError(f"the condition is of type {kind} and has to be BOOL: compare it, e.g. with == true")
    return expression


def compile_claim(source: str) -> Expression:
    """Compile the expression of a claim. Raises ``ValueError``."""
    return _compile(source)


def holds(condition: Expression, variables: Facts) -> bool:
    """Return whether a condition is true. An error, which CEL represents as a value, counts as false."""
    try:
        result = condition._program.eval(data=variables)  # noqa: SLF001  # this module's type
        return result.type().name() == "BOOL" and result.plain_value() is True
    except (RuntimeError, TypeError, ValueError):
        return False


def compute(expression: Expression, variables: Facts) -> JsonValue:
    """Return the value of a claim; None for an error, null, a value without JSON form, or a value that is too large."""
    try:
        result = expression._program.eval(data=variables)  # noqa: SLF001  # this module's type
        if result.type().name() == "ERROR":
            return None
        value: JsonValue = result.plain_value()
        if len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) > MAX_OUTPUT:
            return None
    except (RuntimeError, TypeError, ValueError):
        return None
    return value


def _compile(source: str) -> Expression:
    if not source.strip():
        raise ValueError("the expression is empty")
    if "\0" in source:
        raise ValueError("the expression has U+0000")
    if len(source) > MAX_SOURCE:
        raise ValueError(f"the expression is longer than {MAX_SOURCE} characters")
    try:
        return Expression(source, _environment().compile(source))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if "ERROR" in line]
        text = lines[0].partition("ERROR: ")[2] if lines else "not a CEL expression"
        raise ValueError(f"{text} (expressions see {', '.join(_VARIABLES)})") from None
    except (TypeError, UnicodeError):  # halves of surrogate pairs, which only the environment can hold
        raise ValueError("the expression is not valid Unicode") from None


@cache
def _environment() -> Any:
    from cel_expr_python import cel  # C++; loaded only if a condition is configured

    entries = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return cel.NewEnv(variables=dict.fromkeys(_VARIABLES, entries))

"""The name of a principal at its provider, made of one claim or of several.

Two different inputs never give one name. A single claim is the name, unchanged. Several claims are joined with "/". If
one of them contains a "/", then "%" and "/" are percent-encoded in each, and "//" separates them. The two ways can't
give the same name, because names joined with "/" have no empty part, and so never contain "//".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.model.tokens import JsonValue, at_path
from tokenmint.verification.provider import ClaimPaths, Provider

_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


def subject(provider: Provider, claims: Mapping[str, JsonValue], token_type: str) -> str:
    """Return the provider's name of the principal of a token of this kind.

    Raises:
        ClaimRejected: it does not; the words say in which way.
    """
    paths = _paths(provider, claims, token_type)
    return joined([_text(provider, ".".join(path), at_path(claims, path)) for path in paths])


def _paths(provider: Provider, claims: Mapping[str, JsonValue], token_type: str) -> ClaimPaths:
    """Return the claims that name the principal: those of the token's kind.

    The other claims of the kind count only if the token has none of the first ones, so that a token can't choose
    between the two.
    """
    paths = provider.subject_claims_by_type.get(token_type, provider.subject_claims)
    others = provider.subject_claims_instead.get(token_type)
    if others is not None and all(at_path(claims, path) is None for path in paths):
        return others
    return paths


def _text(provider: Provider, name: str, value: JsonValue) -> str:
    about = name if name == "sub" else f"{name}, which names the principal,"
    if isinstance(value, int) and not isinstance(value, bool) and provider.numeric_subjects != "refuse":
        value = str(value)
    elif isinstance(value, str) and provider.numeric_subjects == "accept" and _NUMBER.fullmatch(value):
        raise ClaimRejected(
            f"{about} is a text that looks like a number, and would have the identity of that number: if both name the "
            'same principal at the provider, set numeric_subjects = "as_text"'
        )
    if isinstance(value, str) and 0 < len(value) <= provider.max_subject:
        return value
    if value is None or value == "":
        reason = "it is missing"
    elif isinstance(value, str):
        reason = "it is longer (set max_subject to accept it)"
    elif isinstance(value, int) and not isinstance(value, bool):
        reason = 'it is a number (numeric_subjects = "accept" takes whole ones)'
    else:
        reason = "it is neither a text nor a whole number"
    raise ClaimRejected(f"{about} is not a string of 1 to {provider.max_subject} characters: {reason}")


def joined(parts: Sequence[str]) -> str:
    """Join the parts, none of which is empty. No other parts of the same number give the same text."""
    if len(parts) == 1:
        return parts[0]
    if any("/" in part for part in parts):
        return "//".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
    return "/".join(parts)

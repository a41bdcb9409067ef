"""The name of a principal at its provider, made of one claim or of several.

Two inputs never give one name. A single claim is the name as it is. Of several, the usual texts are joined with "/".
Where one of them has a "/" itself, each has its "%" and "/" percent-encoded, and "//" separates them: what is joined
in the usual way has no empty part, so that it never contains "//".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.model.tokens import JsonValue, at_path
from tokenmint.verification.provider import ClaimPaths, Provider

_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


def subject(provider: Provider, claims: Mapping[str, JsonValue], token_type: str) -> str:
    """Return how the provider names the principal of a token of this kind.

    Raises:
        ClaimRejected: it does not; the words say in which way.
    """
    paths = _paths(provider, claims, token_type)
    return joined([_text(provider, ".".join(path), at_path(claims, path)) for path in paths])


def _paths(provider: Provider, claims: Mapping[str, JsonValue], token_type: str) -> ClaimPaths:
    """Return the claims that name the principal: those of the token's kind.

    The others of the kind count only where the token has none of the first: a token that has one chooses nothing.
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
            f"{about} is a text that reads as a number, and would be the identity of that number: where the provider "
            'means the same by both, set numeric_subjects = "as_text"'
        )
    if isinstance(value, str) and 0 < len(value) <= provider.max_subject:
        return value
    if value is None or value == "":
        reason = "it is missing"
    elif isinstance(value, str):
        reason = "it is longer (max_subject)"
    elif isinstance(value, int) and not isinstance(value, bool):
        reason = 'it is a number (numeric_subjects = "accept" takes whole ones)'
    else:
        reason = "it is neither a text nor a whole number"
    raise ClaimRejected(f"{about} is not a string of 1 to {provider.max_subject} characters: {reason}")


def joined(parts: Sequence[str]) -> str:
    """Return one text for these, none of which is empty, and for no others of the same number."""
    if len(parts) == 1:
        return parts[0]
    if any("/" in part for part in parts):
        return "//".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
    return "/".join(parts)

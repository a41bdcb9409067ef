"""The subject of a security event: RFC 9493, the complex subjects of the Shared Signals Framework, and older forms.

The result is the claims that name the subject. ``subjects.subject`` makes the provider's name of the principal from
them, as from those of a token. An identifier that is not known names nobody.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.model.tokens import JsonValue

MOST: Final = 16  # identifiers of one subject
LONGEST: Final = 2048  # characters of a value
_ONE_VALUE: Final = {
    "account": "uri",
    "email": "email",
    "opaque": "id",
    "phone_number": "phone_number",
    "did": "url",
    "uri": "uri",
}
"""The formats with one value, and the member that has it (RFC 9493 section 3.2)."""
ONE_VALUE: Final = frozenset(_ONE_VALUE)
_OLD_NAMES: Final = {"iss-sub": "iss_sub", "id_token_claims": "iss_sub", "id-token-claims": "iss_sub",
                     "phone": "phone_number"}  # fmt: skip
"""Names of drafts, which Google still sends as `subject_type`."""
_MEMBERS: Final = frozenset({"user", "device", "session", "application", "tenant", "org_unit", "group"})
"""Members of a complex subject (Shared Signals Framework 1.0 section 3.3)."""
Claims = Mapping[str, JsonValue]


class Subject(NamedTuple):
    """The persons that an identifier names: the claims of each identifier, and whether one is at another issuer."""

    claims: tuple[Claims, ...] = ()
    foreign: bool = False


NOBODY: Final = Subject()


def read_subject(value: JsonValue, issuers: frozenset[str], formats: Mapping[str, str]) -> Subject:
    """Return the person that a subject identifier names.

    Args:
        value: the identifier, from a verified token.
        issuers: those of the provider. An `iss_sub` of any other issuer is foreign.
        formats: by a format with one value, the claim that the value stands for. Other formats name nobody.

    Raises:
        ClaimRejected: it is not one.
    """
    if not isinstance(value, dict):
        raise ClaimRejected("the subject is not an object (RFC 9493 section 3)")
    if _format(value) == "complex" or (_format(value) == "" and _MEMBERS & value.keys()):
        user = value.get("user")
        # Device, session and tenant narrow the subject. Acting on the whole user covers them.
        return _simple(user, issuers, formats) if user is not None else NOBODY
    return _simple(value, issuers, formats)


def _simple(value: JsonValue, issuers: frozenset[str], formats: Mapping[str, str]) -> Subject:
    if not isinstance(value, dict):
        raise ClaimRejected("a member of the subject is not an object (RFC 9493 section 3)")
    if _format(value) != "aliases":
        return _one(value, issuers, formats)
    identifiers = value.get("identifiers")
    if not isinstance(identifiers, list) or not 1 <= len(identifiers) <= MOST:
        raise ClaimRejected(f"identifiers is not a list of 1 to {MOST} (RFC 9493 section 3.2.8)")
    claims: list[Claims] = []
    foreign = False
    for identifier in identifiers:
        if not isinstance(identifier, dict) or _format(identifier) == "aliases":
            raise ClaimRejected("an alias is not an identifier, or has aliases itself (RFC 9493 section 3.2.8)")
        found = _one(identifier, issuers, formats)
        claims += found.claims
        foreign |= found.foreign
    # A person of this provider may have a name at another one too.
    return Subject(tuple(claims), foreign and not claims)


def _one(value: Mapping[str, JsonValue], issuers: frozenset[str], formats: Mapping[str, str]) -> Subject:
    kind = _format(value)
    if not kind:
        raise ClaimRejected("the subject has no format (RFC 9493 section 3)")
    if kind == "iss_sub":
        issuer, subject = _text(value, "iss"), _text(value, "sub")
        return Subject(({"iss": issuer, "sub": subject},)) if issuer in issuers else Subject((), True)
    member = _ONE_VALUE.get(kind)
    if member is None:
        return NOBODY
    text = _text(value, member)
    claim = formats.get(kind)
    if claim is None:
        return NOBODY
    return Subject(({claim: text.removeprefix("acct:") if kind == "account" else text},))


def _format(value: Mapping[str, JsonValue]) -> str:
    kind = value.get("format", value.get("subject_type", ""))
    if not isinstance(kind, str) or len(kind) > LONGEST:
        raise ClaimRejected("the subject's format is not a string (RFC 9493 section 3)")
    return _OLD_NAMES.get(kind, kind)


def _text(value: Mapping[str, JsonValue], member: str) -> str:
    text = value.get(member)
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST:
        raise ClaimRejected(
            f"{member} of the subject is not a text of 1 to {LONGEST} characters (RFC 9493 section 3.2)"
        )
    return text

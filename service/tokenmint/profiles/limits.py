"""The limits of a profile as the API states them, checked here for all callers."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from tokenmint.base.errors import FieldViolation
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.tokens import JsonValue

PRINCIPAL: Final = re.compile(r"[A-Za-z0-9._:@-]{1,128}\Z")
PROVIDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
MAX_IDENTITIES: Final = 32
MAX_SUBJECT_BYTES: Final = 2048
MAX_IDENTITIES_BYTES: Final = (
    128 * 1024
)  # of their subjects as JSON: a record has to fit into a page for another region
MAX_CLAIMS_BYTES: Final = 16 * 1024
MAX_CLAIMS_DEPTH: Final = 8
MAX_ROLES: Final = 64
MAX_ROLE: Final = 128


def profile_violations(profile: Profile, path: str = "profile") -> list[FieldViolation]:
    """Return all violations of a profile that is to be stored."""
    violations = principal_violations(profile.principal, f"{path}.principal")
    if len(profile.identities) > MAX_IDENTITIES:
        violations.append(FieldViolation(f"{path}.identities", f"at most {MAX_IDENTITIES} identities"))
    elif not are_few(profile.identities):
        violations.append(FieldViolation(f"{path}.identities", f"at most {MAX_IDENTITIES_BYTES} bytes as JSON"))
    if len(set(profile.identities)) != len(profile.identities):
        violations.append(FieldViolation(f"{path}.identities", "an identity is listed twice"))
    for index, identity in enumerate(profile.identities):
        violations += identity_violations(identity, f"{path}.identities[{index}]")
    violations += claims_violations(profile.claims, f"{path}.claims")
    violations += roles_violations(profile.roles, f"{path}.roles")
    return violations


def principal_violations(principal: str, path: str) -> list[FieldViolation]:
    """Return the violations of a principal's name."""
    if PRINCIPAL.match(principal):
        return []
    return [FieldViolation(path, "is required: 1 to 128 characters of A-Z a-z 0-9 . _ : @ -")]


def identity_violations(identity: Identity, path: str) -> list[FieldViolation]:
    """Return the violations of an identity."""
    violations = []
    if not PROVIDER.match(identity.provider):
        violations.append(FieldViolation(f"{path}.provider", "is required: the name of a provider"))
    if not 0 < len(identity.subject.encode()) <= MAX_SUBJECT_BYTES:
        violations.append(FieldViolation(f"{path}.subject", f"is required: 1 to {MAX_SUBJECT_BYTES} bytes"))
    return violations


def are_few(identities: Sequence[Identity]) -> bool:
    """Return whether one profile may have so many identities, of this length."""
    size = sum(len(json.dumps(one.subject, ensure_ascii=False).encode("utf-8", "replace")) for one in identities)
    return len(identities) <= MAX_IDENTITIES and size <= MAX_IDENTITIES_BYTES


def claims_violations(claims: Mapping[str, JsonValue], path: str) -> list[FieldViolation]:
    """Return the violations of a profile's claims."""
    violations = [
        FieldViolation(f"{path}.{name}", "is a reserved claim name: choose another")
        for name in sorted(claims)
        if is_reserved(name)
    ]
    if _depth(dict(claims)) > MAX_CLAIMS_DEPTH:
        violations.append(FieldViolation(path, f"at most {MAX_CLAIMS_DEPTH} levels deep"))
    elif (size := _json_size(claims)) is None:
        violations.append(FieldViolation(path, "has a number that is not finite, or text that is not Unicode"))
    elif size > MAX_CLAIMS_BYTES:
        violations.append(FieldViolation(path, f"at most {MAX_CLAIMS_BYTES} bytes as JSON"))
    return violations


def _json_size(claims: Mapping[str, JsonValue]) -> int | None:
    """Return the size of ``claims`` as JSON in bytes, or None if JSON can't represent them."""
    try:
        return len(json.dumps(dict(claims), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except ValueError:  # includes UnicodeEncodeError
        return None


def roles_violations(roles: tuple[str, ...], path: str) -> list[FieldViolation]:
    """Return the violations of a profile's roles."""
    violations = []
    if len(roles) > MAX_ROLES:
        violations.append(FieldViolation(path, f"at most {MAX_ROLES} roles"))
    violations += [
        FieldViolation(f"{path}[{index}]", f"1 to {MAX_ROLE} characters")
        for index, role in enumerate(roles)
        if not 0 < len(role) <= MAX_ROLE
    ]
    return violations


def _depth(value: JsonValue) -> int:
    deepest = 0
    level: list[JsonValue] = [value]
    while level:  # breadth first: hostile nesting must not cause a deep recursion
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            break
        deepest += 1
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return deepest

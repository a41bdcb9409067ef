"""Checks of a provider's claims, from its shipped entry and from the operator's table.

A check of the operator is always in force, or a problem: none is left out in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tokenmint.config.entries import TOKEN_TYPES, CheckTable, Entry, ProviderTable
from tokenmint.verification.provider import ClaimCheck

_WITH_VALUES: Final = ("one_of", "none_of", "prefix")
Values = Mapping[str, tuple[str, ...]]


def claim_checks(table: ProviderTable, entry: Entry, values: Values) -> tuple[tuple[ClaimCheck, ...], list[str]]:
    """Return the checks that are in force, and the problems of the operator's.

    Args:
        values: the values of the entry's parameters.
    """
    checks: list[ClaimCheck] = []
    problems = [text for check in table.checks for text in _problems_of_reference(check, entry, values)]
    for check in (*entry.checks, *table.checks):
        if not _is_in_force(check, values):
            continue
        accepted = values.get(check.values, ()) if isinstance(check.values, str) else check.values
        problems += _problems(check, accepted)
        kinds = frozenset(TOKEN_TYPES.get(kind, "") for kind in check.token_types)
        checks.append(ClaimCheck(check.claim, check.kind, frozenset(accepted), check.message, kinds, check.or_claim))
    return tuple(checks), problems


def _is_in_force(check: CheckTable, values: Values) -> bool:
    """Return whether its condition holds, and its parameter has a value: without one it was not enabled."""
    if check.when is not None:
        wanted = (check.when.value,) if check.when.value is not None else None
        if values.get(check.when.parameter) != wanted:
            return False
    return not isinstance(check.values, str) or check.values in values


def _problems_of_reference(check: CheckTable, entry: Entry, values: Values) -> Iterator[str]:
    name = ".".join(check.claim)
    if check.when is not None:
        yield f"{name}: when is for shipped entries: a check of your own is always in force"
    if not isinstance(check.values, str):
        return
    if check.values not in entry.parameters:
        yield f"{name}: values: expected a list, or the name of a key of the entry"
    elif check.values not in values:
        yield f"{name}: values: {check.values} is not set, so nothing would be checked"


def _problems(check: CheckTable, accepted: Sequence[str]) -> Iterator[str]:
    name = ".".join(check.claim)
    if check.kind in _WITH_VALUES and not accepted:
        yield f"{name}: {check.kind} needs values"
    if not all(accepted):
        yield f"{name}: {check.kind} has an empty value"
    if check.token_types - TOKEN_TYPES.keys():
        yield f"{name}: token_types: expected some of {', '.join(TOKEN_TYPES)}"

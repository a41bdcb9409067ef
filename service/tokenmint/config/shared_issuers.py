"""Issuers that sign for all customers of a provider: anybody there can have a token with any audience.

So a provider with such an issuer names the customers that it accepts: by a check (`one_of`) on a claim that the issuer
sets, or by a condition on one. The shipped entries name these claims (`customer_claims`) and have their own checks of
them. The rule is for providers that name such an issuer in `issuer`, with the entry of another provider or without one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tokenmint.config.entries import catalogue
from tokenmint.config.provider_keys import fill
from tokenmint.verification.provider import ClaimCheck

_SUBJECT: Final = "sub"
"""Usually begins with the customer's name. A condition on it counts; a name can be taken over, so a check does not."""


@dataclass(frozen=True, slots=True)
class SharedIssuer:
    """An issuer that signs for all customers."""

    entry: str
    """The name of its shipped entry."""
    claims: Sequence[str]
    """The claims that tell its customers apart."""


def shared_issuers() -> Mapping[str, SharedIssuer]:
    """Return the shared issuers of the shipped entries."""
    found: dict[str, SharedIssuer] = {}
    for name, entry in catalogue().items():
        if entry.customer_claims:
            defaults = {key: item.default for key, item in entry.parameters.items() if item.default is not None}
            shared = SharedIssuer(name, entry.customer_claims)
            issuers = [fill(item.issuer, defaults) for item in entry.issuers]
            found |= {issuer: shared for issuer in issuers if "{" not in issuer}  # others are a customer's own
    return MappingProxyType(found)


def is_guarded(issuer: str, entry: str | None) -> bool:
    """Return whether the checks of the shipped ``entry`` are those for a shared issuer."""
    shared = shared_issuers().get(issuer)
    return shared is not None and shared.entry == entry


def customers_unnamed(
    issuers: Iterable[str], checks: Sequence[ClaimCheck], token_types: frozenset[str], condition: str | None
) -> str:
    """Return the missing setting if a provider would accept every customer's tokens, "" if nothing is missing.

    Args:
        issuers: those that the provider's table names.
        checks: those that are in force; one for some of the ``token_types`` (URNs) leaves the others open.
        condition: counts if it is about one of the claims. What it says of them is the operator's decision.
    """
    shared = shared_issuers()
    for issuer in issuers:
        if issuer not in shared:
            continue
        names = shared[issuer].claims
        if not _is_about(condition or "", names) and not any(
            _names_customers(check, names, token_types) for check in checks
        ):
            return (
                f'signs for all customers of this provider: use = "{shared[issuer].entry}" asks for yours. Or add a '
                f"check of kind one_of on one of {', '.join(names)}, or a condition on one; otherwise the tokens of "
                "all its customers are accepted"
            )
    return ""


def _is_about(condition: str, names: Sequence[str]) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\b", condition) for name in (*names, _SUBJECT))


def _names_customers(check: ClaimCheck, names: Sequence[str], token_types: frozenset[str]) -> bool:
    paths = [check.path] if check.or_path is None else [check.path, check.or_path]
    return (
        check.kind == "one_of"
        and all(len(path) == 1 and path[0] in names for path in paths)
        and (not check.token_types or check.token_types >= token_types)
    )

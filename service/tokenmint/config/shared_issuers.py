"""Issuers that sign for all customers of a provider: anybody there can have a token with any audience.

So a provider with such an issuer names the customers that it accepts: by a check (`one_of`) on a claim that the issuer
sets, or by a condition. The shipped entries name these claims (`customer_claims`) and have required keys for them. The
rule also holds for providers that name such an issuer without the shipped entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tokenmint.config.entries import catalogue
from tokenmint.config.provider_keys import fill
from tokenmint.verification.provider import ClaimCheck


def shared_issuers() -> Mapping[str, Sequence[str]]:
    """Return the shared issuers of the shipped entries, each with the claims that tell its customers apart."""
    found: dict[str, Sequence[str]] = {}
    for entry in catalogue().values():
        if entry.customer_claims:
            defaults = {key: item.default for key, item in entry.parameters.items() if item.default is not None}
            found |= {fill(item.issuer, defaults): entry.customer_claims for item in entry.issuers}
    return MappingProxyType(found)


def customers_unnamed(
    issuers: Iterable[str], checks: Sequence[ClaimCheck], token_types: frozenset[str], condition: str | None
) -> str:
    """Return the missing setting if a provider would accept every customer's tokens, "" if nothing is missing.

    Args:
        checks: those that are in force; one for some of the ``token_types`` (URNs) leaves the others open.
    """
    for issuer in issuers:
        names = shared_issuers().get(issuer, ())
        if names and condition is None and not any(_names_customers(check, names, token_types) for check in checks):
            return (
                f"signs for all customers of this provider: add a check of kind one_of on one of {', '.join(names)}, "
                "or a condition; otherwise tokens of all its customers are accepted"
            )
    return ""


def _names_customers(check: ClaimCheck, names: Sequence[str], token_types: frozenset[str]) -> bool:
    paths = [check.path] if check.or_path is None else [check.path, check.or_path]
    return (
        check.kind == "one_of"
        and all(len(path) == 1 and path[0] in names for path in paths)
        and (not check.token_types or check.token_types >= token_types)
    )

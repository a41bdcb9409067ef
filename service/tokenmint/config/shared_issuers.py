"""Issuers that sign for all customers of a provider: anybody there can have a token with any audience.

So a provider with such an issuer names the customers that it accepts: by a check (`one_of`) on a claim that the issuer
sets, or by a condition. The shipped entries have required keys for that.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from tokenmint.verification.provider import ClaimCheck

SHARED: Final = {
    "https://token.actions.githubusercontent.com": (
        "repository_owner_id", "repository_id", "enterprise_id",
    ),
    "https://gitlab.com": ("namespace_id", "project_id"),
    "https://agent.buildkite.com": ("organization_id", "pipeline_id"),
    "https://app.terraform.io": ("terraform_organization_id", "terraform_workspace_id", "terraform_project_id"),
    "https://oidc.codefresh.io": ("account_id", "pipeline_id"),
}  # fmt: skip
"""By issuer: the claims that tell its customers apart, ids that nobody can choose or take over."""


def customers_unnamed(
    issuers: Iterable[str], checks: Sequence[ClaimCheck], token_types: frozenset[str], condition: str | None
) -> str:
    """Return what is missing where a provider would accept the tokens of everybody's customers, "" where nothing is.

    Args:
        checks: those that are in force; one for some of the ``token_types`` (URNs) leaves the others open.
    """
    for issuer in issuers:
        names = SHARED.get(issuer, ())
        if names and condition is None and not any(_names_customers(check, names, token_types) for check in checks):
            return (
                f"signs for all customers of this provider: add a check of kind one_of on one of {', '.join(names)}, "
                "or a condition; without it anybody's tokens would do"
            )
    return ""


def _names_customers(check: ClaimCheck, names: Sequence[str], token_types: frozenset[str]) -> bool:
    paths = [check.path] if check.or_path is None else [check.path, check.or_path]
    return (
        check.kind == "one_of"
        and all(len(path) == 1 and path[0] in names for path in paths)
        and (not check.token_types or check.token_types >= token_types)
    )

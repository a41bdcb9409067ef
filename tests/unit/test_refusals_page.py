"""docs/refusals.md has every reason that callers can get, with its status over gRPC and over HTTP, and no other."""

import re
from collections.abc import Iterator
from typing import Final

import pytest
from tests.pages import ROOT

from tokenmint.base import errors, token_errors
from tokenmint.rpc.status import code_of, to_status
from tokenmint.web.oauth_errors import row_of

PAGE: Final = (ROOT / "docs" / "refusals.md").read_text()
ROW: Final = re.compile(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| (\d+) \| (.+) \|$", re.MULTILINE)
NEVER_RAISED: Final = (token_errors.TokenRejected, errors.AccessDenied, errors.MalformedCall)
"""Classes that stand for their subclasses."""


def kinds(kind: type[errors.TokenmintError] = errors.TokenmintError) -> Iterator[type[errors.TokenmintError]]:
    """Yield the classes of refusals that base/errors.py and base/token_errors.py have."""
    for below in kind.__subclasses__():
        if below.__module__ in (errors.__name__, token_errors.__name__):
            yield from kinds(below)
            if not below.__name__.startswith("_") and below not in NEVER_RAISED:
                yield below


def made(kind: type[errors.TokenmintError]) -> errors.TokenmintError:
    """Return a refusal of a class."""
    if issubclass(kind, errors.InvalidRequest):
        return kind([errors.FieldViolation("field", "expected")])
    if issubclass(kind, errors.NotFound | errors.AlreadyExists):
        return kind("profile", "ada")
    if issubclass(kind, errors.WrongState):
        return kind("not now", violation="KEY_STATE", subject="k")
    if issubclass(kind, errors.ConfigurationError):
        return kind("a problem")
    return kind()


def rows() -> dict[str, tuple[str, int, bool]]:
    """Return what the page says of each reason: status over gRPC, over HTTP, and whether a retry can help."""
    return {row[1]: (row[2], int(row[3]), row[4].startswith("**retry** ")) for row in ROW.finditer(PAGE)}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.reason) for kind in kinds()])
def test_every_reason_has_a_row_with_its_statuses(kind: type[errors.TokenmintError]) -> None:
    error = made(kind)
    retry = any(detail.type_url.endswith("RetryInfo") for detail in to_status(error).details)
    assert rows()[kind.reason] == (code_of(error).name, row_of(error).status, retry)


def test_no_row_is_about_a_reason_that_nobody_gets() -> None:
    assert set(rows()) - {kind.reason for kind in kinds()} == {errors.TokenmintError.reason}


def test_the_rules_of_a_wrong_state_are_those_of_the_code() -> None:
    (row,) = (row[4] for row in ROW.finditer(PAGE) if row[1] == errors.WrongState.reason)
    named = set(re.findall(r"`([A-Z_]{5,})`", row))
    source = "".join(file.read_text() for file in (ROOT / "service" / "tokenmint").rglob("*.py"))
    raised = set(re.findall(r'violation="([A-Z_]+)"', source)) | {"PROFILE_DELETED"}
    assert '"PROFILE_DELETED"' in source
    assert named == raised

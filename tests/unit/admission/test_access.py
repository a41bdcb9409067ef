"""The access table: no row of a proved caller is without a limit and a record."""

import pytest

from tokenmint.admission import access
from tokenmint.admission.access import ANYBODY, CALLS, CHANGES, CLIENT, MINTING, NOTHING, REFUSALS, Audit, Caller, Row
from tokenmint.admission.callers import Role


@pytest.mark.parametrize("caller", [CLIENT, Role.VIEWER])
@pytest.mark.parametrize("cost", [0, -1])
def test_calls_of_a_proved_caller_are_counted(caller: Caller | Role, cost: int) -> None:
    with pytest.raises(ValueError, match="costs at least 1"):
        Row(caller, cost, CALLS)


@pytest.mark.parametrize(
    ("caller", "audit"),
    [
        (CLIENT, NOTHING),
        (CLIENT, CHANGES),
        (CLIENT, REFUSALS),
        (Role.SECURITY, NOTHING),
        (Role.OPERATOR, CALLS),
        (Role.VIEWER, MINTING),
    ],
)
def test_calls_of_a_proved_caller_are_recorded_in_their_own_stream(caller: Caller | Role, audit: Audit) -> None:
    with pytest.raises(ValueError, match="does not record calls of"):
        Row(caller, 1, audit)


def test_nobody_is_counted_or_recorded_where_nobody_is_proved() -> None:
    for cost, audit in ((1, NOTHING), (0, CALLS)):
        with pytest.raises(ValueError, match="no caller to count"):
            Row(ANYBODY, cost, audit)


def test_only_viewers_methods_change_nothing() -> None:
    for path, row in access.ADMIN.items():
        if isinstance(row.caller, Role):
            assert (row.audit is REFUSALS) == (row.caller is Role.VIEWER), path


def test_what_mints_is_begun_only_where_it_can_be_recorded() -> None:
    tables = (access.DATA, access.OAUTH, access.GATEWAY)
    minting = {path for table in tables for path, row in table.items() if row.audit is MINTING}
    assert minting == {
        "/auth",
        "/envoy.service.auth.v3.Authorization/Check",
        "/oauth2/token",
        "/tokenmint.v1.TokenExchangeService/ExchangeToken",
        "/tokenmint.v1.TokenExchangeService/BatchExchangeTokens",
    }

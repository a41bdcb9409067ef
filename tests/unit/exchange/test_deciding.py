"""The keys that decide a refusal: those that the configuration has, as its tables name them."""

import pytest
from pydantic import BaseModel

from tokenmint.base.remedies import remedies
from tokenmint.config.entries import ProviderTable, catalogue
from tokenmint.config.tables import AudienceTable, ClientTable, LimitsTable
from tokenmint.exchange.deciding import (
    AUDIENCE,
    BY_REASON,
    BY_STEP,
    CLIENT,
    OF_THE_ENTRY,
    PROVIDER,
    UNDECIDED,
    Deciding,
    deciding_keys,
)
from tokenmint.exchange.explain import Outcome, Step

TABLES: dict[str, type[BaseModel]] = {
    AUDIENCE: AudienceTable,
    PROVIDER: ProviderTable,
    CLIENT: ClientTable,
    "limits": LimitsTable,
}
NAMES = {"client": "web", "audience": "https://api", "provider": "google"}
ENTRY = ("hosted_domains", "tenants")
WRITTEN = {
    "clients.web", 'audiences."https://api"', 'audiences."https://api".clients', 'audiences."https://api".providers',
    "providers.google", "providers.google.use", "providers.google.audiences", "providers.google.hosted_domains",
}  # fmt: skip


def decided(name: str, reason: str, *written: str, without: str = "", **names: str) -> list[tuple[str, bool]]:
    step = Step(name, Outcome.FAILED, reason)
    there = (WRITTEN | set(written)) - {without}
    return [(one.path, one.missing) for one in deciding_keys(step, NAMES | names, there.__contains__, ENTRY)]


def test_every_key_is_one_that_the_configuration_has() -> None:
    keys = {key for groups in (*BY_STEP.values(), *BY_REASON.values()) for group in groups for key in group}
    assert {
        (table, key) for table, key in keys if key != OF_THE_ENTRY and key not in TABLES[table].model_fields
    } == set()


def test_every_reason_is_one_that_callers_get() -> None:
    assert {*BY_REASON, *UNDECIDED} <= set(remedies())


def test_settings_of_entries_are_not_those_of_every_provider() -> None:
    assert "hosted_domains" in {key for entry in catalogue().values() for key in entry.parameters}


@pytest.mark.parametrize(
    ("name", "reason", "written", "expected"),
    [
        ("policy.client", "AUDIENCE_DENIED", (), ['audiences."https://api".clients']),
        ("assertion.audience", "WRONG_AUDIENCE", (), ["providers.google.audiences"]),
        ("actor.assertion.audience", "WRONG_AUDIENCE", (), ["providers.google.audiences"]),
        ("assertion.claims", "CLAIM_REJECTED", (), ["providers.google.hosted_domains"]),
        (
            "assertion.claims", "CLAIM_REJECTED", ("providers.google.checks",),
            ["providers.google.checks", "providers.google.hosted_domains"],
        ),
        ("assertion.kind", "UNSUPPORTED_TOKEN_TYPE", (), ["providers.google.use"]),
        ("assertion.signature", "BAD_SIGNATURE", (), ["providers.google.hosted_domains"]),
        ("assertion.signature", "BAD_SIGNATURE", ("providers.google.jwks_url",), ["providers.google.jwks_url"]),
        ("assertion.signature", "ALGORITHM_NOT_ALLOWED", (), ["providers.google.use"]),
        ("assertion.times", "EXPIRED", (), ["providers.google", "providers.google.skew"]),
        ("assertion.times", "TOO_OLD", ("providers.google.max_age",), ["providers.google.max_age"]),
        ("policy.provider", "PROVIDER_DENIED", (), ['audiences."https://api".providers']),
        ("policy.provider", "CONDITION_DENIED", ("providers.google.condition",), ["providers.google.condition"]),
        (
            "policy.decision", "CONDITION_DENIED", ('audiences."https://api".condition',),
            ['audiences."https://api".condition'],
        ),
        (
            "profile.missing", "PRINCIPAL_UNKNOWN", (),
            ['audiences."https://api"', 'audiences."https://api".on_missing_profile'],
        ),
        ("assertion.form", "INVALID_REQUEST", (), ["limits.token_bytes"]),
        ("profile.find", "PRINCIPAL_DISABLED", (), []),
        ("assertion.nonce", "WRONG_NONCE", (), []),
        ("a step of tomorrow", "A_REASON_OF_TOMORROW", (), []),
    ],
)  # fmt: skip
def test_what_is_written_decides_and_otherwise_the_default(
    name: str, reason: str, written: tuple[str, ...], expected: list[str]
) -> None:
    assert decided(name, reason, *written) == [(path, False) for path in expected]


def test_a_table_that_is_missing_decides() -> None:
    assert decided("policy.client", "AUDIENCE_DENIED", audience="https://none") == [('audiences."https://none"', True)]
    assert decided("assertion.issuer", "UNKNOWN_ISSUER", provider="") == [("providers", True)]
    assert decided("policy.client", "AUDIENCE_DENIED", audience='"]\n[x') == [('audiences.""]\\u000a[x"', True)]


def test_without_entries_the_entry_itself_decides() -> None:
    step = Step("assertion.claims", Outcome.FAILED, "CLAIM_REJECTED")
    assert deciding_keys(step, NAMES, WRITTEN.__contains__) == [Deciding("providers.google.use")]

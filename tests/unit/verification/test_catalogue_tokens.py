"""The tokens of docs/providers.md: each example of a shipped entry has the outcome that the entry names."""

from typing import Final

import pytest
from tests.unit.verification.catalogued import (
    accepted,
    attacks,
    check_documentation,
    checks_without_a_token,
    outcome,
    provider_of,
    refused,
    table_is_refused,
)
from tests.unit.verification.proving import verifier_of

from tokenmint.config.entries import TOKEN_TYPES, catalogue
from tokenmint.config.examples import ExampleToken, RefusedTable, documentation

DOCUMENTED: Final = documentation()
EXAMPLES: Final = [
    pytest.param(name, example, id=f"{name}: {example.name}")
    for name, entry in DOCUMENTED.items()
    for example in entry.tokens
]
TABLES: Final = [
    pytest.param(name, table, id=f"{name}: {table.name}")
    for name, entry in DOCUMENTED.items()
    for table in entry.refused_tables
]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
async def test_the_examples_are_accepted_and_name_their_principals(name: str, example: ExampleToken) -> None:
    assert await accepted(name, catalogue(), example) == (None, example.subject)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
async def test_their_variants_are_refused(name: str, example: ExampleToken) -> None:
    for variant in example.refused:
        reason, message = await refused(name, catalogue(), example, variant)
        assert reason == variant.reason, f"{variant.name}: {message}"


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_tables_that_let_too_much_in_are_refused(name: str, table: RefusedTable) -> None:
    assert table_is_refused(name, catalogue(), table)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
async def test_no_entry_accepts_what_no_provider_may_accept(name: str, example: ExampleToken) -> None:
    provider = provider_of(name, catalogue(), example.settings)
    verifier = verifier_of(provider)  # one for all: reading its keys takes longer than judging a token
    tried = 0
    for attack, reasons, token, kind in attacks(catalogue()[name], example, provider):
        reason, message = await outcome(verifier, token, kind)
        assert reason in reasons, f"{attack}: {message}"
        tried += 1
    assert tried > 15


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
async def test_rfc_8693_section_3_a_jwt_may_be_sent_as_one(name: str, example: ExampleToken) -> None:
    kinds = provider_of(name, catalogue(), example.settings).token_types
    if len(kinds) == 1 or (example.type == "id_token" and TOKEN_TYPES["jwt"] in kinds):
        example = example.model_copy(update={"type": "jwt"})
        assert await accepted(name, catalogue(), example) == (None, example.subject)


@pytest.mark.parametrize("name", catalogue())
async def test_every_check_of_an_entry_is_what_refuses_one_of_its_tokens(name: str) -> None:
    assert await checks_without_a_token(name, catalogue(), DOCUMENTED[name]) == []


@pytest.mark.parametrize("name", catalogue())
def test_every_entry_has_tokens_for_all_that_it_declares(name: str) -> None:
    check_documentation(name, catalogue(), DOCUMENTED[name])

"""The shipped providers: each file of the catalogue is whole, and is all that an entry needs."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from docs import providers_page
from docs.generate import PAGES, PART, ROOT, generated, providers_table
from pydantic import ValidationError
from tests.issuer import Issuer
from tests.unit.verification.catalogued import accepted, check_documentation, checks_without_a_token, refused

from tokenmint.config.document import PLACEHOLDER
from tokenmint.config.drafts import recognised
from tokenmint.config.entries import Entry, catalogue, read_catalogue
from tokenmint.config.examples import DocumentedEntry, documentation, read_documentation
from tokenmint.config.providers import judge_provider

FOLDER: Final = ROOT / "service" / "tokenmint" / "config" / "catalogue"
DOCUMENTED: Final = documentation()
NEW: Final = """
title = "A provider of tomorrow"
algorithms = ["RS256"]
jwks_url = "https://{domain}/keys"

[[issuers]]
issuer = "https://{domain}/tenant"

[parameters.domain]
required = true
pattern = "[a-z0-9.-]+"
example = "example.tomorrow.example"
help = "your domain | of tomorrow"

[parameters.groups]
list = true
pattern = "[a-z]+"
example = "staff"
help = "the groups whose members are accepted"

[[checks]]
claim = "groups"
kind = "one_of"
values = "groups"

[documentation]
about = "Words about it | of tomorrow."
pages = ["https://tomorrow.example/tokens"]
looked_at = "2026-11-29"

[[tokens]]
name = "an ID token"
settings = { domain = "acme.tomorrow.example", audiences = ["app"], groups = ["staff"] }
claims = { iss = "https://acme.tomorrow.example/tenant", sub = "1", aud = "app", groups = "staff" }
subject = "1"
refused = [
    { name = "another tenant's", reason = "UNKNOWN_ISSUER", claims = { iss = "https://evil.tomorrow.example/tenant" } },
    { name = "another app's", reason = "WRONG_AUDIENCE", claims = { aud = "other" } },
    { name = "of no group", reason = "CLAIM_REJECTED", without = ["groups"] },
]
"""


def table_of(name: str, entry: Entry) -> dict[str, Any]:
    """Return the least that an operator has to write to use an entry."""
    needed = [key for key, parameter in entry.parameters.items() if parameter.required]
    needed += entry.require_one_of[:1]
    samples = {key: entry.parameters[key].sample for key in needed}
    table: dict[str, Any] = {"use": name}
    table |= {key: [text] if entry.parameters[key].list else text for key, text in samples.items()}
    if entry.audiences_from is None:
        table["audiences"] = ["our-client-id"]
    if entry.trust_domain_from is not None:
        table["jwks"] = Issuer().jwks().decode()
    elif not entry.issuers:
        table["issuer"] = "https://issuer.example"
    return table


def check_entry(name: str, entries: dict[str, Entry]) -> None:
    """Check that an entry makes a provider, and that what it asks for is asked for."""
    entry = entries[name]
    table = table_of(name, entry)
    judged = judge_provider("p", table, own_issuer="https://me.example", entries=entries)
    assert judged.problems == ()
    provider = judged.provider
    assert provider is not None
    assert provider.issuers or provider.trust_domain
    assert "{" not in json.dumps([list(provider.issuers), provider.key_source.url])
    assert provider.key_source.kind == "pinned" or provider.key_source.url.startswith("https://")
    for key in table.keys() - {"use"}:
        less = {other: value for other, value in table.items() if other != key}
        assert judge_provider("p", less, own_issuer="https://me.example", entries=entries).problems, key
    for key, parameter in entry.parameters.items():
        wrong = judge_provider("p", {**table, key: 5}, own_issuer="https://me.example", entries=entries)
        assert any(line.startswith(f"providers.p.{key}: expected") for line in wrong.problems), key
        assert parameter.help[0].islower(), key
    referred = {check.values for check in entry.checks if isinstance(check.values, str)}
    referred |= {check.when.parameter for check in entry.checks if check.when is not None}
    referred |= {*entry.require_one_of, *entry.subject_claims_with}
    referred |= {name for name in (entry.expand, entry.audiences_from, entry.trust_domain_from) if name is not None}
    assert referred <= entry.parameters.keys()


def check_row(name: str, entry: Entry, page: str) -> None:
    """Check that a page lists an entry with its keys."""
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    assert entry.title in row
    assert all(f"`{key}`" in row for key in entry.parameters)
    assert row.replace("\\|", "").count("|") == 4


def check_section(name: str, entry: Entry, documented: DocumentedEntry, table: str, sections: str) -> None:
    """Check that the page of providers has an entry: its checks in the table, its words, tokens and pages below it."""
    [row] = [line for line in table.splitlines() if line.startswith(f"| [`{name}`](#{name}) |")]
    assert row.replace("\\|", "").count("|") == len(providers_page.HEADINGS) + 1
    assert all(issuer.issuer in row for issuer in entry.issuers)
    assert all(f"`{name}`" in row for check in entry.checks for name in check.claim)
    section = f"\n{sections}".partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    words = " ".join(section.split())
    assert " ".join(documented.documentation.about.split()) in words
    tokens = [(example.name, variant.name) for example in documented.tokens for variant in example.refused]
    assert tokens
    assert all(" ".join(text.split()) in words for pair in tokens for text in pair)
    assert all(f"<{page}>" in words for page in documented.documentation.pages)


@pytest.fixture(scope="module")
def page() -> tuple[str, str]:
    """The parts of the page of providers, which hold all entries."""
    return providers_page.table(catalogue(), DOCUMENTED), providers_page.paragraphs(catalogue(), DOCUMENTED)


@pytest.mark.parametrize("name", catalogue())
def test_each_entry_is_whole(name: str, page: tuple[str, str]) -> None:
    check_entry(name, dict(catalogue()))
    check_row(name, catalogue()[name], providers_table(catalogue()))
    check_section(name, catalogue()[name], DOCUMENTED[name], *page)


async def test_a_new_entry_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    shutil.copytree(FOLDER, folder)
    (folder / "tomorrow.toml").write_text(NEW)
    entries = dict(read_catalogue(folder))
    assert entries.keys() - catalogue().keys() == {"tomorrow"}
    check_entry("tomorrow", entries)
    for page in (page for page, parts in PAGES.items() if "shipped-providers" in parts):
        text = generated(page, (ROOT / page).read_text(), entries)
        assert "`tomorrow`" in text
    check_row("tomorrow", entries["tomorrow"], generated("docs/configuration.md", _page(), entries))
    documented = read_documentation(folder)
    parts = providers_page.table(entries, documented), providers_page.paragraphs(entries, documented)
    check_section("tomorrow", entries["tomorrow"], documented["tomorrow"], *parts)
    check_documentation("tomorrow", entries, documented["tomorrow"])
    assert await checks_without_a_token("tomorrow", entries, documented["tomorrow"]) == []
    [example] = documented["tomorrow"].tokens
    assert await accepted("tomorrow", entries, example) == (None, "1")
    for variant in example.refused:
        assert (await refused("tomorrow", entries, example, variant))[0] == variant.reason
    without = read_documentation(_folder_with(tmp_path / "bare", NEW.partition("\n[documentation]\n")[0]))
    with pytest.raises(AssertionError, match=r"tomorrow\.toml: add \[documentation\]"):
        check_documentation("tomorrow", entries, without["tomorrow"])


def _folder_with(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "tomorrow.toml").write_text(text)
    return folder


def test_a_rule_below_the_documentation_is_noticed(tmp_path: Path) -> None:
    rule = '\n[[checks]]\nclaim = "sub"\nkind = "present"\n'
    with pytest.raises(ValidationError, match="checks"):
        read_documentation(_folder_with(tmp_path / "misplaced", NEW + rule))


def _page() -> str:
    return (ROOT / "docs" / "configuration.md").read_text()


def test_each_page_has_the_parts_that_are_generated() -> None:
    for page, parts in PAGES.items():
        assert {part[2] for part in PART.finditer((ROOT / page).read_text())} == parts.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('example = "staff"\n', ""), "example, or default, is required"),
        (('example = "staff"', 'example = "Staff"'), "has to match the pattern"),
        (('title = "A', 'colour = 1\ntitle = "A'), "colour"),
    ],
)
def test_an_entry_that_is_not_whole_is_not_read(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    (tmp_path / "tomorrow.toml").write_text(NEW.replace(*change))
    with pytest.raises(ValueError, match=rf"(?s)tomorrow\.toml: .*{words}"):
        read_catalogue(tmp_path)


@pytest.mark.parametrize("name", [name for name, entry in catalogue().items() if entry.issuers])
def test_a_value_that_is_written_out_and_equals_the_entrys_own_changes_nothing(name: str) -> None:
    entry = catalogue()[name]
    table = table_of(name, entry)
    plain = judge_provider("p", table, own_issuer="https://me.example").provider
    assert plain is not None
    issuers = list(plain.issuers)
    for written in (issuers, issuers[0] if len(issuers) == 1 else issuers[::-1]):
        assert judge_provider("p", {**table, "issuer": written}, own_issuer="https://me.example").provider == plain
    if entry.audiences_from is not None:
        table["audiences"] = sorted(plain.audiences)
        assert judge_provider("p", table, own_issuer="https://me.example").provider == plain


@pytest.mark.parametrize("name", [name for name, entry in catalogue().items() if len(entry.issuers) > 1])
def test_one_of_the_entrys_issuers_restricts_it_to_this_one(name: str) -> None:
    entry = catalogue()[name]
    table = table_of(name, entry)
    plain = judge_provider("p", table, own_issuer="https://me.example").provider
    assert plain is not None
    for issuer, claims in plain.issuers.items():
        less = judge_provider("p", {**table, "issuer": issuer}, own_issuer="https://me.example").provider
        assert less is not None
        assert dict(less.issuers) == {issuer: claims}
        assert (less.key_source.kind, less.key_source.url) == (plain.key_source.kind, plain.key_source.url)


def test_patterns_that_compare_parameters_name_parameters_and_accept_the_samples() -> None:
    compared = {
        f"{name}.{key}": parameter.agrees
        for name, entry in catalogue().items()
        for key, parameter in entry.parameters.items()
        if parameter.agrees is not None
    }
    assert set(compared) == {"aws-outbound.principal_arns", "azure-b2c.host", "cognito.user_pool"}
    for place, pattern in compared.items():
        entry = catalogue()[place.partition(".")[0]]
        assert any(f"{{{key}}}" in pattern for key in entry.parameters)
        samples = {key: [one.sample] if one.list else one.sample for key, one in entry.parameters.items()}
        table = {**table_of(place.partition(".")[0], entry), **samples}
        assert judge_provider("p", table, own_issuer="https://me.example").problems == ()


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("contoso.b2clogin.com", True),
        ("login.contoso.example", True),
        ("b2clogin.com.example", True),
        ("fabrikam.b2clogin.com", False),
        ("contoso.evil.b2clogin.com", False),
        ("contosoxb2clogin.com", True),
    ],
)
def test_a_host_of_b2c_is_the_tenants_or_a_custom_one(host: str, good: bool) -> None:
    table = table_of("azure-b2c", catalogue()["azure-b2c"])
    found = judge_provider("p", {**table, "host": host, "tenant": "Contoso"}, own_issuer="https://me.example").problems
    contradiction = f"providers.p.host: {host!r} contradicts tenant = 'Contoso': the sign-in host"
    assert [line.startswith(contradiction) for line in found] == ([] if good else [True])


def test_an_issuer_whose_parts_contradict_each_other_is_not_the_entrys() -> None:
    place = "https://cognito-idp.eu-west-1.amazonaws.com"
    [found] = recognised(f"{place}/eu-west-1_Abc", catalogue())
    assert found.values == {"region": "eu-west-1", "user_pool": "eu-west-1_Abc"}
    assert recognised(f"{place}/eu-central-1_Abc", catalogue()) == []


def test_a_value_that_is_not_decided_contradicts_nothing() -> None:
    table = {**table_of("azure-b2c", catalogue()["azure-b2c"]), "tenant": PLACEHOLDER}
    assert judge_provider("p", table, own_issuer="https://me.example").problems == ()

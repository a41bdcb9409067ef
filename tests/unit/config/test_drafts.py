"""Drafts of providers' tables: valid TOML that the configuration refuses until each required decision was made."""

import re
import tomllib
from typing import Any

import pytest

from tokenmint.config.document import PLACEHOLDER, placeholders
from tokenmint.config.drafts import Published, draft, draft_of_entry, name_of, recognised
from tokenmint.config.entries import Entry, IssuerTable, Parameter, catalogue
from tokenmint.config.provider_keys import fill
from tokenmint.config.providers import judge_provider

ISSUED = {name: entry for name, entry in catalogue().items() if entry.issuers}


def issuer_of(entry: Entry) -> str:
    return fill(entry.issuers[0].issuer, {key: parameter.sample for key, parameter in entry.parameters.items()})


def tables(text: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text)["providers"]
    return found


def uncommented(text: str) -> str:
    """Return a draft with its decisions taken as they are proposed."""
    lines = text.splitlines()
    return "\n".join(line.removeprefix("# ") if re.match(r"# \w+ = ", line) else line for line in lines)


def decided(table: dict[str, Any], entry: Entry | None = None) -> dict[str, Any]:
    """Return a table with a value in place of each placeholder."""

    def value(key: str, given: Any) -> Any:
        if PLACEHOLDER not in str(given):
            return given
        sample = entry.parameters[key].sample if entry is not None and key in entry.parameters else "app"
        return [sample] if isinstance(given, list) else sample

    return {key: value(key, given) for key, given in table.items()}


@pytest.mark.parametrize("name", ISSUED)
def test_each_shipped_issuer_is_recognised_and_its_draft_accepted_once_it_is_decided(name: str) -> None:
    entry = ISSUED[name]
    matches = [match for match in recognised(issuer_of(entry), catalogue()) if match.name == name]
    assert [match.certain for match in matches] == [True]
    text = draft_of_entry("p", matches[0], {})
    [table] = tables(text).values()
    assert table["use"] == name
    if entry.audiences_from is None or any(entry.parameters[key].required for key in entry.parameters):
        assert placeholders({"providers": {"p": table}}) or entry.audiences_from is not None
    assert judge_provider("p", decided(table, entry), own_issuer="https://me.example").problems == ()


@pytest.mark.parametrize(
    ("issuer", "name", "values"),
    [
        ("https://accounts.google.com", "google", {}),
        ("accounts.google.com", "google", {}),
        ("https://gitlab.com", "gitlab", {"host": "gitlab.com"}),
        ("https://tenant.us.auth0.com/", "auth0", {"domain": "tenant.us.auth0.com"}),
        ("https://securetoken.google.com/my-project", "firebase", {"project": "my-project"}),
    ],
)
def test_the_most_exact_entry_comes_first_with_the_parameters_of_the_issuer(
    issuer: str, name: str, values: dict[str, str]
) -> None:
    first = recognised(issuer, catalogue())[0]
    assert (first.name, dict(first.values), first.certain) == (name, values, True)


@pytest.mark.parametrize(
    "issuer", ["https://git.example.com", "https://login.example.com/", "https://gitlab.com.example"]
)
def test_a_free_host_name_makes_no_entry_certain(issuer: str) -> None:
    matches = recognised(issuer, catalogue())
    assert matches
    assert not any(match.certain for match in matches)


def test_a_template_of_placeholders_alone_is_as_uncertain_as_one_of_a_host() -> None:
    parameters = {
        "domain": Parameter(help="", pattern="[a-z.]+", example="acme.okta.com"),
        "server": Parameter(help="", pattern="(/oauth2/[a-z]+)?", default="/oauth2/default"),
    }
    entry = Entry(issuers=(IssuerTable(issuer="https://{domain}{server}"),), parameters=parameters)
    for issuer, certain in (
        ("https://dev.okta.com/oauth2/default", True),
        ("https://dev.okta.com", True),
        ("https://login.example.com", False),
    ):
        assert [match.certain for match in recognised(issuer, {"okta": entry})] == [certain]


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        ("https://git.acme.example:8443/_services/token", "github-actions"),
        ("https://token.actions.acme.ghe.com", "github-actions"),
        ("https://token.actions.githubusercontent.com/acme", "github-actions"),
        ("https://kubernetes.default.svc.cluster.local", "kubernetes"),
        ("https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF", "kubernetes"),
        ("https://container.googleapis.com/v1/projects/p/locations/europe-west1/clusters/c", "kubernetes"),
        ("https://westeurope.oic.prod-aks.azure.com/11111111-2222/33333333-4444/", "kubernetes"),
    ],
)
def test_an_issuer_that_the_table_has_to_name_leads_to_its_entry_too(issuer: str, name: str) -> None:
    match, *more = recognised(issuer, catalogue())
    assert (match.name, match.certain) == (name, True)
    assert not any(other.certain for other in more)
    [table] = tables(draft_of_entry("p", match, {})).values()
    assert (table["use"], table["issuer"]) == (name, issuer)
    assert judge_provider("p", decided(table, catalogue()[name]), own_issuer="https://me.example").problems == ()
    for other in (f"{issuer}.evil.example", f"https://evil.example/{issuer}", f"{issuer}?"):
        assert not any(match.certain for match in recognised(other, catalogue()))


def test_an_issuer_of_no_entry_is_not_recognised() -> None:
    assert recognised("https://idp.example/tenant/7", catalogue()) == []
    assert recognised("https://accounts.google.com.example/x", catalogue()) == []


def published(**document: Any) -> Published:
    return Published("https://idp.example/t", document, frozenset({"RS256", "PS256"}), 2)


def test_a_draft_leaves_the_decisions_to_a_person() -> None:
    text = draft("idp", published(claims_supported=["sub", "email"]), {}, [])
    [(name, table)] = tables(text).items()
    assert (name, table) == ("idp", {"issuer": "https://idp.example/t", "audiences": [PLACEHOLDER]})
    assert len(placeholders({"providers": {"idp": table}})) == 1
    assert judge_provider(name, decided(table), own_issuer="").problems == ()
    for words in ("sub, email", "# subject_claims", "# token_types", "# condition", "PS256, RS256", "2 keys"):
        assert words in text
    [whole] = tables(uncommented(text)).values()
    decisions = {"subject_claims", "token_types", "untyped_access_tokens", "condition"}
    assert whole.keys() == {"issuer", "audiences", "algorithms", *decisions}
    assert judge_provider(name, decided(whole), own_issuer="").problems == ()


@pytest.mark.parametrize(
    ("named", "keys", "algorithms"),
    [
        (["ES384", "none", "HS256"], {"ES384"}, ["ES384"]),
        (["ES384", "PS512"], {"ES384", "PS512", "PS256"}, ["ES384", "PS512"]),
        (None, {"EdDSA", "Ed25519"}, ["Ed25519", "EdDSA"]),
        (["RS256"], {"RS256"}, None),
        ("RS256", {"ES384"}, ["ES384"]),
        (["RS256"], set(), None),
    ],
)
def test_algorithms_are_set_where_the_default_would_refuse_its_tokens(
    named: Any, keys: set[str], algorithms: list[str] | None
) -> None:
    document = {} if named is None else {"id_token_signing_alg_values_supported": named}
    [table] = tables(draft("p", Published("https://i.example", document, keys, 1), {}, [])).values()
    assert table.get("algorithms") == algorithms


def test_a_pairwise_subject_and_possible_entries_are_told() -> None:
    text = draft("p", published(subject_types_supported=["pairwise"]), {}, recognised("https://a.example", catalogue()))
    assert "pairwise" in text
    assert 'use = "gitlab"' in text
    assert "pairwise" not in draft("p", published(subject_types_supported=["public", "pairwise"]), {}, [])


def test_the_settings_of_the_fetch_are_a_part_of_the_table() -> None:
    settings = {"allow_private": True, "ca_file": '/etc/ca "x".crt', "proxy": "http://proxy.example:3128"}
    [table] = tables(draft("p", published(), settings, [])).values()
    assert {key: table[key] for key in settings} == settings


def test_text_of_the_document_stays_within_its_comment_and_is_bounded() -> None:
    hostile = ["sub\n[clients.evil]\npublic = true", "x" * 10_000, 7, "\x1b[2J", "\u2028[clients.evil]"] + ["y"] * 1000
    text = draft("p", published(claims_supported=hostile, subject_types_supported=hostile), {}, [])
    assert tomllib.loads(text).keys() == {"providers"}
    assert text.isascii()
    assert "\x1b" not in text
    assert len(text) < 4000


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        ("https://login.Example.com:8443/x", "login-example-com"),
        ("https://[::1]/", "1"),
        ("\u00fc", "xfc"),
        ("", "provider"),
    ],
)
def test_a_name_comes_from_the_host(issuer: str, name: str) -> None:
    assert name_of(issuer) == name
    assert tables(draft(name, published(), {}, [])).keys() == {name}
    assert tables(draft('a "name".x', published(), {}, [])).keys() == {'a "name".x'}
